package llb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/staticfs"
	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// Local is what a build may read of the caller's: a folder, or a few files that are in memory.
type Local struct {
	Dir   string            // path on this machine; never becomes part of a definition
	Files map[string][]byte // in place of Dir: contents by slash-separated name
	// PlainModes shows files with the modes 0644 or 0755 and folders with 0755, and two names of one file (hard
	// links) as two files: what one user's umask, or a tool that saves space, has made of a checkout is no
	// difference to another's.
	PlainModes bool

	sums *sums // see Plan.WithSums
}

// Equal says whether l and o are the same files, whatever is remembered of them.
func (l Local) Equal(o Local) bool {
	return l.Dir == o.Dir && l.PlainModes == o.PlainModes && (l.Files == nil) == (o.Files == nil) && maps.EqualFunc(l.Files, o.Files, bytes.Equal)
}

// FS is the file system that is sent to builders. Links are sent as links, never followed out of Dir.
func (l Local) FS() (fsutil.FS, error) {
	if l.Files == nil {
		return newContentFS(l)
	}
	mem := staticfs.NewFS()
	for name, data := range l.Files {
		mem.Add(name, &fstypes.Stat{Mode: 0o644}, data)
	}
	return mem, nil
}

// localSource is one local source operation: a folder and the rules for what of it can be seen.
type localSource struct {
	name  string
	local Local
	attrs map[string]string
}

// files is the view of the folder that a builder gets, made by the library that sends it.
func (s *localSource) files() (fsutil.FS, error) {
	opt := &fsutil.FilterOpt{}
	for attr, list := range map[string]*[]string{
		pb.AttrIncludePatterns: &opt.IncludePatterns,
		pb.AttrExcludePatterns: &opt.ExcludePatterns,
		pb.AttrFollowPaths:     &opt.FollowPaths,
	} {
		if v := s.attrs[attr]; v != "" {
			if err := json.Unmarshal([]byte(v), list); err != nil {
				return nil, fmt.Errorf("local source %s: %s: %w", s.name, attr, err)
			}
		}
	}
	base, err := s.local.FS()
	if err != nil {
		return nil, err
	}
	return fsutil.NewFilterFS(base, opt)
}

// stamp is what can be seen of the files without reading them; it changes when somebody writes to them.
func (s *localSource) stamp(ctx context.Context) (digest.Digest, error) {
	h := sha256.New()
	err := s.walk(ctx, func(p string, st *fstypes.Stat, _ fsutil.FS) error {
		writeField(h, fmt.Sprintf("%s\x00%o\x00%d\x00%d\x00%s", p, st.Mode, st.Size, st.ModTime, st.Linkname))
		return nil
	})
	return digest.NewDigest(digest.SHA256, h), err
}

// walk visits what a builder can see, in the order of paths.
func (s *localSource) walk(ctx context.Context, do func(p string, st *fstypes.Stat, files fsutil.FS) error) error {
	files, err := s.files()
	if err != nil {
		return err
	}
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
		return do(p, st, files)
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", s.local.Dir, err)
	}
	return nil
}

// digest covers names, kinds, modes, link targets and contents of all files that can be seen; times and
// owners are left out, because the session that sends them resets owners and builders ignore times.
func (s *localSource) digest(ctx context.Context) (digest.Digest, error) {
	h := sha256.New()
	err := s.walk(ctx, func(p string, st *fstypes.Stat, files fsutil.FS) error {
		writeField(h, filepath.ToSlash(p))
		writeField(h, fmt.Sprintf("%o", st.Mode))
		writeField(h, st.Linkname)
		attrs := Xattrs(st)
		writeField(h, fmt.Sprint(len(attrs)))
		for _, k := range attrs {
			writeField(h, k)
			writeField(h, string(st.Xattrs[k]))
		}
		if !fs.FileMode(st.Mode).IsRegular() || st.Linkname != "" {
			return nil
		}
		if sum, ok := s.local.sums.get(p); ok { // the walk has just read it
			writeField(h, sum.String())
			return nil
		}
		return hashFile(h, files, p, st.Size)
	})
	return digest.NewDigest(digest.SHA256, h), err
}

// Xattrs are the names of a file's extended attributes that become part of images, sorted: those that
// BuildKit's content hash counts. The others belong to the machine (SELinux labels, ACLs).
func Xattrs(st *fstypes.Stat) []string {
	var list []string
	for k := range st.Xattrs {
		if k == "security.capability" || !strings.HasPrefix(k, "security.") && !strings.HasPrefix(k, "system.") {
			list = append(list, k)
		}
	}
	slices.Sort(list)
	return list
}

// writeField length-delimits, so that no two lists of fields have the same bytes.
func writeField(h hash.Hash, s string) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(s)))
	h.Write(n[:])
	io.WriteString(h, s)
}

func hashFile(h hash.Hash, files fsutil.FS, p string, size int64) error {
	f, err := files.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(size))
	h.Write(n[:])
	read, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	if read != size {
		return fmt.Errorf("%s changed while it was read (%d bytes, then %d)", p, size, read)
	}
	return nil
}

// open opens a file below the folder; links cannot lead out of it.
func (s *localSource) open(name string) (*os.File, error) {
	root, err := os.OpenRoot(s.local.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Open(relative(name))
}

func relative(name string) string {
	if p := path.Clean("/" + filepath.ToSlash(name))[1:]; p != "" {
		return filepath.FromSlash(p)
	}
	return "."
}

// memory is a file that the source holds in memory.
func (s *localSource) memory(name string) ([]byte, error) {
	data, ok := s.local.Files[filepath.ToSlash(relative(name))]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return data, nil
}

// ReadFile implements gateway.Reference for local sources.
func (r *recordedRef) ReadFile(_ context.Context, req gateway.ReadRequest) ([]byte, error) {
	s, err := r.source()
	if err != nil {
		return nil, err
	}
	var data io.ReadSeeker
	if s.local.Files != nil {
		b, err := s.memory(req.Filename)
		if err != nil {
			return nil, err
		}
		data = bytes.NewReader(b)
	} else {
		f, err := s.open(req.Filename)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		data = f
	}
	if req.Range == nil {
		return io.ReadAll(data)
	}
	if _, err := data.Seek(int64(req.Range.Offset), io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(data, int64(req.Range.Length)))
}

// StatFile implements gateway.Reference for local sources.
func (r *recordedRef) StatFile(_ context.Context, req gateway.StatRequest) (*fstypes.Stat, error) {
	s, err := r.source()
	if err != nil {
		return nil, err
	}
	if s.local.Files != nil {
		b, err := s.memory(req.Path)
		return &fstypes.Stat{Path: req.Path, Mode: 0o644, Size: int64(len(b))}, err
	}
	f, err := s.open(req.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return stat(relative(req.Path), info), nil
}

// ReadDir implements gateway.Reference for local sources that are folders.
func (r *recordedRef) ReadDir(_ context.Context, req gateway.ReadDirRequest) ([]*fstypes.Stat, error) {
	s, err := r.source()
	if err != nil {
		return nil, err
	}
	if s.local.Files != nil {
		return nil, &NeedsBuilderError{"the folder " + req.Path}
	}
	f, err := s.open(req.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	infos, err := f.Readdir(-1)
	if err != nil {
		return nil, err
	}
	var list []*fstypes.Stat
	for _, i := range infos {
		if ok, err := path.Match(req.IncludePattern, i.Name()); req.IncludePattern == "" || err == nil && ok {
			list = append(list, stat(i.Name(), i))
		}
	}
	slices.SortFunc(list, func(a, b *fstypes.Stat) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

func stat(name string, i fs.FileInfo) *fstypes.Stat {
	return &fstypes.Stat{Path: filepath.ToSlash(name), Mode: uint32(i.Mode()), Size: i.Size(), ModTime: i.ModTime().UnixNano()}
}

// CopyFS is exactly what a Copy step sees of its local source, with paths from the source's own root.
func CopyFS(l Local, s Copy) (fsutil.FS, error) {
	src := localSource{name: s.Local, local: l, attrs: s.rules().attrs()}
	return src.files()
}

// CheckSources says whether every file and folder that Copy steps read is there and of the right kind, so
// that a builder is not started for nothing, and a wrong kind does not become an image that only looks right.
func (img *Image) CheckSources() error {
	for _, s := range img.Steps {
		c, ok := s.(Copy)
		if !ok {
			continue
		}
		l, ok := img.Locals[c.Local]
		if !ok {
			return fmt.Errorf("%s: %q: %w", c.Src, c.Local, errNoLocal)
		}
		if err := c.check(l); err != nil {
			return img.at(c.Lines, err)
		}
	}
	return nil
}

func (s Copy) check(l Local) error {
	if l.Files != nil {
		return nil
	}
	name := filepath.Join(l.Dir, filepath.FromSlash(s.Src))
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: there is no such file or folder", name)
	case err != nil:
		return err
	case s.Dir && !info.IsDir():
		return fmt.Errorf("%s: this is not a folder", name)
	case !s.Dir && info.IsDir():
		return fmt.Errorf("%s: this is a folder, not a file", name)
	}
	return nil
}
