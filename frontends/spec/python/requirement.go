package python

import (
	"fmt"
	"net/url"
	"strings"
)

// Requirement is one dependency as PEP 508 writes it.
type Requirement struct {
	Name      string
	Extras    []string
	Specifier string // version specifier, "" when there is none or a URL
	URL       string // direct reference, "" when there is none
	Marker    string // environment marker, "" when there is none
}

// SyntaxError is a text that PEP 508 does not allow.
type SyntaxError struct {
	Offset int // where in the text, in bytes
	Msg    string
}

func (e *SyntaxError) Error() string { return e.Msg }

// scanner reads one requirement from left to right.
type scanner struct {
	text string
	at   int
}

// ParseRequirement reads a requirement: a name, extras, then versions or "@ URL", then a marker. The
// error is a [SyntaxError].
func ParseRequirement(text string) (Requirement, error) {
	s := &scanner{text: text}
	r, err := s.requirement()
	if err != nil {
		return Requirement{}, err
	}
	return r, nil
}

func (s *scanner) requirement() (Requirement, error) {
	var r Requirement
	var err error
	s.space()
	if r.Name, err = s.name("a package"); err != nil {
		return r, err
	}
	s.space()
	if r.Extras, err = s.extras(); err != nil {
		return r, err
	}
	s.space()
	if s.take("@") {
		r.URL, err = s.url()
	} else {
		r.Specifier, err = s.versions()
	}
	if err != nil {
		return r, err
	}
	s.space()
	if s.take(";") {
		s.space()
		start := s.at
		if _, err := s.marker(0); err != nil {
			return r, err
		}
		r.Marker = strings.TrimSpace(s.text[start:s.at])
	}
	s.space()
	if s.at < len(s.text) {
		return r, s.fail("unexpected %q", s.rest())
	}
	return r, nil
}

// name reads what PEP 508 calls an identifier: letters, digits and ".-_" in between.
func (s *scanner) name(what string) (string, error) {
	start := s.at
	for s.at < len(s.text) && (alphanumeric(s.text[s.at]) || strings.IndexByte("-_.", s.text[s.at]) >= 0) {
		s.at++
	}
	name := s.text[start:s.at]
	if name == "" || !alphanumeric(name[0]) || !alphanumeric(name[len(name)-1]) {
		s.at = start
		if s.rest() == "" {
			return "", s.fail("the name of %s is missing", what)
		}
		return "", s.fail("%q does not begin with the name of %s", s.rest(), what)
	}
	return name, nil
}

func (s *scanner) extras() ([]string, error) {
	if !s.take("[") {
		return nil, nil
	}
	var extras []string
	s.space()
	for !s.take("]") {
		if len(extras) > 0 {
			if !s.take(",") {
				return nil, s.fail("the list of extras is not closed by ]")
			}
			s.space()
		}
		e, err := s.name("an extra")
		if err != nil {
			return nil, err
		}
		extras = append(extras, e)
		s.space()
	}
	return extras, nil
}

// url reads a direct reference; a space ends it, as a ";" is allowed inside.
func (s *scanner) url() (string, error) {
	s.space()
	start := s.at
	for s.at < len(s.text) && !white(s.text[s.at]) {
		s.at++
	}
	raw := s.text[start:s.at]
	if raw == "" {
		return "", s.fail("the URL after @ is missing")
	}
	if _, err := url.Parse(raw); err != nil {
		s.at = start
		return "", s.fail("%q is not a URL", raw)
	}
	return raw, nil
}

// versions reads the specifier up to the marker.
func (s *scanner) versions() (string, error) {
	start := s.at
	end := strings.IndexByte(s.text[start:], ';')
	if end < 0 {
		end = len(s.text)
	} else {
		end += start
	}
	spec := strings.TrimSpace(s.text[start:end])
	if inner, ok := strings.CutPrefix(spec, "("); ok {
		inner, ok = strings.CutSuffix(inner, ")")
		if !ok {
			return "", s.fail("the versions in parentheses are not closed by )")
		}
		spec = strings.TrimSpace(inner)
	}
	// A comma at the end is fine in requirements, though not in requires-python: pip and uv say so.
	if _, err := ParseSpecifier(strings.TrimSuffix(spec, ",")); err != nil {
		return "", &SyntaxError{Offset: start, Msg: err.Error()}
	}
	s.at = end
	return spec, nil
}

func (s *scanner) space() {
	for s.at < len(s.text) && white(s.text[s.at]) {
		s.at++
	}
}

func (s *scanner) take(prefix string) bool {
	if !strings.HasPrefix(s.text[s.at:], prefix) {
		return false
	}
	s.at += len(prefix)
	return true
}

// rest is what is left, cut to what fits a message.
func (s *scanner) rest() string {
	const most = 40
	r := []rune(s.text[s.at:])
	if len(r) > most {
		return string(r[:most]) + "…"
	}
	return string(r)
}

func (s *scanner) fail(format string, args ...any) error {
	return &SyntaxError{Offset: s.at, Msg: fmt.Sprintf(format, args...)}
}

func white(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
