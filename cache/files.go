package cache

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// Save replaces the record of the folder, for which room is made first, as for a blob. Its error is for tests and logs:
// what could not be written is a later miss.
func (r FolderRecords) Save(folder string, record []byte) error {
	if folderHeader+len(record) > maxFolder {
		return fmt.Errorf("the record of %s has %d bytes, more than %d", folder, len(record), maxFolder-folderHeader)
	}
	err := r.write(folder, record)
	switch {
	case IsFull(err):
		r.store.warnFull(err)
	case errors.Is(err, errNoRoom):
		r.store.warnOnce("room", "the cache in %s is at its limit of %s, so facts about files are not remembered; %s",
			r.store.dir, FormatSize(r.store.MaxSize()), hintLimit)
	case err != nil:
		r.store.warnOnce("write", "the cache in %s cannot be written, so nothing is remembered: %v", r.store.dir, err)
	}
	return err
}

func (r FolderRecords) write(folder string, record []byte) error {
	s := r.store
	s.blobsMu.Lock()
	l, err := s.leaseLocked()
	s.blobsMu.Unlock()
	if err != nil {
		return err
	}
	dir := s.path(foldersDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	r.makeRoom(len(record))
	temp := tempPrefix + rand.Text() // the name that the lease has it under, too
	if err := s.makeRoom(l, temp, int64(folderHeader+len(record))); err != nil {
		return err
	}
	data := sealFolder(folder, record)
	if err = s.fault("folder"); err == nil {
		err = os.WriteFile(filepath.Join(dir, temp), data, 0o600)
	}
	if err == nil {
		err = s.settleBy(l, temp, func() (int64, error) { return replace(filepath.Join(dir, temp), s.path(folderFile(folder)), len(data)) })
	}
	if err != nil {
		_ = os.Remove(filepath.Join(dir, temp))
		s.settle(l, temp, 0)
	}
	return err
}

// replace moves a file of some bytes to a path. It returns by how many bytes the cache has grown.
func replace(temp, path string, size int) (grown int64, err error) {
	grown = int64(size)
	if old, err := os.Stat(path); err == nil {
		grown -= old.Size()
	}
	return grown, os.Rename(temp, path) // no sync: the digest tells what a crash left
}

// makeRoom removes the oldest records when there are too many.
func (r FolderRecords) makeRoom(size int) {
	list := slices.DeleteFunc(readDir(r.store.path(foldersDir)), func(i os.FileInfo) bool { return strings.HasPrefix(i.Name(), tempPrefix) })
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
