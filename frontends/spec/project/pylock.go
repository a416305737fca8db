package project

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

// Pylock is a lock file of the standard format (PEP 751).
type Pylock struct {
	File           python.File
	RequiresPython string         // specifier that the Python has to meet, "" for any
	Locals         []python.Local // paths that it installs from
	Groups         []string       // dependency groups that it knows
	DefaultGroups  []string       // groups that are installed when nothing is said
	Extras         []string       // extras that it knows
}

type pylock struct {
	LockVersion    string          `toml:"lock-version"`
	RequiresPython string          `toml:"requires-python"`
	Extras         []string        `toml:"extras"`
	Groups         []string        `toml:"dependency-groups"`
	DefaultGroups  []string        `toml:"default-groups"`
	CreatedBy      string          `toml:"created-by"`
	Packages       []pylockPackage `toml:"packages"`
}

type pylockPackage struct {
	Name      string       `toml:"name"`
	Version   string       `toml:"version"`
	Directory *pylockFile  `toml:"directory"`
	Archive   *pylockFile  `toml:"archive"`
	Sdist     *pylockFile  `toml:"sdist"`
	VCS       *pylockFile  `toml:"vcs"`
	Wheels    []pylockFile `toml:"wheels"`
}

type pylockFile struct {
	Path     string `toml:"path"`
	URL      string `toml:"url"`
	Editable bool   `toml:"editable"`
}

// ReadPylock reads a pylock.toml. Nothing in it says which manifest it was made for, so it cannot be out
// of date. Findings about the named file itself have no File.
func ReadPylock(t python.Tree, name string) (Pylock, error) {
	r := newReader(t)
	out := Pylock{}
	if !regexp.MustCompile(`^pylock\.([^.]+\.)?toml$`).MatchString(path.Base(name)) {
		r.ask(fmt.Sprintf("%q is not the name of a lock by PEP 751", r.Show(name)), "call it pylock.toml or pylock.<name>.toml")
		return out, r.finish()
	}
	d := r.lockOf(name, "lock")
	var lock pylock
	if d == nil || !d.decode(&lock) {
		return out, r.finish()
	}
	switch major, _, _ := strings.Cut(lock.LockVersion, "."); {
	case lock.LockVersion == "":
		d.failAt(1, 1, "this is not a lock by PEP 751: it has no lock-version", "")
		return out, r.finish()
	case major != "1":
		d.fail(fmt.Sprintf("the lock has version %s of its format, and 1.0 is supported", lock.LockVersion), "make it with a tool that writes 1.0", "lock-version")
		return out, r.finish()
	}
	if _, err := python.ParseSpecifier(lock.RequiresPython); err != nil {
		d.fail(fmt.Sprintf("requires-python: %v", err), "", "requires-python")
	}
	for i, p := range lock.Packages {
		r.pylockPackage(d, &out.Locals, i, p)
	}
	out.File = r.files[0]
	out.RequiresPython, out.Groups, out.DefaultGroups, out.Extras = lock.RequiresPython, lock.Groups, lock.DefaultGroups, lock.Extras
	return out, r.finish()
}

func (r *reader) pylockPackage(d *document, out *[]python.Local, i int, p pylockPackage) {
	key := []string{"packages", fmt.Sprint(i)}
	if p.Name == "" {
		d.fail("a package has no name", "", key...)
		return
	}
	dir, places := path.Dir(d.path), 0
	file := func(f *pylockFile, kind, what string) {
		if f == nil {
			return
		}
		places++
		switch {
		case f.Path == "" && f.URL == "":
			d.fail(fmt.Sprintf("the %s of %s has neither a path nor a URL", what, p.Name), "", append(key, what)...)
		case f.URL == "" || what == "directory":
			if f.Editable {
				kind = "editable"
			}
			r.local(d, out, dir, f.Path, kind, append(key, what)...)
		}
	}
	file(p.Directory, "directory", "directory")
	file(p.VCS, "directory", "vcs")
	file(p.Archive, "path", "archive")
	file(p.Sdist, "path", "sdist")
	for i := range p.Wheels {
		file(&p.Wheels[i], "path", "wheels")
	}
	if places == 0 {
		d.fail(fmt.Sprintf("nothing says where %s comes from", p.Name), "", key...)
	}
}
