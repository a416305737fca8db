package spec

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/llb"
)

// Conda is a layer of conda packages, installed by micromamba into an environment of their own at
// [llb.CondaPrefix], whose Python all later steps use.
type Conda struct {
	Packages []string // match specs: name, name=version, channel::name
	Channels []string // names or URLs; empty is conda-forge
	File     string   // environment.yml in the spec's folder, "" for none
	Secrets  []SecretMount
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
		t.texts("channels", "channels, the first one counts most; absent: conda-forge", &c.Channels),
		t.text("file", "an environment.yml", &c.File),
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
		if strings.HasPrefix(p, "-") || control(p) || strings.TrimSpace(p) == "" {
			l.fail(c.marks.at("packages", i), fmt.Sprintf("%q is not a conda package", p), "write name, name=version or channel::name")
		}
	}
	mounts, env := l.mounts(c.Secrets)
	step := llb.Conda{Packages: slices.Clone(c.Packages), Channels: slices.Clone(c.Channels), Python: l.python, Lines: l.lines(l.layer), Mounts: mounts}.Steps()
	_ = env
	l.steps = append(l.steps, step...)
}

func (f *flat) condaFields() []field {
	t := table{f.reader, f.conda.marks}
	packages := t.texts("packages", "conda packages", &f.conda.Packages)
	set := packages.set
	packages.name = "conda_packages"
	packages.set = func(k, v *yaml.Node) {
		set(k, v)
		f.conda.marks.set(f.conda.mark().hull(f.span(k, v)))
	}
	channels := t.texts("channels", "conda channels, the first one counts most; absent: conda-forge", &f.conda.Channels)
	setChannels := channels.set
	channels.name = "conda_channels"
	channels.set = func(k, v *yaml.Node) {
		f.channelsAt = k
		setChannels(k, v)
	}
	packages.inLayer, channels.inLayer = true, true
	return []field{packages, channels}
}

// addConda adds the layer that the flat fields ask for.
func (f *flat) addConda(img *Image) {
	if f.conda.mark().line == 0 {
		if f.channelsAt != nil {
			f.fail(f.channelsAt, "conda_channels has no effect without conda_packages", "layers have channels of their own")
		}
		return
	}
	f.conda.Secrets = f.forSteps["conda_packages"]
	img.layers = append(img.layers, f.conda)
}
