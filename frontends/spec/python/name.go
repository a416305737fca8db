package python

import (
	"strings"

	pep440 "github.com/aquasecurity/go-pep440-version"
)

// NormalName is the one spelling under which package indexes know a name (PEP 503): lower case, and
// runs of "-", "_" and "." as one "-". Extras and groups are compared the same way (PEP 685, PEP 735).
func NormalName(name string) string {
	var b strings.Builder
	pending := false
	for _, c := range strings.ToLower(strings.TrimSpace(name)) {
		if c == '-' || c == '_' || c == '.' {
			pending = true
			continue
		}
		if pending {
			b.WriteByte('-')
			pending = false
		}
		b.WriteRune(c)
	}
	return b.String()
}

// SameVersion says whether two texts are one version by PEP 440, in which 1.0 is 1. Texts that are no
// versions are the same when they are equal.
func SameVersion(a, b string) bool {
	va, errA := pep440.Parse(a)
	vb, errB := pep440.Parse(b)
	if errA != nil || errB != nil {
		return strings.TrimSpace(a) == strings.TrimSpace(b)
	}
	return va.Equal(vb)
}

// SameSpecifier says whether two specifiers consist of the same clauses, in whatever order and
// spelling. Specifiers that mean the same in other clauses are not the same.
func SameSpecifier(a, b string) bool {
	as, bs := splitSpecifier(a), splitSpecifier(b)
	return contains(as, bs) && contains(bs, as)
}

// clause is one part of a specifier.
type clause struct{ operator, version string }

// maxClauses bounds the comparison, which is quadratic; nobody writes as many.
const maxClauses = 100

func splitSpecifier(text string) []clause {
	var list []clause
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		for _, op := range operators() {
			if rest, ok := strings.CutPrefix(part, op); ok && len(list) < maxClauses {
				list = append(list, clause{op, strings.TrimSpace(rest)})
				break
			}
		}
	}
	return list
}

// contains says whether each clause of b is in a.
func contains(a, b []clause) bool {
	for _, want := range b {
		found := false
		for _, have := range a {
			found = found || have.operator == want.operator && sameClauseVersion(want.operator, have.version, want.version)
		}
		if !found {
			return false
		}
	}
	return true
}

// sameClauseVersion knows that the number of digits counts in "~=3.0" and "==3.0.*", and nowhere else.
func sameClauseVersion(operator, a, b string) bool {
	ra, starA := strings.CutSuffix(a, ".*")
	rb, starB := strings.CutSuffix(b, ".*")
	if (starA || operator == "~=") && strings.Count(ra, ".") != strings.Count(rb, ".") {
		return false
	}
	return starA == starB && SameVersion(ra, rb)
}
