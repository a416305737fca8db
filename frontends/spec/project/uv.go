package project

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/python"
)

// UVOptions is what a spec asks of a uv project.
type UVOptions struct {
	Manifest string   // path of the pyproject.toml in the tree
	Lock     string   // path of the uv.lock, "" for the one that uv would take
	Groups   []string // dependency groups to install beside the default ones
	Extras   []string
	Version  string // of the uv that will install, "" for not known
}

// UV is a uv project as `uv sync --locked` needs it.
type UV struct {
	Root string // folder of the workspace and its lock, relative to the tree
	Dir  string // folder of the project; the same when it has no workspace around it
	Name string // of the project in its normal form, "" for a workspace's root without [project]

	// Files are, by path, the manifests of all members of the workspace, the lock, and a uv.toml when there is one:
	// all that uv reads when it installs no member itself (--no-install-workspace).
	Files []python.File
	// Locals are the paths outside of the workspace's members that the lock installs from.
	Locals []python.Local
	// Sources are the folders of the project and of the members that it needs, where they are packages:
	// what has to be there beside Files when the project is installed too.
	Sources []string
	// Builds are the folders of members whose dependencies only their build can tell (`dynamic`): uv
	// builds them to check the lock, so they have to be there even when no member is installed.
	Builds []string

	Package        bool     // the project itself can be installed
	RequiresPython string   // specifier that the Python has to meet, "" for any
	Groups         []string // dependency groups of the project, as written, sorted
	Extras         []string // extras of the project, as written, sorted
	DefaultGroups  []string // groups that uv installs when nothing is said
	Indexes        []Index  // named indexes, in order
}

// Index is a package index with a name.
type Index struct {
	Name string
	URL  string
}

// Variables are the environment variables from which uv takes the credentials of the index. The rule is
// uv's (IndexName in its source): ASCII letters in upper case, ASCII digits kept, and each other character
// as one "_", so that "my-index.2" is MY_INDEX_2.
func (i Index) Variables() (username, password string) {
	upper := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z':
			return c - 'a' + 'A'
		case c >= 'A' && c <= 'Z' || c >= '0' && c <= '9':
			return c
		}
		return '_'
	}, i.Name)
	return "UV_INDEX_" + upper + "_USERNAME", "UV_INDEX_" + upper + "_PASSWORD"
}

// ReadUV reads a uv project and its lock, and checks that the lock was made for it. Findings about the
// named files and names themselves have no File.
func ReadUV(t python.Tree, o UVOptions) (UV, error) {
	r := newReader(t)
	out := UV{}
	m := r.manifest(o.Manifest)
	if m == nil {
		return out, r.finish()
	}
	r.checkManifest(m)
	ws := r.workspace(m)
	if ws == nil {
		return out, r.finish()
	}
	out.describe(m, ws)
	r.known("extra", r.Show(m.path), o.Extras, out.Extras)
	r.known("dependency group", r.Show(m.path), o.Groups, out.Groups)
	settings, ownFile := r.settings(ws.root)
	r.checkVersion(ws.root, settings, ownFile, o.Version)
	out.Indexes = indexes(ws, settings)

	name := path.Join(ws.root.dir, "uv.lock")
	if o.Lock != "" && path.Clean(o.Lock) != name {
		r.ask(fmt.Sprintf("uv reads the lock %q, not %q", r.Show(name), r.Show(o.Lock)), "leave the lock out, or name the project that it belongs to")
		return out, r.finish()
	}
	d := r.lockFile(name, r.Show(m.path))
	if d == nil {
		return out, r.finish()
	}
	lock := &uvLock{}
	if d.lock(lock, "uv lock") && len(r.errs) == 0 {
		c := &comparison{ws: ws, manifest: ws.root.document, lock: lock, dir: ws.root.dir, name: d.src.Name, remedy: "uv lock", settings: settings, ownFile: ownFile, left: maxComparisons}
		c.run(r)
		out.Locals = r.lockLocals(d, lock, ws)
		out.Sources = c.sources(m)
		if out.RequiresPython == "" {
			out.RequiresPython = lock.RequiresPython
		}
	}
	out.Files = r.files
	slices.SortFunc(out.Files, func(a, b python.File) int { return strings.Compare(a.Path, b.Path) })
	return out, r.finish()
}

// checkManifest refuses what uv cannot install.
func (r *reader) checkManifest(m *manifest) {
	if m.Project == nil && m.Tool.UV.Workspace == nil && m.Groups == nil {
		m.failAt(0, 0, "the file has no [project]", "add one with a name and dependencies; a project of poetry needs a poetry layer")
	}
	if m.Project != nil && m.Project.Name == "" {
		m.fail("the project has no name", "", "project")
	}
	if m.Tool.UV.Managed != nil && !*m.Tool.UV.Managed {
		m.fail("managed = false says that uv does not install this project", "remove it, or use a requirements layer", "tool", "uv", "managed")
	}
	for i, name := range m.defaultGroups() {
		if !containsName(m.groups(), name) {
			m.fail(fmt.Sprintf("default-groups names a group %q that there is not", name), "", "tool", "uv", "default-groups", fmt.Sprint(i))
		}
	}
	for _, name := range m.groups() {
		for i, item := range m.Groups[name] {
			table, _ := item.(map[string]any)
			if other, ok := table["include-group"].(string); ok && !containsName(m.groups(), other) {
				m.fail(fmt.Sprintf("the group %s includes a group %q that there is not", name, other), "", "dependency-groups", name, fmt.Sprint(i), "include-group")
			}
		}
	}
	m.requirements()
}

// requirements checks the syntax of everything that the project depends on.
func (m *manifest) requirements() {
	check := func(text string, key ...string) {
		r, err := python.ParseRequirement(text)
		if err != nil {
			m.fail(fmt.Sprintf("%q is not a requirement: %v", text, err), "write e.g. numpy>=2 (PEP 508)", key...)
		} else if strings.HasPrefix(r.URL, "file:") {
			m.fail(fmt.Sprintf("%q is a path of this machine", text), "give it by [tool.uv.sources] with a relative path", key...)
		}
	}
	if m.Project != nil {
		for i, text := range m.Project.Dependencies {
			check(text, "project", "dependencies", fmt.Sprint(i))
		}
		for _, extra := range m.extras() {
			for i, text := range m.Project.Optional[extra] {
				check(text, "project", "optional-dependencies", extra, fmt.Sprint(i))
			}
		}
		if _, err := python.ParseSpecifier(m.Project.RequiresPython); err != nil {
			m.fail(fmt.Sprintf("requires-python: %v", err), "write e.g. >=3.11", "project", "requires-python")
		}
	}
	for _, name := range sortedKeys(m.Groups) {
		for i, item := range m.Groups[name] {
			if text, ok := item.(string); ok {
				check(text, "dependency-groups", name, fmt.Sprint(i))
			}
		}
	}
}

func (u *UV) describe(m *manifest, ws *workspace) {
	u.Root, u.Dir, u.Name, u.Package = ws.root.dir, m.dir, m.name(), m.isPackage() && m.Project != nil
	u.Groups, u.Extras, u.DefaultGroups = m.groups(), m.extras(), m.defaultGroups()
	var specs []string
	for _, member := range ws.members {
		if s := member.Project.RequiresPython; s != "" && !slices.Contains(specs, s) {
			specs = append(specs, s)
		}
		if member.dynamic("dependencies") || member.dynamic("optional-dependencies") {
			u.Builds = append(u.Builds, member.dir)
		}
	}
	u.RequiresPython = strings.Join(specs, ",")
}

// settings are those of the workspace: a uv.toml beside the root's manifest takes the place of [tool.uv].
func (r *reader) settings(root *manifest) (uvSettings, bool) {
	name := path.Join(root.dir, "uv.toml")
	if !r.exists(name) {
		return root.Tool.UV.uvSettings, false
	}
	var s uvSettings
	if d := r.open(name, "settings file", source.SpecLimit); d != nil {
		d.passwords()
		d.decode(&s)
	}
	return s, true
}

// checkVersion compares required-version with the uv that will install.
func (r *reader) checkVersion(root *manifest, s uvSettings, ownFile bool, version string) {
	if s.RequiredVersion == "" || version == "" {
		return
	}
	text := s.RequiredVersion
	if !strings.ContainsAny(text[:1], "<>=!~") {
		text = "==" + text
	}
	spec, err := python.ParseSpecifier(text)
	if err == nil && spec.AllowsVersion(version) {
		return
	}
	msg := fmt.Sprintf("the project requires uv %s, and uv %s would install it", s.RequiredVersion, version)
	if ownFile {
		r.ask(msg, "widen required-version in uv.toml")
		return
	}
	root.fail(msg, "widen required-version", "tool", "uv", "required-version")
}

func indexes(ws *workspace, s uvSettings) []Index {
	var out []Index
	add := func(list []uvIndex) {
		for _, i := range list {
			if i.Name != "" && !slices.ContainsFunc(out, func(o Index) bool { return o.Name == i.Name }) {
				out = append(out, Index(i))
			}
		}
	}
	add(s.Indexes)
	for _, m := range ws.members {
		add(m.Tool.UV.Indexes)
	}
	return out
}

func (r *reader) lockFile(name, manifest string) *document {
	if !r.exists(name) {
		r.ask(fmt.Sprintf("there is no lock %q for %s", r.Show(name), manifest), "make it with uv lock, and put the spec at the root of the workspace")
		return nil
	}
	return r.lockOf(name, "lock")
}
