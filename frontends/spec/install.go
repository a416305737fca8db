package spec

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/llb"
)

// requirementsDir is where requirements files are while they are installed, each below it with the
// path that it has in the spec's folder, so that they find each other.
const requirementsDir = "/run/ibuild/requirements"

// Apt is a layer of Debian packages.
type Apt struct {
	Packages []string // name, name=version, name/suite, name:architecture
	Secrets  []SecretMount
	marks    marks
}

func (a Apt) kind() string { return "apt" }
func (a Apt) mark() mark   { return a.marks.at("") }
func (a Apt) clone() Layer {
	a.Packages, a.Secrets = slices.Clone(a.Packages), slices.Clone(a.Secrets)
	return a
}

func (a Apt) lower(l *lowering) {
	if len(a.Packages) == 0 {
		l.empty(a.mark(), "the list of packages is empty")
		return
	}
	l.checkTwice(a.Packages, a.marks)
	for i, p := range a.Packages {
		// apt takes "name-" as "remove name".
		name, _, _ := strings.Cut(p, "=")
		if aptName(p) && !strings.HasSuffix(name, "-") {
			continue
		}
		hint := "write name, name=version, name/suite or name:architecture"
		if lower := strings.ToLower(p); lower != p && aptName(lower) {
			hint = fmt.Sprintf("did you mean %q?", lower)
		}
		l.fail(a.marks.at("packages", i), fmt.Sprintf("%q is not a Debian package", p), hint)
	}
	mounts := l.mounts(a.Secrets)
	l.steps = append(l.steps, llb.Apt(a.Packages, l.layer.lines(), mounts...))
}

// Pip is a layer of Python packages, installed in one step.
type Pip struct {
	PipOptions
	Packages []string // requirements (PEP 508)
	// Requirements is the path of a requirements file in the spec's folder, "" for none.
	Requirements string
	marks        marks
}

func (p Pip) kind() string {
	if len(p.Packages) == 0 && p.Requirements != "" {
		return "requirements"
	}
	return "pip"
}
func (p Pip) mark() mark { return p.marks.at("") }
func (p Pip) clone() Layer {
	p.Packages, p.Secrets = slices.Clone(p.Packages), slices.Clone(p.Secrets)
	p.ExtraIndexURLs, p.ExtraArgs = slices.Clone(p.ExtraIndexURLs), slices.Clone(p.ExtraArgs)
	return p
}

func (p Pip) lower(l *lowering) {
	if len(p.Packages) == 0 && p.Requirements == "" {
		l.empty(p.mark(), "no packages are named")
		return
	}
	l.checkTwice(p.Packages, p.marks)
	for i, text := range p.Packages {
		p.checkPackage(l, text, p.marks.at("packages", i))
	}
	p.checkIndexes(l)
	p.checkArgs(l)
	mounts := l.mounts(p.Secrets)
	step := llb.Pip{
		Packages: slices.Clone(p.Packages), Index: p.IndexURL, ExtraIndexes: slices.Clone(p.ExtraIndexURLs),
		Pre: p.Pre, WheelsOnly: p.WheelsOnly, Args: slices.Clone(p.ExtraArgs), Lines: l.layer.lines(),
	}
	if p.Requirements != "" {
		for _, f := range p.files(l) {
			step.Mounts = append(step.Mounts, llb.Mount{Kind: llb.DataMount, Target: path.Join(requirementsDir, f.Path), Data: f.Data})
		}
		step.Requirements = path.Join(requirementsDir, p.Requirements)
		step.Title = p.kind() + ": " + strings.Join(append([]string{p.Requirements}, p.Packages...), " ")
	}
	step.Mounts = append(step.Mounts, mounts...)
	l.steps = append(l.steps, step.Step())
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
		l.fail(at, fmt.Sprintf("local packages (%q) are not supported yet", text), "publish the package to an index or name it by a URL")
		return
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
		u, err := url.Parse(text)
		switch {
		case credential.InURL(text) && !l.img.plainCredentials:
			l.fail(at, "the index URL has a password in it", "mount the password as a secret, e.g. in a .netrc file")
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || control(text):
			l.fail(at, fmt.Sprintf("%q is not the URL of a package index", credential.WithoutPassword(text)), "write https://host/path")
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
		case name == "--":
			l.fail(at, `"--" in extra_args would turn options into packages`, "")
		}
		l.checkCredential("an argument in extra_args", credential.InText(a), at)
	}
}

// files reads the requirements file and all that it names. Findings in it point into it.
func (p Pip) files(l *lowering) []python.File {
	at := p.marks.at("requirements")
	if !l.checkSource(p.Requirements, at) {
		return nil
	}
	switch base := path.Base(p.Requirements); {
	case base == "uv.lock" || base == "poetry.lock" || base == "pyproject.toml" || strings.HasPrefix(base, "pylock."):
		l.fail(at, fmt.Sprintf("requirements from %s are not supported yet", base), "export a requirements.txt, e.g. uv export -o requirements.txt")
		return nil
	case path.Ext(base) != ".txt" && path.Ext(base) != ".in":
		l.fail(at, fmt.Sprintf("the requirements file %q must end in .txt or .in", p.Requirements), "")
		return nil
	}
	if l.folder == nil {
		return nil
	}
	files, err := python.Tree{FS: l.folder.root.FS(), Show: l.folder.show}.Read(path.Clean(p.Requirements))
	var found source.Errors
	found.Collect(err)
	for _, e := range found {
		if e.File == "" {
			l.fail(at, e.Msg, e.Hint)
		} else {
			l.errs = append(l.errs, e)
		}
	}
	return files
}

// checkTwice refuses the same text twice in one list.
func (l *lowering) checkTwice(list []string, m marks) {
	first := map[string]bool{}
	for i, s := range list {
		if first[s] {
			l.fail(m.at("packages", i), fmt.Sprintf("%q is listed twice", s), "")
		}
		first[s] = true
	}
}

// Commands is a layer of shell commands, one step each.
type Commands struct {
	Commands []string // run by /bin/sh -c
	Secrets  []SecretMount
	marks    marks
}

func (c Commands) kind() string { return "commands" }
func (c Commands) mark() mark   { return c.marks.at("") }
func (c Commands) clone() Layer {
	c.Commands, c.Secrets = slices.Clone(c.Commands), slices.Clone(c.Secrets)
	return c
}

func (c Commands) lower(l *lowering) {
	if len(c.Commands) == 0 {
		l.empty(c.mark(), "the list of commands is empty")
	}
	mounts := l.mounts(c.Secrets)
	for i, text := range c.Commands {
		at := c.marks.at("commands", i)
		word, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
		switch {
		case word == "":
			l.fail(at, "the command is empty", "")
		case word == "RUN":
			l.fail(at, "a command begins with RUN, as in a Dockerfile", fmt.Sprintf("write %q", strings.TrimSpace(rest)))
		case strings.ContainsRune(text, 0):
			l.fail(at, "the command has a NUL character in it", "")
		}
		l.checkCredential("the command", credential.InText(text), at)
		l.steps = append(l.steps, llb.Command(text, at.lines(), slices.Clone(mounts)...))
	}
}

// Env is a layer of environment variables. Nothing is expanded, so their order means nothing.
type Env struct {
	Vars  map[string]string
	marks marks
}

func (e Env) kind() string { return "env" }
func (e Env) mark() mark   { return e.marks.at("") }
func (e Env) clone() Layer {
	e.Vars = maps.Clone(e.Vars)
	return e
}

func (e Env) lower(l *lowering) {
	for _, k := range slices.Sorted(maps.Keys(e.Vars)) {
		v, at := e.Vars[k], e.marks.at("vars", k)
		if !envKey(k) {
			l.fail(at, fmt.Sprintf("%q is not the name of an environment variable", k), "write letters, digits and _, no digit first")
		}
		if strings.ContainsRune(v, 0) {
			l.fail(at, fmt.Sprintf("the value of %s has a NUL character in it", k), "")
		}
		l.checkCredential("the value of "+k, credential.InVariable(k, v), at)
		l.steps = append(l.steps, llb.Env{Lines: at.lines(), Key: k, Value: v})
	}
}
