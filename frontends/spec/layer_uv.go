package spec

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/project"
	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/llb"
)

// UVProject is a layer with the packages that a project's uv.lock says.
type UVProject struct {
	ProjectOptions
	placed
}

// WithUVProject adds the packages of a project's uv.lock.
func (img Image) WithUVProject(o ProjectOptions) Image {
	return img.With(UVProject{ProjectOptions: o})
}

func (u UVProject) kind() string { return "uv_project" }
func (u UVProject) clone() Layer {
	u.ProjectOptions = u.ProjectOptions.clone()
	return u
}
func (u UVProject) yaml() *yaml.Node { return encode(&u) }
func (u *UVProject) short(t table) field {
	return t.text("path", "the project's folder, or its pyproject.toml", &u.Path)
}

func (u UVProject) lower(l *lowering) {
	at := u.marks.at("path")
	l.checkNames("a dependency group", u.Groups, u.marks, "groups")
	l.checkNames("an extra", u.Extras, u.marks, "extras")
	l.checkExtraArgs(u.ExtraArgs, u.marks)
	mounts, env := l.mounts(u.Secrets)
	manifest, ok := u.manifest(l, at)
	if !ok {
		return
	}
	version := llb.UVVersion()
	if l.img.tools.UVImage != "" {
		version = "" // whoever replaces uv knows which one it is
	}
	p, err := project.ReadUV(l.tree(), project.UVOptions{Manifest: manifest, Lock: u.Lock, Groups: u.Groups, Extras: u.Extras, Version: version})
	if !l.collect(err, at) {
		return
	}
	l.checkRequires(p.RequiresPython, l.folder.show(manifest), at)
	l.checkSecretIndexes(u.Secrets, p.Indexes, "the project has no index with a name: write [[tool.uv.index]] with name and url")
	step := llb.Project{
		Title: u.title(p, "dependencies"), Dir: p.Dir, Groups: u.groups(p), Extras: slices.Clone(u.Extras), Args: slices.Clone(u.ExtraArgs),
		Env: env, Mounts: slices.Concat(fileMounts(llb.ProjectDir, p.Files), l.localMounts(llb.ProjectDir, p.Locals, at), l.folderMounts(p.Builds, at), mounts),
		Lines: l.lines(l.layer),
	}
	l.steps = append(l.steps, step.UVDependencies())
	if !u.InstallProject {
		return
	}
	if !p.Package {
		l.fail(u.marks.at("install"), fmt.Sprintf("%s is not a package, so it cannot be installed", l.folder.show(manifest)),
			"add a [build-system], or leave install out and bring the code with source_folder")
		return
	}
	step.Title = u.title(p, "the project")
	step.Mounts = slices.Concat(step.Mounts, l.folderMounts(p.Sources, at))
	l.steps = append(l.steps, step.UVInstall())
}

// dependencies are those that the project itself asks for, as far as they can be read: what is wrong with it is
// said when it is installed.
func (u UVProject) dependencies(l *lowering) []string {
	quiet := &lowering{img: l.img, src: l.src, folder: l.folder, outcome: &outcome{}}
	manifest, ok := u.manifest(quiet, mark{})
	if !ok {
		return nil
	}
	data, err := l.folder.read(manifest, source.SpecLimit)
	var doc struct {
		Project struct {
			Dependencies []string `toml:"dependencies"`
		} `toml:"project"`
	}
	if err != nil || python.CheckTOML(data) != nil || toml.Unmarshal(data, &doc) != nil {
		return nil
	}
	return doc.Project.Dependencies
}

func (u UVProject) title(p project.UV, what string) string {
	name := p.Name
	if name == "" {
		name = path.Join(".", u.Path)
	}
	return "uv project " + name + ": " + what
}

// groups are those that the layer names, and those that the project installs by default, but for "dev":
// nobody develops in an image.
func (u UVProject) groups(p project.UV) []string {
	var out []string
	for _, g := range slices.Concat(p.DefaultGroups, u.Groups) {
		named := slices.Contains(u.Groups, g)
		if (named || python.NormalName(g) != "dev" && slices.Contains(p.Groups, g)) && !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	return out
}

// folderMounts show folders of the project with all that is in them, over the manifests.
func (l *lowering) folderMounts(folders []string, at mark) []llb.Mount {
	var out []llb.Mount
	for _, dir := range folders {
		if m, ok := l.localMount(llb.ProjectDir, dir, at); ok {
			out = append(out, m)
		}
	}
	return out
}

// checkSecretIndexes compares the indexes that secrets are for with those that there are; none is what to say
// where there are none.
func (l *lowering) checkSecretIndexes(secrets []SecretMount, indexes []project.Index, none string) {
	var names []string
	for _, i := range indexes {
		names = append(names, i.Name)
	}
	for _, s := range secrets {
		s, _ = l.declared(s, s.at)
		if s.Index == "" || slices.Contains(names, s.Index) {
			continue
		}
		hint := none
		if len(names) > 0 {
			hint = "the indexes are " + strings.Join(names, ", ")
		}
		l.fail(s.at, fmt.Sprintf("the secret %q is for the index %q, which there is not", s.ID, s.Index), hint)
	}
}
