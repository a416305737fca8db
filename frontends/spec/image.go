package spec

import (
	"maps"
	"slices"

	"github.com/ibuild/ibuild/llb"
)

// Image says what a container image is made of. It is a value: each With… method returns a new one, and
// neither the receiver nor what was given as an argument is shared with it. The zero value is the Debian
// base with the newest supported Python.
type Image struct {
	base                string // reference; "" is the Debian Python base
	python              string // X.Y of the Debian base; "" is the newest
	registry, name, tag string
	platforms           []string
	layers              []Layer
	entrypoint, cmd     command
	labels              map[string]string
	secrets             []Secret
	plainCredentials    bool
	allFiles            bool  // no standard ignores
	marks               marks // where the YAML says all this; never changed after it was read
}

// command is an entry point or a command; one that is not set keeps the base's.
type command struct {
	set  bool
	args []string
}

// Layer is one step of an image: [Apt], [Pip], [Commands], [Env], [Workdir], [User], [SourceFolder],
// [SourceFile] or [Copy].
type Layer interface {
	// kind is the layer's name in YAML.
	kind() string
	// clone shares nothing that can be changed.
	clone() Layer
	// lower checks the layer and adds its steps.
	lower(l *lowering)
	// mark is where the YAML has it.
	mark() mark
}

// DebianBase starts from Debian with the given Python ("3.12"); "" is the newest supported one.
func DebianBase(python string) Image { return Image{python: python} }

// From starts from an existing image.
func From(ref string) Image {
	if ref == "" {
		ref = scratch
	}
	return Image{base: ref}
}

// scratch is the name of the empty image.
const scratch = "scratch"

// clone copies everything that a With… method may change.
func (img Image) clone() Image {
	img.platforms = slices.Clone(img.platforms)
	img.secrets = slices.Clone(img.secrets)
	img.labels = maps.Clone(img.labels)
	img.entrypoint.args = slices.Clone(img.entrypoint.args)
	img.cmd.args = slices.Clone(img.cmd.args)
	img.layers = slices.Clone(img.layers) // layers themselves are never changed
	return img
}

// With adds layers at the end.
func (img Image) With(layers ...Layer) Image {
	img = img.clone()
	for _, l := range layers {
		img.layers = append(img.layers, l.clone())
	}
	return img
}

// WithAptPackages adds a layer of Debian packages.
func (img Image) WithAptPackages(packages ...string) Image {
	return img.With(Apt{Packages: packages})
}

// PipOptions say how Python packages are installed.
type PipOptions struct {
	IndexURL       string   // index that replaces PyPI
	ExtraIndexURLs []string // indexes that are looked at first
	Pre            bool     // pre-releases are fine
	WheelsOnly     bool     // no package is built from source
	ExtraArgs      []string // more arguments for uv pip install
	Secrets        []SecretMount
}

// WithPipPackages adds a layer of Python packages, each a requirement as PEP 508 writes it.
func (img Image) WithPipPackages(o PipOptions, packages ...string) Image {
	return img.With(Pip{PipOptions: o, Packages: packages})
}

// WithRequirements adds a layer of the Python packages that a requirements file names.
func (img Image) WithRequirements(file string, o PipOptions) Image {
	return img.With(Pip{PipOptions: o, Requirements: file})
}

// WithCommands adds shell commands, one step each.
func (img Image) WithCommands(commands ...string) Image {
	return img.With(Commands{Commands: commands})
}

// WithEnv sets environment variables, as they are.
func (img Image) WithEnv(vars map[string]string) Image { return img.With(Env{Vars: vars}) }

// WithWorkdir sets the working folder of what follows and of the image.
func (img Image) WithWorkdir(path string) Image { return img.With(Workdir{Path: path}) }

// WithUser sets the user of the commands that follow and of the image.
func (img Image) WithUser(name string) Image { return img.With(User{Name: name}) }

// WithSourceFolder brings a folder into the image. With a dst the folder becomes dst, without one it
// keeps its name in the workdir.
func (img Image) WithSourceFolder(src, dst string) Image {
	return img.With(SourceFolder{Src: src, Dst: dst})
}

// WithSourceFile brings a file into the image. It keeps its name where dst is empty or ends in a slash.
func (img Image) WithSourceFile(src, dst string) Image {
	return img.With(SourceFile{Src: src, Dst: dst})
}

// WithEntrypoint sets the entry point and clears the base's command; no arguments clear both.
func (img Image) WithEntrypoint(args ...string) Image {
	img = img.clone()
	img.entrypoint = command{set: true, args: slices.Clone(args)}
	return img
}

// WithCmd sets the command; no arguments clear it.
func (img Image) WithCmd(args ...string) Image {
	img = img.clone()
	img.cmd = command{set: true, args: slices.Clone(args)}
	return img
}

// WithLabels adds labels.
func (img Image) WithLabels(labels map[string]string) Image {
	img = img.clone()
	if img.labels == nil {
		img.labels = map[string]string{}
	}
	maps.Copy(img.labels, labels)
	return img
}

// WithPlatforms sets the platforms that the image is made for ("linux/arm64").
func (img Image) WithPlatforms(platforms ...string) Image {
	img = img.clone()
	img.platforms = slices.Clone(platforms)
	return img
}

// WithRegistry sets where the image is pushed to: host[:port][/path].
func (img Image) WithRegistry(registry string) Image {
	img = img.clone()
	img.registry = registry
	return img
}

// WithName sets the image's name in its registry.
func (img Image) WithName(name string) Image {
	img = img.clone()
	img.name = name
	return img
}

// WithTag sets the image's tag.
func (img Image) WithTag(tag string) Image {
	img = img.clone()
	img.tag = tag
	return img
}

// WithSecrets declares secrets, so that layers can mount them by their id alone.
func (img Image) WithSecrets(secrets ...Secret) Image {
	img = img.clone()
	img.secrets = append(img.secrets, secrets...)
	return img
}

// WithPlainCredentials lets values pass that look like credentials. They end up in the image.
func (img Image) WithPlainCredentials() Image {
	img = img.clone()
	img.plainCredentials = true
	return img
}

// WithAllFiles switches the standard ignores off.
func (img Image) WithAllFiles() Image {
	img = img.clone()
	img.allFiles = true
	return img
}

// mark is a place in the YAML; the zero value is none.
type mark struct{ line, column, last int }

func (m mark) lines() llb.Lines { return llb.Lines{First: m.line, Last: m.last} }

// hull is the range of lines that covers both.
func (m mark) hull(o mark) mark {
	switch {
	case m.line == 0:
		return o
	case o.line == 0:
		return m
	case o.line < m.line:
		m, o = o, m
	}
	m.last = max(m.last, o.last)
	return m
}
