package draft

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/llb"
)

// claim is what a file says about the Python that it wants.
type claim struct {
	text, why     string
	exact         bool // one version, as in .python-version
	poetry, conda bool // in that tool's own words
}

// maxClaims bounds what one environment file can say about its Python.
const maxClaims = 8

// findPythonVersion reads .python-version, which goes before what manifests allow.
func (s *search) findPythonVersion() {
	for line := range strings.Lines(string(s.read(".python-version", source.SpecLimit))) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			s.pythons = append([]claim{{text: line, why: "from .python-version", exact: true}}, s.pythons...)
			return
		}
	}
}

// choosePython is the first claim that a supported Python meets, and which the others do not forbid; the
// others are noted.
func (s *search) choosePython() Fact {
	var chosen Fact
	for _, c := range s.pythons {
		if c.text == "" {
			continue
		}
		allowed := c.allowed()
		switch {
		case len(allowed) == 0:
			s.note("The Python %s (%s) is none of those that ibuild supports: %s.", strconv.Quote(c.text), c.why, strings.Join(llb.PythonVersions(), ", "))
		case chosen.Value == "":
			chosen = Fact{Value: s.within(allowed), Why: c.why}
		case !slices.Contains(allowed, chosen.Value):
			s.note("Python %s is %s, but %s %s does not allow it.", chosen.Value, chosen.Why, strings.TrimPrefix(c.why, "from "), strconv.Quote(c.text))
		}
	}
	return chosen
}

// within is the newest of the versions that every claim allows, else the newest of them.
func (s *search) within(versions []string) string {
	for _, v := range versions {
		if !slices.ContainsFunc(s.pythons, func(c claim) bool { return c.text != "" && !slices.Contains(c.allowed(), v) }) {
			return v
		}
	}
	return versions[0]
}

// minor finds X.Y at the beginning of a version, with the name of an implementation before it.
var minor = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:cpython[-@])?(\d+\.\d+)(?:[.+-].*|(?:rc|a|b)\d+)?$`)
})

// allowed are the supported Pythons that meet the claim, newest first.
func (c claim) allowed() []string {
	if len(c.text) > 200 {
		return nil
	}
	text := c.text
	if c.exact {
		m := minor().FindStringSubmatch(text)
		if m == nil {
			return nil
		}
		text = "==" + m[1] + ".*"
	}
	var out []string
	for _, v := range llb.PythonVersions() {
		if slices.ContainsFunc(c.alternatives(text), func(s python.Specifier) bool { return s.Allows(v) }) {
			out = append(out, v)
		}
	}
	return out
}

// alternatives are the specifiers of which one has to be met; none where the text cannot be read.
func (c claim) alternatives(text string) []python.Specifier {
	parts := []string{text}
	if c.poetry || c.conda {
		parts = strings.Split(strings.ReplaceAll(text, "||", "|"), "|")
	}
	var out []python.Specifier
	for _, p := range parts {
		if c.poetry || c.conda {
			p = c.standard(p)
		}
		if s, err := python.ParseSpecifier(p); err == nil {
			out = append(out, s)
		}
	}
	return out
}

// standard writes poetry's and conda's own forms as PEP 440 has them: ^3.11, ~3.11, 3.11.*, *, =3.11.
// https://python-poetry.org/docs/dependency-specification and
// https://docs.conda.io/projects/conda-build/en/stable/resources/package-spec.html
func (c claim) standard(text string) string {
	var out []string
	for _, clause := range strings.FieldsFunc(strings.TrimSpace(text), func(r rune) bool { return r == ',' }) {
		clause = strings.ReplaceAll(clause, " ", "")
		version := strings.TrimLeft(clause, "^~=<>!")
		parts := strings.Split(strings.TrimSuffix(version, ".*"), ".")
		switch op := strings.TrimSuffix(clause, version); {
		case version == "*" || version == "":
			continue
		case op == "^", op == "~" && len(parts) == 1:
			out = append(out, ">="+version, "<"+next(parts[0]))
		case op == "~":
			out = append(out, ">="+version, "=="+parts[0]+"."+parts[1]+".*")
		case op == "" || op == "=" && c.conda:
			if len(parts) > 2 { // one patch release: the base has the newest one of its X.Y
				parts = parts[:2]
			}
			out = append(out, "=="+strings.Join(parts, ".")+".*")
		case op == "==" && c.conda && len(parts) >= 2:
			out = append(out, "=="+parts[0]+"."+parts[1]+".*")
		default:
			out = append(out, clause)
		}
	}
	return strings.Join(out, ",")
}

// next is the major version after one.
func next(major string) string {
	n, err := strconv.Atoi(major)
	if err != nil {
		return major
	}
	return strconv.Itoa(n + 1)
}
