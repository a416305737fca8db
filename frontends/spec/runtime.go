package spec

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/llb"
)

const (
	// RuntimeVariable holds the packages that are installed when the image starts, one requirement a line: what
	// `uv pip install --requirements -` reads.
	RuntimeVariable = "IBUILD_RUNTIME_PACKAGES"
	// AcceleratorLabel says what the image runs on.
	AcceleratorLabel = "dev.ibuild.accelerator"
)

// lowerRuntime records what whoever runs the image has to know.
func (l *lowering) lowerRuntime() {
	for i, text := range l.img.runtime {
		at := l.img.marks.at("runtime_packages", i)
		if python.IsLocal(text) {
			l.fail(at, fmt.Sprintf("the local package %q is not there when the image starts", text), "install it in a pip layer")
			continue
		}
		Pip{}.checkPackage(l, text, at)
	}
	l.runtime = append(l.runtime, l.img.runtime...)
	if len(l.img.runtime) > 0 {
		at := l.lines(l.img.marks.at("runtime_packages"))
		l.steps = append(l.steps, llb.Env{Lines: at, Key: RuntimeVariable, Value: strings.Join(l.runtime, "\n")})
	}
	if l.img.accelerator != "" {
		at := l.lines(l.img.marks.at("accelerator"))
		l.steps = append(l.steps, llb.Label{Lines: at, Key: AcceleratorLabel, Value: l.img.accelerator})
	}
}

// checkAccelerator looks at the form only: which accelerators there are is for whoever runs the image.
func (l *lowering) checkAccelerator() {
	if a := l.img.accelerator; a != "" && !acceleratorName(a) {
		l.fail(l.img.marks.at("accelerator"), fmt.Sprintf("%q is not an accelerator", a), "write e.g. l4, a100x4 or v5litepod-8")
	}
}

// platformForm is how platform_packages are written: names, or a mapping with indexes and options.
type platformForm struct{ *Pip }

func (f platformForm) fields(t table) []field {
	return append([]field{f.short(t)}, f.PipOptions.fields(t)...)
}

// platformPackages is the flat field.
func (f *flat) platformPackages() field {
	p := platformForm{&f.img.everywhere}
	return field{
		name: "platform_packages", doc: "Python packages that the caller's platform wants in every image: requirements, or a mapping with indexes and options",
		form: formOf(p), get: func() *yaml.Node { return encode(p) },
		set: func(k, v *yaml.Node) {
			m := f.begin(k, v)
			p.place(m)
			f.img.marks.set(m.at(), k.Value)
			f.readInto(p, m, k, v)
		},
	}
}

// lowerEverywhere installs what the caller's platform wants in every image, right after the base, so that all
// images share the step.
func (l *lowering) lowerEverywhere() {
	p := l.img.everywhere
	switch {
	case len(p.Packages) > 0:
		p.lower(l)
	case !p.none():
		l.empty(p.mark(), "platform_packages name no packages")
		p.checkOptions(l)
	}
}
