package llb

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// contentFS is a folder as builders get it. A builder takes a file that it has from an earlier build for
// the same when name, size and time are (BuildKit's local source); identities are made of contents. So here
// the time says the content: its seconds are the file's, its nanoseconds come from the digest, and layers
// have seconds only. What is sent is checked against the digest that the identity was made of.
// A folder that becomes a link while it is read leads nowhere outside (os.Root).
type contentFS struct {
	fsutil.FS
	dir   string
	sums  *sums
	plain bool // see Local.PlainModes
}

// sums remembers the digests of files during one build. It is safe for concurrent use.
type sums struct {
	mu    sync.Mutex
	files map[string]fileSum
}

type fileSum struct {
	size, time int64
	digest     digest.Digest
}

func (s *sums) get(p string) (digest.Digest, bool) {
	if s == nil {
		return "", false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.files[p]
	return known.digest, ok
}

func withSums(locals map[string]Local) map[string]Local {
	out := make(map[string]Local, len(locals))
	for name, l := range locals {
		out[name] = l.withSums()
	}
	return out
}

func (l Local) withSums() Local {
	if l.sums == nil && l.Files == nil {
		l.sums = &sums{files: map[string]fileSum{}}
	}
	return l
}

func newContentFS(l Local) (fsutil.FS, error) {
	files, err := fsutil.NewFS(l.Dir)
	if err != nil {
		return nil, err
	}
	return contentFS{FS: files, dir: l.Dir, sums: l.withSums().sums, plain: l.PlainModes}, nil
}

// Walk implements fsutil.FS. A file is read when somebody asks for its information, so ignored ones are not.
func (c contentFS) Walk(ctx context.Context, target string, do fs.WalkDirFunc) error {
	return c.FS.Walk(ctx, target, func(p string, e fs.DirEntry, err error) error {
		if e != nil && (e.Type().IsRegular() || c.plain && e.IsDir()) {
			e = contentEntry{DirEntry: e, path: p, files: c}
		}
		return do(p, e, err)
	})
}

type contentEntry struct {
	fs.DirEntry
	path  string
	files contentFS
}

func (e contentEntry) Info() (fs.FileInfo, error) {
	info, err := e.DirEntry.Info()
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*fstypes.Stat)
	if !ok {
		return info, nil
	}
	if e.files.plain {
		if st, err = e.files.plainStat(e.path, st); err != nil {
			return nil, err
		}
	}
	if !fs.FileMode(st.Mode).IsRegular() || st.Linkname != "" { // a folder, or a second name of a file that was visited before
		return &fsutil.StatInfo{Stat: st}, nil
	}
	sum, err := e.files.sum(e.path, st)
	if err != nil {
		return nil, err
	}
	st = st.Clone()
	st.ModTime = time.Unix(0, st.ModTime).Unix()*int64(time.Second) + nanoseconds(sum)
	return &fsutil.StatInfo{Stat: st}, nil
}

// plainStat is what Local.PlainModes shows of a file: the second name of a file that was visited before is a
// file of its own.
func (c contentFS) plainStat(p string, st *fstypes.Stat) (*fstypes.Stat, error) {
	st = st.Clone()
	st.Mode = plainMode(fs.FileMode(st.Mode))
	if !fs.FileMode(st.Mode).IsRegular() || st.Linkname == "" {
		return st, nil
	}
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Lstat(filepath.FromSlash(p))
	if err != nil {
		return nil, err
	}
	st.Linkname, st.Size = "", info.Size() // a link has none
	return st, nil
}

func plainMode(m fs.FileMode) uint32 {
	if m.IsDir() || m&0o111 != 0 {
		return uint32(m.Type() | 0o755)
	}
	return uint32(m.Type() | 0o644)
}

func nanoseconds(d digest.Digest) int64 {
	var n int64
	for _, c := range []byte(d.Encoded()[:8]) {
		n = n<<4 | int64(strings.IndexByte("0123456789abcdef", c))
	}
	return n % int64(time.Second)
}

// sum is the digest of a file's content.
func (c contentFS) sum(p string, st *fstypes.Stat) (digest.Digest, error) {
	c.sums.mu.Lock()
	known, ok := c.sums.files[p]
	c.sums.mu.Unlock()
	if ok && known.size == st.Size && known.time == st.ModTime {
		return known.digest, nil
	}
	f, err := c.open(p)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return "", err
	}
	if n != st.Size {
		return "", fmt.Errorf("%s changed while it was read (%d bytes, then %d)", p, st.Size, n)
	}
	d := digest.NewDigest(digest.SHA256, h)
	c.sums.mu.Lock()
	defer c.sums.mu.Unlock()
	c.sums.files[p] = fileSum{size: st.Size, time: st.ModTime, digest: d}
	return d, nil
}

func (c contentFS) open(p string) (*os.File, error) {
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Open(filepath.FromSlash(p))
}

// Open implements fsutil.FS.
func (c contentFS) Open(p string) (io.ReadCloser, error) {
	f, err := c.open(p)
	if err != nil {
		return nil, err
	}
	if want, ok := c.sums.get(p); ok {
		return &checkedFile{File: f, path: p, want: want, hash: sha256.New()}, nil
	}
	return f, nil
}

// checkedFile fails at its end when the bytes are not those that the identity was made of.
type checkedFile struct {
	*os.File
	path string
	want digest.Digest
	hash hash.Hash
}

func (f *checkedFile) Read(b []byte) (int, error) {
	n, err := f.File.Read(b)
	f.hash.Write(b[:n])
	if errors.Is(err, io.EOF) && digest.NewDigest(digest.SHA256, f.hash) != f.want {
		return n, fmt.Errorf("%s changed during the build", f.path)
	}
	return n, err
}

// WriteTo hides the file's own, which would pass the check by.
func (f *checkedFile) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{f})
}
