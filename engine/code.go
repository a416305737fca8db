package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strings"

	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
)

// codeLayer is what one step puts into the image.
type codeLayer struct {
	step    llb.Step
	entries []registry.Entry // none: the step changes the config only
	files   *llb.SourceFiles // what the entries open; nil for a step that copies nothing
}

// close closes the folders that the entries were read from.
func (l codeLayer) close() {
	if l.files != nil {
		l.files.Close()
	}
}

// layers turns code steps into layers. A *needsBuilder error says that the rule does not hold. config is the
// environment's; it changes as the steps say.
func (t *codeTree) layers(ctx context.Context, img *llb.Image, code []llb.Step, config *llb.Config) ([]codeLayer, error) {
	var out []codeLayer
	for _, s := range code {
		l := codeLayer{step: s}
		var err error
		switch s := s.(type) {
		case llb.Copy:
			err = t.copy(ctx, img, s, config.Abs(s.Dst), &l)
		case llb.WriteFile:
			err = t.write(ctx, s, config.Abs(s.Dst), &l)
		case llb.Workdir:
			if config.Makes(s) {
				err = t.mkdir(ctx, config.Abs(s.Path), owner{}, &l)
			}
		}
		if err != nil {
			return nil, err
		}
		out = append(out, l)
		config.Apply(s, nil)
	}
	return out, nil
}

// mkdir makes the folder that a path leads to, with its parents.
func (t *codeTree) mkdir(ctx context.Context, p string, who owner, l *codeLayer) error {
	dir, err := t.resolve(ctx, p)
	if err != nil {
		return err
	}
	return t.folders(ctx, dir, who, l)
}

// write is a file of the definition itself: its folder is made, and a link in its place is followed.
func (t *codeTree) write(ctx context.Context, s llb.WriteFile, dst string, l *codeLayer) error {
	if err := t.mkdir(ctx, path.Dir(dst), owner{}, l); err != nil {
		return err
	}
	to, err := t.resolve(ctx, dst)
	if err != nil {
		return err
	}
	parent, err := t.node(ctx, path.Dir(to))
	if err == nil && parent.Kind != Folder {
		err = &needsBuilder{why: dst + " is a link to " + to + " in the environment image, and there is no such folder"}
	}
	if err != nil {
		return err
	}
	who, err := t.inherited(ctx, to, owner{})
	if err != nil {
		return err
	}
	e := registry.Entry{Mode: fs.FileMode(s.Mode).Perm(), UID: who.uid, GID: who.gid, Size: int64(len(s.Data))}
	if s.Mode == 0 {
		e.Mode = 0o644
	}
	e.Open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(s.Data)), nil }
	return t.file(ctx, to, e, l)
}

// copy is what BuildKit's copy does: the contents of a folder go into the one that the destination leads to; a
// file goes where the destination leads to, or, if that is a folder, into it under its own name.
func (t *codeTree) copy(ctx context.Context, img *llb.Image, s llb.Copy, dst string, l *codeLayer) error {
	who, err := t.owner(ctx, s.Owner)
	if err != nil {
		return err
	}
	if !s.Dir {
		if err := t.mkdir(ctx, path.Dir(dst), who, l); err != nil {
			return err
		}
	}
	to, err := t.resolve(ctx, dst)
	if err != nil {
		return err
	}
	n, err := t.node(ctx, to)
	if err != nil {
		return err
	}
	top := to
	if !s.Dir {
		if n.Kind == Folder {
			to = path.Join(to, path.Base(path.Join("/", s.Src)))
		}
		top = path.Dir(to)
	}
	if err := t.folders(ctx, top, who, l); err != nil {
		return err
	}
	if s.Dir {
		if err := t.peek(ctx, top); err != nil {
			return err
		}
	}
	if l.files, err = img.SourceFiles(ctx, s); err != nil {
		return err
	}
	found := false
	for i, rel := range brought(l.files, s) {
		found = true
		if err := t.put(ctx, s, i, rel, path.Join(to, rel), who, l); err != nil {
			return err
		}
	}
	if !found && path.Clean(s.Src) != "." {
		return fmt.Errorf("%s: there is no such file", path.Join(img.Locals[s.Local].Dir, path.Clean(s.Src)))
	}
	return nil
}

// brought are the numbers of the files that a step copies, with their paths relative to its source, "." for the source
// itself. The others are the folders above it.
func brought(files *llb.SourceFiles, s llb.Copy) iter.Seq2[int, string] {
	src := path.Clean(s.Src)
	return func(yield func(int, string) bool) {
		for i := range files.List {
			if rel, ok := below(files.List[i].Path, src); ok && !yield(i, rel) {
				return
			}
		}
	}
}

// put brings one file, folder or link of a source, the one with number i, to a path without links.
func (t *codeTree) put(ctx context.Context, s llb.Copy, i int, rel, to string, who owner, l *codeLayer) error {
	f := &l.files.List[i]
	if f.Xattrs != "" {
		attrs, err := l.files.Xattrs(i)
		if err != nil {
			return err
		}
		return &needsBuilder{why: s.Src + "/" + rel + " has the extended attribute " + strings.Join(attrs, ", ")}
	}
	e := registry.Entry{UID: who.uid, GID: who.gid}
	switch {
	case f.Mode.IsDir() != s.Dir && rel == ".":
		return fmt.Errorf("%s: a folder is given as a file, or a file as a folder", s.Src)
	case f.Mode.IsDir() && rel == ".":
		return nil
	case f.Mode.IsDir():
		return t.folder(ctx, to, 0o755|f.Mode&fs.ModeSticky, who, l)
	case f.Mode.IsRegular() && f.Linkname != "":
		return &needsBuilder{why: s.Src + "/" + rel + " is another name of " + f.Linkname}
	case f.Mode.IsRegular():
		e.Mode, e.Size = 0o644, f.Size
		if f.Mode&0o111 != 0 {
			e.Mode = 0o755
		}
		files := l.files
		e.Open = func() (io.ReadCloser, error) { return files.Open(i) }
		if f.Size >= bigFile {
			e.Digest = f.Digest // its layer is found by this; the others need not be digested twice
		}
	case f.Mode&fs.ModeSymlink != 0:
		e.Mode, e.Linkname = fs.ModeSymlink|0o777, f.Linkname
	default:
		return &needsBuilder{why: s.Src + "/" + rel + " is neither a file, a folder nor a link"}
	}
	return t.file(ctx, to, e, l)
}

func below(p, dir string) (rel string, ok bool) {
	switch {
	case dir == ".":
		return p, true
	case p == dir:
		return ".", true
	case strings.HasPrefix(p, dir+"/"):
		return p[len(dir)+1:], true
	}
	return "", false
}
