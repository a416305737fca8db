package python

import (
	"fmt"
	"strings"

	pep440 "github.com/aquasecurity/go-pep440-version"
)

// Specifier is a checked version specifier (PEP 440), such as ">=3.11,<3.13".
type Specifier struct {
	text    string
	clauses []pep440.Specifiers
}

// maxSpecifier bounds the work on a text that somebody else may have written.
const maxSpecifier = 1024

// operators of PEP 440, longer ones before their prefixes.
func operators() []string { return []string{"===", "~=", "==", "!=", "<=", ">=", "<", ">"} }

// ParseSpecifier reads a version specifier. The empty one allows everything. The library behind it
// takes more than PEP 440 does ("||", "*", "3.11", clauses without a comma), so each clause is looked
// at before the library sees it; uv refuses the same.
func ParseSpecifier(text string) (Specifier, error) {
	s := Specifier{text: text}
	if strings.TrimSpace(text) == "" {
		return s, nil
	}
	if len(text) > maxSpecifier {
		return s, fmt.Errorf("the version specifier is longer than %d characters", maxSpecifier)
	}
	for _, clause := range strings.Split(text, ",") {
		clause = strings.TrimSpace(clause)
		checked, err := parseClause(clause)
		if err != nil {
			return s, err
		}
		s.clauses = append(s.clauses, checked)
	}
	return s, nil
}

func parseClause(clause string) (pep440.Specifiers, error) {
	var none pep440.Specifiers
	operator := ""
	for _, op := range operators() {
		if strings.HasPrefix(clause, op) {
			operator = op
			break
		}
	}
	version := strings.TrimSpace(clause[len(operator):])
	switch {
	case clause == "":
		return none, fmt.Errorf("a version clause is empty, there is a comma too many")
	case operator == "":
		return none, fmt.Errorf("%q does not begin with one of %s", clause, strings.Join(operators(), " "))
	case version == "":
		return none, fmt.Errorf("%q names no version", clause)
	}
	exact := strings.TrimSuffix(version, ".*")
	if _, err := pep440.Parse(exact); err != nil || strings.ContainsAny(exact, " \t\n,") {
		return none, fmt.Errorf("%q is not a version (PEP 440)", version)
	}
	if exact != version && operator != "==" && operator != "!=" {
		return none, fmt.Errorf("%q: only == and != may end in .*", clause)
	}
	checked, err := pep440.NewSpecifiers(operator + version)
	if err != nil {
		return none, fmt.Errorf("%q is not a version clause (PEP 440)", clause)
	}
	return checked, nil
}

// String is the text that was parsed.
func (s Specifier) String() string { return s.text }

// newestPatch stands for the patch release that a base image has. Images of one minor version are
// rebuilt for each patch release, so "the newest" is all that is known before the base is resolved;
// a number above all real ones makes ">=3.11.4" and "!=3.11.3" true and "==3.11.4" and "<=3.11"
// false, as they are for the image.
const newestPatch = ".99"

// Allows says whether the newest patch release of a minor version ("3.12") meets the specifier.
func (s Specifier) Allows(minor string) bool {
	return s.AllowsVersion(minor + newestPatch)
}

// AllowsVersion says whether one version ("3.12.4") meets the specifier; a text that is no version does not.
func (s Specifier) AllowsVersion(version string) bool {
	v, err := pep440.Parse(version)
	return err == nil && s.check(v)
}

// Allows says whether a version specifier lets a version in. A text that is no specifier lets in nothing, and a
// text that is no version is let in by the empty specifier only.
func Allows(specifier, version string) bool {
	if strings.TrimSpace(specifier) == "" {
		return true
	}
	s, err := ParseSpecifier(specifier)
	return err == nil && s.AllowsVersion(version)
}

func (s Specifier) check(v pep440.Version) bool {
	for _, c := range s.clauses {
		if !c.Check(v) {
			return false
		}
	}
	return true
}

// Versions are the versions that the specifier's clauses name, without a trailing ".*".
func (s Specifier) Versions() []string {
	var out []string
	for _, c := range splitSpecifier(s.text) {
		out = append(out, strings.TrimSuffix(c.version, ".*"))
	}
	return out
}

// Newest is the first of the given minor versions, newest first, that the specifier allows.
func (s Specifier) Newest(minors []string) (string, bool) {
	for _, m := range minors {
		if s.Allows(m) {
			return m, true
		}
	}
	return "", false
}
