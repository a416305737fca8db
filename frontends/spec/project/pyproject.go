package project

import (
	"fmt"
	"path"
	"slices"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/python"
)

// pyproject is what of a pyproject.toml this package looks at for uv.
type pyproject struct {
	Project     *projectTable    `toml:"project"`
	BuildSystem *buildSystem     `toml:"build-system"`
	Groups      map[string][]any `toml:"dependency-groups"`
	Tool        struct {
		UV uvTable `toml:"uv"`
	} `toml:"tool"`
}

type projectTable struct {
	Name           string              `toml:"name"`
	Version        string              `toml:"version"`
	RequiresPython string              `toml:"requires-python"`
	Dependencies   []string            `toml:"dependencies"`
	Optional       map[string][]string `toml:"optional-dependencies"`
	Dynamic        []string            `toml:"dynamic"`
}

type buildSystem struct {
	Requires []string `toml:"requires"`
	Backend  string   `toml:"build-backend"`
}

// uvTable is [tool.uv]. The settings in it are not used when a uv.toml stands beside the manifest.
type uvTable struct {
	uvSettings
	Package        *bool              `toml:"package"`
	Managed        *bool              `toml:"managed"`
	DefaultGroups  any                `toml:"default-groups"` // a list, or "all"
	DevGroup       []string           `toml:"dev-dependencies"`
	Sources        map[string]any     `toml:"sources"`
	Workspace      *workspaceTable    `toml:"workspace"`
	GroupSettings  map[string]any     `toml:"dependency-groups"`
	Conflicts      [][]map[string]any `toml:"conflicts"`
	Overrides      []any              `toml:"override-dependencies"`
	Constraints    []string           `toml:"constraint-dependencies"`
	BuildConstrain []string           `toml:"build-constraint-dependencies"`
	Excludes       []any              `toml:"exclude-dependencies"`
	Environments   any                `toml:"environments"` // a marker or a list
	Required       any                `toml:"required-environments"`
}

// uvSettings are what both [tool.uv] and uv.toml have.
type uvSettings struct {
	RequiredVersion string    `toml:"required-version"`
	Indexes         []uvIndex `toml:"index"`
	Resolution      string    `toml:"resolution"`
	Prerelease      any       `toml:"prerelease"` // a word, or a table by package
	ForkStrategy    string    `toml:"fork-strategy"`
	ExcludeNewer    any       `toml:"exclude-newer"` // a text or a TOML date
	FindLinks       []string  `toml:"find-links"`
}

type uvIndex struct {
	Name string `toml:"name"`
	URL  string `toml:"url"`
}

type workspaceTable struct {
	Members []string `toml:"members"`
	Exclude []string `toml:"exclude"`
}

// manifest is a pyproject.toml with its place.
type manifest struct {
	*document
	pyproject
	dir string // the folder, "." for the tree's root

	// nested says that another project's folder is around this one, inside the workspace: then uv does
	// not find the workspace's sources for it.
	nested bool

	sources   map[string][]python.Source // by normal name
	groupsFor map[string][]string        // normal name → names as written
}

// Limits of one manifest; comparing takes time by the square of some of them.
const (
	maxGroups       = 200
	maxRequirements = 3000
)

// manifest reads the pyproject.toml at name; nil and a finding when it cannot be used.
func (r *reader) manifest(name string) *manifest {
	d := r.open(name, "project file", source.SpecLimit)
	if d == nil {
		return nil
	}
	m := &manifest{document: d, dir: path.Dir(name)}
	d.passwords()
	if !d.decode(&m.pyproject) {
		return nil
	}
	total := 0
	for _, list := range m.Groups {
		total += len(list)
	}
	if m.Project != nil {
		total += len(m.Project.Dependencies)
		for _, list := range m.Project.Optional {
			total += len(list)
		}
	}
	if total > maxRequirements || len(m.Groups) > maxGroups {
		d.failAt(0, 0, fmt.Sprintf("the project has more than %d requirements or %d dependency groups", maxRequirements, maxGroups), "")
		return nil
	}
	m.index()
	return m
}

// index prepares look-ups by normal name.
func (m *manifest) index() {
	m.sources, m.groupsFor = map[string][]python.Source{}, map[string][]string{}
	for name, value := range m.Tool.UV.Sources {
		m.sources[python.NormalName(name)] = python.Sources(value)
	}
	for _, name := range sortedKeys(m.Groups) {
		m.groupsFor[python.NormalName(name)] = append(m.groupsFor[python.NormalName(name)], name)
	}
}

// name is the project's name in its normal form, "" when it has no [project].
func (m *manifest) name() string {
	if m.Project == nil {
		return ""
	}
	return python.NormalName(m.Project.Name)
}

// isPackage says whether uv installs the project itself: it has a build system, unless [tool.uv]
// package says otherwise.
func (m *manifest) isPackage() bool {
	if m.Tool.UV.Package != nil {
		return *m.Tool.UV.Package
	}
	return m.BuildSystem != nil
}

func (m *manifest) dynamic(field string) bool {
	return m.Project != nil && slices.Contains(m.Project.Dynamic, field)
}

// extras are the names of the project's optional dependencies, sorted, as they are written.
func (m *manifest) extras() []string {
	if m.Project == nil {
		return nil
	}
	return sortedKeys(m.Project.Optional)
}

// groups are the names of the dependency groups, sorted. uv counts its older dev-dependencies as "dev".
func (m *manifest) groups() []string {
	names := sortedKeys(m.Groups)
	if m.Tool.UV.DevGroup != nil && m.Groups["dev"] == nil {
		names = append(names, "dev")
		slices.Sort(names)
	}
	return names
}

// defaultGroups are the groups that uv installs when nothing is said: "dev", unless default-groups says
// otherwise.
func (m *manifest) defaultGroups() []string {
	switch v := m.Tool.UV.DefaultGroups.(type) {
	case string:
		if v == "all" {
			return m.groups()
		}
	case []any:
		names := []string{}
		for _, item := range v {
			if s, ok := item.(string); ok {
				names = append(names, s)
			}
		}
		return names
	}
	for _, name := range m.groups() {
		if python.NormalName(name) == "dev" {
			return []string{name}
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
