package python

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
)

// maxLocals bounds what one layer may bring along.
const maxLocals = 500

// Requirements is a requirements file with everything in the spec's folder that it needs.
type Requirements struct {
	// Files are the requirements files, each once, the named one first.
	Files []File
	// Locals are the files and folders that lines name, and those that these need in turn.
	Locals []Local
	// Dir is the folder that uv has to run in, relative to the tree's root: paths in requirements
	// lines begin there and not at the file that has the line. It is the root, or the folder of the
	// named file when the paths lead to something only from there.
	Dir string
}

// pending is a local path that a line names; it is looked up when all files have been read.
type pending struct {
	ref      LocalRef
	file     string // that has the line
	editable bool
	src      source.Source
	offset   int
	text     string // as the message of [Tree.Read] has it
}

// pend keeps a local path for later.
func (r *reading) pend(p pending) {
	if len(r.pending) == maxLocals {
		r.errs = append(r.errs, p.fail(fmt.Sprintf("more than %d local packages belong together", maxLocals), ""))
		return
	}
	r.pending = append(r.pending, p)
}

func (p pending) fail(msg, hint string) *source.Error {
	line, column := p.src.Position(p.offset)
	return &source.Error{File: p.src.Name, Line: line, Column: column, Msg: msg, Hint: hint, Data: p.src.Data}
}

// ReadAll returns the named file, all files that it refers to, and the local packages that they name.
// The findings come as source.Errors; one about the named file itself has no File: the caller knows who
// asked for it.
func (t Tree) ReadAll(name string) (Requirements, error) {
	r := t.read(name)
	return r.requirements(r.base(path.Dir(name)))
}

// ReadText is [Tree.ReadAll] for lines that are in no file of their own: name is where they count as
// being, for --find-links and nested files and for messages, and dir is where local paths begin.
func (t Tree) ReadText(name string, text []byte, dir string) (Requirements, error) {
	r := t.newReading()
	r.seen[name] = true
	r.addText(name, text)
	return r.requirements(dir)
}

// requirements looks the local paths of everything read up.
func (r *reading) requirements(dir string) (Requirements, error) {
	out := Requirements{Files: r.files, Dir: dir}
	found := &locals{Tree: r.Tree, seen: map[string]int{}}
	for _, p := range r.pending {
		line, column := p.src.Position(p.offset)
		at := Local{Kind: p.ref.Kind, Editable: p.editable, File: p.src.Name, Line: line, Column: column}
		found.add(r.dir(p, out.Dir), p.ref.Path, at, func(msg, hint string) { r.errs = append(r.errs, p.fail(msg, hint)) })
	}
	out.Locals = found.list
	r.errs = append(r.errs, found.errs...)
	return out, r.finish()
}

// Resolve finds what a local requirement of a list of packages needs: the path itself, first, and what
// its project takes from other paths. Paths begin at the tree's root. Findings about the path itself
// have no File.
func (t Tree) Resolve(ref LocalRef, editable bool) ([]Local, error) {
	if t.Show == nil {
		t.Show = func(path string) string { return path }
	}
	var errs source.Errors
	found := &locals{Tree: t, seen: map[string]int{}}
	found.add(".", ref.Path, Local{Kind: ref.Kind, Editable: editable}, func(msg, hint string) {
		errs = append(errs, &source.Error{Msg: msg, Hint: hint})
	})
	return found.list, append(errs, found.errs...).Err()
}

// base is where paths begin: the tree's root, unless only the named file's folder makes all of them lead
// to something. Both are in use: people run uv from the top, or from beside the file.
func (r *reading) base(beside string) string {
	all := func(dir string) bool {
		return !slices.ContainsFunc(r.pending, func(p pending) bool {
			if p.ref.Kind == Links {
				return false
			}
			target, ok := joinDir(dir, p.ref.Path)
			return !ok || r.check(target, p.ref.Kind) != nil
		})
	}
	if beside != "." && !all(".") && all(beside) {
		return beside
	}
	return "."
}

// dir is where the path of a line begins: uv looks for --find-links beside the file, for the rest from
// the folder that it runs in.
func (r *reading) dir(p pending, base string) string {
	if p.ref.Kind == Links {
		return path.Dir(p.file)
	}
	return base
}

// locals collects local paths, each once.
type locals struct {
	Tree
	list []Local
	seen map[string]int // path → place in list
	errs source.Errors
}

// add takes a path that begins in dir; complain reports what is wrong with it.
func (l *locals) add(dir, ref string, at Local, complain func(msg, hint string)) {
	switch {
	case strings.HasPrefix(ref, `"`) || strings.HasPrefix(ref, "'"):
		complain(fmt.Sprintf("the path %s is in quotes, which uv takes for a part of it", ref), "write it without quotes")
		return
	case strings.Contains(ref, "${"):
		complain(fmt.Sprintf("the path %q has a variable in it, so it cannot be found before the build", ref), "write the path out")
		return
	case strings.Contains(ref, "://"):
		complain(fmt.Sprintf("%q is neither a path in the spec's folder nor a URL that a build can reach", ref), "")
		return
	}
	target, ok := joinDir(dir, ref)
	if !ok {
		complain(fmt.Sprintf("the %s %q is outside the folder of the spec", at.Kind, ref), "move it into the folder and write a relative path, with /")
		return
	}
	if i, ok := l.seen[target]; ok {
		l.list[i].Editable = l.list[i].Editable || at.Editable
		return
	}
	if err := l.check(target, at.Kind); err != nil {
		msg := fmt.Sprintf("the %s %q cannot be used: %v", at.Kind, l.Show(target), cause(err))
		hint := ""
		if errors.Is(err, fs.ErrNotExist) {
			msg, hint = fmt.Sprintf("there is no %s %q", at.Kind, l.Show(target)), "paths begin in the folder of the spec"
		}
		complain(msg, hint)
		return
	}
	if len(l.list) == maxLocals {
		complain(fmt.Sprintf("more than %d local packages belong together", maxLocals), "")
		return
	}
	l.seen[target] = len(l.list)
	at.Path = target
	l.list = append(l.list, at)
	if at.Kind == Folder {
		l.needs(target)
	}
}

// check says what is wrong with a path, nil when it is what its kind says.
func (t Tree) check(name string, kind Kind) error {
	info, err := fs.Stat(t.FS, name)
	switch {
	case err != nil:
		return err
	case kind == Links && !info.IsDir():
		return errors.New("it is not a folder")
	case kind == Links:
		return nil
	case kind == Folder && !info.IsDir():
		return errors.New("it is neither a folder nor a wheel or source archive")
	case kind == Folder:
		for _, manifest := range []string{"pyproject.toml", "setup.py"} {
			if info, err := fs.Stat(t.FS, path.Join(name, manifest)); err == nil && info.Mode().IsRegular() {
				return nil
			}
		}
		return errors.New("it has neither a pyproject.toml nor a setup.py")
	case !info.Mode().IsRegular():
		return errors.New("it is not a regular file")
	}
	return nil
}

// joinDir is where a path that begins in dir leads, and whether that is inside the tree.
func joinDir(dir, ref string) (string, bool) {
	if ref == "" || path.IsAbs(ref) || strings.ContainsAny(ref, "\\\x00") || strings.HasPrefix(ref, "~") {
		return "", false
	}
	p := path.Join(dir, ref)
	return p, fs.ValidPath(p)
}
