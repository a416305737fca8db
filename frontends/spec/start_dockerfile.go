package spec

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/dockerfile"
	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/llb"
)

// dockerfileStart is a Dockerfile, which says all of the image by itself.
type dockerfileStart struct {
	File    string
	Context string // "" is the Dockerfile's own folder
	Target  string
	Args    map[string]string
}

// DockerfileOptions say how a Dockerfile is built.
type DockerfileOptions struct {
	Context string            // "" is the Dockerfile's own folder
	Target  string            // stage, "" for the last one
	Args    map[string]string // values of ARGs
}

// Dockerfile is the image that a Dockerfile makes. Nothing can be added to it: a layer on top is an error
// of [Image.Plan] that says what to do instead.
func Dockerfile(file string, o DockerfileOptions) Image {
	return Image{start: dockerfileStart{File: file, Context: o.Context, Target: o.Target, Args: maps.Clone(o.Args)}}
}

func (d dockerfileStart) kind() string     { return "dockerfile" }
func (d dockerfileStart) yaml() *yaml.Node { return encode(&d) }

// lower is never reached: [lowering.planDockerfile] makes the plan.
func (d dockerfileStart) lower(*lowering) {}

func (d *dockerfileStart) short(t table) field {
	return t.text("file", "path of the Dockerfile", &d.File)
}

func (d *dockerfileStart) fields(t table) []field {
	return []field{
		d.short(t),
		t.text("context", "folder that COPY reads; absent: the Dockerfile's own", &d.Context),
		t.text("target", "the stage to build; absent: the last one", &d.Target),
		t.vars("args", "values of ARGs", "argument", "the value of", &d.Args),
	}
}

// check finds what is wrong with the Dockerfile's options.
func (d dockerfileStart) check(l *lowering) {
	at := l.img.marks.at("dockerfile")
	ok := l.checkSource(d.File, at)
	if d.Context != "" {
		ok = l.checkSource(d.Context, at) && ok
	}
	if ok && l.folder != nil {
		if _, dir, found := l.find(d.File, at); found && dir {
			l.fail(at, fmt.Sprintf("%q is a folder", l.folder.show(d.File)), "name the Dockerfile in it")
		}
		if d.Context != "" {
			if _, dir, found := l.find(d.Context, at); found && !dir {
				l.fail(at, fmt.Sprintf("the context %q is a file", l.folder.show(d.Context)), "name a folder")
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(d.Args)) {
		l.checkCredential("the argument "+k, credential.InVariable(k, d.Args[k]), at)
	}
	for _, k := range slices.Sorted(maps.Keys(l.img.labels)) {
		l.checkCredential("the label "+k, credential.InText(l.img.labels[k]), l.img.marks.at("labels", k))
	}
	for _, s := range l.img.secrets { // its steps name them by themselves
		l.needIn(s)
	}
}

// planDockerfile makes the plan of an image that is a Dockerfile; none where there is no folder.
func (l *lowering) planDockerfile(d dockerfileStart) (*llb.Plan, error) {
	l.refuseOnTop()
	d.check(l)
	l.check()
	if err := l.findings(); err != nil || l.folder == nil {
		return nil, err
	}
	context := cmp.Or(d.Context, path.Dir(path.Clean(d.File)))
	var names []string
	for _, p := range l.platforms {
		names = append(names, platforms.FormatAll(p))
	}
	labels := maps.Clone(l.img.labels)
	if l.img.accelerator != "" {
		if labels == nil {
			labels = map[string]string{}
		}
		labels[AcceleratorLabel] = l.img.accelerator
	}
	plan, err := dockerfile.Plan(dockerfile.Options{
		Context: filepath.Join(l.folder.dir, filepath.FromSlash(context)), File: filepath.Join(l.folder.dir, filepath.FromSlash(d.File)),
		Target: d.Target, BuildArgs: d.Args, Labels: labels, Platforms: strings.Join(names, ","),
	})
	if err != nil {
		return nil, err
	}
	plan.Platforms, plan.Secrets = l.platforms, l.secrets
	return l.addNames(plan), nil
}

// refuseOnTop finds what cannot be added to a Dockerfile, by the name of the method or field that adds it.
func (l *lowering) refuseOnTop() {
	refuse := func(at mark, method, field string) {
		what := method
		if at.line > 0 {
			what = field
		}
		l.fail(at, what+" adds to an image that is a Dockerfile", "write it into the Dockerfile, or use the built image as base_image of another spec")
	}
	img := l.img
	for i, layer := range img.layers {
		refuse(layer.mark(), fmt.Sprintf("layer %d: %s", i+1, methodOf(layer)), layer.kind())
	}
	for _, c := range []struct {
		there         bool
		method, field string
	}{
		{img.python != "", "WithPythonVersion", "python_version"},
		{img.cuda != "" || img.cudnn != "", "WithCUDA", "cuda"},
		{len(img.ca) > 0, "WithCACertificates", "ca_certificates"},
		{len(img.everywhere.Packages) > 0 || !img.everywhere.none(), "WithPlatformPackages", "platform_packages"},
		{len(img.runtime) > 0, "WithRuntimePackages", "runtime_packages"},
		{img.entrypoint.set, "WithEntrypoint", "entrypoint"},
		{img.cmd.set, "WithCmd", "cmd"},
		{img.allFiles, "WithAllFiles", "standard_ignores"},
		{img.tools != Tools{}, "WithTools", "builder_config"},
		{img.pythonExec != "", "WithPythonExec", "python_exec"},
	} {
		if c.there {
			refuse(img.marks.at(c.field), c.method, c.field)
		}
	}
}

// methodOf is the method of Image that adds such a layer.
func methodOf(layer Layer) string {
	switch layer.kind() {
	case "apt":
		return "WithAptPackages"
	case "pip":
		return "WithPipPackages"
	case "conda":
		return "WithCondaPackages"
	case "uv_project":
		return "WithUVProject"
	}
	name := ""
	for word := range strings.SplitSeq(layer.kind(), "_") {
		name += strings.ToUpper(word[:1]) + word[1:]
	}
	return "With" + name
}
