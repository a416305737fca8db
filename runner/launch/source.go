package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/frontends"
	"github.com/ibuild/ibuild/frontends/notebook"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/uvscript"
)

// Kind is what a source is, in words for people.
type Kind string

// The kinds.
const (
	KindScript     Kind = "Python script"
	KindNotebook   Kind = "notebook"
	KindFolder     Kind = "folder"
	KindDefinition Kind = "image definition" // a Dockerfile or an image spec
	KindImage      Kind = "image"
)

// mainFiles are the programs that a folder is looked through for, best first, when nothing there says how to build it.
func mainFiles() []string { return []string{"main.py", "__main__.py"} }

// subject is what the user has named.
type subject struct {
	kind  Kind
	name  string          // for messages
	image string          // reference, for KindImage
	given frontends.Given // for KindDefinition
	code  source.Source   // text of the program; for a notebook, of the script that it becomes
	nb    *notebook.Notebook
	dir   string // absolute folder of the program
	file  string // its name there
	extra []byte // the program's text when it is no file of dir
}

// read finds out what the source is. The error is source.Errors.
func (o Options) read() (subject, error) {
	if !frontends.Here(o.Source) {
		return o.readReference()
	}
	info, err := os.Stat(o.Source)
	if o.Source != "-" && err == nil && info.IsDir() && o.File == "" && o.Frontend == "" {
		if file, err := o.mainOf(o.Source); err != nil || file != "" {
			if err != nil {
				return subject{}, err
			}
			return o.readProgram(filepath.Join(o.Source, file), KindFolder)
		}
	}
	g, err := frontends.Read(frontends.Options{Source: o.Source, Stdin: o.Stdin, File: o.File, Frontend: o.Frontend})
	if err != nil {
		return subject{}, err
	}
	switch g.Frontend.Name {
	case frontends.UVScript:
		return o.program(g.Text, KindScript)
	case frontends.Notebook:
		return o.notebook(g.Text)
	}
	dir, _ := g.File()
	return subject{kind: KindDefinition, name: o.Source, given: g, dir: dir}, nil
}

// readReference takes what is no file for the name of an image. A word alone is rather a file that is not there.
func (o Options) readReference() (subject, error) {
	missing := &source.Error{File: o.Source, Msg: "there is no such file or folder", Hint: "give a Python file, a notebook, a folder, a Dockerfile, an image spec, or an image with its registry (docker.io/library/python:3.12)"}
	path := strings.HasPrefix(o.Source, ".") || strings.HasPrefix(o.Source, "/") || slices.Contains([]string{".py", ".ipynb", ".yaml", ".yml"}, filepath.Ext(o.Source))
	if path || !strings.ContainsAny(o.Source, "/:@") {
		return subject{}, missing
	}
	if _, err := reference.ParseNormalizedNamed(o.Source); err != nil {
		missing.Msg += fmt.Sprintf(", and it is not the name of an image either: %v", err)
		return subject{}, missing
	}
	return subject{kind: KindImage, name: o.Source, image: o.Source}, nil
}

// mainOf is the program of a folder; "" when something there says how to build the folder, which counts first.
func (o Options) mainOf(dir string) (string, error) {
	var looked []string
	isFile := func(name string) bool {
		looked = append(looked, name)
		info, err := os.Stat(filepath.Join(dir, name))
		return err == nil && info.Mode().IsRegular()
	}
	for _, f := range frontends.All() {
		if slices.ContainsFunc(f.Files, isFile) {
			return "", nil
		}
	}
	for _, name := range mainFiles() {
		if isFile(name) {
			return name, nil
		}
	}
	return "", &source.Error{File: dir, Msg: "nothing in this folder says what to run (looked for " + strings.Join(looked, ", ") + ")", Hint: "give the Python file itself; the folder that it is in goes along"}
}

func (o Options) readProgram(file string, kind Kind) (subject, error) {
	src, err := source.ReadArgument(file, source.ScriptLimit)
	if err != nil {
		return subject{}, err
	}
	return o.program(src, kind)
}

// program is a Python file, or a script from a pipe.
func (o Options) program(src source.Source, kind Kind) (subject, error) {
	s := subject{kind: kind, name: src.Name, code: src, file: src.Base()}
	if src.Stdin {
		s.dir, s.file, s.extra = o.Dir, uvscript.StdinName, src.Data
		return s, nil
	}
	var err error
	s.dir, err = filepath.Abs(src.Dir)
	return s, err
}

// notebook is a notebook as a script beside it.
func (o Options) notebook(src source.Source) (subject, error) {
	nb, err := notebook.ReadProgram(src)
	if err != nil {
		return subject{}, err
	}
	s := subject{kind: KindNotebook, name: src.Name, nb: &nb, code: src, extra: nb.Script, dir: o.Dir, file: uvscript.StdinName}
	s.code.Data = nb.Script
	if src.Stdin {
		return s, nil
	}
	if s.dir, err = filepath.Abs(src.Dir); err != nil {
		return s, err
	}
	stem := strings.TrimSuffix(src.Base(), ".ipynb")
	s.file = stem + ".py"
	if _, err := os.Lstat(filepath.Join(s.dir, s.file)); !errors.Is(err, fs.ErrNotExist) {
		s.file = stem + ".ipynb.py" // somebody's own file is not replaced
	}
	return s, nil
}

// hasHeader says that the program itself says what it needs.
func (s subject) hasHeader() bool { return uvscript.HasHeader(s.code.Data) }

// rewrite gives findings in a notebook's script their places in the notebook.
func (s subject) rewrite(err error) error {
	if s.nb == nil {
		return err
	}
	return s.nb.Rewrite(err)
}
