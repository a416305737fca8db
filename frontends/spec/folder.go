package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
)

// folder is the spec's folder. All access goes through os.Root: a link that leads out of it is an error.
type folder struct {
	root *os.Root
	dir  string
	name string // folder part of the spec's name, for messages

	ignore *ignores // nil until something is copied
}

func openFolder(src source.Source) (*folder, error) {
	dir := src.Dir
	if dir == "" {
		dir = "."
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, &source.Error{File: src.Name, Msg: fmt.Sprintf("the folder %q cannot be read", dir), Err: err}
	}
	f := &folder{root: root, dir: dir}
	if !src.Stdin {
		f.name = filepath.ToSlash(filepath.Dir(src.Name))
	}
	return f, nil
}

// ignores are the patterns of the ignore file; its findings come with the first call only.
func (f *folder) ignores() (*ignores, error) {
	if f.ignore != nil {
		return f.ignore, nil
	}
	var err error
	f.ignore, err = readIgnores(f.root, f.show(ignoreFile))
	return f.ignore, err
}

func (f *folder) close() { f.root.Close() }

// show is the path as messages have it: relative to where the user is, as the spec's own name.
func (f *folder) show(p string) string {
	if f.name == "" || f.name == "." {
		return p
	}
	return path.Join(f.name, p)
}

// find says what a source is. real is its path without links, as the builder does not follow them.
func (l *lowering) find(p string, at mark) (real string, dir, ok bool) {
	info, linked, err := l.folder.stat(p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.fail(at, fmt.Sprintf("there is no %q", l.folder.show(p)), "")
		return "", false, false
	case err != nil && strings.Contains(err.Error(), "escapes"):
		l.fail(at, fmt.Sprintf("%q is a link that leaves the spec's folder", l.folder.show(p)), "copy the files into the folder")
		return "", false, false
	case err != nil:
		l.fail(at, fmt.Sprintf("%q cannot be read: %v", l.folder.show(p), pathless(err)), "")
		return "", false, false
	case !info.IsDir() && !info.Mode().IsRegular():
		l.fail(at, fmt.Sprintf("%q is neither a file nor a folder", l.folder.show(p)), "")
		return "", false, false
	}
	if !linked {
		return path.Clean(p), info.IsDir(), true
	}
	real, err = l.folder.real(p)
	if err != nil {
		l.fail(at, fmt.Sprintf("%q cannot be read: %v", l.folder.show(p), err), "")
		return "", false, false
	}
	if control(real) { // no builder can be asked for it: patterns travel in headers
		l.fail(at, fmt.Sprintf("%q is a link to %q, which has control characters in its name", l.folder.show(p), real), "rename it")
		return "", false, false
	}
	return real, info.IsDir(), true
}

// maxPath is the longest path that is looked for, in bytes; it is Linux's own limit.
const maxPath = 4096

// stat says what a path leads to, and whether there is a link on the way.
func (f *folder) stat(p string) (info fs.FileInfo, linked bool, err error) {
	if p = path.Clean(p); len(p) > maxPath {
		return nil, false, fmt.Errorf("the path is longer than %d bytes", maxPath)
	}
	for i, r := range p + "/" {
		if r != '/' || i == 0 {
			continue
		}
		if info, err = f.root.Lstat(p[:i]); err != nil || info.Mode()&fs.ModeSymlink != 0 {
			info, err = f.root.Stat(p)
			return info, true, err
		}
	}
	return info, false, nil
}

// real follows the links in a path that os.Root has found to stay inside.
func (f *folder) real(p string) (string, error) {
	top, err := filepath.EvalSymlinks(f.dir)
	if err != nil {
		return "", pathless(err)
	}
	full, err := filepath.EvalSymlinks(filepath.Join(top, filepath.FromSlash(p)))
	if err != nil {
		return "", pathless(err)
	}
	rel, err := filepath.Rel(top, full)
	if err != nil || !filepath.IsLocal(rel) {
		return "", errors.New("it is a link that leaves the spec's folder")
	}
	return filepath.ToSlash(rel), nil
}

func pathless(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
