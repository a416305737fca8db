package spec

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/frontends/spec/project"
	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/llb"
)

// Pip is a layer of Python packages, installed in one step.
type Pip struct {
	PipOptions
	Packages []string // requirements (PEP 508)
	// Requirements is the path of a requirements file in the spec's folder, "" for none.
	Requirements string
	// Edited are texts that are installed in place of what requirements files say, by the paths of these in the spec's
	// folder. What the files say is checked all the same. It is for callers in Go: YAML has no word for it.
	Edited map[string][]byte
	placed
}

// PipOptions say how Python packages are installed.
type PipOptions struct {
	IndexURL       string   // index that replaces PyPI, with "name=" in front where it needs one for its credentials
	ExtraIndexURLs []string // indexes that are looked at first
	Pre            bool     // pre-releases are fine
	WheelsOnly     bool     // no package is built from source
	ExtraArgs      []string // more arguments for uv pip install
	Secrets        []Secret
}

// WithPipPackages adds a layer of Python packages, each a requirement as PEP 508 writes it.
func (img Image) WithPipPackages(o PipOptions, packages ...string) Image {
	return img.With(Pip{PipOptions: o, Packages: packages})
}

func (p Pip) kind() string {
	if len(p.Packages) == 0 && p.Requirements != "" {
		return "requirements"
	}
	return "pip"
}

func (p Pip) clone() Layer {
	p.Packages, p.PipOptions, p.Edited = slices.Clone(p.Packages), p.PipOptions.clone(), maps.Clone(p.Edited)
	return p
}

// none says that nothing is said.
func (o PipOptions) none() bool {
	return o.IndexURL == "" && !o.Pre && !o.WheelsOnly && len(o.ExtraIndexURLs)+len(o.ExtraArgs)+len(o.Secrets) == 0
}

func (o PipOptions) clone() PipOptions {
	o.Secrets, o.ExtraIndexURLs, o.ExtraArgs = slices.Clone(o.Secrets), slices.Clone(o.ExtraIndexURLs), slices.Clone(o.ExtraArgs)
	return o
}

func (p Pip) yaml() *yaml.Node {
	if p.kind() == "requirements" {
		return encode(requirementsForm(&p))
	}
	return encode(&p)
}

func (p *Pip) short(t table) field {
	return t.texts("packages", "requirements as PEP 508 writes them, never seen by a shell", &p.Packages)
}

func (p *Pip) fields(t table) []field {
	return append([]field{p.short(t), t.raw("requirements", "a requirements file that is installed in the same step", &p.Requirements)}, p.PipOptions.fields(t)...)
}

func (o *PipOptions) fields(t table) []field {
	return []field{
		t.raw("index_url", "the index that replaces PyPI: a URL, or name=URL", &o.IndexURL),
		t.texts("extra_index_urls", "indexes that are looked at before it: URLs, or name=URL", &o.ExtraIndexURLs),
		t.flag("pre", "pre-releases are fine", &o.Pre),
		t.flag("wheels_only", "nothing is built from source; the step may then run beside apt steps", &o.WheelsOnly),
		t.arguments("extra_args", "more arguments for uv pip install", &o.ExtraArgs),
		t.secrets(&o.Secrets),
	}
}

func (p Pip) lower(l *lowering) {
	if len(p.Packages) == 0 && p.Requirements == "" {
		l.empty(p.mark(), "no packages are named")
		return
	}
	if project, ok := p.lockedProject(l); ok {
		project.lower(l)
		return
	}
	l.checkTwice(p.Packages, p.marks)
	mounts, env := p.checkOptions(l)
	step := llb.Pip{
		Index: p.IndexURL, ExtraIndexes: slices.Clone(p.ExtraIndexURLs), Pre: p.Pre, WheelsOnly: p.WheelsOnly, Args: slices.Clone(p.ExtraArgs),
		Backend: l.gpu.backend[l.index], Lines: l.lines(p.mark()),
	}
	for i, text := range p.Packages {
		text, more := p.lowerPackage(l, text, p.marks.at("packages", i))
		step.Packages = append(step.Packages, text)
		step.Mounts = append(step.Mounts, more...)
	}
	if p.Requirements != "" {
		p.lowerFile(l, &step)
	}
	more := l.gpu.packages[l.index]
	step.Packages = append(step.Packages, more...)
	step.Title = p.title(more)
	step.Mounts = append(step.Mounts, mounts...)
	if step.WheelsOnly && slices.ContainsFunc(step.Mounts, func(m llb.Mount) bool { return m.Kind == llb.LocalMount && !m.File }) {
		l.fail(p.marks.at("wheels_only"), "wheels_only, and a local folder that has to be built", "bring it in a layer of its own")
	}
	exec := step.Step()
	exec.Env = append(exec.Env, env...)
	l.steps = append(l.steps, exec)
}

// checkOptions checks what is said beside the packages, and gives what the step mounts for it.
func (p Pip) checkOptions(l *lowering) (mounts []llb.Mount, env []string) {
	p.checkIndexes(l)
	p.checkArgs(l)
	p.checkSecretIndexes(l)
	return l.mountsAs(p.Secrets, p.mark(), uvCredentials)
}

// title is what progress and history call the step.
func (p Pip) title(more []string) string {
	list := slices.Concat(p.Packages, more)
	if p.Requirements != "" {
		list = append([]string{path.Clean(p.Requirements)}, list...)
	}
	return p.kind() + ": " + strings.Join(list, " ")
}

// lowerPackage checks one requirement. One that is a path is mounted, and named by where it is in the step.
func (p Pip) lowerPackage(l *lowering, text string, at mark) (string, []llb.Mount) {
	p.checkPackage(l, text, at)
	ref, ok := python.ParseLocal(text)
	if !ok || l.folder == nil || strings.HasPrefix(text, "-") {
		return text, nil
	}
	locals, err := l.tree().Resolve(ref, false)
	if !l.collect(err, at) {
		return text, nil
	}
	return mountedAt(text, path.Join(requirementsDir, path.Clean(ref.Path))), l.localMounts(requirementsDir, locals, at)
}

// mountedAt is a requirement that is a path, with the path that it has in the step. Extras, a digest and a
// marker after it stay.
func mountedAt(text, target string) string {
	body, marker, marked := strings.Cut(text, ";")
	name := ""
	if before, after, direct := strings.Cut(body, "@"); direct && !strings.ContainsAny(before, "/:") {
		name, body = strings.TrimSpace(before), after
	}
	body, digest, hashed := strings.Cut(strings.TrimSpace(body), "#")
	extras := regexp.MustCompile(`\[[^\[\]]*\]$`).FindString(body)
	out := target + extras
	if location := (&url.URL{Scheme: "file", Path: target}).String(); name != "" || hashed || location != "file://"+target {
		out = location + extras
	}
	if name != "" {
		out = name + " @ " + out
	}
	if hashed {
		out += "#" + digest
	}
	if marked {
		out += " ;" + marker
	}
	return out
}

// checkSecretIndexes compares the indexes that secrets are for with those of the layer.
func (p Pip) checkSecretIndexes(l *lowering) {
	var indexes []project.Index
	for _, text := range append([]string{p.IndexURL}, p.ExtraIndexURLs...) {
		if name, _, named := strings.Cut(text, "="); named && indexName(name) {
			indexes = append(indexes, project.Index{Name: name})
		}
	}
	l.checkSecretIndexes(p.Secrets, indexes, "the step has no index with a name: write index_url: name=https://host/path")
}

func (p Pip) checkPackage(l *lowering, text string, at mark) {
	switch {
	case strings.HasPrefix(text, "-"):
		l.fail(at, fmt.Sprintf("%q is an option, not a package", text), "options go into extra_args")
		return
	case credential.InURL(text) && !l.img.plainCredentials:
		l.fail(at, "the package's URL has a password in it", "mount the password as a secret, e.g. in a .netrc file")
		return
	case python.IsLocal(text):
		return // it is looked up
	case control(text):
		l.fail(at, fmt.Sprintf("%q has a control character in it", text), "")
		return
	}
	_, err := python.ParseRequirement(text)
	var se *python.SyntaxError
	if errors.As(err, &se) {
		l.fail(at, fmt.Sprintf("%q is not a requirement: %s", text, se.Msg), "write e.g. numpy>=2 (PEP 508)")
	}
}

func (p Pip) checkIndexes(l *lowering) {
	check := func(text string, at mark) {
		if name, rest, named := strings.Cut(text, "="); named && indexName(name) {
			text = rest
		}
		u, err := url.Parse(text)
		switch {
		case credential.InURL(text) && !l.img.plainCredentials:
			l.fail(at, "the index URL has a password in it", "mount the password as a secret, e.g. in a .netrc file")
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || control(text):
			l.fail(at, fmt.Sprintf("%q is not the URL of a package index", credential.WithoutPassword(text)), "write https://host/path, or name=https://host/path")
		}
	}
	if p.IndexURL != "" {
		check(p.IndexURL, p.marks.at("index_url"))
	}
	for i, u := range p.ExtraIndexURLs {
		check(u, p.marks.at("extra_index_urls", i))
	}
}

// checkArgs refuses arguments that name files: the step does not have them.
func (p Pip) checkArgs(l *lowering) {
	for i, a := range p.ExtraArgs {
		at := p.marks.at("extra_args", i)
		if i == 0 && !strings.HasPrefix(a, "-") {
			l.fail(at, fmt.Sprintf("extra_args begin with %q, which is not an option", a), "packages go into packages")
			continue
		}
		name, _, _ := strings.Cut(a, "=")
		switch {
		case slices.Contains([]string{"-r", "--requirement", "--requirements", "-c", "--constraint", "--constraints", "-e", "--editable"}, name):
			l.fail(at, fmt.Sprintf("%s in extra_args names a file, which the step does not have", name), "use a requirements layer")
		case control(a):
			l.fail(at, fmt.Sprintf("%q in extra_args has a control character in it", a), "")
		case name == "--":
			l.fail(at, `"--" in extra_args would turn options into packages`, "")
		}
		l.checkCredential("an argument in extra_args", credential.InText(a), at)
	}
}
