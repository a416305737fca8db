package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// codeLayer is what one step puts into the image.
type codeLayer struct {
	step    llb.Step
	entries []registry.Entry // none: the step changes the config only
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
	return walk(ctx, img, s, func(rel string, st *fstypes.Stat, open opener) error {
		return t.put(ctx, s, rel, path.Join(to, rel), who, st, open, l)
	})
}

// put brings one file, folder or link of a source to a path without links.
func (t *codeTree) put(ctx context.Context, s llb.Copy, rel, to string, who owner, st *fstypes.Stat, open opener, l *codeLayer) error {
	mode := fs.FileMode(st.Mode)
	if attrs := llb.Xattrs(st); len(attrs) > 0 {
		return &needsBuilder{why: s.Src + "/" + rel + " has the extended attribute " + attrs[0]}
	}
	e := registry.Entry{UID: who.uid, GID: who.gid}
	switch {
	case mode.IsDir() != s.Dir && rel == ".":
		return fmt.Errorf("%s: a folder is given as a file, or a file as a folder", s.Src)
	case mode.IsDir() && rel == ".":
		return nil
	case mode.IsDir():
		return t.folder(ctx, to, 0o755|mode&fs.ModeSticky, who, l)
	case mode.IsRegular() && st.Linkname != "":
		return &needsBuilder{why: s.Src + "/" + rel + " is another name of " + st.Linkname}
	case mode.IsRegular():
		e.Mode, e.Size, e.Open = 0o644, st.Size, open
		if mode&0o111 != 0 {
			e.Mode = 0o755
		}
	case mode&fs.ModeSymlink != 0:
		e.Mode, e.Linkname = fs.ModeSymlink|0o777, st.Linkname
	default:
		return &needsBuilder{why: s.Src + "/" + rel + " is neither a file, a folder nor a link"}
	}
	return t.file(ctx, to, e, l)
}

type opener func() (io.ReadCloser, error)

// walk visits what a Copy step sees, in the order of paths; rel is relative to its source, "." for the source itself.
func walk(ctx context.Context, img *llb.Image, s llb.Copy, do func(rel string, st *fstypes.Stat, open opener) error) error {
	local, ok := img.Locals[s.Local]
	if !ok {
		return fmt.Errorf("%s: no local source %q", s.Src, s.Local)
	}
	files, err := llb.CopyFS(local, s)
	if err != nil {
		return err
	}
	src := path.Clean(s.Src)
	found := false
	err = files.Walk(ctx, "", func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, ok := below(filepath.ToSlash(p), src)
		if !ok {
			return nil // a parent of the source
		}
		found = true
		info, err := e.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*fstypes.Stat)
		if !ok {
			return fmt.Errorf("%s: no file information", p)
		}
		return do(rel, st, func() (io.ReadCloser, error) { return files.Open(p) })
	})
	if err == nil && !found && src != "." {
		return fmt.Errorf("%s: there is no such file", path.Join(local.Dir, src))
	}
	return err
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
