package llb

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// listMemory lists files that are in memory.
func (s *localSource) listMemory(ctx context.Context) (*listing, error) {
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	l := &listing{}
	h := fieldHash{Hash: sha256.New()}
	err = files.Walk(ctx, "", func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*fstypes.Stat)
		if !ok {
			return fmt.Errorf("%s: no file information", p)
		}
		f := LocalFile{Path: filepath.ToSlash(p), Mode: fs.FileMode(st.Mode)}
		h.text(f.Path)
		h.mode(st.Mode)
		h.text("")
		h.xattrs(nil)
		if f.Mode.IsRegular() {
			f.Size = st.Size
			if f.Digest, err = hashFile(&h, files, p, st.Size); err != nil {
				return err
			}
		}
		l.files = append(l.files, f)
		return nil
	})
	l.digest = h.digest()
	l.stamp = l.digest
	return l, err
}

// hashFile puts the content itself into the digest, with its length, and returns its own digest.
func hashFile(h *fieldHash, files fsutil.FS, p string, size int64) (digest.Digest, error) {
	f, err := files.Open(p)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h.number(uint64(size))
	h.flush()
	own := sha256.New()
	read, err := io.Copy(io.MultiWriter(h.Hash, own), f)
	if err != nil {
		return "", err
	}
	if read != size {
		return "", fmt.Errorf("%s changed while it was read (%d bytes, then %d)", p, size, read)
	}
	return digest.NewDigest(digest.SHA256, own), nil
}
