package gke

import "strings"

// Lengths of a job's name, in bytes. Kubernetes makes names of pods from it, of at
// most 63: with numbers of slice and host, and characters of its own.
const (
	maxName     = 50 // that Manifests takes
	newNameSize = 40 // that leave room for a hundred slices of a thousand hosts
)

// NewName makes the name of a job of what people know it by, such as a file's or
// an image's name, and of what tells it apart from others of the same base. It
// is a DNS label that begins with a letter, as Services want it. Any text will do
// for both; of unique the last twelve characters that a label may hold are taken.
func NewName(base, unique string) string {
	unique = label(unique)
	unique = strings.Trim(unique[max(0, len(unique)-12):], "-")
	base = strings.TrimLeft(label(base), "-0123456789")
	if base == "" {
		base = "job"
	}
	if unique == "" {
		return strings.TrimRight(base[:min(len(base), newNameSize)], "-")
	}
	return strings.TrimRight(base[:min(len(base), newNameSize-1-len(unique))], "-") + "-" + unique
}

// label is the text in the characters of a DNS label: all others become one "-".
func label(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.TrimRight(b.String(), "-")
}
