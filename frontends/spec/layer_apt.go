package spec

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/llb"
)

// Apt is a layer of Debian packages.
type Apt struct {
	Packages []string // name, name=version, name/suite, name:architecture
	Secrets  []Secret
	placed
}

// WithAptPackages adds a layer of Debian packages.
func (img Image) WithAptPackages(packages ...string) Image {
	return img.With(Apt{Packages: packages})
}

func (a Apt) kind() string { return "apt" }
func (a Apt) clone() Layer {
	a.Packages, a.Secrets = slices.Clone(a.Packages), slices.Clone(a.Secrets)
	return a
}

func (a Apt) yaml() *yaml.Node { return encode(&a) }

func (a *Apt) short(t table) field {
	return t.texts("packages", "name, name=version, name/suite or name:architecture", &a.Packages)
}

func (a *Apt) fields(t table) []field { return []field{a.short(t), t.secrets(&a.Secrets)} }

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
	mounts, env := l.mounts(a.Secrets)
	step := llb.Apt(a.Packages, l.lines(l.layer), mounts...)
	step.Env = append(step.Env, env...)
	l.steps = append(l.steps, step)
}

// checkTwice refuses the same text twice in one list of packages.
func (l *lowering) checkTwice(list []string, m marks) {
	first := map[string]bool{}
	for i, s := range list {
		if first[s] {
			l.fail(m.at("packages", i), fmt.Sprintf("%q is listed twice", s), "")
		}
		first[s] = true
	}
}
