package launch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec/cuda"
	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/runner/gke"
)

// Pages with wheels of libtpu: JAX's own and that of PyTorch/XLA
// (https://docs.jax.dev/en/latest/installation.html, https://docs.pytorch.org/xla).
const (
	libtpuOfJAX   = "https://storage.googleapis.com/jax-releases/libtpu_releases.html"
	libtpuOfTorch = "https://storage.googleapis.com/libtpu-releases/index.html"
)

// variant is what an accelerator adds to the packages that a program needs.
type variant struct {
	packages []string // requirements
	args     []string // for uv pip install
	warnings []string
}

// device is what a variant depends on besides the packages.
type device struct {
	kind   gke.Kind
	cuda   string // the oldest CUDA that drives the GPU and is still common: "12" or "12.8"
	arch   string
	python string // X.Y of the image, "" when it is not known
}

func deviceOf(a gke.Accelerator, py string) device {
	d := device{kind: a.Kind, arch: a.Arch, python: py, cuda: "12"}
	// Blackwell needs CUDA 12.8 (https://docs.nvidia.com/cuda/blackwell-compatibility-guide/).
	for _, name := range []string{"b200", "gb200", "b300", "gb300", "rtx-pro-6000"} {
		if a.Name == name {
			d.cuda = "12.8"
		}
	}
	return d
}

// needsJAX lists packages that bring jax along, so that the accelerator's variant of it has to be named beside them.
func needsJAX(name string) bool {
	return slices.Contains([]string{
		"brax", "chex", "clu", "diffrax", "distrax", "dm-haiku", "equinox", "flax", "jaxopt", "numpyro", "optax", "orbax", "orbax-checkpoint", "optimistix", "penzai", "blackjax",
	}, name)
}

// choose finds the variant for requirements, those that were dropped included. One that the user keeps stays the
// user's own business.
func (d device) choose(all, dropped []requirement) variant {
	v := variant{}
	d.jax(&v, all, dropped)
	rest, _ := filterList(all)
	switch d.kind {
	case gke.GPU:
		d.onGPU(&v, rest)
	case gke.TPU:
		if named(rest, "torch-xla") {
			v.args = append(v.args, "--find-links", libtpuOfTorch)
		}
		d.torchOfCPU(&v, rest)
	default:
		d.torchOfCPU(&v, rest)
	}
	return v
}

// jax adds the variant of jax, with the versions that the dropped lines ask for.
func (d device) jax(v *variant, all, dropped []requirement) {
	extra := map[gke.Kind]string{gke.GPU: "cuda12", gke.TPU: "tpu"}[d.kind]
	kept := slices.ContainsFunc(all, func(r requirement) bool { return r.Keep && r.name() == "jax" })
	var lines []string
	implied := false
	for _, r := range dropped {
		p, err := python.ParseRequirement(r.Text)
		switch {
		case err != nil, r.constraint:
		case python.NormalName(p.Name) == "jax" && p.URL == "":
			lines = append(lines, withExtra(p, extra))
		default:
			implied = implied || python.NormalName(p.Name) != "libtpu"
		}
	}
	implied = implied || slices.ContainsFunc(all, func(r requirement) bool { return needsJAX(r.name()) })
	if len(lines) == 0 && implied && !kept {
		lines = []string{withExtra(python.Requirement{Name: "jax"}, extra)}
	}
	if len(lines) == 0 {
		d.libtpuAlone(v, dropped)
		return
	}
	v.packages = append(v.packages, lines...)
	if d.kind == gke.TPU {
		v.args = append(v.args, "--find-links", libtpuOfJAX)
	}
}

// libtpuAlone keeps libtpu for programs that drive a TPU without JAX, such as those of PyTorch/XLA.
func (d device) libtpuAlone(v *variant, dropped []requirement) {
	for _, r := range dropped {
		if d.kind == gke.TPU && r.name() == "libtpu" && !r.constraint {
			v.packages = append(v.packages, r.Text)
		}
	}
	if len(v.packages) > 0 {
		v.args = append(v.args, "--find-links", libtpuOfJAX)
	}
}

// withExtra writes a requirement with the extra of an accelerator, in place of those of others.
func withExtra(p python.Requirement, extra string) string {
	var extras []string
	for _, e := range p.Extras {
		if n := python.NormalName(e); n != "tpu" && n != "cpu" && !strings.HasPrefix(n, "cuda") && !strings.HasPrefix(n, "rocm") {
			extras = append(extras, e)
		}
	}
	if extra != "" {
		extras = append(extras, extra)
	}
	text := p.Name
	if len(extras) > 0 {
		text += "[" + strings.Join(extras, ",") + "]"
	}
	text += p.Specifier
	if p.Marker != "" {
		text += " ; " + p.Marker
	}
	return text
}

// onGPU takes torch and TensorFlow with CUDA, by the tables of package cuda. Without them there is nothing to choose.
func (d device) onGPU(v *variant, rest []requirement) {
	if !named(rest, "torch", "tensorflow", "torchvision", "torchaudio") {
		return
	}
	wish := cuda.Wish{CUDA: d.cuda, Python: d.python, Platforms: []string{"linux/" + d.arch}}
	for _, r := range rest {
		wish.Requirements = append(wish.Requirements, r.Text)
	}
	choice, findings := cuda.Choose(wish)
	for _, f := range findings {
		switch {
		case f.Severity == cuda.Error:
			v.warnings = append(v.warnings, "the packages are installed as they are written: "+f.Msg)
		case f.Field == cuda.FieldPackage:
			v.warnings = append(v.warnings, f.Msg)
		}
	}
	for _, a := range choice.Additions {
		if a.Package >= 0 {
			v.packages = append(v.packages, a.Requirement)
		}
	}
	if choice.TorchBackend != "" {
		v.args = append(v.args, "--torch-backend="+choice.TorchBackend)
	}
}

// torchOfCPU leaves out the gigabytes of CUDA that torch has on PyPI.
func (d device) torchOfCPU(v *variant, rest []requirement) {
	for _, r := range rest {
		p, err := python.ParseRequirement(r.Text)
		if err != nil || !slices.Contains([]string{"torch", "torchvision", "torchaudio"}, python.NormalName(p.Name)) {
			continue
		}
		if r.Keep || p.URL != "" || strings.Contains(p.Specifier, "+") { // said by the user
			return
		}
		v.args = appendOnce(v.args, "--torch-backend=cpu")
	}
}

func appendOnce(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// named says whether one of the packages is asked for.
func named(all []requirement, names ...string) bool {
	return slices.ContainsFunc(all, func(r requirement) bool { return !r.Keep && slices.Contains(names, r.name()) })
}

// foreign are warnings about packages that are another accelerator's, in places where nothing is dropped.
func (d device) foreign(all []requirement) (warnings []string) {
	for _, r := range all {
		p, err := python.ParseRequirement(r.Text)
		if err != nil || r.Keep {
			continue
		}
		for _, e := range p.Extras {
			e = python.NormalName(e)
			if python.NormalName(p.Name) == "jax" && (e == "tpu" && d.kind != gke.TPU || strings.HasPrefix(e, "cuda") && d.kind != gke.GPU) {
				warnings = append(warnings, fmt.Sprintf("%s: %s is for another accelerator than %s; name jax alone, ibuild adds what the accelerator needs", r.place(), r.Text, d.kind))
			}
		}
	}
	return warnings
}

// place is where a requirement is written, for messages.
func (r requirement) place() string {
	if r.Line == 0 {
		return r.File
	}
	return fmt.Sprintf("%s:%d", r.File, r.Line)
}
