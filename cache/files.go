package cache

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// What is known of files is not in the index: the index is read whole to check its seal, and the files of one
// folder may take megabytes. Each folder has a file of its own, named by the digest of its path, with a digest
// of what it holds.
const (
	foldersDir   = "folders"
	folderMagic  = "ibuild.folder.v1\n"
	folderHeader = len(folderMagic) + sha256.Size
	// maxFolder bounds the record of one folder, in bytes.
	maxFolder = 64 << 20
	// maxFolders and maxFoldersSize bound all of them, in number and in bytes: those written longest ago go first.
	maxFolders     = 200
	maxFoldersSize = 256 << 20
	tempPrefix     = ".new-"
)

// FolderRecords keeps one record of bytes for each folder of this machine, by its absolute path. What the bytes
// mean is the caller's affair. It is a small value, safe for concurrent use; of several processes that save the
// same folder, one wins.
type FolderRecords struct{ store *Store }

// Folders returns the records of folders.
func Folders(s *Store) FolderRecords { return FolderRecords{s} }

// Load returns the record of the folder, nil when there is none, or it cannot be read, is damaged, or belongs to
// another folder or version.
func (r FolderRecords) Load(folder string) []byte {
	f, err := os.Open(r.store.path(folderFile(folder)))
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxFolder {
		return nil
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil
	}
	record, ok := openFolder(folder, data)
	if !ok {
		return nil
	}
	return record
}

// Save replaces the record of the folder. Its error is for tests and logs: what could not be written is a later
// miss.
func (r FolderRecords) Save(folder string, record []byte) error {
	if folderHeader+len(record) > maxFolder {
		return fmt.Errorf("the record of %s has %d bytes, more than %d", folder, len(record), maxFolder-folderHeader)
	}
	err := r.write(folder, record)
	if err != nil {
		r.store.warnOnce("write", "the cache in %s cannot be written, so nothing is remembered: %v", r.store.dir, err)
	}
	return err
}

func (r FolderRecords) write(folder string, record []byte) error {
	if err := r.store.makeDir(); err != nil {
		return err
	}
	dir := r.store.path(foldersDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	r.makeRoom(len(record))
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return err
	}
	_, err = f.Write(sealFolder(folder, record))
	if err = cmp.Or(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), r.store.path(folderFile(folder))) // no sync: the digest tells what a crash left
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// makeRoom removes what killed processes left half-written, and the oldest records when there are too many.
func (r FolderRecords) makeRoom(size int) {
	entries, err := os.ReadDir(r.store.path(foldersDir))
	if err != nil {
		return
	}
	var list []os.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if strings.HasPrefix(e.Name(), tempPrefix) && time.Since(info.ModTime()) > staleIngest {
			r.remove(info)
			continue
		}
		list = append(list, info)
	}
	slices.SortFunc(list, func(a, b os.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	total := int64(size)
	for i, info := range list {
		if total += info.Size(); i >= maxFolders-1 || total > maxFoldersSize {
			r.remove(info)
		}
	}
}

func (r FolderRecords) remove(info os.FileInfo) {
	_ = os.Remove(filepath.Join(r.store.path(foldersDir), info.Name())) // another process was faster, or the next one is
}

func folderFile(folder string) string {
	name := sha256.Sum256([]byte(folder))
	return filepath.Join(foldersDir, hex.EncodeToString(name[:]))
}

// sealFolder puts the digest of the record and of whose it is before it.
func sealFolder(folder string, record []byte) []byte {
	data := append(make([]byte, 0, folderHeader+len(record)), folderMagic...)
	data = append(data, folderSeal(folder, record)...)
	return append(data, record...)
}

// openFolder is the reverse of sealFolder.
func openFolder(folder string, data []byte) (record []byte, ok bool) {
	if len(data) < folderHeader || string(data[:len(folderMagic)]) != folderMagic {
		return nil, false
	}
	record = data[folderHeader:]
	return record, bytes.Equal(data[len(folderMagic):folderHeader], folderSeal(folder, record))
}

func folderSeal(folder string, record []byte) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%d\x00%s\x00", len(folder), folder)
	h.Write(record)
	return h.Sum(nil)
}
