package python

import (
	"slices"
	"strings"

	pep440 "github.com/aquasecurity/go-pep440-version"
)

// Marker is an environment marker (PEP 508), such as "sys_platform == 'linux'". The zero value holds
// everywhere.
type Marker struct {
	root node
	set  bool
}

// ParseMarker reads a marker; the empty text holds everywhere. The error is a [SyntaxError].
func ParseMarker(text string) (Marker, error) {
	if strings.TrimSpace(text) == "" {
		return Marker{}, nil
	}
	s := &scanner{text: text}
	s.space()
	root, err := s.marker(0)
	if err != nil {
		return Marker{}, err
	}
	if s.space(); s.at < len(s.text) {
		return Marker{}, s.fail("unexpected %q", s.rest())
	}
	return Marker{root: root, set: true}, nil
}

// Size is the number of comparisons that [Marker.Eval] makes at most.
func (m Marker) Size() int {
	if !m.set {
		return 0
	}
	return m.root.size()
}

func (n node) size() int {
	total := 1
	for _, p := range n.parts {
		total += p.size()
	}
	return total
}

// And is the marker that holds where both hold.
func (m Marker) And(other Marker) Marker {
	switch {
	case !m.set:
		return other
	case !other.set:
		return m
	}
	return Marker{root: node{joined: "and", parts: []node{m.root, other.root}}, set: true}
}

// Truth is what is known of a marker in one environment.
type Truth int

// The values of [Truth].
const (
	Unknown Truth = iota
	True
	False
)

func truth(b bool) Truth {
	if b {
		return True
	}
	return False
}

// Eval says whether the marker holds where the variables have the given values. It is [Unknown] when
// that depends on a variable that is not given, or on a comparison that tools read differently.
func (m Marker) Eval(env map[string]string) Truth {
	if !m.set {
		return True
	}
	return m.root.eval(env)
}

func (n node) eval(env map[string]string) Truth {
	if n.joined == "" {
		return n.compare(env)
	}
	decisive := False // one false part decides an "and", one true part an "or"
	if n.joined == "or" {
		decisive = True
	}
	unknown := false
	for _, p := range n.parts {
		switch p.eval(env) {
		case decisive:
			return decisive
		case Unknown:
			unknown = true
		}
	}
	switch {
	case unknown:
		return Unknown
	case decisive == True:
		return False
	}
	return True
}

// mirrored is the operator that says the same with the sides exchanged, "" when there is none.
func mirrored(operator string) string {
	switch operator {
	case "==", "!=":
		return operator
	case "<":
		return ">"
	case ">":
		return "<"
	case "<=":
		return ">="
	case ">=":
		return "<="
	}
	return ""
}

func (n node) compare(env map[string]string) Truth {
	variable, operator, text := n.left, n.operator, n.right
	if variable.literal && (operator == "in" || operator == "not in") {
		return Unknown
	}
	if variable.literal {
		variable, operator, text = n.right, mirrored(operator), n.left
	}
	value, known := env[canonicalVariable(variable.text)]
	if variable.literal || !text.literal || operator == "" || !known {
		return Unknown
	}
	if isVersionVariable(variable.text) {
		return compareVersion(value, operator, text.text)
	}
	want := text.text
	if variable.text == "extra" {
		want = NormalName(want)
	}
	switch operator {
	case "==":
		return truth(value == want)
	case "!=":
		return truth(value != want)
	case "in":
		return truth(strings.Contains(want, value))
	case "not in":
		return truth(!strings.Contains(want, value))
	}
	return Unknown
}

// compareVersion leaves everything but plain comparisons alone: "in" and "===" mean different things to
// different tools.
func compareVersion(value, operator, want string) Truth {
	if operator == "in" || operator == "not in" || operator == "===" {
		return Unknown
	}
	spec, err := ParseSpecifier(operator + want)
	if err != nil || strings.Contains(want, ",") {
		return Unknown
	}
	v, err := pep440.Parse(value)
	if err != nil {
		return Unknown
	}
	return truth(spec.check(v))
}

func isVersionVariable(name string) bool {
	return name == "python_version" || name == "python_full_version"
}

// canonicalVariable is today's spelling of the variables that PEP 508 keeps old ones for.
func canonicalVariable(name string) string {
	switch name {
	case "os.name", "sys.platform", "platform.machine", "platform.version":
		return strings.ReplaceAll(name, ".", "_")
	case "platform.python_implementation", "python_implementation":
		return "platform_python_implementation"
	}
	return name
}

// maxLiterals bounds [Marker.Literals]; a marker that a person wrote has a handful.
const maxLiterals = 100

// Literals are the texts that a marker compares a variable with, each once, at most 100 of them; the
// variable has none when the marker does not use it.
func (m Marker) Literals(variable string) []string {
	var out []string
	var walk func(n node)
	walk = func(n node) {
		if len(out) >= maxLiterals {
			return
		}
		for _, p := range n.parts {
			walk(p)
		}
		for _, pair := range [][2]operand{{n.left, n.right}, {n.right, n.left}} {
			if !pair[0].literal && pair[1].literal && canonicalVariable(pair[0].text) == variable && !slices.Contains(out, pair[1].text) {
				out = append(out, pair[1].text)
			}
		}
	}
	walk(m.root)
	return out
}
