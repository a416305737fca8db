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
func (p *PoetryProject) short(t table) field {
	return t.text("path", "the project's folder, or its pyproject.toml", &p.Path)
}

func (p PoetryProject) lower(l *lowering) {
	at := p.marks.at("path")
	l.checkNames("a dependency group", p.Groups, p.marks, "groups")
	l.checkNames("an extra", p.Extras, p.marks, "extras")
	l.checkExtraArgs(p.ExtraArgs, p.marks)
	mounts, env := l.mountsAs(p.Secrets, poetryCredentials)
	manifest, ok := p.manifest(l, at)
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
	name := "poetry project " + read.Dir
	for _, local := range read.Locals {
		if local.Editable {
			l.fail(at, fmt.Sprintf("%s has %s as an editable dependency, which would lead nowhere in the image", l.folder.show(manifest), local.Path),
				"remove develop = true, and lock it again")
		}
	}
	step := llb.Project{
		Title: name + ": dependencies", Dir: read.Dir, Groups: slices.Clone(p.Groups), Extras: slices.Clone(p.Extras),
		Args: slices.Clone(p.ExtraArgs), Env: env, Lines: l.lines(l.layer),
		Mounts: slices.Concat(fileMounts(llb.ProjectDir, read.Files), l.localMounts(llb.ProjectDir, read.Locals, at), mounts),
	}
	l.steps = append(l.steps, step.PoetryDependencies())
	if !p.InstallProject {
		return
	}
	if !read.Package {
		l.fail(p.marks.at("install"), fmt.Sprintf("%s is not a package, so it cannot be installed", l.folder.show(manifest)),
			"remove package-mode = false, or leave install out and bring the code with source_folder")
		return
	}
	step.Title, step.Args = name+": the project", nil
	step.Mounts = slices.Concat(step.Mounts, l.folderMounts([]string{read.Dir}, at))
	l.steps = append(l.steps, step.Build())
}
