package project

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/python"
)

// lockLocals are the paths that packages of a lock come from, the workspace's own members aside. The lock
// names them all, also those that only other local packages need.
func (r *reader) lockLocals(d *document, lock *uvLock, ws *workspace) []python.Local {
	var out []python.Local
	dir := path.Dir(d.path)
	seen := map[string]bool{}
	if ws != nil {
		for _, m := range ws.members {
			seen[m.dir] = true
		}
	}
	for i, p := range lock.Packages {
		for _, kind := range []string{"path", "directory", "editable", "virtual", "registry"} {
			ref, ok := p.Source[kind].(string)
			if !ok || kind == "registry" && strings.Contains(ref, "://") || seen[path.Join(dir, ref)] {
				continue
			}
			seen[path.Join(dir, ref)] = true
			r.local(d, &out, dir, ref, kind, "package", fmt.Sprint(i), "source")
		}
	}
	return out
}

// local finds one path of a lock; kind is the word that the lock has for it.
func (r *reader) local(d *document, out *[]python.Local, dir, ref, kind string, key ...string) {
	if len(*out) >= maxMembers || len(r.errs) >= maxFindings {
		d.fail(fmt.Sprintf("more than %d local packages belong together", maxMembers), "", key...)
		return
	}
	if path.IsAbs(ref) {
		d.fail(fmt.Sprintf("a package comes from %q, which is outside the folder of the spec", ref), "move it into the folder and lock again", key...)
		return
	}
	target := path.Join(dir, ref)
	local := python.LocalRef{Path: target, Kind: python.Folder}
	switch kind {
	case "path":
		local.Kind = python.KindOf(ref)
	case "registry":
		local.Kind = python.Links
	}
	list, err := r.Resolve(local, kind == "editable")
	var found source.Errors
	found.Collect(err)
	for _, e := range found {
		if e.File == "" {
			d.fail("a package comes from a local path: "+e.Msg, "put it there, or change the project and lock again", key...)
		} else {
			r.errs = append(r.errs, e)
		}
	}
	for _, l := range list {
		if i := slices.IndexFunc(*out, func(o python.Local) bool { return o.Path == l.Path }); i >= 0 {
			(*out)[i].Editable = (*out)[i].Editable || l.Editable
			continue
		}
		if l.File == "" {
			l.File = d.src.Name
		}
		*out = append(*out, l)
	}
}

// sources are the folders of a project and of the members that the lock says it needs, groups and extras
// included, as far as uv installs them.
func (c *comparison) sources(target *manifest) []string {
	need := map[string]bool{}
	var walk func(name string)
	walk = func(name string) {
		name = python.NormalName(name)
		if need[name] {
			return
		}
		need[name] = true
		for _, p := range c.lock.named(name) {
			for _, list := range p.allDependencies() {
				for _, dep := range list {
					walk(dep.Name)
				}
			}
		}
	}
	if target.Project != nil {
		walk(target.name())
	}
	for _, m := range c.ws.members {
		// A root without [project] stands for no member of its own; its groups may need any.
		if target.Project == nil {
			walk(m.name())
		}
	}
	var out []string
	for _, m := range c.ws.members {
		if need[m.name()] && c.installed(m) {
			out = append(out, m.dir)
		}
	}
	slices.Sort(out)
	return out
}

// named are the packages of a name; a lock may have several versions of one.
func (l *uvLock) named(name string) []*lockPackage {
	if l.index == nil {
		l.index = map[string][]*lockPackage{}
		for i := range l.Packages {
			key := python.NormalName(l.Packages[i].Name)
			l.index[key] = append(l.index[key], &l.Packages[i])
		}
	}
	return l.index[name]
}

func (p *lockPackage) allDependencies() [][]lockDependency {
	out := [][]lockDependency{p.Dependencies}
	for _, list := range p.Optional {
		out = append(out, list)
	}
	for _, list := range p.Dev {
		out = append(out, list)
	}
	return out
}
