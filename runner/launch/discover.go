package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/pelletier/go-toml/v2"
)

// needKind is a way to write down what a program needs.
type needKind string

// The ways, in the order in which they count in one folder; a header counts before all of them.
const (
	needHeader       needKind = "header (PEP 723)"
	needUVLock       needKind = "uv.lock"
	needPylock       needKind = "pylock.toml"
	needRequirements needKind = "requirements.txt"
	needProject      needKind = "pyproject.toml"
	needNothing      needKind = ""
)

// needs is where a program's dependencies are written down.
type needs struct {
	kind needKind
	dir  string // absolute folder of the file
	file string // its name in dir
	// manifest is the pyproject.toml of a uv.lock, below dir: a member of a workspace has it in a folder of its own.
	manifest string
	requires string // requires-python of the manifest
}

// search is the way up from a program's folder.
type search struct {
	start, home string // absolute; home may be ""
	show        func(file string) string
	warnings    source.Errors
}

// discover goes up from the program's folder to the first one that says what the program needs. It ends with the folder
// that holds .git, before the home folder and before the root; the folder where it begins is looked at in any case.
func (s *search) discover() (needs, error) {
	for dir := s.start; ; dir = filepath.Dir(dir) {
		last := dir == filepath.Dir(dir)
		if dir != s.start && (last || dir == s.home) {
			return needs{}, nil
		}
		found, err := s.look(dir)
		if err != nil || found.kind != needNothing {
			return found, err
		}
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil || last || dir == s.home {
			return needs{}, nil
		}
	}
}

// look looks at one folder.
func (s *search) look(dir string) (needs, error) {
	manifest, err := s.manifest(dir)
	if err != nil {
		return needs{}, err
	}
	switch {
	case s.has(dir, string(needUVLock)) && manifest != nil:
		return needs{kind: needUVLock, dir: dir, file: string(needUVLock), manifest: string(needProject), requires: manifest.Project.RequiresPython}, nil
	case s.has(dir, string(needPylock)):
		return needs{kind: needPylock, dir: dir, file: string(needPylock)}, nil
	case s.has(dir, string(needRequirements)):
		return needs{kind: needRequirements, dir: dir, file: string(needRequirements), requires: manifest.requires()}, nil
	case manifest == nil:
		return needs{}, nil
	}
	if root, ok := s.workspace(dir); ok {
		rel, err := filepath.Rel(root, dir)
		return needs{kind: needUVLock, dir: root, file: string(needUVLock), manifest: path.Join(filepath.ToSlash(rel), string(needProject)), requires: manifest.requires()}, err
	}
	if manifest.Project.Dependencies == nil {
		s.passedOver(dir, manifest)
		return needs{}, nil
	}
	return needs{kind: needProject, dir: dir, file: string(needProject), requires: manifest.requires()}, nil
}

// passedOver says why a pyproject.toml that names dependencies in another way does not count.
func (s *search) passedOver(dir string, m *manifest) {
	msg, hint := "", ""
	switch {
	case m.dynamic("dependencies"):
		msg, hint = "its dependencies are dynamic, which only a build of the project can tell", "lock it with uv lock, or write a requirements.txt"
	case m.Tool.Poetry != nil && m.Tool.Poetry["dependencies"] != nil:
		msg, hint = "its dependencies are those of poetry", "write an image spec with a poetry_project layer, or export a requirements.txt"
	default:
		return
	}
	s.warnings = append(s.warnings, &source.Error{File: s.show(filepath.Join(dir, string(needProject))), Msg: "passed over: " + msg, Hint: hint})
}

// manifest is what is read of a pyproject.toml.
type manifest struct {
	Project struct {
		RequiresPython string   `toml:"requires-python"`
		Dependencies   []string `toml:"dependencies"`
		Dynamic        []string `toml:"dynamic"`
	} `toml:"project"`
	Tool struct {
		UV     map[string]any `toml:"uv"`
		Poetry map[string]any `toml:"poetry"`
	} `toml:"tool"`
}

func (m *manifest) requires() string {
	if m == nil {
		return ""
	}
	return m.Project.RequiresPython
}

func (m *manifest) dynamic(name string) bool {
	for _, d := range m.Project.Dynamic {
		if d == name {
			return true
		}
	}
	return false
}

// manifest reads the pyproject.toml of a folder, nil when there is none.
func (s *search) manifest(dir string) (*manifest, error) {
	file := filepath.Join(dir, string(needProject))
	data, err := readFile(file, source.SpecLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	m := &manifest{}
	if err == nil {
		if err = python.CheckTOML(data); err == nil {
			err = toml.Unmarshal(data, m)
		}
	}
	if err != nil {
		return nil, s.unreadable(file, data, err)
	}
	return m, nil
}

// unreadable is the finding about a file that cannot be read, with the place where that is known.
func (s *search) unreadable(file string, data []byte, err error) error {
	found := &source.Error{File: s.show(file), Msg: "cannot be read: " + err.Error(), Err: err}
	var at *toml.DecodeError
	if errors.As(err, &at) {
		found.Line, found.Column = at.Position()
		found.Data = data
	}
	return found
}

func (s *search) has(dir, name string) bool {
	info, err := os.Stat(filepath.Join(dir, name))
	return err == nil && info.Mode().IsRegular()
}

// workspace finds the uv.lock further up that has the project in dir as a member.
func (s *search) workspace(dir string) (root string, ok bool) {
	for up := dir; ; up = filepath.Dir(up) {
		_, err := os.Lstat(filepath.Join(up, ".git"))
		if err == nil || up == filepath.Dir(up) || filepath.Dir(up) == s.home {
			return "", false
		}
		parent := filepath.Dir(up)
		if !s.has(parent, string(needUVLock)) {
			continue
		}
		lock, err := readLock(filepath.Join(parent, string(needUVLock)))
		rel, relErr := filepath.Rel(parent, dir)
		return parent, err == nil && relErr == nil && lock.member(filepath.ToSlash(rel))
	}
}

// readFile reads a regular file of at most limit bytes.
func readFile(file string, limit int64) ([]byte, error) {
	return source.ReadFile(os.DirFS(filepath.Dir(file)), filepath.Base(file), limit)
}

// shower makes paths as messages have them: relative to the working folder where that is shorter than absolute.
func shower(cwd string) func(string) string {
	return func(file string) string {
		rel, err := filepath.Rel(cwd, file)
		if err != nil || strings.HasPrefix(rel, filepath.Join("..", "..", "..")) {
			return file
		}
		return rel
	}
}

// lockedPackage is a package of a lock.
type lockedPackage struct {
	Name    string         `toml:"name"`
	Version string         `toml:"version"`
	Marker  string         `toml:"marker"`
	Source  map[string]any `toml:"source"`

	// What a package of a uv.lock needs, and what an extra of it needs besides.
	Dependencies []edge            `toml:"dependencies"`
	Optional     map[string][]edge `toml:"optional-dependencies"`

	// Index is the URL that a package of a pylock.toml comes from.
	Index string `toml:"index"`
	// What pylock.toml has in place of a source.
	VCS       map[string]any `toml:"vcs"`
	Directory map[string]any `toml:"directory"`
	Archive   map[string]any `toml:"archive"`
}

// edge is one need of a locked package.
type edge struct {
	Name  string   `toml:"name"`
	Extra []string `toml:"extra"`
}

// reached are the packages of a uv.lock that requirements lead to. The lock of a project has those of its extras and
// groups, too, which are not installed.
func reached(locked []lockedPackage, from []requirement) (out []lockedPackage) {
	type wanted struct{ name, extra string }
	var queue []wanted
	seen := map[wanted]bool{}
	want := func(name string, extras []string) {
		for _, extra := range append([]string{""}, extras...) {
			w := wanted{python.NormalName(name), python.NormalName(extra)}
			if !seen[w] {
				seen[w] = true
				queue = append(queue, w)
			}
		}
	}
	for _, r := range from {
		if p, err := python.ParseRequirement(r.Text); err == nil {
			want(p.Name, p.Extras)
		}
	}
	for len(queue) > 0 {
		w := queue[0]
		queue = queue[1:]
		for _, p := range locked {
			if python.NormalName(p.Name) != w.name {
				continue
			}
			edges := p.Dependencies
			if w.extra == "" {
				out = append(out, p)
			} else {
				for extra, list := range p.Optional {
					if python.NormalName(extra) == w.extra {
						edges = list
					}
				}
			}
			for _, e := range edges {
				want(e.Name, e.Extra)
			}
		}
	}
	return out
}

// elsewhere says that the package is not an index's.
func (p lockedPackage) elsewhere() bool {
	return p.VCS != nil || p.Directory != nil || p.Archive != nil || p.Source != nil && p.Source["registry"] == nil
}

// lock is what is read of a uv.lock ([[package]]) or pylock.toml ([[packages]]).
type lock struct {
	Package  []lockedPackage `toml:"package"`
	Packages []lockedPackage `toml:"packages"`
}

// readLock reads what a lock names, and not whether it is in order: whoever installs from it does that.
func readLock(file string) (lock, error) {
	var l lock
	data, err := readFile(file, source.LockLimit)
	if err != nil {
		return l, err
	}
	if err := python.CheckTOML(data); err != nil {
		return l, fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	return l, toml.Unmarshal(data, &l)
}

func (l lock) all() []lockedPackage {
	return append(l.Package[:len(l.Package):len(l.Package)], l.Packages...)
}

// member says whether the project in a folder below the lock's is a member of its workspace.
func (l lock) member(dir string) bool {
	for _, p := range l.Package {
		for _, kind := range []string{"editable", "virtual"} {
			if at, ok := p.Source[kind].(string); ok && path.Clean(at) == dir {
				return true
			}
		}
	}
	return false
}
