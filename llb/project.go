package llb

import "path"

const (
	// ProjectDir is where the manifests of a Python project are mounted while its dependencies are installed,
	// each with the path that it has in the spec's folder.
	ProjectDir = "/run/ibuild/project"
	// PoetryVersion is the release that installs poetry projects. It is run by uv out of a cache, and is not in
	// the image.
	PoetryVersion = "2.2.1"

	poetryCache = "/run/ibuild/cache/poetry"
)

// Project is a Python project with a lock.
type Project struct {
	Title  string
	Dir    string   // of its pyproject.toml below ProjectDir, "." for the top
	Groups []string // dependency groups besides the main dependencies
	Extras []string
	Args   []string // extra arguments of the user
	Env    []string
	Mounts []Mount // the manifests, the lock, and what else the step needs
	Lines  Lines
}

// UVDependencies installs what the uv.lock of a project says, but not the project and its workspace: only
// manifests have to be there. Packages that steps before it have installed stay, and nothing is editable, as
// the sources are gone after the step.
func (p Project) UVDependencies() Exec { return p.uv("--no-install-workspace") }

// UVInstall installs the project with its workspace, not editable, from the mounted sources.
func (p Project) UVInstall() Exec {
	e := p.uv()
	e.Native = Emulated // it builds the project
	return e
}

func (p Project) uv(mode ...string) Exec {
	args := []string{uvPath, "sync", "--locked", "--active", "--inexact", "--no-progress", "--no-default-groups", "--no-editable", "--project", path.Join(ProjectDir, p.Dir)}
	args = append(args, mode...)
	for _, g := range p.Groups {
		args = append(args, "--group", g)
	}
	for _, x := range p.Extras {
		args = append(args, "--extra", x)
	}
	return Exec{
		Title: p.Title, Lines: p.Lines, Root: true, Args: append(args, p.Args...), Env: append(uvEnv(p.Mounts...), p.Env...),
		Mounts: append(uvMounts(), p.Mounts...), SystemPython: true, Native: NativeUV,
	}
}

// PoetryDependencies installs what the poetry.lock of a project says, but not the project.
func (p Project) PoetryDependencies() Exec {
	only := "main"
	for _, g := range p.Groups {
		only += "," + g
	}
	args := []string{
		uvPath, "tool", "run", "--from", "poetry==" + PoetryVersion, "poetry", "--no-interaction", "--project", path.Join(ProjectDir, p.Dir),
		"install", "--no-root", "--only", only,
	}
	for _, x := range p.Extras {
		args = append(args, "--extras", x)
	}
	return Exec{
		Title: p.Title, Lines: p.Lines, Root: true, Args: append(args, p.Args...),
		Env:          append(append(uvEnv(p.Mounts...), "POETRY_CACHE_DIR="+poetryCache, "POETRY_VIRTUALENVS_CREATE=false"), p.Env...),
		Mounts:       append(append(uvMounts(), Mount{Kind: CacheMount, Target: poetryCache, ID: "poetry", PerPlatform: true}), p.Mounts...),
		SystemPython: true,
	}
}

// Build installs the project itself from its mounted sources, and none of its dependencies: a wheel is made
// of it, so nothing of the mount has to be there later.
func (p Project) Build() Exec {
	return Exec{
		Title: p.Title, Lines: p.Lines, Root: true,
		Args: []string{uvPath, "pip", "install", "--no-deps", "--", path.Join(ProjectDir, p.Dir)},
		Env:  append(uvEnv(p.Mounts...), p.Env...), Mounts: append(uvMounts(), p.Mounts...), SystemPython: true,
	}
}

// systemProject makes tools that know virtual environments only install into the image's own Python.
const systemProject = `prefix=$(python3 -c 'import sys; print(sys.prefix)')
export UV_PROJECT_ENVIRONMENT="$prefix" VIRTUAL_ENV="$prefix"
exec "$0" "$@"`

// inSystemPython is the command of a Python step in an image without a virtual environment. uv pip is told by
// variables.
func inSystemPython(args []string) []string {
	if len(args) < 2 || args[1] == "pip" {
		return args
	}
	return append([]string{"/bin/sh", "-c", systemProject}, args...)
}
