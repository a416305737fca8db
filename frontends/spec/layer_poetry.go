package spec

import (
	"fmt"
	"path"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/spec/project"
	"github.com/ibuild/ibuild/llb"
)

// PoetryProject is a layer with the packages that a project's poetry.lock says.
type PoetryProject struct {
	ProjectOptions
	placed
}

// WithPoetryProject adds the packages of a project's poetry.lock.
func (img Image) WithPoetryProject(o ProjectOptions) Image {
	return img.With(PoetryProject{ProjectOptions: o})
}

func (p PoetryProject) kind() string { return "poetry_project" }
func (p PoetryProject) clone() Layer {
	p.ProjectOptions = p.ProjectOptions.clone()
	return p
}
func (p PoetryProject) yaml() *yaml.Node { return encode(&p) }

func (p PoetryProject) lower(l *lowering) {
	at := p.marks.at("path")
	step, manifest, ok := p.begin(l, p.placed, poetryCredentials)
	if !ok {
		return
	}
	if beside := path.Join(path.Dir(manifest), "poetry.lock"); p.Lock != "" && path.Clean(p.Lock) != beside {
		l.fail(p.marks.at("lock"), fmt.Sprintf("poetry reads the lock %q, not %q", l.folder.show(beside), p.Lock), "leave the lock out")
		return
	}
	read, err := project.ReadPoetry(l.tree(), project.PoetryOptions{Manifest: manifest, Groups: p.Groups, Extras: p.Extras})
	if !l.collect(err, at) {
		return
	}
	l.checkOneOf(read.Pythons, l.folder.show(manifest), at)
	for _, local := range read.Locals {
		if local.Editable {
			l.fail(at, fmt.Sprintf("%s has %s as an editable dependency, which would lead nowhere in the image", l.folder.show(manifest), local.Path),
				"remove develop = true, and lock it again")
		}
	}
	title := "poetry project " + read.Dir
	step.Title, step.Dir = title+": dependencies", read.Dir
	step.Mounts = slices.Concat(fileMounts(llb.ProjectDir, read.Files), l.localMounts(llb.ProjectDir, read.Locals, at), step.Mounts)
	l.steps = append(l.steps, step.PoetryDependencies())
	if p.installs(l, p.placed, manifest, read.Package, "remove package-mode = false") {
		step.Title, step.Args = title+": the project", nil
		step.Mounts = slices.Concat(step.Mounts, l.folderMounts([]string{read.Dir}, at))
		l.steps = append(l.steps, step.Build())
	}
}
