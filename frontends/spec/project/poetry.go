package project

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/python"
)

// PoetryOptions is what a spec asks of a poetry project.
type PoetryOptions struct {
	Manifest string   // path of the pyproject.toml in the tree; poetry.lock lies beside it
	Groups   []string // optional groups to install too
	Extras   []string
}

// Poetry is a poetry project as `poetry install` (or `poetry sync`) needs it.
type Poetry struct {
	Dir    string         // folder of the project
	Files  []python.File  // pyproject.toml, poetry.lock, and poetry.toml when there is one
	Locals []python.Local // paths that the lock installs from

	Package        bool     // the project itself can be installed (package-mode)
	Groups         []string // all groups, sorted; "main" is not one of them
	OptionalGroups []string // those that poetry leaves out unless they are asked for
	Extras         []string
	// Pythons are specifiers (PEP 440), one of which the Python has to meet; none for any Python.
	Pythons []string
}

// poetryTable is what of [tool.poetry] is looked at beside the hash.
type poetryTable struct {
	PackageMode  *bool                  `toml:"package-mode"`
	Dependencies map[string]any         `toml:"dependencies"`
	Dev          map[string]any         `toml:"dev-dependencies"`
	Extras       map[string]any         `toml:"extras"`
	Groups       map[string]poetryGroup `toml:"group"`
}

type poetryGroup struct {
	Optional bool `toml:"optional"`
}

type poetryManifest struct {
	Project *projectTable    `toml:"project"`
	Groups  map[string][]any `toml:"dependency-groups"`
	Tool    struct {
		Poetry *poetryTable `toml:"poetry"`
	} `toml:"tool"`
}

type poetryLock struct {
	Metadata struct {
		LockVersion string `toml:"lock-version"`
		ContentHash string `toml:"content-hash"`
	} `toml:"metadata"`
	Packages []struct {
		Name    string `toml:"name"`
		Develop bool   `toml:"develop"`
		Source  struct {
			Type string `toml:"type"`
			URL  string `toml:"url"`
		} `toml:"source"`
	} `toml:"package"`
}

// ReadPoetry reads a poetry project and its lock, and checks by poetry's own hash that the lock was made
// for it. Findings about the named files and names themselves have no File.
func ReadPoetry(t python.Tree, o PoetryOptions) (Poetry, error) {
	r := newReader(t)
	out := Poetry{Dir: path.Dir(o.Manifest)}
	d := r.open(o.Manifest, "project file", source.SpecLimit)
	var m poetryManifest
	if d == nil || !d.decode(&m) {
		return out, r.finish()
	}
	d.passwords()
	if m.Project == nil && m.Tool.Poetry == nil {
		d.failAt(0, 0, "the file has neither [project] nor [tool.poetry]", "add one of them")
		return out, r.finish()
	}
	out.describe(d, m)
	r.known("extra", r.Show(o.Manifest), o.Extras, out.Extras)
	r.known("dependency group", r.Show(o.Manifest), o.Groups, append([]string{"main"}, out.Groups...))
	name := path.Join(out.Dir, "poetry.lock")
	if !r.exists(name) {
		r.ask(fmt.Sprintf("there is no lock %q for %s", r.Show(name), r.Show(o.Manifest)), "make it with poetry lock")
		return out, r.finish()
	}
	if lock := r.lockOf(name, "lock"); lock != nil {
		out.Locals = r.poetryLock(d, lock)
	}
	if settings := path.Join(out.Dir, "poetry.toml"); r.exists(settings) {
		if s := r.open(settings, "settings file", source.SpecLimit); s != nil {
			s.passwords()
		}
	}
	out.Files = r.files
	return out, r.finish()
}

func (p *Poetry) describe(d *document, m poetryManifest) {
	table := poetryTable{}
	if m.Tool.Poetry != nil {
		table = *m.Tool.Poetry
	}
	p.Package = table.PackageMode == nil || *table.PackageMode
	groups := append(sortedKeys(table.Groups), sortedKeys(m.Groups)...)
	if table.Dev != nil {
		groups = append(groups, "dev")
	}
	slices.Sort(groups)
	p.Groups = slices.CompactFunc(groups, func(a, b string) bool { return python.NormalName(a) == python.NormalName(b) })
	for _, g := range sortedKeys(table.Groups) {
		if table.Groups[g].Optional {
			p.OptionalGroups = append(p.OptionalGroups, g)
		}
	}
	p.Extras = sortedKeys(table.Extras)
	if m.Project != nil && m.Project.Optional != nil {
		p.Extras = sortedKeys(m.Project.Optional)
	}
	p.pythons(d, m, table)
}

// pythons joins requires-python with poetry's own constraint, where both are written.
func (p *Poetry) pythons(d *document, m poetryManifest, table poetryTable) {
	requires := ""
	if m.Project != nil {
		requires = m.Project.RequiresPython
		if _, err := python.ParseSpecifier(requires); err != nil {
			d.fail(fmt.Sprintf("requires-python: %v", err), "write e.g. >=3.11", "project", "requires-python")
			return
		}
	}
	own, _ := table.Dependencies["python"].(string)
	alternatives, err := PoetryPython(own)
	if err != nil {
		d.fail(fmt.Sprintf("the python of [tool.poetry.dependencies]: %v", err), "write e.g. ^3.11", "tool", "poetry", "dependencies", "python")
		return
	}
	switch {
	case alternatives == nil && requires != "":
		p.Pythons = []string{requires}
	case requires != "":
		for _, a := range alternatives {
			p.Pythons = append(p.Pythons, requires+","+a)
		}
	default:
		p.Pythons = alternatives
	}
}

// poetryLock checks the lock and finds the paths in it.
func (r *reader) poetryLock(manifest, d *document) []python.Local {
	var lock poetryLock
	if !d.decode(&lock) {
		return nil
	}
	major, err := strconv.Atoi(strings.Split(lock.Metadata.LockVersion, ".")[0])
	switch {
	case lock.Metadata.LockVersion == "" || lock.Metadata.ContentHash == "":
		d.failAt(0, 0, "this is not a lock of poetry 1 or later: it has no lock-version or content-hash", "make it again with poetry lock")
		return nil
	case err != nil || major < 1 || major > 2:
		d.fail(fmt.Sprintf("the lock has version %s of its format, and 1 and 2 are supported", lock.Metadata.LockVersion), "make it again with poetry 2: poetry lock", "metadata", "lock-version")
		return nil
	}
	var data map[string]any
	if err := toml.Unmarshal(manifest.src.Data, &data); err == nil && !freshPoetry(data, lock.Metadata.ContentHash, d.src.Data) {
		manifest.failAt(0, 0, fmt.Sprintf("%s is out of date: the dependencies, groups, extras, sources or requires-python of %s are not those that it was made for",
			d.src.Name, path.Base(manifest.path)), "run poetry lock")
	}
	var out []python.Local
	for i, p := range lock.Packages {
		if p.Source.Type != "directory" && p.Source.Type != "file" {
			continue
		}
		kind := "path"
		if p.Source.Type == "directory" {
			kind = "directory"
			if p.Develop {
				kind = "editable"
			}
		}
		r.local(d, &out, path.Dir(d.path), p.Source.URL, kind, "package", fmt.Sprint(i), "source", "url")
	}
	return out
}

// freshPoetry compares the hash as poetry does. Before 2.3, poetry left [dependency-groups] out of it.
func freshPoetry(manifest map[string]any, hash string, lock []byte) bool {
	full, ok := poetryHash(manifest, true)
	if !ok || full == hash {
		return true
	}
	first, _, _ := strings.Cut(string(lock[:min(len(lock), 200)]), "\n")
	if by := regexp.MustCompile(`Poetry ([0-9][^ ]*)`).FindStringSubmatch(first); by != nil {
		if older, err := python.ParseSpecifier("<2.3.0"); err == nil && older.AllowsVersion(by[1]) {
			without, _ := poetryHash(manifest, false)
			return without == hash
		}
	}
	return false
}
