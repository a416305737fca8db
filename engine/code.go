package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// needsBuilder says why code cannot be put on an environment image in this process.
type needsBuilder struct {
	why     string
	unknown bool // more facts may help
}

func (e *needsBuilder) Error() string { return e.why }

// codeLayer is what one step puts into the image.
type codeLayer struct {
	step    llb.Step
	entries []registry.Entry // none: the step changes the config only
}

// codeTree follows the file tree of an environment image while code is put on it.
//
// The rule (design.md 1.6): a layer never carries an entry for a folder that it did not create, because
// unpacking would overwrite the folder's mode and owner, or replace a symbolic link of that name. Every
// path is looked up in the facts, and what is not known there or is neither a folder nor a file is left
// to the builder.
type codeTree struct {
	facts *Facts
	added map[string]Kind
}

// codePaths lists where the code steps write, relative to the config's workdir as it moves along.
func codePaths(ctx context.Context, img *llb.Image, code []llb.Step, config *llb.Config) ([]string, error) {
	var list []string
	err := eachCode(code, config, func(s llb.Step, dst string) error {
		list = append(list, dst)
		c, ok := s.(llb.Copy)
		if !ok || !c.Dir {
			return nil
		}
		return walk(ctx, img, c, func(rel string, st *fstypes.Stat, _ opener) error {
			if fs.FileMode(st.Mode).IsDir() {
				list = append(list, path.Join(dst, rel, "x")) // look into the folder, too
			}
			return nil
		})
	})
	return list, err
}

// eachCode calls do for the steps that write files, with the absolute destination of each.
func eachCode(code []llb.Step, config *llb.Config, do func(s llb.Step, dst string) error) error {
	for _, s := range code {
		dst := ""
		switch s := s.(type) {
		case llb.Copy:
			dst = config.Abs(s.Dst)
		case llb.WriteFile:
			dst = config.Abs(s.Dst)
		case llb.Workdir:
			dst = config.Abs(s.Path)
		}
		if err := do(s, dst); err != nil {
			return err
		}
		config.Apply(s, nil)
	}
	return nil
}

// layers turns code steps into layers. A *needsBuilder error says that the rule does not hold.
func (t *codeTree) layers(ctx context.Context, img *llb.Image, code []llb.Step, config *llb.Config) ([]codeLayer, error) {
	var out []codeLayer
	err := eachCode(code, config, func(s llb.Step, dst string) error {
		l := codeLayer{step: s}
		var err error
		switch s := s.(type) {
		case llb.Copy:
			err = t.copy(ctx, img, s, dst, &l)
		case llb.WriteFile:
			if err = t.folders(path.Dir(dst), 0, 0, &l); err == nil {
				err = t.file(dst, entry(dst, s.Mode, 0, 0, s.Data), &l)
			}
		case llb.Workdir:
			if config.Makes(s) {
				err = t.folders(dst, 0, 0, &l)
			}
		}
		out = append(out, l)
		return err
	})
	return out, err
}

func entry(dst string, mode uint32, uid, gid int, data []byte) registry.Entry {
	if mode == 0 {
		mode = 0o644
	}
	return registry.Entry{
		Path: dst[1:], Mode: fs.FileMode(mode), UID: uid, GID: gid, Size: int64(len(data)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}

func (t *codeTree) kind(p string) (Kind, error) {
	for dir := p; ; dir = path.Dir(dir) {
		if k, ok := t.added[dir]; ok {
			if dir == p {
				return k, nil
			}
			return Absent, nil // below a folder that code made, and not made by code
		}
		if dir == "/" {
			break
		}
	}
	k, known := t.facts.kind(p)
	for _, dir := range t.facts.Large {
		if !known && (dir == "/" || strings.HasPrefix(p, dir+"/")) {
			return k, &needsBuilder{why: "the folder " + dir + " has too many entries to know them"}
		}
	}
	if !known {
		return k, &needsBuilder{"it is not known what " + p + " is in the environment image", true}
	}
	return k, nil
}

// folders makes a folder and its parents where they are missing, with one owner. Those that are there stay
// as they are.
func (t *codeTree) folders(dir string, uid, gid int, l *codeLayer) error {
	if dir == "/" {
		return nil
	}
	if err := t.folders(path.Dir(dir), uid, gid, l); err != nil {
		return err
	}
	k, err := t.kind(dir)
	if err != nil || k.folder() {
		return err
	}
	return t.folder(dir, 0o755, uid, gid, l)
}

// folder makes a folder of the source. A builder gives the mode and owner of the source's folder to one
// that is there already, below the destination: that is the same only for folders that have them.
func (t *codeTree) folder(dir string, mode fs.FileMode, uid, gid int, l *codeLayer) error {
	k, err := t.kind(dir)
	e := registry.Entry{Path: dir[1:], Mode: fs.ModeDir | mode, UID: uid, GID: gid}
	plain := mode == 0o755 && uid == 0 && gid == 0
	switch {
	case err != nil:
		return err
	case k == Folder && plain:
		return nil
	case k.folder() && t.added[dir] == "":
		return &needsBuilder{why: "the folder " + dir + " of the environment image has a mode or owner of its own"}
	case k != Absent && !k.folder():
		return &needsBuilder{why: dir + " is in the environment image and not a folder"}
	}
	t.added[dir] = Own
	if plain {
		t.added[dir] = Folder
	}
	l.entries = append(l.entries, e)
	return nil
}

func (t *codeTree) file(dst string, e registry.Entry, l *codeLayer) error {
	k, err := t.kind(dst)
	if err != nil {
		return err
	}
	if k != Absent && k != File {
		return &needsBuilder{why: dst + " is in the environment image and not a file"}
	}
	t.added[dst] = File
	l.entries = append(l.entries, e)
	return nil
}

func (t *codeTree) copy(ctx context.Context, img *llb.Image, s llb.Copy, dst string, l *codeLayer) error {
	uid, gid, err := owner(s.Owner)
	if err != nil {
		return err
	}
	top := dst
	if !s.Dir {
		top = path.Dir(dst)
	}
	if err := t.folders(top, uid, gid, l); err != nil {
		return err
	}
	return walk(ctx, img, s, func(rel string, st *fstypes.Stat, open opener) error {
		to := path.Join(dst, rel)
		mode := fs.FileMode(st.Mode)
		e := registry.Entry{Path: to[1:], UID: uid, GID: gid, Open: open, Size: st.Size}
		if attrs := llb.Xattrs(st); len(attrs) > 0 {
			return &needsBuilder{why: s.Src + "/" + rel + " has the extended attribute " + attrs[0]}
		}
		switch {
		case mode.IsDir() != s.Dir && rel == ".":
			return fmt.Errorf("%s: a folder is given as a file, or a file as a folder", s.Src)
		case mode.IsDir():
			if rel == "." {
				return nil
			}
			return t.folder(to, 0o755|mode&fs.ModeSticky, uid, gid, l)
		case mode.IsRegular():
			e.Mode = 0o644
			if mode&0o111 != 0 {
				e.Mode = 0o755
			}
		case mode&fs.ModeSymlink != 0:
			e.Mode, e.Linkname, e.Size, e.Open = fs.ModeSymlink|0o777, st.Linkname, 0, nil
			if k, err := t.kind(to); err == nil && k != Absent {
				return &needsBuilder{why: to + " is in the environment image, and the code has a link there"}
			}
		default:
			return &needsBuilder{why: s.Src + "/" + rel + " is neither a file, a folder nor a link"}
		}
		return t.file(to, e, l)
	})
}

// owner reads "uid[:gid]"; names have to be looked up in the image.
func owner(s string) (uid, gid int, err error) {
	if s == "" {
		return 0, 0, nil
	}
	u, g, _ := strings.Cut(s, ":")
	user, errU := strconv.ParseUint(u, 10, 31)
	group, errG := strconv.ParseUint(g, 10, 31)
	if errU != nil || errG != nil {
		return 0, 0, &needsBuilder{why: "the owner " + s + " has to be looked up in the image"}
	}
	return int(user), int(group), nil
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
