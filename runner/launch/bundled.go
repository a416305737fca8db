package launch

import (
	"fmt"
	"slices"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec"
	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/runner/gke"
)

// bundle plans the image with all that a program needs, and without the program. Its identity depends on what is
// installed and on the base alone, so that it is made once.
func (d *declared) bundle(py string, a gke.Accelerator, header source.Source, name string) (*llb.Plan, []string, error) {
	dev := deviceOf(a, py)
	v := dev.choose(d.all, d.dropped)
	img, warnings, err := d.image(py, dev, &v, header)
	if err != nil {
		return nil, nil, err
	}
	src := source.Source{Name: name, Dir: d.dir}
	if d.kind == needHeader {
		src = header
	}
	plan, err := img.WithPlatforms("linux/" + a.Arch).Plan(src)
	if d.kind == needRequirements || d.kind == needProject { // the others say themselves what is installed
		warnings = append(v.warnings, warnings...)
	}
	return plan, warnings, err
}

// image is what is installed, layer by layer.
func (d *declared) image(py string, dev device, v *variant, header source.Source) (img spec.Image, warnings []string, err error) {
	img = spec.DebianBase(py)
	options := spec.PipOptions{ExtraArgs: v.args}
	switch d.kind {
	case needHeader:
		if img, err = spec.ParseScriptEnvironment(header); err != nil {
			return img, nil, err
		}
		return d.onTop(img, dev, v)
	case needUVLock:
		return d.onTop(img.WithUVProject(spec.ProjectOptions{Path: d.project()}), dev, v)
	case needPylock:
		return d.onTop(img.WithRequirements(d.file, spec.PipOptions{}), dev, v)
	case needRequirements:
		img = img.With(spec.Pip{PipOptions: options, Requirements: d.file, Edited: d.edited, Packages: v.packages})
	case needProject:
		var list []string
		for _, r := range d.kept {
			list = append(list, r.Text)
		}
		if list = append(list, v.packages...); len(list) > 0 {
			img = img.WithPipPackages(options, list...)
		}
	}
	return img, nil, nil
}

// onTop adds the accelerator's variant to what a lock or a header installs, where nothing can be left out: the same
// versions, with the packages that drive the accelerator.
func (d *declared) onTop(img spec.Image, dev device, v *variant) (spec.Image, []string, error) {
	warnings := dev.foreign(d.all)
	extra := map[gke.Kind]string{gke.GPU: "cuda12", gke.TPU: "tpu"}[dev.kind]
	driven := dev.kind == gke.GPU && d.has("jax-cuda") || dev.kind == gke.TPU && d.has("libtpu")
	lockedJAX := d.version("jax")
	needed := lockedJAX != "" || len(v.packages) > 0
	switch {
	case extra == "" || driven || !needed:
		return img, warnings, nil
	case lockedJAX != "":
		v.packages = []string{withExtra(python.Requirement{Name: "jax", Specifier: "==" + lockedJAX}, extra)}
	}
	var jax []string
	for _, p := range v.packages {
		if r, err := python.ParseRequirement(p); err == nil && python.NormalName(r.Name) == "jax" {
			jax = append(jax, p)
		}
	}
	if len(jax) == 0 {
		return img, warnings, nil
	}
	o := spec.PipOptions{}
	if dev.kind == gke.TPU {
		o.ExtraArgs = []string{"--find-links", libtpuOfJAX}
	}
	warnings = append(warnings, fmt.Sprintf("%s is installed on top of what %s says, for the accelerator", jax[0], d.kind))
	return img.WithPipPackages(o, jax...), warnings, nil
}

// choosePython is the Python of an image: the caller's, else of those that the source allows the newest one up to
// DefaultPython, else the oldest one above it.
func choosePython(asked, requires, file string) (string, error) {
	if asked != "" || requires == "" {
		if asked == "" {
			asked = DefaultPython
		}
		return asked, nil // the image's plan says when it is not supported
	}
	s, err := python.ParseSpecifier(requires)
	if err != nil {
		return "", &source.Error{File: file, Msg: fmt.Sprintf("requires-python %q: %v", requires, err), Hint: "write e.g. >=3.11"}
	}
	versions := llb.PythonVersions()
	at := max(slices.Index(versions, DefaultPython), 0)
	newer := slices.Clone(versions[:at])
	slices.Reverse(newer)
	if py, ok := s.Newest(append(versions[at:], newer...)); ok {
		return py, nil
	}
	return "", &source.Error{File: file, Msg: fmt.Sprintf("requires-python %q allows no Python that ibuild has", requires), Hint: fmt.Sprintf("it has %v", versions)}
}
