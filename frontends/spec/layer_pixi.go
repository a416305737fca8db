package spec

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/frontends/spec/project"
	"github.com/ibuild/ibuild/llb"
)

// PixiProject is a layer with the environment that a project's pixi.lock says, at
// <[llb.PixiDir]>/<the project's folder>/.pixi/envs/<environment>. Its programs come first on PATH, and where
// the lock has a Python, that one is the image's from there on: Python layers come after it.
//
// What an activation of the environment would set (the manifest's [activation], packages' etc/conda/activate.d)
// is not in the image: say such variables in an env layer.
type PixiProject struct {
	PixiOptions
	placed
}

// PixiOptions say which environment of a pixi project is installed.
type PixiOptions struct {
	// Path is the project's folder, its pixi.toml, or a pyproject.toml with [tool.pixi]; "" is the spec's folder.
	Path        string
	Environment string // "" is "default"
	// Lock is the path of its pixi.lock; pixi knows it beside the manifest only, so "" says as much.
	Lock      string
	ExtraArgs []string // more arguments for pixi install
	// Secrets of the step. A file that ends in .json is rattler's file of credentials, a .netrc works, too.
	Secrets []Secret
}

// WithPixiProject adds the packages of a project's pixi.lock.
func (img Image) WithPixiProject(o PixiOptions) Image {
	return img.With(PixiProject{PixiOptions: o})
}

func (p PixiProject) kind() string { return "pixi_project" }
func (p PixiProject) clone() Layer {
	p.ExtraArgs, p.Secrets = slices.Clone(p.ExtraArgs), slices.Clone(p.Secrets)
	return p
}
func (p PixiProject) yaml() *yaml.Node { return encode(&p) }

func (p *PixiProject) short(t table) field {
	return t.text("path", "the project's folder, its pixi.toml or its pyproject.toml", &p.Path)
}

func (p *PixiProject) fields(t table) []field {
	return []field{
		t.text("path", "the project's folder, its pixi.toml or its pyproject.toml; absent: the spec's folder", &p.Path),
		t.text("environment", "the environment of the project; absent: default", &p.Environment),
		t.text("lock", "its pixi.lock, which is always beside the manifest", &p.Lock),
		t.arguments("extra_args", "more arguments for pixi install", &p.ExtraArgs),
		t.secrets(&p.Secrets),
	}
}

func (p PixiProject) lower(l *lowering) {
	at := p.marks.at("path")
	p.checkArgs(l)
	mounts, env := l.mounts(p.Secrets)
	manifest, ok := p.manifest(l, at)
	if !ok {
		return
	}
	environment := p.Environment
	if environment == "" {
		environment = "default"
	}
	read, err := project.ReadPixi(l.tree(), project.PixiOptions{Manifest: manifest, Environment: environment})
	if !l.collect(err, at) {
		return
	}
	p.checkPlatforms(l, read, at)
	p.checkOnly(l, read, at)
	python, version := lockedPython(read)
	if python {
		l.checkFirstPython(at)
	}
	step := llb.Pixi{
		Title: "pixi project " + read.Dir + ": environment " + environment, Manifest: manifest, Environment: environment,
		Args: slices.Clone(p.ExtraArgs), Env: slices.Concat(l.condaEnv(), pixiCredentials(mounts), env), Lines: l.lines(l.layer),
		Mounts: slices.Concat(fileMounts(llb.ProjectDir, read.Files), p.folders(l, read, at), mounts),
	}
	l.steps = append(l.steps, step.Install())
	l.steps = append(l.steps, llb.CondaActivate(llb.PixiPrefix(read.Dir, environment), python, l.lines(l.layer))...)
	if python {
		l.python = version
	}
	p.settle(l, read, at)
}

// checkOnly refuses a second project: one folder is made for the layer and cleared again around its environments.
func (p PixiProject) checkOnly(l *lowering, read project.Pixi, at mark) {
	own := path.Dir(llb.PixiPrefix(read.Dir, "default"))
	for _, s := range l.steps {
		if e, ok := s.(llb.Env); ok && e.Key == "CONDA_PREFIX" && strings.HasPrefix(e.Value, llb.PixiDir+"/") && path.Dir(e.Value) != own {
			l.fail(at, "an image has the environments of one pixi project, and this is the second one", "make one workspace with two environments of them")
			return
		}
	}
}

// settle installs the packages once more that the manifest has as editable, from the same folders: an
// editable package is a path into a folder that is gone after the step.
func (p PixiProject) settle(l *lowering, read project.Pixi, at mark) {
	for _, local := range read.Locals {
		if !local.Editable {
			continue
		}
		step := llb.Project{
			Title: "pixi project " + read.Dir + ": " + local.Path + ", not editable", Dir: local.Path, Lines: l.lines(l.layer),
			Mounts: p.folders(l, read, at),
		}
		install := step.Build()
		install.SystemPython = false // the environment is the one that is active
		l.steps = append(l.steps, install)
	}
}

// folders shows the local packages of the project, without the environments that pixi has made in them.
func (p PixiProject) folders(l *lowering, read project.Pixi, at mark) []llb.Mount {
	mounts := l.localMounts(llb.ProjectDir, read.Locals, at)
	for i := range mounts {
		if !mounts[i].File {
			mounts[i].Exclude = append(mounts[i].Exclude, "**/.pixi")
		}
	}
	return mounts
}

// manifest is the path of the project's manifest; false after a finding. In a folder it is the one that pixi
// takes: a pixi.toml, else the pyproject.toml.
func (p PixiProject) manifest(l *lowering, at mark) (string, bool) {
	manifest, ok := path.Clean(p.Path), false
	if path.Base(manifest) == "pixi.toml" {
		ok = l.checkSource(p.Path, at) && (p.Lock == "" || l.checkSource(p.Lock, p.marks.at("lock"))) && l.folder != nil
	} else if manifest, ok = (ProjectOptions{Path: p.Path, Lock: p.Lock}).manifest(l, at); ok && path.Base(p.Path) != "pyproject.toml" {
		own := path.Join(path.Dir(manifest), "pixi.toml")
		_, noOther := l.folder.root.Stat(manifest)
		if _, err := l.folder.root.Stat(own); err == nil || noOther != nil {
			manifest = own
		}
	}
	if !ok {
		return "", false
	}
	if beside := path.Join(path.Dir(manifest), "pixi.lock"); p.Lock != "" && path.Clean(p.Lock) != beside {
		l.fail(p.marks.at("lock"), fmt.Sprintf("pixi reads the lock %q, not %q", l.folder.show(beside), p.Lock), "leave the lock out")
		return "", false
	}
	return manifest, true
}

// checkArgs refuses arguments that say otherwise what the layer says.
func (p PixiProject) checkArgs(l *lowering) {
	for i, a := range p.ExtraArgs {
		at := p.marks.at("extra_args", i)
		name, _, _ := strings.Cut(a, "=")
		switch {
		case slices.Contains([]string{"-e", "--environment", "-a", "--all"}, name):
			l.fail(at, fmt.Sprintf("%s in extra_args chooses an environment", name), "say environment: its name")
		case slices.Contains([]string{"-m", "--manifest-path", "-w", "--workspace"}, name):
			l.fail(at, fmt.Sprintf("%s in extra_args chooses a project", name), "say path: its folder")
		case name == "--frozen" || name == "--no-lockfile-update" || name == "--no-lock":
			l.fail(at, fmt.Sprintf("%s in extra_args would install a lock that may be out of date", name), "run pixi lock, and leave it out")
		}
		l.checkCredential("an argument in extra_args", credential.InText(a), at)
	}
}

// checkPlatforms wants the environment to be for all platforms that the image names.
func (p PixiProject) checkPlatforms(l *lowering, read project.Pixi, at mark) {
	for _, name := range l.img.platforms {
		spec, err := platforms.Parse(name)
		if err != nil {
			continue // has its own finding
		}
		conda, ok := condaPlatform(spec.OS, spec.Architecture)
		if ok && !slices.Contains(read.Platforms, conda) {
			l.fail(at, fmt.Sprintf("the image is for %s, and the pixi project's platforms are %s", name, strings.Join(read.Platforms, ", ")),
				fmt.Sprintf("add %q to the platforms of its workspace, and run pixi lock", conda))
		}
	}
	if !slices.ContainsFunc(read.Platforms, func(p string) bool { return strings.HasPrefix(p, "linux-") }) {
		l.fail(at, fmt.Sprintf("the pixi project is not for Linux: its platforms are %s", strings.Join(read.Platforms, ", ")),
			`add "linux-64" to the platforms of its workspace, and run pixi lock`)
	}
}

// condaPlatform is a platform's name among conda's
// (https://docs.conda.io/projects/conda/en/stable/user-guide/concepts/platforms.html).
func condaPlatform(os, arch string) (string, bool) {
	name, ok := map[string]string{"amd64": "linux-64", "arm64": "linux-aarch64", "ppc64le": "linux-ppc64le", "s390x": "linux-s390x", "riscv64": "linux-riscv64"}[arch]
	return name, ok && os == "linux"
}

// lockedPython looks in a pixi.lock for the conda package of Python; version is its X.Y, "" when environments
// and platforms differ in it.
func lockedPython(read project.Pixi) (found bool, version string) {
	for _, f := range read.Files {
		if path.Base(f.Path) != "pixi.lock" {
			continue
		}
		for i, m := range regexp.MustCompile(`/python-([0-9]+\.[0-9]+)[^/\s]*\.(?:conda|tar\.bz2)`).FindAllSubmatch(f.Data, -1) {
			if v := string(m[1]); i == 0 {
				version = v
			} else if v != version {
				version = ""
				break
			}
		}
		found = regexp.MustCompile(`/python-[0-9][^/\s]*\.(?:conda|tar\.bz2)`).Match(f.Data)
	}
	return found, version
}

// pixiCredentials tells pixi of a file of credentials among the secrets
// (https://pixi.sh/latest/deployment/authentication/).
func pixiCredentials(mounts []llb.Mount) []string {
	for _, m := range mounts {
		if path.Ext(m.Target) == ".json" {
			return []string{"RATTLER_AUTH_FILE=" + m.Target}
		}
	}
	return nil
}
