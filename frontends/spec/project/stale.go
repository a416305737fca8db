package project

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

// comparison holds a lock against what it was made for. The rules were found by asking uv 0.13.9, whose
// answers are in testdata/uv; older versions of uv are stricter. Where they leave room, nothing is said.
type comparison struct {
	ws       *workspace // a script stands for its root
	manifest *document  // the workspace's root, or the script
	lock     *uvLock
	dir      string // of the lock
	name     string // of the lock, for messages
	remedy   string // the command that makes the lock anew
	settings uvSettings
	ownFile  bool // the settings come from a uv.toml

	left   int              // comparisons left to a search
	parsed map[string]entry // by manifest, extra and text
	local  map[string]bool  // members that others depend on
	loose  map[string]bool  // names that have a source with conditions somewhere
}

// stale reports one difference at a place of a manifest.
func (c *comparison) stale(d *document, what string, key ...string) {
	d.fail(fmt.Sprintf("%s is out of date: %s", c.name, what), "run "+c.remedy, key...)
}

// run compares everything. It needs manifests without findings.
func (c *comparison) run(r *reader) {
	c.uses()
	c.members()
	c.pythons()
	for _, m := range c.ws.members {
		c.member(m)
	}
	c.localPackages(r)
	root := c.ws.root
	if root.Project == nil {
		c.groups(root, c.lock.Manifest.Groups)
	}
	c.options(root.document)
	c.conflicts()
	if c.ownFile {
		return // where a uv.toml takes the place of these tables is uv's business
	}
	uv := root.Tool.UV
	c.environments("environments", uv.Environments, c.lock.Environments)
	c.environments("required-environments", uv.Required, c.lock.Required)
	c.rules(root, "constraint-dependencies", uv.Constraints, c.lock.Manifest.Constraints)
	c.rules(root, "build-constraint-dependencies", uv.BuildConstrain, c.lock.Manifest.BuildConstraints)
	if texts, ok := allTexts(uv.Overrides); ok {
		c.rules(root, "override-dependencies", texts, c.lock.Manifest.Overrides)
	}
	c.excludes(root)
}

// members compares the names of the workspace's projects. A lone project is not listed in its lock.
func (c *comparison) members() {
	var have, want []string
	for _, name := range c.lock.Manifest.Members {
		have = append(have, python.NormalName(name))
	}
	if len(c.ws.members) > 1 || c.ws.root.Project == nil {
		for _, m := range c.ws.members {
			want = append(want, m.name())
		}
	}
	for _, m := range c.ws.members {
		if slices.Contains(want, m.name()) && !slices.Contains(have, m.name()) {
			c.stale(m.document, fmt.Sprintf("it was made without the workspace member %s", m.name()), "project", "name")
		}
	}
	for _, name := range have {
		if !slices.Contains(want, name) {
			c.stale(c.manifest, fmt.Sprintf("it was made with a workspace member %s", name), "tool", "uv", "workspace", "members")
		}
	}
}

// pythons compares the lowest and the highest Python that all projects and the lock allow.
func (c *comparison) pythons() {
	var specs []string
	at := c.manifest
	for _, m := range c.ws.members {
		if m.Tool.UV.GroupSettings != nil {
			return // a group's own requires-python counts in some versions of uv
		}
		if m.Project.RequiresPython != "" {
			specs, at = append(specs, m.Project.RequiresPython), m.document
		}
	}
	if len(c.ws.members) != 1 {
		at = c.manifest
	}
	c.requiresPython(at, specs, "project", "requires-python")
}

func (c *comparison) requiresPython(d *document, specs []string, key ...string) {
	if len(specs) == 0 || c.lock.RequiresPython == "" {
		return
	}
	low, high, ok := pythonBounds(specs, c.lock.RequiresPython)
	lockLow, lockHigh, lockOK := pythonBounds([]string{c.lock.RequiresPython}, strings.Join(specs, ","))
	if ok && lockOK && (low != lockLow || high != lockHigh) {
		slices.Sort(specs)
		c.stale(d, fmt.Sprintf("%s asks for Python %s, the lock was made for %s", path.Base(d.path), strings.Join(slices.Compact(specs), " and "), c.lock.RequiresPython), key...)
	}
}

// pythonBounds are the lowest and highest Python versions that all specifiers allow, of those at which they
// or the other text can differ; not ok when that cannot be said.
func pythonBounds(specs []string, other string) (lowest, highest string, ok bool) {
	s := &search{}
	all, err := python.ParseSpecifier(strings.Join(specs, ","))
	if err != nil {
		return "", "", false
	}
	for minor := 0; minor <= 40; minor++ {
		for _, patch := range []int{0, 1, 50} {
			s.addPython(all, []int{3, minor, patch})
		}
	}
	s.addPython(all, []int{2, 7, 18})
	s.addPython(all, []int{4, 0, 0})
	s.addPython(all, []int{5, 0, 0})
	second, err := python.ParseSpecifier(other)
	if err != nil {
		return "", "", false
	}
	for _, v := range append(all.Versions(), second.Versions()...) {
		if release(v) == nil {
			return "", "", false
		}
		s.addAround(all, v)
	}
	if len(s.python) == 0 {
		return "", "", false
	}
	lowest, highest = bounds(s.python)
	return lowest, highest, true
}

// member compares one project with its package in the lock.
func (c *comparison) member(m *manifest) {
	p := c.lock.member(m.name(), relative(c.dir, m.dir))
	if p == nil {
		if len(c.lock.named(m.name())) > 0 {
			return // it is there, from a place that this package cannot read
		}
		c.stale(m.document, fmt.Sprintf("it has no project %s", m.name()), "project", "name")
		return
	}
	c.version(m, p)
	if _, virtual := p.Source["virtual"]; !c.loose[m.name()] && virtual == c.installed(m) {
		what := "is no package, and was one when the lock was made"
		if virtual {
			what = "is a package, and was none when the lock was made"
		}
		c.stale(m.document, m.name()+" "+what, "project", "name")
	}
	if p.metadataFree(c.lock.Revision) {
		return
	}
	meta := lockMetadata{}
	if p.Metadata != nil {
		meta = *p.Metadata
	}
	c.dependencies(m, meta)
	c.groups(m, meta.RequiresDev)
}

func (c *comparison) version(m *manifest, p *lockPackage) {
	if v := m.Project.Version; v != "" && !m.dynamic("version") && !python.SameVersion(v, p.Version) {
		was := "version " + p.Version
		if p.Version == "" {
			was = "a version that the build finds out"
		}
		c.stale(m.document, fmt.Sprintf("%s has version %s, the lock was made for %s", m.name(), v, was), "project", "version")
	}
}

// localPackages compares the projects that are used by path and are no members of the workspace. What is
// wrong with their manifests otherwise is said elsewhere.
func (c *comparison) localPackages(r *reader) {
	looked := 0
	for i, p := range c.lock.Packages {
		for _, kind := range []string{"directory", "editable", "virtual"} {
			ref, ok := p.Source[kind].(string)
			dir := path.Join(c.dir, ref)
			if !ok || path.IsAbs(ref) || slices.ContainsFunc(c.ws.members, func(m *manifest) bool { return m.dir == dir }) {
				continue
			}
			if looked++; looked > maxMembers {
				return
			}
			look := &reader{Tree: r.Tree}
			m := look.manifest(path.Join(dir, "pyproject.toml"))
			if m == nil || m.Project == nil || m.name() != python.NormalName(p.Name) || p.metadataFree(c.lock.Revision) {
				continue
			}
			m.r = r
			alone := *c
			alone.ws = &workspace{root: m, members: []*manifest{m}}
			alone.version(m, &c.lock.Packages[i])
			if p.Metadata != nil {
				alone.dependencies(m, *p.Metadata)
			}
		}
	}
}

// metadataFree says whether uv left the manifest's own requirements out of the lock, as a preview feature does.
func (p *lockPackage) metadataFree(revision int) bool {
	return revision >= 4 && p.Metadata == nil && len(p.Dependencies)+len(p.Optional)+len(p.Dev) > 0
}

// installed says whether uv installs a member. One that another member depends on counts as a package
// even without a build system.
func (c *comparison) installed(m *manifest) bool {
	if m.Tool.UV.Package == nil && c.local[m.name()] {
		return true
	}
	return m.isPackage()
}

// uses notes which members others depend on. Where a source has conditions, that is not certain.
func (c *comparison) uses() {
	c.local, c.loose = map[string]bool{}, map[string]bool{}
	list := c.ws.members
	if c.ws.root.Project == nil {
		list = append(slices.Clone(list), c.ws.root)
	}
	for _, m := range list {
		entries := c.projectKeyed(m)
		for _, name := range m.groups() {
			entries = append(entries, c.groupKeyed(m, name, map[string]bool{})...)
		}
		for _, e := range entries {
			if e.place.local() && e.name != m.name() {
				c.local[e.name] = true
			}
			if e.loose {
				c.loose[e.name] = true
			}
		}
	}
}

// relative is a folder of the tree as seen from another that it lies in, as lock files write it.
func relative(from, dir string) string {
	switch {
	case dir == from:
		return "."
	case from == ".":
		return dir
	}
	return strings.TrimPrefix(dir, from+"/")
}
