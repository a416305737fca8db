package project

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/python"
)

// Limits and versions of pixi.lock.
const (
	pixiLockLimit   = 16 << 20 // YAML takes many times its size in memory
	pixiLockVersion = 7        // the newest format, of pixi 0.60 and later; pixi reads all older ones
)

// PixiOptions is what a spec asks of a pixi project.
type PixiOptions struct {
	Manifest    string // path of the pixi.toml, or of a pyproject.toml with [tool.pixi]
	Environment string // "" for "default"
}

// Pixi is a pixi project as `pixi install --locked` needs it. That command finds out itself whether the
// lock was made for the manifest; only what is missing from it altogether is a finding here.
type Pixi struct {
	Dir          string
	Files        []python.File  // the manifest and pixi.lock
	Locals       []python.Local // paths that packages are installed from
	Environments []string       // all environments, sorted; "default" is always one
	Platforms    []string       // of the environment that is asked for: conda's names, such as "linux-64", each once
}

type pixiManifest struct {
	Workspace    *pixiWorkspace         `toml:"workspace"`
	Project      *pixiWorkspace         `toml:"project"` // the older name of workspace
	Environments map[string]any         `toml:"environments"`
	Features     map[string]pixiFeature `toml:"feature"`
	pixiFeature
}

type pixiWorkspace struct {
	Name      string `toml:"name"`
	Channels  []any  `toml:"channels"`
	Platforms []any  `toml:"platforms"` // names, or tables with name and platform
}

type pixiFeature struct {
	Platforms    []any                  `toml:"platforms"`
	Dependencies map[string]any         `toml:"dependencies"`
	PyPI         map[string]any         `toml:"pypi-dependencies"`
	Targets      map[string]pixiFeature `toml:"target"`
}

type pixiLock struct {
	Version      int                  `yaml:"version"`
	Environments map[string]yaml.Node `yaml:"environments"`
}

// ReadPixi reads a pixi project and its lock. Findings about the named files and names themselves have no
// File.
func ReadPixi(t python.Tree, o PixiOptions) (Pixi, error) {
	r := newReader(t)
	out := Pixi{Dir: path.Dir(o.Manifest)}
	d := r.open(o.Manifest, "project file", source.SpecLimit)
	if d == nil {
		return out, r.finish()
	}
	d.passwords()
	m, prefix, ok := d.pixiManifest()
	if !ok {
		return out, r.finish()
	}
	environment := o.Environment
	if environment == "" {
		environment = "default"
	}
	out.Environments = sortedKeys(m.Environments)
	if !slices.Contains(out.Environments, "default") {
		out.Environments = append(out.Environments, "default")
		slices.Sort(out.Environments)
	}
	m.checkFeatures(d, prefix)
	out.Platforms = m.platformsOf(environment)
	r.known("environment", r.Show(o.Manifest), []string{environment}, out.Environments)
	out.Locals = r.pixiLocals(d, m)
	name := path.Join(out.Dir, "pixi.lock")
	if !r.exists(name) {
		r.ask(fmt.Sprintf("there is no lock %q for %s", r.Show(name), r.Show(o.Manifest)), "make it with pixi lock")
		return out, r.finish()
	}
	if lock := r.open(name, "lock", pixiLockLimit); lock != nil {
		lock.passwords()
		if slices.Contains(out.Environments, environment) {
			lock.pixiLock(environment)
		}
	}
	out.Files = r.files
	return out, r.finish()
}

// pixiManifest reads either form of manifest; prefix is where its tables are in the file.
func (d *document) pixiManifest() (m pixiManifest, prefix []string, ok bool) {
	if path.Base(d.path) == "pyproject.toml" {
		var outer struct {
			Tool struct {
				Pixi *pixiManifest `toml:"pixi"`
			} `toml:"tool"`
		}
		if !d.decode(&outer) {
			return m, nil, false
		}
		if outer.Tool.Pixi == nil {
			d.failAt(0, 0, "the file has no [tool.pixi]", "name a pixi.toml, or add [tool.pixi.workspace]")
			return m, nil, false
		}
		m, prefix = *outer.Tool.Pixi, []string{"tool", "pixi"}
	} else if !d.decode(&m) {
		return m, nil, false
	}
	if m.Workspace == nil {
		m.Workspace = m.Project
	}
	if m.Workspace == nil {
		d.failAt(0, 0, "the file has no [workspace]", "add one with channels and platforms")
		return m, nil, false
	}
	if m.Workspace.Platforms == nil {
		d.fail("the workspace names no platforms", `add platforms = ["linux-64", "linux-aarch64"]`, append(prefix, "workspace")...)
	}
	return m, prefix, true
}

// features are the names that an environment lists; inline says that it is a table of its own.
func (m pixiManifest) features(environment string) (names []string, table map[string]any) {
	var list any = m.Environments[environment]
	if t, ok := list.(map[string]any); ok {
		table, list = t, t["features"]
	}
	items, _ := list.([]any)
	for _, item := range items {
		if s, ok := item.(string); ok {
			names = append(names, s)
		}
	}
	return names, table
}

func (m pixiManifest) checkFeatures(d *document, prefix []string) {
	have := append(sortedKeys(m.Features), "default")
	for _, environment := range sortedKeys(m.Environments) {
		names, _ := m.features(environment)
		for _, name := range names {
			// A pyproject.toml has its extras and groups as features too.
			if slices.Contains(have, name) || prefix != nil {
				continue
			}
			d.fail(fmt.Sprintf("the environment %s has a feature %q that there is not", environment, name), "the features are "+strings.Join(have, ", "),
				append(slices.Clone(prefix), "environments", environment)...)
		}
	}
}

// platformsOf are the platforms of an environment: those of the workspace that all its features allow.
func (m pixiManifest) platformsOf(environment string) []string {
	out := platformNames(m.Workspace.Platforms)
	narrow := func(list []any) {
		if list != nil {
			allowed := platformNames(list)
			out = slices.DeleteFunc(out, func(p string) bool { return !slices.Contains(allowed, p) })
		}
	}
	names, table := m.features(environment)
	for _, name := range names {
		narrow(m.Features[name].Platforms)
	}
	if list, ok := table["platforms"].([]any); ok {
		narrow(list)
	}
	return m.condaNames(out)
}

// condaNames turns the names that the workspace gives its platforms into conda's.
func (m pixiManifest) condaNames(names []string) []string {
	conda := map[string]string{}
	for _, item := range m.Workspace.Platforms {
		if table, ok := item.(map[string]any); ok {
			name, _ := table["name"].(string)
			conda[name], _ = table["platform"].(string)
		}
	}
	var out []string
	for _, name := range names {
		if c := conda[name]; c != "" {
			name = c
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// platformNames reads names of platforms; a table's platform counts when it has no name.
func platformNames(list []any) []string {
	out := []string{}
	for _, item := range list {
		switch v := item.(type) {
		case string:
			out = append(out, v)
		case map[string]any:
			for _, key := range []string{"name", "platform"} {
				if s, ok := v[key].(string); ok {
					out = append(out, s)
					break
				}
			}
		}
	}
	return out
}

// pixiLocals are the paths that dependencies of any feature name.
func (r *reader) pixiLocals(d *document, m pixiManifest) []python.Local {
	var out []python.Local
	seen := map[string]bool{}
	var add func(f pixiFeature)
	add = func(f pixiFeature) {
		for i, table := range []map[string]any{f.PyPI, f.Dependencies} {
			for _, name := range sortedKeys(table) {
				dep, _ := table[name].(map[string]any)
				ref, ok := dep["path"].(string)
				if !ok || seen[ref] {
					continue
				}
				seen[ref] = true
				editable, _ := dep["editable"].(bool)
				if i == 0 || !r.condaSource(d, &out, ref) {
					r.pixiPath(d, &out, ref, editable)
				}
			}
		}
		for _, name := range sortedKeys(f.Targets) {
			add(f.Targets[name])
		}
	}
	add(m.pixiFeature)
	for _, name := range sortedKeys(m.Features) {
		add(m.Features[name])
	}
	return out
}

// condaSource takes the path of a conda package that is built from source: it has a manifest of pixi's own
// and need not be a Python project.
func (r *reader) condaSource(d *document, out *[]python.Local, ref string) bool {
	target := path.Join(path.Dir(d.path), ref)
	for _, name := range []string{"pixi.toml", "recipe.yaml"} {
		if !path.IsAbs(ref) && r.exists(path.Join(target, name)) {
			*out = append(*out, python.Local{Path: target, Kind: python.Folder, File: d.src.Name})
			return true
		}
	}
	return false
}

// pixiPath takes the path of a Python package.
func (r *reader) pixiPath(d *document, out *[]python.Local, ref string, editable bool) {
	kind := "directory"
	switch {
	case python.KindOf(ref) != python.Folder:
		kind = "path"
	case editable:
		kind = "editable"
	}
	r.local(d, out, path.Dir(d.path), ref, kind)
}

// pixiLock checks that the lock has the environment.
func (d *document) pixiLock(environment string) {
	var lock pixiLock
	if err := yaml.Unmarshal(d.src.Data, &lock); err != nil {
		d.failAt(0, 0, fmt.Sprintf("this is not a valid pixi.lock: %s", strings.TrimPrefix(err.Error(), "yaml: ")), "")
		return
	}
	switch {
	case lock.Version < 1:
		d.failAt(0, 0, "this is not a lock of pixi: it has no version", "make it with pixi lock")
		return
	case lock.Version > pixiLockVersion:
		d.failAt(1, 1, fmt.Sprintf("the lock has version %d of its format, and version %d is the newest that is supported", lock.Version, pixiLockVersion), "make it with an older pixi")
		return
	case lock.Version < 4:
		return // had no environments; pixi turns it into today's format
	}
	if _, ok := lock.Environments[environment]; !ok {
		d.failAt(0, 0, fmt.Sprintf("%s is out of date: it has no environment %s", d.src.Name, environment), "run pixi lock")
	}
}
