package spec

import (
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
	"github.com/ibuild/ibuild/llb"
)

// defaultChannel is where packages come from when nothing is said: the one whose use is free for everybody.
const defaultChannel = "conda-forge"

// Conda is a layer of conda packages, installed by micromamba into the environment at [llb.CondaPrefix]. A
// second one adds to the same environment. Its programs come first on PATH.
//
// The environment has a Python, which is the image's from there on: later Python layers install into it. It
// is the one that the packages name, else that of python_version, else the newest. So Python layers come after
// the first conda layer. With NoPython the image's own Python stays what it is, and the environment is there
// for other programs.
//
// Packages that set variables when an environment is activated (in etc/conda/activate.d) find nobody who does
// that: an image says such variables in an env layer.
type Conda struct {
	Packages []string // match specs: name, name=version, channel::name
	Channels []string // names or URLs, the first one counts most; empty is those of File, or conda-forge
	File     string   // environment.yml in the spec's folder, "" for none; uv installs its pip list
	NoPython bool     // the environment gets no Python
	// Secrets of the step. A .netrc, or a file at /root/.mamba/auth/authentication.json, is how micromamba logs
	// in to a private channel.
	Secrets []Secret
	placed
}

// WithCondaPackages adds a layer of conda packages; no channels are conda-forge.
func (img Image) WithCondaPackages(channels []string, packages ...string) Image {
	return img.With(Conda{Packages: packages, Channels: channels})
}

func (c Conda) kind() string { return "conda" }
func (c Conda) clone() Layer {
	c.Packages, c.Channels, c.Secrets = slices.Clone(c.Packages), slices.Clone(c.Channels), slices.Clone(c.Secrets)
	return c
}
func (c Conda) yaml() *yaml.Node { return encode(&c) }

func (c *Conda) short(t table) field {
	return t.texts("packages", "conda packages: name, name=version or channel::name", &c.Packages)
}

func (c *Conda) fields(t table) []field {
	return []field{
		c.short(t),
		t.texts("channels", "channels, the first one counts most; absent: those of the file, or conda-forge", &c.Channels),
		t.raw("file", "an environment.yml", &c.File),
		t.notFlag("python", "false: the environment gets no Python, and the image keeps its own", &c.NoPython),
		t.secrets(&c.Secrets),
	}
}

func (c Conda) lower(l *lowering) {
	if len(c.Packages) == 0 && c.File == "" {
		l.empty(c.mark(), "no packages are named")
		return
	}
	l.checkTwice(c.Packages, c.marks)
	for i, p := range c.Packages {
		c.checkPackage(l, p, c.marks.at("packages", i))
	}
	for i, channel := range c.Channels {
		l.checkChannel(channel, c.marks.at("channels", i))
	}
	mounts, env := l.mounts(c.Secrets)
	file, ok := c.environment(l)
	if !ok {
		return
	}
	step := llb.Conda{
		Packages: slices.Concat(c.Packages, file.Packages), Channels: c.channels(file),
		Env: slices.Concat(l.condaEnv(), env), Mounts: mounts, Lines: l.lines(l.layer),
	}
	if c.File != "" {
		step.Title = "conda: " + strings.Join(append([]string{c.File}, c.Packages...), " ")
	}
	had := l.envIs("VIRTUAL_ENV", llb.CondaPrefix)
	step.Packages = append(step.Packages, c.choosePython(l, step.Packages, had)...)
	l.steps = append(l.steps, step.Install())
	c.activate(l, had)
	c.lowerFile(l, file, mounts, env)
}

// choosePython notes which Python the environment has, and returns what has to be added to the packages so
// that it has one.
func (c Conda) choosePython(l *lowering, packages []string, had bool) []string {
	i := slices.IndexFunc(packages, func(p string) bool {
		name, _ := condaName(p)
		return name == "python"
	})
	switch {
	case c.NoPython && i >= 0:
		l.fail(c.marks.at("python"), fmt.Sprintf("python: false, and %q is one of the packages", packages[i]), "keep one of them")
		return nil
	case c.NoPython:
		return nil
	}
	if !had {
		l.checkFirstPython(c.mark())
	}
	if i >= 0 {
		l.python = pythonOf(packages[i])
		return nil
	}
	switch {
	case had:
		return nil
	case l.python == "":
		return []string{"python"}
	}
	return []string{"python=" + l.python}
}

// pythonOf is the X.Y that a match spec for python allows, "" when that is more than one.
func pythonOf(spec string) string {
	if m := regexp.MustCompile(`python[ ]*={0,2}[ ]*([0-9]+\.[0-9]+)(?:[.=]|$)`).FindStringSubmatch(spec); m != nil {
		return m[1]
	}
	return ""
}

// checkFirstPython refuses Python packages before a layer that brings another Python.
func (l *lowering) checkFirstPython(at mark) {
	if !slices.ContainsFunc(l.steps, installsPython) {
		return
	}
	hint := "put this layer before them"
	if !slices.ContainsFunc(l.img.layers[:l.index], func(before Layer) bool {
		return slices.Contains([]string{"pip", "requirements", "uv_project", "poetry_project"}, before.kind())
	}) {
		hint = "what the start and platform_packages install comes before all layers: name these packages in a layer after this one"
	}
	l.fail(at, "Python packages are installed before this layer, which brings another Python that does not have them", hint)
}

// installsPython says whether a step has put Python packages into the image. Setting up a virtual environment
// is no such step, nor are the libraries of CUDA: the loader finds them by their path, not Python.
func installsPython(s llb.Step) bool {
	e, ok := s.(llb.Exec)
	return ok && (e.SystemPython || e.Native == llb.NativeUV) && !strings.HasPrefix(e.Title, "cuda: ")
}

// activate makes the environment the image's own, once.
func (c Conda) activate(l *lowering, hadPython bool) {
	steps := llb.CondaActivate(llb.CondaPrefix, !c.NoPython && !hadPython, l.lines(l.layer))
	if l.envIs("CONDA_PREFIX", llb.CondaPrefix) {
		steps = slices.DeleteFunc(steps, func(s llb.Step) bool {
			e, ok := s.(llb.Env)
			return !ok || e.Key != "VIRTUAL_ENV"
		})
	}
	l.steps = append(l.steps, steps...)
}

// envIs says whether the steps so far leave a variable at a value.
func (l *lowering) envIs(key, value string) bool {
	for _, s := range slices.Backward(l.steps) {
		if e, ok := s.(llb.Env); ok && e.Key == key {
			return e.Value == value
		}
	}
	return false
}

// condaEnv tells conda's tools of the CUDA that the image is for: what they find on the builder is the
// builder's.
func (l *lowering) condaEnv() []string {
	if l.img.cuda == "" {
		return nil
	}
	return []string{"CONDA_OVERRIDE_CUDA=" + l.img.cuda}
}

// channels are those of the layer and then those of the file, in which "nodefaults" only says what is true
// anyway.
func (c Conda) channels(file project.Conda) []string {
	var out []string
	for _, channel := range slices.Concat(c.Channels, file.Channels) {
		if channel != "nodefaults" && !slices.Contains(out, channel) {
			out = append(out, channel)
		}
	}
	if len(out) == 0 {
		return []string{defaultChannel}
	}
	return out
}

func (c Conda) checkPackage(l *lowering, text string, at mark) {
	channel, _, named := strings.Cut(text, "::")
	switch _, ok := condaName(text); {
	case named && (credential.InURL(channel) || tokenURL(channel)) && !l.img.plainCredentials:
		l.fail(at, "the package's channel has a password in it", "mount it as a secret, e.g. in a .netrc file")
	case !ok:
		l.fail(at, fmt.Sprintf("%q is not a conda package", text), "write name, name=version or channel::name")
	}
}

// condaName is the name in a match spec, and whether the spec may be one: what else is in it is conda's to
// check.
func condaName(spec string) (string, bool) {
	if i := strings.LastIndex(spec, "::"); i >= 0 {
		spec = spec[i+2:]
	}
	m := regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_.-]*)(?:$|[ \[=<>!~])`).FindStringSubmatch(spec)
	if m == nil || control(spec) {
		return "", false
	}
	return strings.ToLower(m[1]), true
}

// checkChannel wants the name of a channel or its URL.
func (l *lowering) checkChannel(text string, at mark) {
	u, err := url.Parse(text)
	isURL := strings.Contains(text, "://")
	switch {
	case (credential.InURL(text) || tokenURL(text)) && !l.img.plainCredentials:
		l.fail(at, "the channel's URL has a password or token in it", "mount it as a secret, e.g. in a .netrc file")
	case isURL && err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && !control(text):
	case !isURL && regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)*$`).MatchString(text):
	default:
		l.fail(at, fmt.Sprintf("%q is not a conda channel", credential.WithoutPassword(text)), "write a name such as conda-forge, or https://host/path")
	}
}

// tokenURL says whether a URL has conda's token in its path, as in https://host/t/<token>/channel.
func tokenURL(text string) bool {
	return regexp.MustCompile(`://[^/]+/(?:[^/]+/)*t/[^/]+/`).MatchString(text)
}

// environment reads the layer's file; there may be none.
func (c Conda) environment(l *lowering) (project.Conda, bool) {
	at := c.marks.at("file")
	if c.File == "" {
		return project.Conda{}, true
	}
	if !l.checkSource(c.File, at) || l.folder == nil {
		return project.Conda{}, false
	}
	if ext := path.Ext(c.File); ext != ".yml" && ext != ".yaml" {
		l.fail(at, fmt.Sprintf("the environment file %q must end in .yml or .yaml", c.File), "")
		return project.Conda{}, false
	}
	file, err := project.ReadConda(l.tree(), path.Clean(c.File))
	if !l.collect(err, at) {
		return file, false
	}
	for _, channel := range file.Channels {
		l.checkChannel(channel, at)
	}
	if c.NoPython && len(file.Pip) > 0 {
		l.fail(c.marks.at("python"), fmt.Sprintf("python: false, and %s has a list for pip", l.folder.show(c.File)), "put that list into a pip layer")
	}
	return file, true
}

// lowerFile does what else the file says: its variables, and then its list for pip, as conda has it. The list
// is a requirements file beside the environment file.
func (c Conda) lowerFile(l *lowering, file project.Conda, mounts []llb.Mount, env []string) {
	at := c.marks.at("file")
	for _, key := range slices.Sorted(maps.Keys(file.Env)) {
		if !envKey(key) {
			l.fail(at, fmt.Sprintf("%s: %q is not the name of an environment variable", l.folder.show(c.File), key), "write letters, digits and _, no digit first")
		}
		l.steps = append(l.steps, llb.Env{Lines: l.lines(l.layer), Key: key, Value: file.Env[key]})
	}
	if len(file.Pip) == 0 {
		return
	}
	list := path.Join(requirementsDir, path.Clean(c.File)+".pip.txt")
	step := llb.Pip{
		Title: "conda: pip packages of " + c.File, Requirements: list, Lines: l.lines(l.layer),
		Mounts: []llb.Mount{{Kind: llb.DataMount, Target: list, Data: notEditable([]byte(strings.Join(file.Pip, "\n") + "\n"))}},
	}
	for _, f := range file.Files[1:] {
		f.Data = notEditable(f.Data)
		step.Mounts = append(step.Mounts, llb.Mount{Kind: llb.DataMount, Target: path.Join(requirementsDir, f.Path), Data: f.Data})
	}
	if len(file.Locals) > 0 {
		step.Dir = path.Dir(list)
	}
	step.Mounts = slices.Concat(step.Mounts, l.localMounts(requirementsDir, file.Locals, at), mounts)
	exec := step.Step()
	exec.Env = append(exec.Env, env...)
	l.steps = append(l.steps, exec)
}

// condaFields are flytekit's flat fields.
func (f *flat) condaFields() []field {
	t := table{f.reader, f.conda.marks}
	packages := t.texts("packages", "conda packages", &f.conda.Packages)
	set := packages.set
	packages.name = "conda_packages"
	packages.set = func(k, v *yaml.Node) {
		set(k, v)
		f.conda.marks.set(f.conda.mark().hull(f.span(k, v)))
	}
	channels := t.texts("channels", "conda channels besides conda-forge, which is the first unless it is named here", &f.conda.Channels)
	setChannels := channels.set
	channels.name = "conda_channels"
	channels.set = func(k, v *yaml.Node) {
		f.channelsAt = k
		setChannels(k, v)
	}
	packages.inLayer, channels.inLayer = true, true
	return []field{packages, channels}
}

// addConda adds the layer that the flat fields ask for. flytekit has conda-forge in front of their channels.
func (f *flat) addConda(img *Image) {
	if f.conda.mark().line == 0 {
		if f.channelsAt != nil {
			f.fail(f.channelsAt, "conda_channels has no effect without conda_packages", "layers have channels of their own")
		}
		return
	}
	c := f.conda
	if len(c.Channels) > 0 && !slices.Contains(c.Channels, defaultChannel) {
		c = c.withChannelFirst(defaultChannel)
	}
	c.Secrets = f.forSteps["conda_packages"]
	img.layers = append(img.layers, c)
}

// withChannelFirst keeps the places of the others.
func (c Conda) withChannelFirst(channel string) Conda {
	places := maps.Clone(c.marks)
	for i := range c.Channels {
		places.set(c.marks.at("channels", i), "channels", i+1)
	}
	c.marks, c.Channels = places, slices.Concat([]string{channel}, c.Channels)
	return c
}
