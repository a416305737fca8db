package draft

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/python"
)

// Kind says what a [From] is.
type Kind string

// The kinds of files that an image can be made from; the texts are for people.
const (
	UVProject     Kind = "uv project"
	PoetryProject Kind = "poetry project"
	PixiProject   Kind = "pixi project"
	Conda         Kind = "conda environment"
	Requirements  Kind = "requirements"
	Pyproject     Kind = "pyproject.toml without a lock"
	Setup         Kind = "setup.py"
	PixiScript    Kind = "pixi script"
	UVScript      Kind = "uv script"
	Dockerfile    Kind = "Dockerfile"
	Notebook      Kind = "notebook"
	Nothing       Kind = "nothing" // the Debian base alone
)

// From is a file that says what is in the image.
type From struct {
	Kind Kind
	File string // its name in the folder, "" for [Nothing]

	packages     []string // normal names of the packages that it is known to install
	pins         []string // requirements of those that come in other builds for GPUs
	requirements []string // of a pyproject.toml: as they are written there
	git          bool     // a package comes from a git repository
}

// NeedsNoSpec says that `ibuild build` takes the file as it is.
func (f From) NeedsNoSpec() bool {
	return f.Kind == UVScript || f.Kind == Dockerfile || f.Kind == Notebook
}

// Fact is something that was found, and where.
type Fact struct {
	Value string
	Why   string // ends a sentence: "from .python-version"
}

// Entry is a command that may be the image's entry point.
type Entry struct {
	Args []string
	Why  string // a whole sentence

	installed bool // it is there when the project itself is installed
}

// Folder is what was found. It is a value; nobody changes it.
type Folder struct {
	From    []From  // best first; those that need no spec come last
	Name    Fact    // of the project, as an image name; empty when nothing says it
	Python  Fact    // X.Y, one that ibuild supports; empty when nothing says it
	Entries []Entry // best first
	Notes   []string

	code    []code
	other   []string // folders without code that the code may read
	imports []string // top-level modules that the code imports
	dev     []string // requirements files that are for developers only
	poetry  bool     // pyproject.toml is poetry's
	ignores bool     // there is a .dockerignore
}

// search is the state of one [Find].
type search struct {
	fsys    fs.FS
	folder  Folder
	top     []fs.DirEntry
	pythons []claim
	scripts []Entry // of [project.scripts]
	scanned int     // code files whose imports were read
	project pyproject
	listed  bool // the project table is of use
}

// Find looks at the folder that is the root of a file system. It reads no more than a few levels, and at
// most 32 MiB of a file.
func Find(fsys fs.FS) (Folder, error) {
	s := &search{fsys: fsys}
	var err error
	if s.top, err = readDir(fsys, "."); err != nil {
		return Folder{}, err
	}
	s.readProject()
	s.findProjects()
	s.findRequirements()
	s.findPlain()
	s.findPythonVersion()
	s.findCode()
	s.findStarts()
	s.findEntries()
	s.folder.Python = s.choosePython()
	s.folder.ignores = s.isFile(".dockerignore")
	return s.folder, nil
}

// maxEntries is how many entries of a folder are looked at.
const maxEntries = 5000

// readDir lists a folder by name. Names that a spec could not say, or that would break a comment, are left
// out.
func readDir(fsys fs.FS, name string) ([]fs.DirEntry, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dir, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	list, err := dir.ReadDir(maxEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(e fs.DirEntry) bool { return !plainName(e.Name()) })
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// plainName says whether a file's name can stand in a spec as it is.
func plainName(name string) bool {
	return name != "" && !strings.HasPrefix(name, "-") && !strings.HasPrefix(name, " ") && !strings.HasSuffix(name, " ") &&
		!strings.ContainsFunc(name, func(r rune) bool {
			word := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
			return !word && !strings.ContainsRune("._-+@ ", r)
		})
}

// read returns a regular file, nil when it is not there. A file that cannot be read, or is larger than the
// limit, is noted.
func (s *search) read(name string, limit int64) []byte {
	if !s.isFile(name) {
		return nil
	}
	data, err := python.Tree{FS: s.fsys, Show: func(p string) string { return p }}.ReadFile(name, limit)
	if err != nil {
		s.note("%s cannot be read and was passed over.", name)
		return nil
	}
	src, err := source.New(name, ".", data)
	if err != nil {
		s.note("%s is not UTF-8 and was passed over.", name)
		return nil
	}
	return src.Data
}

// maxNotes bounds what a draft says about files that it could not use.
const maxNotes = 20

func (s *search) note(format string, args ...any) {
	n := fmt.Sprintf(format, args...)
	if len(s.folder.Notes) < maxNotes && !slices.Contains(s.folder.Notes, n) {
		s.folder.Notes = append(s.folder.Notes, n)
	}
}

func (s *search) isFile(name string) bool {
	info, err := fs.Stat(s.fsys, name)
	return err == nil && info.Mode().IsRegular()
}

// firstFile is the first of the names that is a file, "" when none is.
func (s *search) firstFile(names ...string) string {
	for _, n := range names {
		if s.isFile(n) {
			return n
		}
	}
	return ""
}

// findPlain adds what says which packages there are without pinning them, when nothing better was found.
func (s *search) findPlain() {
	if len(s.folder.From) > 0 {
		return
	}
	switch {
	case s.listed || s.folder.poetry:
		s.folder.From = append(s.folder.From, s.plainProject())
	case s.isFile("setup.py"):
		s.folder.From = append(s.folder.From, From{Kind: Setup, File: "setup.py"})
	}
}

// findStarts adds the files that are an image by themselves.
func (s *search) findStarts() {
	var needless []From
	for _, e := range s.top {
		name := e.Name()
		switch {
		case !s.isFile(name):
		case strings.HasSuffix(name, ".py"):
			h, ok := readHeader(s.read(name, source.ScriptLimit))
			if !ok {
				continue
			}
			from := From{Kind: UVScript, File: name}
			for _, d := range h.Dependencies {
				from.add(d)
			}
			if h.pixi() {
				from.Kind = PixiScript
				s.folder.From = append(s.folder.From, from)
				continue
			}
			needless = append(needless, from)
		case strings.HasSuffix(name, ".ipynb"):
			needless = append(needless, From{Kind: Notebook, File: name})
		}
	}
	if name := s.firstFile("Dockerfile", "dockerfile", "Containerfile"); name != "" {
		needless = append([]From{{Kind: Dockerfile, File: name}}, needless...)
	}
	s.folder.From = append(s.folder.From, needless...)
}
