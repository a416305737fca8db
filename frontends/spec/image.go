package spec

import (
	"cmp"
	"maps"
	"slices"

	"github.com/ibuild/ibuild/frontends/source"
)

// Image says what a container image is made of. It is a value: each With… method returns a new one, and
// neither the receiver nor what was given as an argument is shared with it. The zero value is the Debian
// base with the newest supported Python.
type Image struct {
	start               start  // nil: the Debian Python base
	python              string // X.Y of the Debian base; "" is the newest
	pythonExec          string // interpreter of an existing image that packages are installed for
	registry, name, tag string
	tagFormat           string
	platforms           []string
	cuda, cudnn         string
	ca                  []string // files with certificates
	everywhere          Pip      // packages that the caller's platform wants in every image
	layers              []Layer
	runtime             []string // packages that are installed when the image starts
	entrypoint, cmd     command
	labels              map[string]string
	secrets             []Secret
	accelerator         string
	builder             string
	builderOptions      map[string]string
	tools               Tools
	registryConfig      string
	plainCredentials    bool
	allFiles            bool           // no standard ignores
	text                *source.Source // that the image was read from, nil for one made in Go
	marks               marks          // where the YAML says all this; never changed after it was read
}

// Tools are the helper images whose programs steps use. They never become part of the image; an empty
// one is ibuild's own choice.
type Tools struct {
	UVImage         string
	MicromambaImage string
	PixiImage       string
}

// command is an entry point or a command; one that is not set keeps the base's.
type command struct {
	set  bool
	args []string
}

// DebianBase starts from Debian with the given Python ("3.12"); "" is the newest supported one.
func DebianBase(python string) Image { return Image{python: python} }

// From starts from an existing image.
func From(ref string) Image {
	if ref == "" {
		ref = scratch
	}
	return Image{start: existing{ref: ref}}
}

// scratch is the name of the empty image.
const scratch = "scratch"

// textOr is the text that the image's places are in: its own, in the folder of the one that it is planned with.
func (img Image) textOr(src source.Source) source.Source {
	if img.text == nil || len(src.Data) > 0 {
		return src
	}
	text := *img.text
	text.Dir = src.Dir
	return text
}

// clone copies everything that a With… method may change.
func (img Image) clone() Image {
	for _, list := range []*[]string{&img.platforms, &img.ca, &img.everywhere.Packages, &img.runtime, &img.entrypoint.args, &img.cmd.args} {
		*list = slices.Clone(*list)
	}
	img.secrets = slices.Clone(img.secrets)
	img.labels, img.builderOptions = maps.Clone(img.labels), maps.Clone(img.builderOptions)
	img.layers = slices.Clone(img.layers) // layers and starts themselves are never changed
	return img
}

// Changes are what [Image.Clone] changes; what is empty stays as it is.
type Changes struct {
	Name, Registry, Tag string
	Python              string   // of the Debian base
	Platforms           []string // replaces all
	Base                string   // reference of an existing image to start from
	Layer               Layer    // added at the end
}

// Clone returns the image with the changes.
func (img Image) Clone(c Changes) Image {
	img = img.clone()
	img.name, img.registry, img.tag = cmp.Or(c.Name, img.name), cmp.Or(c.Registry, img.registry), cmp.Or(c.Tag, img.tag)
	img.python = cmp.Or(c.Python, img.python)
	if len(c.Platforms) > 0 {
		img.platforms = slices.Clone(c.Platforms)
	}
	if c.Base != "" {
		img.start, img.python = existing{ref: c.Base}, c.Python
	}
	if c.Layer != nil {
		img.layers = append(img.layers, c.Layer.clone())
	}
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

// WithRuntimePackages names Python packages that are not in the image: they are installed when it starts.
func (img Image) WithRuntimePackages(packages ...string) Image {
	img = img.clone()
	img.runtime = append(img.runtime, packages...)
	return img
}

// WithPlatformPackages names Python packages that the caller's platform wants in every image. They are
// installed before all others, in one step that such images share.
func (img Image) WithPlatformPackages(packages ...string) Image {
	img = img.clone()
	img.everywhere.Packages = append(img.everywhere.Packages, packages...)
	return img
}

// WithPlatformOptions says how the packages of [Image.WithPlatformPackages] are installed: all of them, as it is one
// step.
func (img Image) WithPlatformOptions(o PipOptions) Image {
	img = img.clone()
	img.everywhere.PipOptions = o.clone()
	return img
}

// WithCACertificates adds files with CA certificates (PEM), which are trusted by all steps that follow and
// in the image.
func (img Image) WithCACertificates(files ...string) Image {
	img = img.clone()
	img.ca = append(img.ca, files...)
	return img
}

// WithCUDA asks for CUDA and cuDNN ("12.4", "9"); "" for the one that is not asked for.
func (img Image) WithCUDA(cuda, cudnn string) Image {
	img = img.clone()
	img.cuda, img.cudnn = cuda, cudnn
	return img
}

// WithAccelerator says what the image runs on, for whoever runs it.
func (img Image) WithAccelerator(name string) Image {
	img = img.clone()
	img.accelerator = name
	return img
}

// WithPythonVersion sets the Python of the Debian base ("3.12").
func (img Image) WithPythonVersion(python string) Image {
	img = img.clone()
	img.python = python
	return img
}

// WithPythonExec makes a virtual environment of an interpreter of an existing image (a path, or a name on its
// PATH), which sees the packages that are installed for it. Packages go there from then on.
func (img Image) WithPythonExec(interpreter string) Image {
	img = img.clone()
	img.pythonExec = interpreter
	return img
}

// WithPlatforms sets the platforms that the image is made for ("linux/arm64").
func (img Image) WithPlatforms(platforms ...string) Image {
	img = img.clone()
	img.platforms = slices.Clone(platforms)
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

// WithTools replaces the helper images that steps use.
func (img Image) WithTools(t Tools) Image {
	img = img.clone()
	img.tools = t
	return img
}
