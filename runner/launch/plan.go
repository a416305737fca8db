package launch

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/runner/bootstrap/contract"
	"github.com/ibuild/ibuild/runner/gke"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Plan is what a launch takes, before anything is built or asked of a network. It is a value.
type Plan struct {
	Source   string // as the user named it
	Kind     Kind
	Mode     Mode
	Platform ocispecs.Platform // of the accelerator's machines
	// Base is the image that everything is put on, when it is there already: by its tag, or by what the user has given.
	// "" when it is built.
	Base string
	// Program is the program with its interpreter; nil is the image's own entry point.
	Program []string
	Args    []string
	// Dependencies is the file that says what the program needs, "" for none.
	Dependencies string
	// Dropped are the requirements that are left out, as the accelerator's variant stands in for them.
	Dropped  []Dropped
	Warnings []string

	baseBy     string            // who names the repository of a base image
	build      *llb.Plan         // of the base, when it is built
	source     string            // absolute path of what build is made of
	code       *code             // nil when none goes along
	install    map[string][]byte // files below /ibuild that are installed from
	bootstrap  bool
	kind       gke.Kind
	repository reference.Named // where images go; nil when nothing is made
}

// NewPlan finds out what is launched. It reads files and nothing else; all that is wrong comes at once, as
// source.Errors.
func NewPlan(o Options) (*Plan, error) {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	s, err := o.read()
	if err != nil {
		return nil, err
	}
	var errs source.Errors
	p := &Plan{Source: o.Source, Kind: s.kind, Args: slices.Clone(o.Args), bootstrap: !o.NoBootstrap, kind: o.Accelerator.Kind}
	p.Platform = platforms.Normalize(ocispecs.Platform{OS: "linux", Architecture: cmp.Or(o.Accelerator.Arch, "amd64")})
	p.Mode = o.mode(&errs, s.kind == KindImage)
	o.unused(p.Mode, s, &errs)
	switch s.kind {
	case KindImage:
		p.Base = s.image
	case KindDefinition:
		p.define(s, &errs)
	default:
		p.program(o, s, &errs)
	}
	if p.makes() {
		p.repository = o.repository(&errs)
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return p, nil
}

// makes says that an image is made, and not only named.
func (p *Plan) makes() bool {
	return p.build != nil || p.code != nil || p.bootstrap
}

// define plans a Dockerfile or an image spec, which says all of the image itself.
func (p *Plan) define(s subject, errs *source.Errors) {
	if p.Mode != Bundled {
		*errs = append(*errs, &source.Error{File: s.name, Msg: fmt.Sprintf("this says itself what the image is made of, so it does not go with the mode %s", p.Mode), Hint: "leave the mode out, or give the Python file"})
		return
	}
	plan, err := s.given.Plan()
	if err != nil {
		errs.Collect(err)
		return
	}
	p.build = plan
	p.warn(plan.Warnings)
	dir, file := s.given.File()
	if file != "" {
		if p.source, err = filepath.Abs(filepath.Join(dir, file)); err != nil {
			errs.Collect(err)
		}
	}
}

// program plans a Python program: its code, and its base by the mode.
func (p *Plan) program(o Options, s subject, errs *source.Errors) {
	var err error
	if p.code, err = o.planCode(s); err != nil {
		errs.Collect(err)
	} else {
		p.Program = []string{"python3", path.Join(CodeFolder, p.code.entry)}
		if p.code.carry == CarryImports && o.Carry == CarryAuto {
			what := "with the modules that it imports"
			if s.extra != nil || s.code.Stdin {
				what = "alone"
			}
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s goes along %s, and not the whole of %s", s.file, what, p.code.dir))
		}
	}
	if p.Mode == Custom {
		if p.Base = o.Image; p.Base == "" {
			*errs = append(*errs, &source.Error{Msg: "the mode custom needs an image to run the program in", Hint: "name it, e.g. us-docker.pkg.dev/my-project/images/train:v1"})
		} else if _, err := reference.ParseNormalizedNamed(p.Base); err != nil {
			*errs = append(*errs, &source.Error{Msg: fmt.Sprintf("%q is not the name of an image: %v", p.Base, err)})
		}
		return
	}
	if p.Mode == Prebuilt {
		p.Base, p.baseBy = o.baseImage(errs)
	}
	show := shower(o.Dir)
	d, err := p.needs(o, s, show)
	if err != nil {
		errs.Collect(s.rewrite(err))
		return
	}
	p.Dependencies = d.shown(show)
	switch p.Mode {
	case Prebuilt:
		p.install, err = d.install(show)
		p.drop(d)
	case Bundled:
		err = p.bundle(o, s, d)
	}
	errs.Collect(s.rewrite(err))
}

// needs finds what a program needs, and reads it.
func (p *Plan) needs(o Options, s subject, show func(string) string) (declared, error) {
	if s.hasHeader() {
		return needs{kind: needHeader, dir: s.dir, file: filepath.Base(s.name)}.declare(show, s.code)
	}
	look := search{start: s.dir, home: o.Home, show: show}
	if s.kind == KindNotebook && o.Dir != "" { // a notebook's own idea of where it is
		look.start = o.Dir
	}
	if look.start == "" {
		dir, err := os.Getwd()
		if err != nil {
			return declared{}, err
		}
		look.start = dir
	}
	n, err := look.discover()
	if err != nil {
		return declared{}, err
	}
	for _, w := range look.warnings {
		p.Warnings = append(p.Warnings, w.Error())
	}
	return n.declare(show, s.code)
}

// bundle plans the base of a bundled image.
func (p *Plan) bundle(o Options, s subject, d declared) error {
	name := cmp.Or(d.shown(shower(o.Dir)), s.name)
	py, err := choosePython(o.Python, d.requires, name)
	if err != nil {
		return err
	}
	plan, warnings, err := d.bundle(py, o.Accelerator, s.code, name)
	p.Warnings = append(p.Warnings, warnings...)
	if err != nil {
		return err
	}
	p.build, p.source = plan, filepath.Join(d.dir, d.file)
	if d.kind == needNothing {
		p.source = filepath.Join(s.dir, s.file)
	}
	p.warn(plan.Warnings)
	if d.kind == needRequirements || d.kind == needProject { // nothing is dropped from the others
		p.drop(d)
	}
	return nil
}

// drop notes what is left out, with a warning for each.
func (p *Plan) drop(d declared) {
	instead := fmt.Sprintf("the variant for %s takes its place", p.kind)
	if p.Mode == Prebuilt {
		instead = "the base image has its own"
	}
	for _, r := range d.dropped {
		p.Dropped = append(p.Dropped, Dropped{File: r.File, Line: r.Line, Text: r.Text})
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s: %s is left out: %s; end the line with # ibuild:keep to have it as it is", r.place(), r.Text, instead))
	}
}

func (p *Plan) warn(list []error) {
	for _, w := range list {
		p.Warnings = append(p.Warnings, w.Error())
	}
}

// Container is what the bootstrap is asked to do, as far as it is known before the image is: the caller adds results
// and limits. It is nil when there is no bootstrap. Its Program is nil when the image's own entry point runs, which
// [Plan.Build] fills in.
func (p *Plan) Container() *contract.Request {
	if !p.bootstrap {
		return nil
	}
	r := &contract.Request{Output: gke.OutputFolder}
	if len(p.install) > 0 {
		r.Install = InstallFile
	}
	if p.Program != nil {
		r.Program = slices.Concat(p.Program, p.Args)
	}
	return r
}

// Dir is the container's working folder; "" is the image's own.
func (p *Plan) Dir() string {
	if p.code == nil {
		return ""
	}
	return CodeFolder
}

// Facts say where a job comes from, for its annotations: source, mode, base and dependencies, without what is not
// known.
func (p *Plan) Facts() map[string]string {
	facts := map[string]string{"source": p.Source, "mode": string(p.Mode)}
	for name, value := range map[string]string{"base": p.Base, "dependencies": p.Dependencies} {
		if value != "" {
			facts[name] = value
		}
	}
	return facts
}

// BasePlan is what is built of the base: its secrets and builder are for the caller to find. It is nil when the base is
// there already.
func (p *Plan) BasePlan() *llb.Plan { return p.build }
