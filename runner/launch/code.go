package launch

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
)

// Bounds of the code that goes along: what is larger is data, and has better ways.
const (
	maxCodeFiles = 50_000
	maxCodeBytes = 1 << 30
)

// code is what goes along with a program.
type code struct {
	dir   string            // absolute folder
	carry Carry             // not CarryAuto
	entry string            // the program, below dir
	plan  *llb.Plan         // lists the files of dir
	step  llb.Copy          // the step of plan that does
	extra map[string][]byte // files that are no files of dir, by their paths below it
}

// planCode finds out what goes along with a program, and looks at no contents.
func (o Options) planCode(s subject) (*code, error) {
	dir := s.dir
	if o.Folder != "" {
		var err error
		if dir, err = filepath.Abs(o.Folder); err != nil {
			return nil, err
		}
	}
	rel, err := filepath.Rel(dir, filepath.Join(s.dir, s.file))
	if err != nil || !filepath.IsLocal(rel) {
		return nil, &source.Error{File: s.name, Msg: fmt.Sprintf("the program is not in the folder %s that goes along", o.Folder), Hint: "name a folder that it is in"}
	}
	c := &code{dir: dir, carry: o.Carry, entry: filepath.ToSlash(rel), extra: map[string][]byte{}}
	if s.extra != nil {
		c.extra[c.entry] = s.extra
	}
	if c.carry == CarryAuto {
		c.carry = CarryFolder
		if dir == o.Home || dir == filepath.Dir(dir) || dir == filepath.Clean(os.TempDir()) {
			c.carry = CarryImports
		}
	}
	return c, c.lower(s)
}

// lower has package spec say which files those are: with .dockerignore, the standard ignores, and what is imported.
func (c *code) lower(s subject) error {
	if s.code.Stdin || c.carry == CarryImports && s.extra != nil {
		return nil // the text alone: it is no file whose imports could be followed
	}
	img := spec.From("scratch")
	if c.carry == CarryImports {
		img = img.With(spec.CodeBundle{Dst: CodeFolder, Imported: true, Entries: []string{c.entry}})
	} else {
		img = img.With(spec.SourceFolder{Src: ".", Dst: CodeFolder})
	}
	plan, err := img.Plan(source.Source{Name: s.name, Dir: c.dir})
	if err != nil {
		return err
	}
	for _, step := range plan.Image.Steps {
		if copied, ok := step.(llb.Copy); ok {
			c.plan, c.step = plan, copied
		}
	}
	return nil
}

// files are the code's entries of the layer, with what is installed from. The caller calls closed when the entries are
// not used any more.
func (c *code) files(ctx context.Context) (entries []registry.Entry, closed func(), err error) {
	entries, closed = []registry.Entry{folderEntry(CodeFolder, 0o777)}, func() {}
	for p, data := range c.extra {
		entries = append(entries, dataEntry(path.Join(CodeFolder, p), data, 0o644))
	}
	if c.plan == nil {
		return entries, closed, nil
	}
	list, err := c.plan.Image.SourceFiles(ctx, c.step)
	if err != nil {
		return nil, closed, err
	}
	closed = func() { list.Close() }
	var size int64
	for i := range list.List {
		f := &list.List[i]
		if size += f.Size; size > maxCodeBytes || len(entries) > maxCodeFiles {
			return nil, closed, c.tooMuch()
		}
		if _, replaced := c.extra[f.Path]; replaced || f.Path == "." {
			continue
		}
		e, ok := fileEntry(f)
		if !ok {
			continue
		}
		e.Open = func() (io.ReadCloser, error) { return list.Open(i) }
		entries = append(entries, e)
	}
	return entries, closed, nil
}

// tooMuch is the finding about a folder that is more than code.
func (c *code) tooMuch() error {
	return &source.Error{File: c.dir, Msg: fmt.Sprintf("more than %d files or %d MiB would go along with the program", maxCodeFiles, maxCodeBytes>>20),
		Hint: "leave data out by .dockerignore and mount it as a volume, name a smaller folder, or take the imported modules only"}
}

// fileEntry is a file, folder or link of the source; false for what cannot be in a layer. Whoever the image runs as
// may write into the folders, as it could at home.
func fileEntry(f *llb.LocalFile) (registry.Entry, bool) {
	e := registry.Entry{Path: strings.TrimPrefix(path.Join(CodeFolder, f.Path), "/")}
	switch {
	case f.Mode.IsDir():
		e.Mode = fs.ModeDir | 0o777
	case f.Mode&fs.ModeSymlink != 0:
		e.Mode, e.Linkname = fs.ModeSymlink|0o777, f.Linkname
	case f.Mode.IsRegular():
		e.Mode, e.Size, e.Digest = 0o644, f.Size, f.Digest
		if f.Mode&0o111 != 0 {
			e.Mode = 0o755
		}
	default:
		return e, false
	}
	return e, true
}

func folderEntry(p string, mode fs.FileMode) registry.Entry {
	return registry.Entry{Path: strings.TrimPrefix(p, "/"), Mode: fs.ModeDir | mode}
}

func dataEntry(p string, data []byte, mode fs.FileMode) registry.Entry {
	return registry.Entry{Path: strings.TrimPrefix(p, "/"), Mode: mode, Size: int64(len(data)), Digest: digest.FromBytes(data),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}
