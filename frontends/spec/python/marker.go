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

// marker reads comparisons joined by "and" and "or", with parentheses.
func (s *scanner) marker(depth int) error {
	if depth > maxDepth {
		return s.fail("the marker has more than %d parentheses in each other", maxDepth)
	}
	for {
		if err := s.markerTerm(depth); err != nil {
			return err
		}
		s.space()
		if !s.word("and") && !s.word("or") {
			return nil
		}
		s.space()
	}
}

func (s *scanner) markerTerm(depth int) error {
	if s.take("(") {
		s.space()
		if err := s.marker(depth + 1); err != nil {
			return err
		}
		if !s.take(")") {
			return s.fail("the marker's parenthesis is not closed")
		}
		return nil
	}
	if err := s.markerValue(); err != nil {
		return err
	}
	s.space()
	if err := s.markerOperator(); err != nil {
		return err
	}
	s.space()
	return s.markerValue()
}

// markerValue is a quoted text or a variable.
func (s *scanner) markerValue() error {
	for _, quote := range []string{`"`, "'"} {
		start := s.at
		if !s.take(quote) {
			continue
		}
		end := strings.Index(s.text[s.at:], quote)
		if end < 0 {
			s.at = start
			return s.fail("the quoted text of the marker is not closed")
		}
		s.at += end + 1
		return nil
	}
	start := s.at
	for s.at < len(s.text) && (alphanumeric(s.text[s.at]) || s.text[s.at] == '_' || s.text[s.at] == '.') {
		s.at++
	}
	name := s.text[start:s.at]
	if slices.Contains(markerVariables(), name) {
		return nil
	}
	s.at = start
	if name == "" {
		return s.fail("the marker is not complete")
	}
	return s.fail("%q is not a marker variable (PEP 508)", name)
}

func (s *scanner) markerOperator() error {
	if s.word("not") {
		s.space()
		if s.word("in") {
			return nil
		}
		return s.fail("the marker says not without in")
	}
	if s.word("in") {
		return nil
	}
	for _, op := range operators() {
		if s.take(op) {
			return nil
		}
	}
	return s.fail("the marker has no comparison here")
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
