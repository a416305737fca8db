package tensorflow

import (
	"fmt"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

// Input is all that the choice depends on.
type Input struct {
	ParentImage  string   // that the user names, "" for none
	Version      string   // of TensorFlow that the caller names, "" for none
	Requirements []string // lines of requirements.txt, as PEP 508 writes them; others are passed over
	Local        Local
	GPU          bool   // an accelerator is a GPU
	KaggleImage  string // value of the environment variable KAGGLE_DOCKER_IMAGE
}

// Local is what the Python environment of the caller has; a zero field is not there or not known.
type Local struct {
	TensorFlow string // version, as tf.__version__ or the package's metadata has it
	Python     string // "3.11" or "3.11.7"
}

// Image is a parent image.
type Image struct {
	Ref string
	// Fallback is taken, with FallbackWarning, when the tag of Ref does not exist; both are "" where a
	// missing image is an error.
	Fallback, FallbackWarning string
	Python                    string // X.Y that the image of Ref has, "" when it is not known
	Reason                    string // why it was chosen, in words
}

// Severity says whether the image can be used all the same.
type Severity int

const (
	// Warning is about something that is probably not what was meant.
	Warning Severity = iota
	// Error is about something that has to be decided by the user.
	Error
)

// Field says what of an [Input] a [Finding] is about.
type Field string

// The parts of an input that findings are about.
const (
	FieldParentImage Field = "parent_image"
	FieldVersion     Field = "version"
	FieldRequirement Field = "requirements" // the one with the index Finding.Requirement
	FieldLocal       Field = "local"
)

// Finding is one thing that is wrong or doubtful in an [Input].
type Finding struct {
	Severity    Severity
	Field       Field
	Requirement int    // index in Input.Requirements where Field is FieldRequirement, else 0
	Msg         string // what is wrong
	Hint        string // what to do about it, "" when Msg says it already
}

// parenting is the state of one [Parent].
type parenting struct {
	in       Input
	asked    []asked
	findings []Finding
}

// Parent chooses the parent image. It is of use when no finding is an [Error].
func Parent(in Input) (Image, []Finding) {
	p := &parenting{in: in}
	p.asked = readRequirements(in.Requirements)
	p.checkVariants()
	img := p.choose()
	for _, f := range p.findings {
		if f.Severity == Error {
			return Image{}, p.findings
		}
	}
	return img, p.findings
}

func (p *parenting) add(s Severity, f Field, index int, msg, hint string) {
	p.findings = append(p.findings, Finding{Severity: s, Field: f, Requirement: index, Msg: msg, Hint: hint})
}

func (p *parenting) choose() Image {
	switch {
	case p.in.ParentImage != "":
		p.checkNamed(FieldParentImage, p.in.ParentImage)
		return Image{Ref: p.in.ParentImage, Reason: "parent_image names it"}
	case p.in.KaggleImage != "":
		return Image{Ref: p.in.KaggleImage, Reason: "KAGGLE_DOCKER_IMAGE names it"}
	case p.in.Version != "":
		r, ok := readRelease(p.in.Version)
		if !ok {
			p.add(Error, FieldVersion, 0, fmt.Sprintf("%q is not a version of TensorFlow", p.in.Version), "write it in full, e.g. 2.18.0")
			return Image{}
		}
		p.checkReplaced(p.in.Version, r)
		p.checkPython(r, Warning)
		return p.image(r, fmt.Sprintf("TensorFlow %s was asked for", p.in.Version))
	}
	if img, ok := p.pinned(); ok {
		return img
	}
	if img, ok := p.local(); ok {
		return img
	}
	return Image{Ref: latest(p.in.GPU), Reason: p.whyLatest()}
}

// pinned is the image of the version that a requirement pins.
func (p *parenting) pinned() (Image, bool) {
	var chosen asked
	var r release
	for _, a := range p.asked {
		if !a.pins {
			continue
		}
		if chosen.text != "" && a.release.tag != r.tag {
			p.add(Error, FieldRequirement, a.index, fmt.Sprintf("%q and %q pin two versions of TensorFlow", chosen.text, a.text), "remove one")
			return Image{}, true
		}
		if chosen.text == "" {
			chosen, r = a, a.release
		}
	}
	if chosen.text == "" {
		return Image{}, false
	}
	p.checkPython(r, Warning)
	return p.image(r, fmt.Sprintf("the requirement %q asks for it", chosen.text)), true
}

// local is the image of what the caller has installed, where the requirements let that in.
func (p *parenting) local() (Image, bool) {
	if p.in.Local.TensorFlow == "" {
		return Image{}, false
	}
	r, ok := readRelease(p.in.Local.TensorFlow)
	if !ok {
		p.add(Warning, FieldLocal, 0, fmt.Sprintf("the local TensorFlow has the version %q, of which there is no image", p.in.Local.TensorFlow),
			"name a parent_image")
		return Image{}, false
	}
	for _, a := range p.asked {
		if !r.nightly && !python.Allows(a.spec, p.in.Local.TensorFlow) {
			p.add(Warning, FieldRequirement, a.index, fmt.Sprintf("%q does not let the local TensorFlow %s in, so it does not choose the parent image", a.text, p.in.Local.TensorFlow),
				"pin the version that is meant, e.g. tensorflow==2.18.0")
			return Image{}, false
		}
	}
	p.checkPython(r, Error)
	return p.image(r, fmt.Sprintf("TensorFlow %s is installed locally", p.in.Local.TensorFlow)), true
}

func (p *parenting) whyLatest() string {
	if p.in.Local.TensorFlow != "" {
		return "the local TensorFlow is of no use for it, and nothing pins a version"
	}
	return "nothing names a version of TensorFlow, and none is installed locally"
}

// image is the official image of a release, with the newest one to fall back on.
func (p *parenting) image(r release, reason string) Image {
	img := Image{Ref: r.ref(p.in.GPU), Fallback: latest(p.in.GPU), Python: r.python(), Reason: reason}
	img.FallbackWarning = fmt.Sprintf("there is no image %s; %s is taken, whose versions of TensorFlow and Python may be others. "+
		"If that breaks the program, name a parent_image (not every patch release has an image)", img.Ref, img.Fallback)
	return img
}

// checkNamed is about images that are named and cannot use the GPU.
func (p *parenting) checkNamed(f Field, ref string) {
	name, tag, ok := strings.Cut(strings.TrimPrefix(ref, "docker.io/"), ":")
	if p.in.GPU && ok && name == repository && !strings.Contains(tag, "gpu") && !strings.Contains(tag, "@") {
		p.add(Warning, f, 0, fmt.Sprintf("%q has no CUDA, and an accelerator is a GPU", ref), fmt.Sprintf("take %q", ref+"-gpu"))
	}
}

// checkReplaced is about a requirement that brings another TensorFlow than the image has.
func (p *parenting) checkReplaced(version string, r release) {
	for _, a := range p.asked {
		if !r.nightly && !python.Allows(a.spec, version) {
			p.add(Warning, FieldRequirement, a.index, fmt.Sprintf("%q replaces the TensorFlow %s of the parent image", a.text, version),
				"ask for the same version in both places")
		}
	}
}

// checkVariants is about packages without CUDA where a GPU is used: they would replace the image's.
func (p *parenting) checkVariants() {
	for _, a := range p.asked {
		if p.in.GPU && strings.HasSuffix(a.name, "-cpu") {
			p.add(Warning, FieldRequirement, a.index, fmt.Sprintf("%q has no CUDA, and an accelerator is a GPU", a.text),
				fmt.Sprintf("write %s", strings.TrimSuffix(a.name, "-cpu")))
		}
	}
}

// checkPython compares the local Python with the image's.
func (p *parenting) checkPython(r release, s Severity) {
	have, want := minor(p.in.Local.Python), r.python()
	if have == "" || want == "" || have == want {
		return
	}
	hint := fmt.Sprintf("use Python %s locally, or name a parent_image with Python %s", want, have)
	if s == Error {
		hint += ", or name the version of TensorFlow to take its image all the same"
	}
	p.add(s, FieldLocal, 0, fmt.Sprintf("the local Python is %s, the image %s has Python %s", have, r.ref(p.in.GPU), want), hint)
}

// minor is X.Y of a Python version, "" when it is none.
func minor(version string) string {
	parts := strings.Split(version, ".")
	if len(parts) < 2 || parts[0] == "" || parts[1] == "" {
		return ""
	}
	return parts[0] + "." + parts[1]
}
