package cuda

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

// pin is a requirement that has to do with a framework.
type pin struct {
	index       int // in Wish.Requirements
	text        string
	name, spec  string
	extras      []string // lower case, with "-" for "_"
	marker      string
	url         bool
	conditional bool // holds in some environments only, so it excludes nothing
}

// used is a framework together with the requirements that ask for it.
type used struct {
	framework
	pins []pin
}

// maxPins bounds the requirements that are looked at for one framework: they come from files that
// somebody else may have written, and each is compared with every release.
const maxPins = 16

// findFrameworks finds the frameworks in the requirements, in the order of the tables.
func (c *chooser) findFrameworks() []used {
	var found []used
	for _, f := range frameworks() {
		u := used{framework: f}
		for i, text := range c.wish.Requirements {
			r, err := python.ParseRequirement(text)
			if err != nil {
				continue
			}
			if hint, ok := f.wrong[normal(r.Name)]; ok {
				c.addPackage(Error, i, fmt.Sprintf("%s: %q has no CUDA", c.asked(), strings.TrimSpace(text)), hint)
			}
			if p, ok := f.pin(i, text, r); ok && len(u.pins) < maxPins {
				u.pins = append(u.pins, p)
			}
		}
		if len(u.pins) > 0 {
			found = append(found, u)
		}
	}
	return found
}

// pin is the requirement, when it has to do with the framework.
func (f framework) pin(index int, text string, r python.Requirement) (pin, bool) {
	p := pin{index: index, text: strings.TrimSpace(text), name: normal(r.Name), marker: r.Marker, url: r.URL != ""}
	switch {
	case slices.Contains(f.packages, p.name):
		p.spec, p.conditional = r.Specifier, r.Marker != "" || p.url
	case slices.Contains(f.companions, p.name):
		p.conditional = true // torchvision's numbers are not torch's
	default:
		return pin{}, false
	}
	for _, e := range r.Extras {
		p.extras = append(p.extras, normal(e))
	}
	return p, true
}

// normal is a name as PEP 503 compares it.
func normal(name string) string {
	parts := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' || r == '.' })
	return strings.Join(parts, "-")
}

// main is the pin that messages name and additions copy: the first of the framework's own package.
func (u used) main() pin {
	for _, p := range u.pins {
		if slices.Contains(u.packages, p.name) {
			return p
		}
	}
	return u.pins[0]
}

func (u used) text() string { return u.main().text }

// local is the CUDA that a wheel's local version names: 12.1 for torch==2.4.0+cu121. cpu says that
// it is a wheel without CUDA.
func (u used) local() (cuda version, cpu bool) {
	for _, p := range u.pins {
		_, label, ok := strings.Cut(p.spec, "+")
		digits, cu := strings.CutPrefix(label, "cu")
		switch {
		case ok && label == "cpu":
			return version{}, true
		case ok && cu && len(digits) == 3:
			return v(digits[:2] + "." + digits[2:]), false
		}
	}
	return version{}, false
}

// extraMajor is the major version of CUDA that an extra names (jax[cuda12]), 0 for none.
func (u used) extraMajor() int {
	for _, e := range u.allExtras() {
		for _, major := range []int{11, 12, 13} {
			if strings.HasPrefix(e, fmt.Sprintf("cuda%d", major)) {
				return major
			}
		}
		if e == "cuda" { // jax: another name of cuda12
			return 12
		}
	}
	return 0
}

func (u used) allExtras() []string {
	var all []string
	for _, p := range u.pins {
		all = append(all, p.extras...)
	}
	return all
}

// fits says whether a requirement lets a release in.
func (u used) fits(r release) bool {
	for _, p := range u.pins {
		if p.conditional || p.spec == "" {
			continue
		}
		if !slices.ContainsFunc(r.samples(p.spec), func(version string) bool { return python.Allows(p.spec, version) }) {
			return false
		}
	}
	return true
}

// open says whether releases that are newer than the table are let in.
func (u used) open() bool {
	const future = "9999.0"
	for _, p := range u.pins {
		if !p.conditional && p.spec != "" && !python.Allows(p.spec, future) {
			return false
		}
	}
	return true
}

// rows are the releases that pins and Python let in; known is false where the table has none of them.
func (c *chooser) rows(u used) (rows []release, known bool) {
	for _, r := range u.releases {
		if u.fits(r) {
			rows = append(rows, r)
		}
	}
	p := u.main()
	if p.url || len(rows) == 0 {
		c.addPackage(Warning, p.index, fmt.Sprintf("which CUDA %q goes with is not known to ibuild, so %s was not checked against it", p.text, c.asked()),
			fmt.Sprintf("known are %s %s to %s", u.name, u.releases[len(u.releases)-1].minor, u.releases[0].minor))
		return nil, false
	}
	if c.wish.Python == "" {
		return rows, true
	}
	fitting := slices.DeleteFunc(slices.Clone(rows), func(r release) bool { return !r.hasPython(c.wish.Python) })
	if len(fitting) == 0 {
		c.addPackage(Error, p.index, fmt.Sprintf("%s has no wheels for Python %s, which the image has", p.text, c.wish.Python),
			fmt.Sprintf("%s %s is for Python %s to %s", u.name, rows[0].minor, rows[0].oldestPython, rows[0].newestPython))
	}
	return fitting, true
}
