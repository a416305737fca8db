package imports

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
)

// Result is what a program imports from its source folder.
type Result struct {
	// Files are the entries, all that they import, and the symbolic links on the way, as slash-separated
	// paths below the root, sorted, each once.
	Files []string
	// Notes are places where more may be imported than can be seen, in the order of files and lines.
	Notes []Note
}

// Note is a place in the source that the user should know of.
type Note struct {
	File string // below the root
	Line int    // from 1
	Msg  string
}

// String is "file:line: message".
func (n Note) String() string { return fmt.Sprintf("%s:%d: %s", n.File, n.Line, n.Msg) }

// Find follows the imports of Python files (entries) in the tree fsys, which has to be one that no link
// leads out of, such as os.Root's. Entries and roots are slash-separated paths below its root; roots are
// folders where modules are looked for after an entry's own folder and the root itself. Errors are
// source.Errors: entries and roots that are missing, links that leave the root, limits.
func Find(fsys fs.FS, entries []string, roots []string) (Result, error) {
	f := &finder{folder: newFolder(fsys), files: map[string]bool{}, notes: map[Note]bool{}}
	var errs source.Errors
	var folders []string
	for _, root := range roots {
		errs.Collect(f.check(root, true))
		folders = append(folders, path.Clean(root))
	}
	for _, entry := range entries {
		err := f.check(entry, false)
		if err == nil && len(errs) == 0 {
			err = f.entry(path.Clean(entry), folders)
		}
		errs.Collect(err)
	}
	if err := errs.Err(); err != nil {
		return Result{}, err
	}
	return f.result(), nil
}

// check wants a path that the caller named to be there, and to be a folder or a file.
func (f *finder) check(name string, folder bool) error {
	clean := path.Clean(name)
	if !fs.ValidPath(clean) {
		return source.Errors{{File: name, Msg: "this is not a path below the source folder"}}
	}
	info, err := fs.Stat(f.fsys, clean)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return source.Errors{{File: name, Msg: "there is no such file", Err: err}}
	case err != nil:
		return unreadable(name, err)
	case info.IsDir() && !folder:
		return source.Errors{{File: name, Msg: "this is a folder, not a file"}}
	case !info.IsDir() && folder:
		return source.Errors{{File: name, Msg: "this is a file, not a folder"}}
	}
	return nil
}

// finder collects what several entries import.
type finder struct {
	*folder
	path  []string // where modules are looked for
	seen  map[node]bool
	queue []node
	files map[string]bool
	notes map[Note]bool
}

// node is a file as the module of a name. A file may be two modules: with and without its package.
type node struct {
	file, name string
	isPackage  bool // it is an __init__ file
}

// entry follows one program. Each program has a path of its own.
func (f *finder) entry(file string, roots []string) error {
	dir, name, err := f.programName(file)
	if err != nil {
		return err
	}
	f.path = nil
	for _, p := range slices.Concat([]string{path.Dir(file), "."}, roots, []string{dir}) {
		if !slices.Contains(f.path, p) {
			f.path = append(f.path, p)
		}
	}
	f.seen, f.queue = map[node]bool{}, nil
	if err := f.add(node{file: file, name: name}); err != nil {
		return err
	}
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		if _, err := f.resolve(name[:i]); err != nil { // the packages around a program started with -m
			return err
		}
	}
	for len(f.queue) > 0 {
		n := f.queue[0]
		f.queue = f.queue[1:]
		if err := f.follow(n); err != nil {
			return err
		}
	}
	return nil
}

// programName is the name that a program has as a module, and the folder that this name begins in: above
// all folders around it that are packages.
func (f *finder) programName(file string) (dir, name string, err error) {
	name, _ = moduleName(path.Base(file))
	for dir = path.Dir(file); dir != "."; dir = path.Dir(dir) {
		if err := f.list(dir); err != nil {
			return "", "", err
		}
		if len(f.entries[dir]["__init__"]) == 0 {
			break
		}
		name = path.Base(dir) + "." + name
	}
	return dir, name, nil
}

// add takes a file into the result, and its imports into the queue.
func (f *finder) add(n node) error {
	if f.seen[n] {
		return nil
	}
	f.seen[n] = true
	f.queue = append(f.queue, n)
	if f.files[n.file] {
		return nil
	}
	real, links, err := f.real(n.file)
	if err != nil {
		return err
	}
	for _, p := range append(links, n.file, real) {
		// Below a link to a folder there are no paths of their own.
		if p == n.file && len(links) > 0 && !slices.Contains(links, p) {
			continue
		}
		f.files[p] = true
	}
	if len(f.files) > fileLimit {
		return source.Errors{{File: n.file, Msg: fmt.Sprintf("more than %d files are imported", fileLimit), Hint: "copy the folder instead"}}
	}
	return nil
}

// follow takes in what a module imports.
func (f *finder) follow(n node) error {
	m, err := f.read(n.file)
	if err != nil {
		return err
	}
	for _, note := range m.notes {
		note.File = n.file
		f.notes[note] = true
	}
	for _, st := range m.statements {
		if err := f.statement(n, st); err != nil {
			return err
		}
	}
	return nil
}

// statement takes in what one import statement means.
func (f *finder) statement(n node, st statement) error {
	name := st.module
	if st.level > 0 {
		var ok bool
		if name, ok = absolute(n, st); !ok {
			f.note(n, st, strings.Repeat(".", st.level)+st.module+" is above the outermost package")
			return nil
		}
	}
	found, err := f.resolve(name)
	if err != nil {
		return err
	}
	if found.local && !found.complete && !st.optional {
		f.note(n, st, name+" is not in this source")
	}
	if !found.complete {
		return nil
	}
	for _, imported := range st.names {
		if imported == "*" {
			err = f.star(name, found)
		} else {
			_, err = f.submodule(name, found, imported)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// star takes in the submodules that a package's __all__ names.
func (f *finder) star(name string, in location) error {
	for _, file := range in.files {
		m, err := f.read(file)
		if err != nil {
			return err
		}
		for _, imported := range m.all {
			if _, err := f.submodule(name, in, imported); err != nil {
				return err
			}
		}
	}
	return nil
}

// absolute is the full name of a relative import.
func absolute(n node, st statement) (string, bool) {
	parts := strings.Split(n.name, ".")
	up := st.level
	if n.isPackage {
		up--
	}
	if up >= len(parts) && !(up == len(parts) && st.level == 1) {
		return "", false
	}
	parts = parts[:len(parts)-up]
	if st.module != "" {
		parts = append(parts, st.module)
	}
	return strings.Join(parts, "."), true
}

func (f *finder) note(n node, st statement, msg string) {
	f.notes[Note{File: n.file, Line: st.line, Msg: msg}] = true
}

func (f *finder) result() Result {
	var r Result
	for file := range f.files {
		r.Files = append(r.Files, file)
	}
	slices.Sort(r.Files)
	for n := range f.notes {
		r.Notes = append(r.Notes, n)
	}
	slices.SortFunc(r.Notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Msg, b.Msg))
	})
	return r
}
