package uvscript

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/frontends/spec/project"
	"github.com/ibuild/ibuild/frontends/spec/python"
)

// Script is a Python script with a PEP 723 header that was read and checked. It is a value.
type Script struct {
	// Source is the whole script.
	Source source.Source
	// Name is the script's file name in the image.
	Name string
	// Header is the script block alone, with LF line ends: all that the step that installs is given.
	Header []byte
	// First and Last are the block's lines, from 1.
	First, Last int
	// Python is the newest supported Python that requires-python allows ("3.12"); PythonLine is where the
	// script says so, 0 when it does not.
	Python     string
	PythonLine int
	// Lock is <script>.lock, nil when there is none.
	Lock []byte
	// PixiPython says that pixi is asked for Python by name; see [ReadPixi].
	PixiPython bool
	// Locals are the files and folders that [tool.uv.sources] takes packages from, and those that these need,
	// relative to the script's folder.
	Locals []python.Local
	// Settings is [tool.ibuild] as the YAML that says the same, with places in the script; nil when there
	// is none.
	Settings *yaml.Node
}

// Read reads the script's header and lock, and checks them. The error is source.Errors.
func Read(src source.Source) (Script, error) {
	root, err := os.OpenRoot(src.Dir)
	if err != nil {
		return ReadIn(nil, src) // it says so when something is needed of the folder
	}
	defer root.Close()
	return ReadIn(root.FS(), src)
}

// ReadIn is [Read] for a script whose folder is open already. Nothing outside of dir is read; it is nil when there
// is no folder.
func ReadIn(dir fs.FS, src source.Source) (Script, error) {
	b, err := find(src)
	if err != nil {
		return Script{}, err
	}
	var errs source.Errors
	h, err := readHeader(src, b, false)
	errs.Collect(err)
	s := Script{
		Source: src, Name: src.Base(), Header: b.bytes(), First: b.first, Last: b.last,
		Python: h.python, PythonLine: h.pythonLine, Settings: h.settings,
	}
	if src.Stdin {
		s.Name = StdinName
	}
	errs.Collect(s.checkName())
	s.Lock, err = s.readLock(dir, ".lock", "uv lock --script")
	errs.Collect(err)
	errs.Collect(s.readFolder(dir, b, h))
	return s, errs.Err()
}

// StdinName is the file name in the image of a script that came without one.
const StdinName = "script.py"

// Head is the script down to the end of its header: all that steps point at, and no part of its body,
// so that the environment's definition is the same bytes whatever the body is.
func (s Script) Head() []byte {
	data, end := s.Source.Data, 0
	for range s.Last {
		i := bytes.IndexByte(data[end:], '\n')
		if i < 0 {
			end = len(data)
			break
		}
		end += i + 1
	}
	return data[:end:end]
}

// readFolder looks at what the header needs of the script's folder: whether the lock was made for it, and
// local packages.
func (s *Script) readFolder(dir fs.FS, b block, h header) error {
	if s.Lock == nil && len(h.paths) == 0 {
		return nil
	}
	if dir == nil {
		return &source.Error{File: s.Source.Name, Msg: fmt.Sprintf("the script's folder %q cannot be read", s.Source.Dir)}
	}
	var errs source.Errors
	beside := filepath.ToSlash(filepath.Dir(s.Source.Name))
	tree := python.Tree{FS: dir, Show: func(p string) string { return path.Join(beside, p) }}
	for _, from := range h.paths {
		found, err := tree.Resolve(python.LocalRef{Path: from.path, Kind: pathKind(from.path)}, false)
		var all source.Errors
		all.Collect(err)
		for _, e := range all {
			if e.File == "" {
				e.File, e.Line, e.Column, e.Data = s.Source.Name, from.line, from.column, s.Source.Data
				e.Msg = fmt.Sprintf("the source of %s: %s", from.pkg, e.Msg)
			}
			errs = append(errs, e)
		}
		s.Locals = append(s.Locals, found...)
	}
	if s.Lock == nil || s.Source.Stdin {
		return errs.Err()
	}
	lock, _, err := project.ReadScriptLock(tree, s.Source.Base(), b.toml())
	errs.Collect(err)
	s.Locals = append(s.Locals, lock.Locals...)
	return errs.Err()
}

func pathKind(p string) python.Kind {
	switch path.Ext(p) {
	case ".whl":
		return python.Wheel
	case ".gz", ".zip", ".tgz", ".bz2", ".xz":
		return python.Sdist
	}
	return python.Folder
}

// checkName refuses names that a file in the image should not have.
func (s Script) checkName() error {
	bad := strings.ContainsFunc(s.Name, func(r rune) bool { return r < ' ' || r == 0x7f }) || s.Name == "." || s.Name == ".." || s.Name == "/"
	if bad {
		return &source.Error{File: s.Source.Name, Msg: fmt.Sprintf("%q is not a name for a script", s.Name)}
	}
	return nil
}

// readLock reads the file that has the script's name and the ending, nil when there is none; command is what
// writes it.
func (s Script) readLock(dir fs.FS, ending, command string) ([]byte, error) {
	if s.Source.Stdin || dir == nil {
		return nil, nil
	}
	name := s.Source.Name + ending
	fail := func(msg, hint string, err error) error {
		return &source.Error{File: name, Msg: msg, Hint: hint, Err: err}
	}
	info, err := fs.Stat(dir, s.Source.Base()+ending)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil && strings.Contains(err.Error(), "escapes"): // os.Root has no error of its own for it
		return nil, fail("it is a link that leaves the script's folder", "copy the lock into the folder", err)
	case err != nil:
		return nil, fail("cannot be read: "+cause(err).Error(), "", err)
	case !info.Mode().IsRegular():
		return nil, fail("the lock is not a file", "write it with: "+command+" "+s.Source.Name, nil)
	case info.Size() > source.LockLimit:
		return nil, fail(fmt.Sprintf("larger than the limit of %d MiB", source.LockLimit>>20), "", nil)
	}
	data, err := source.ReadFile(dir, s.Source.Base()+ending, source.LockLimit)
	switch {
	case err != nil:
		return nil, fail("cannot be read: "+cause(err).Error(), "", err)
	case credential.InURL(string(data)):
		return nil, fail("the lock has a URL with a password in it, which would end up in the image's cache and history",
			"give the index a name and its password as a secret, and lock again", nil)
	case data == nil:
		data = []byte{} // an empty lock is a lock, uv says what is wrong with it
	}
	return data, nil
}

func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
