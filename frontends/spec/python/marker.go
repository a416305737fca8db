package python

import (
	"slices"
	"strings"
)

// maxDepth bounds the parentheses of a marker.
const maxDepth = 50

// markerVariables are the names that PEP 508 defines, with the older spellings that it keeps.
func markerVariables() []string {
	return []string{
		"python_version", "python_full_version", "os_name", "sys_platform", "platform_release", "platform_system",
		"platform_version", "platform_machine", "platform_python_implementation", "implementation_name",
		"implementation_version", "extra", "extras", "dependency_groups",
		"os.name", "sys.platform", "platform.version", "platform.machine", "platform.python_implementation",
		"python_implementation",
	}
}

// node is a part of a marker: a comparison, or parts joined by "and" or "or".
type node struct {
	joined      string // "and" or "or"; "" for a comparison
	parts       []node
	left, right operand
	operator    string
}

// operand is one side of a comparison.
type operand struct {
	text    string // a variable's name, or a quoted text without its quotes
	literal bool
}

// marker reads comparisons joined by "and" and "or", with parentheses; "and" binds closer.
func (s *scanner) marker(depth int) (node, error) {
	if depth > maxDepth {
		return node{}, s.fail("the marker has more than %d parentheses in each other", maxDepth)
	}
	or := node{joined: "or"}
	and := node{joined: "and"}
	for {
		term, err := s.markerTerm(depth)
		if err != nil {
			return node{}, err
		}
		and.parts = append(and.parts, term)
		s.space()
		more, either := s.word("and"), false
		if !more {
			either = s.word("or")
		}
		if !more {
			or.parts = append(or.parts, and)
			and = node{joined: "and"}
		}
		if !more && !either {
			return or, nil
		}
		s.space()
	}
}

func (s *scanner) markerTerm(depth int) (node, error) {
	if s.take("(") {
		s.space()
		inner, err := s.marker(depth + 1)
		if err != nil {
			return node{}, err
		}
		if !s.take(")") {
			return node{}, s.fail("the marker's parenthesis is not closed")
		}
		return inner, nil
	}
	var n node
	var err error
	if n.left, err = s.markerValue(); err != nil {
		return n, err
	}
	s.space()
	if n.operator, err = s.markerOperator(); err != nil {
		return n, err
	}
	s.space()
	n.right, err = s.markerValue()
	return n, err
}

// markerValue is a quoted text or a variable.
func (s *scanner) markerValue() (operand, error) {
	for _, quote := range []string{`"`, "'"} {
		start := s.at
		if !s.take(quote) {
			continue
		}
		end := strings.Index(s.text[s.at:], quote)
		if end < 0 {
			s.at = start
			return operand{}, s.fail("the quoted text of the marker is not closed")
		}
		text := s.text[s.at : s.at+end]
		s.at += end + 1
		return operand{text, true}, nil
	}
	start := s.at
	for s.at < len(s.text) && (alphanumeric(s.text[s.at]) || s.text[s.at] == '_' || s.text[s.at] == '.') {
		s.at++
	}
	name := s.text[start:s.at]
	if slices.Contains(markerVariables(), name) {
		return operand{text: name}, nil
	}
	s.at = start
	if name == "" {
		return operand{}, s.fail("the marker is not complete")
	}
	return operand{}, s.fail("%q is not a marker variable (PEP 508)", name)
}

func (s *scanner) markerOperator() (string, error) {
	if s.word("not") {
		s.space()
		if s.word("in") {
			return "not in", nil
		}
		return "", s.fail("the marker says not without in")
	}
	if s.word("in") {
		return "in", nil
	}
	for _, op := range operators() {
		if s.take(op) {
			return op, nil
		}
	}
	return "", s.fail("the marker has no comparison here")
}

// word takes a whole word.
func (s *scanner) word(w string) bool {
	rest := s.text[s.at:]
	if !strings.HasPrefix(rest, w) || len(rest) > len(w) && (alphanumeric(rest[len(w)]) || rest[len(w)] == '_') {
		return false
	}
	s.at += len(w)
	return true
}
