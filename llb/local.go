package llb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/staticfs"
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
func (l Local) FS() (fsutil.FS, error) { return l.Transfer(nil) }

// Transfer is FS for a session. A file that cannot be sent as it was identified is told to fail, which has to end
// the session: the library that sends files would wait for ever. It may be called several times and at once.
func (l Local) Transfer(fail func(error)) (fsutil.FS, error) {
	if l.Files == nil {
		return newContentFS(l, fail)
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

// sourceKey is the same for operations that see the same files.
func sourceKey(src *pb.SourceOp) string {
	key := src.Identifier
	for _, attr := range []string{pb.AttrIncludePatterns, pb.AttrExcludePatterns, pb.AttrFollowPaths} {
		key += "\x00" + src.Attrs[attr]
	}
	return key
}

// view is the same for sources that show the same of one folder.
func (s *localSource) view() string {
	key := strconv.FormatBool(s.local.PlainModes)
	for _, attr := range []string{pb.AttrIncludePatterns, pb.AttrExcludePatterns, pb.AttrFollowPaths} {
		key += "\x00" + s.attrs[attr]
	}
	return key
}

// files is the view of the folder that a builder gets.
func (s *localSource) files() (fsutil.FS, error) {
	base, err := s.local.FS()
	if err != nil {
		return nil, err
	}
	return s.filter(base)
}

// filter applies the rules with the library that sends files, so that what is identified is what is sent. Without
// rules there is nothing to filter.
func (s *localSource) filter(base fsutil.FS) (fsutil.FS, error) {
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
	if len(opt.IncludePatterns)+len(opt.ExcludePatterns)+len(opt.FollowPaths) == 0 {
		return base, nil
	}
	return fsutil.NewFilterFS(base, opt)
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
