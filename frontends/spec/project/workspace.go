package project

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

// Limits of a workspace: a pattern may match many folders in a tree that somebody else made.
const (
	maxMembers = 500
	maxFolders = 20000
)

// workspace is a project, or several with one lock.
type workspace struct {
	root    *manifest
	members []*manifest // root first when it is a project, then by folder
}

// workspace finds the workspace that the manifest belongs to, as uv does: the manifest's own, or that of the nearest
// folder above whose members include it, or the project alone. It is nil when there are findings in the way.
func (r *reader) workspace(m *manifest) *workspace {
	if m.Tool.UV.Workspace != nil {
		return r.members(m)
	}
	for dir := m.dir; dir != "."; {
		dir = path.Dir(dir)
		name := path.Join(dir, "pyproject.toml")
		if !r.exists(name) {
			continue
		}
		// Findings in a file that turns out not to matter are none.
		look := &reader{Tree: r.Tree}
		above := look.manifest(name)
		if above == nil || above.Tool.UV.Workspace == nil || !slices.Contains(look.memberFolders(above), m.dir) {
			break // uv asks the nearest manifest above, and no other
		}
		if above = r.manifest(name); above == nil {
			return nil
		}
		return r.members(above)
	}
	if m.Project == nil {
		return &workspace{root: m}
	}
	return &workspace{root: m, members: []*manifest{m}}
}

// members reads the manifests of a workspace's members.
func (r *reader) members(root *manifest) *workspace {
	w := &workspace{root: root}
	if root.Project != nil {
		w.members = append(w.members, root)
	}
	for _, dir := range r.memberFolders(root) {
		name := path.Join(dir, "pyproject.toml")
		if dir == root.dir {
			continue
		}
		if !r.exists(name) {
			// uv overlooks folders without a manifest only when they are hidden or hold nothing of their own.
			if !strings.HasPrefix(path.Base(dir), ".") && !r.empty(dir) {
				root.fail(fmt.Sprintf("the workspace member %q has no pyproject.toml", r.Show(dir)),
					"add one, or name the folder in [tool.uv.workspace] exclude", "tool", "uv", "workspace", "members")
			}
			continue
		}
		if i := slices.IndexFunc(r.files, func(f python.File) bool { return f.Path == name }); i >= 0 {
			r.files = slices.Delete(r.files, i, i+1) // the manifest that led here
		}
		m := r.manifest(name)
		if m == nil || m.Tool.UV.Managed != nil && !*m.Tool.UV.Managed {
			continue
		}
		if m.Project == nil {
			m.failAt(0, 0, "a workspace member has no [project]", "add one with a name, or name the folder in [tool.uv.workspace] exclude")
			continue
		}
		m.nested = r.nested(root.dir, dir)
		w.members = append(w.members, m)
	}
	return w
}

// nested says whether a project lies in the folder of another one between it and the workspace's root.
func (r *reader) nested(root, dir string) bool {
	for dir != "." && dir != root {
		if dir = path.Dir(dir); dir != root && r.exists(path.Join(dir, "pyproject.toml")) {
			return true
		}
	}
	return false
}

func (r *reader) empty(dir string) bool {
	entries, err := fs.ReadDir(r.FS, dir)
	return err == nil && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), ".") && e.Name() != "__pycache__" })
}

// memberFolders are the folders that the patterns of a workspace match, sorted.
func (r *reader) memberFolders(root *manifest) []string {
	table := root.Tool.UV.Workspace
	g := &globbing{r: r, seen: map[string]bool{}}
	for i, pattern := range table.Members {
		base, parts, ok := anchor(root.dir, pattern)
		if !ok {
			root.fail(fmt.Sprintf("the workspace member %q is outside the folder of the spec", pattern), "move the spec to the root of the workspace",
				"tool", "uv", "workspace", "members", fmt.Sprint(i))
			continue
		}
		if !validPattern(pattern) {
			root.fail(fmt.Sprintf("%q is not a pattern", pattern), "", "tool", "uv", "workspace", "members", fmt.Sprint(i))
			continue
		}
		g.match(base, parts)
	}
	if len(g.found) > maxMembers || g.folders > maxFolders {
		root.fail(fmt.Sprintf("the workspace has more than %d members, or its patterns reach more than %d folders", maxMembers, maxFolders), "",
			"tool", "uv", "workspace", "members")
		return nil
	}
	out := slices.DeleteFunc(g.found, func(dir string) bool {
		return slices.ContainsFunc(table.Exclude, func(pattern string) bool {
			base, parts, ok := anchor(root.dir, pattern)
			if base != "." {
				dir, ok = strings.CutPrefix(dir, base+"/")
			}
			return ok && matchPath(parts, strings.Split(dir, "/"))
		})
	})
	slices.Sort(out)
	return out
}

// anchor is the folder in which a pattern begins, and the pattern's parts below it; not ok when it begins
// outside of the tree.
func anchor(dir, pattern string) (base string, parts []string, ok bool) {
	if path.IsAbs(pattern) {
		return "", nil, false
	}
	parts = strings.Split(path.Clean(pattern), "/")
	for ; len(parts) > 0 && parts[0] == ".."; parts = parts[1:] {
		if dir == "." {
			return "", nil, false
		}
		dir = path.Dir(dir)
	}
	return dir, parts, true
}

func validPattern(pattern string) bool {
	_, err := path.Match(pattern, "")
	return err == nil
}

// globbing finds folders. "**" stands for any number of them.
type globbing struct {
	r       *reader
	found   []string
	seen    map[string]bool // folder and rest of the pattern
	folders int
}

func (g *globbing) match(dir string, pattern []string) {
	key := dir + "\x00" + strings.Join(pattern, "/")
	if g.seen[key] || len(g.found) > maxMembers || g.folders > maxFolders {
		return
	}
	g.seen[key] = true
	if len(pattern) == 0 {
		if !slices.Contains(g.found, dir) {
			g.found = append(g.found, dir)
		}
		return
	}
	if pattern[0] == "." {
		g.match(dir, pattern[1:])
		return
	}
	if !strings.ContainsAny(pattern[0], `*?[\`) {
		next := path.Join(dir, pattern[0])
		if info, err := fs.Stat(g.r.FS, next); err == nil && info.IsDir() {
			g.match(next, pattern[1:])
		}
		return
	}
	if pattern[0] == "**" {
		g.match(dir, pattern[1:])
	}
	entries, err := fs.ReadDir(g.r.FS, dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		g.folders++
		if !e.IsDir() {
			continue
		}
		next := path.Join(dir, e.Name())
		if pattern[0] == "**" {
			g.match(next, pattern)
		} else if ok, err := path.Match(pattern[0], e.Name()); ok && err == nil {
			g.match(next, pattern[1:])
		}
	}
}

// matchPath says whether a pattern matches a path, part by part. The work is the product of the lengths.
func matchPath(pattern, name []string) bool {
	reach := make([]bool, len(name)+1) // reach[i]: the pattern so far matches the first i parts
	reach[0] = true
	for _, p := range pattern {
		next := make([]bool, len(name)+1)
		for i := range reach {
			switch {
			case p == "**":
				next[i] = reach[i] || i > 0 && next[i-1]
			case i > 0 && reach[i-1]:
				ok, err := path.Match(p, name[i-1])
				next[i] = ok && err == nil
			}
		}
		reach = next
	}
	return reach[len(name)]
}

// lockOf reads the text of a lock file.
func (r *reader) lockOf(name, what string) *document {
	d := r.open(name, what, lockLimit)
	if d != nil {
		d.passwords()
	}
	return d
}
