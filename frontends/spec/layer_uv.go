package spec

import (
	"path"
	"slices"

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

func (u UVProject) lower(l *lowering) {
	at := u.marks.at("path")
	step, manifest, ok := u.begin(l, u.placed, uvCredentials)
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
	step.Title, step.Dir, step.Groups = u.title(p, "dependencies"), p.Dir, u.groups(p)
	step.Mounts = slices.Concat(fileMounts(llb.ProjectDir, p.Files), l.localMounts(llb.ProjectDir, p.Locals, at), l.folderMounts(p.Builds, at), step.Mounts)
	l.steps = append(l.steps, step.UVDependencies())
	if u.installs(l, u.placed, manifest, p.Package, "add a [build-system]") {
		step.Title = u.title(p, "the project")
		step.Mounts = slices.Concat(step.Mounts, l.folderMounts(p.Sources, at))
		l.steps = append(l.steps, step.UVInstall())
	}
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
