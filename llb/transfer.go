package llb

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tonistiigi/fsutil"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// contentFS is a folder as builders get it. A builder takes a file that it has from an earlier build for
// the same when name, size and time are (BuildKit's local source); identities are made of contents. So here
// the time says the content: its seconds are the file's, its nanoseconds come from the digest, and layers
// have seconds only. What is sent is checked against the digest that the identity was made of.
type contentFS struct {
	disk
	sums  *sums
	plain bool // see Local.PlainModes
	fail  func(error)
}

func newContentFS(l Local, fail func(error)) (fsutil.FS, error) {
	d, err := newDisk(l.Dir)
	if err != nil {
		return nil, err
	}
	return contentFS{disk: d, sums: l.withSums().sums, plain: l.PlainModes, fail: fail}, nil
}

// Walk implements fsutil.FS. A file is read when somebody asks for its information, so ignored ones are not.
func (c contentFS) Walk(ctx context.Context, target string, do fs.WalkDirFunc) error {
	v, err := c.visit()
	if err != nil {
		return err
	}
	defer v.close()
	w := contentWalk{contentFS: c, visitor: v, links: hardLinks{}, buf: make([]byte, readSize)}
	entry := func(p string, kind fs.FileMode) fs.DirEntry { return &diskEntry{path: p, kind: kind, look: w.stat} }
	return c.walk(ctx, target, entry, do)
}

// contentWalk is one walk of a contentFS.
type contentWalk struct {
	contentFS
	visitor *visitor
	links   hardLinks
	buf     []byte
}

func (w *contentWalk) stat(p string, kind fs.FileMode) (*fstypes.Stat, error) {
	st, err := w.look(p, kind)
	if vanished(err) {
		return nil, changedError{p} // fsutil takes a missing file for the end of its folder
	}
	return st, err
}

func (w *contentWalk) look(p string, kind fs.FileMode) (*fstypes.Stat, error) {
	f, err := w.visitor.lstat(p)
	if err != nil {
		return nil, err
	}
	if f.xattrs, err = w.readXattrs(p); err != nil {
		return nil, err
	}
	st := f.stat()
	if w.plain {
		st.Mode = plainMode(f.mode)
	} else if first := w.links.first(&f); first != "" {
		st.Linkname = first
		return st, nil
	}
	if !f.mode.IsRegular() || !kind.IsRegular() { // a socket's mode does not say so
		return st, nil
	}
	sum, err := w.sums.read(w.visitor, &f, w.buf)
	if err != nil {
		return nil, err
	}
	st.ModTime = time.Unix(0, st.ModTime).Unix()*int64(time.Second) + sum.nanoseconds()
	return st, nil
}

// hardLinks are the names of files that have several, by device and inode: the one that was seen first.
type hardLinks map[[2]uint64]string

// first returns the name under which the same file was seen before, "" for none.
func (l hardLinks) first(f *diskFile) string {
	if f.inode.links < 2 || f.mode.IsDir() || f.mode&fs.ModeSymlink != 0 {
		return ""
	}
	at := [2]uint64{f.inode.dev, f.inode.ino}
	if first, ok := l[at]; ok {
		return first
	}
	l[at] = filepath.ToSlash(f.path)
	return ""
}

// plainMode is what Local.PlainModes shows of a file's or folder's mode.
func plainMode(m fs.FileMode) uint32 {
	switch {
	case !m.IsRegular() && !m.IsDir():
		return uint32(m)
	case m.IsDir() || m&0o111 != 0:
		return uint32(m.Type() | 0o755)
	}
	return uint32(m.Type() | 0o644)
}

// nanoseconds says the content in a part of a time.
func (s fileSum) nanoseconds() int64 {
	return int64(binary.BigEndian.Uint32(s.sum[:])) % int64(time.Second)
}

// Open implements fsutil.FS.
func (c contentFS) Open(p string) (io.ReadCloser, error) {
	p = filepath.FromSlash(p)
	want, ok := c.sums.get(p)
	f, err := c.open(p)
	switch {
	case !ok && err != nil:
		return nil, err
	case !ok:
		return f, nil
	case err != nil: // and no error from here: fsutil would send an empty file in its place
		return &checkedFile{err: fmt.Errorf("%w: %w", changedError{p}, err), fail: c.fail}, nil
	}
	return &checkedFile{file: f, path: p, want: want, sums: c.sums, hash: sha256.New(), fail: c.fail}, nil
}

func (c contentFS) open(p string) (*os.File, error) {
	v, err := c.visit()
	if err != nil {
		return nil, err
	}
	defer v.close()
	return v.openFile(p)
}

// checkedFile fails instead of giving its last bytes when the bytes are not those that the identity was made of.
type checkedFile struct {
	file *os.File
	path string
	want fileSum
	sums *sums
	hash hash.Hash
	read int64
	err  error
	fail func(error) // nil for nobody to tell
}

func (f *checkedFile) Read(b []byte) (n int, err error) {
	if f.err == nil {
		n, f.err = f.check(b)
		if f.err == nil || f.err == io.EOF {
			return n, f.err
		}
	}
	if f.fail != nil {
		f.fail(f.err)
	}
	return n, f.err
}

func (f *checkedFile) check(b []byte) (int, error) {
	n, err := f.file.Read(b)
	f.hash.Write(b[:n])
	f.read += int64(n)
	ends := err == io.EOF || f.read >= f.want.key.size
	if ends && [32]byte(f.hash.Sum(nil)) != f.want.sum {
		f.sums.forget(f.path)
		if f.read <= f.want.key.size {
			n = 0 // who knows the size may not read on, nor look at an error that comes with the last byte
		}
		return n, fmt.Errorf("%w: what it holds is not what the identity says; build again", changedError{f.path})
	}
	return n, err
}

// Close implements io.Closer.
func (f *checkedFile) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}
