package gke

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// JobError says what of a job Kubernetes cannot carry.
type JobError struct {
	Job      string
	Findings []Finding
}

// Finding is one thing that is wrong with one field of a job.
type Finding struct {
	Field string // as people know it: `env "HF_TOKEN"`, "shm"
	Msg   string // never holds the value of a variable or a Secret
}

// Error has all findings, a line each.
func (e *JobError) Error() string {
	var lines []string
	for _, f := range e.Findings {
		lines = append(lines, f.Field+": "+f.Msg)
	}
	return strings.Join(lines, "\n")
}

// checker gathers findings.
type checker struct{ findings []Finding }

func (c *checker) add(field, format string, args ...any) {
	c.findings = append(c.findings, Finding{Field: field, Msg: fmt.Sprintf(format, args...)})
}

// addAll takes what Kubernetes' own rules say about a field.
func (c *checker) addAll(field string, messages []string) {
	for _, m := range messages {
		c.add(field, "%s", m)
	}
}

func (c *checker) err(job string) error {
	if len(c.findings) == 0 {
		return nil
	}
	return &JobError{Job: job, Findings: c.findings}
}

// maxString is how long one argument or one variable with its name may be, in
// bytes: Linux starts no program with a longer one (MAX_ARG_STRLEN).
const maxString = 128<<10 - 1

// text checks what becomes an argument or a variable of a process.
func (c *checker) text(field, text string) {
	c.unicode(field, text)
	if len(text) > maxString {
		c.add(field, "has %d bytes, and Linux takes %d; put it into a file", len(text), maxString)
	}
}

// unicode checks what becomes a string of the API.
func (c *checker) unicode(field, text string) {
	switch {
	case !utf8.ValidString(text):
		c.add(field, "holds bytes that are no UTF-8, which Kubernetes cannot carry; encode them, for instance as base64")
	case strings.ContainsRune(text, 0):
		c.add(field, "holds a NUL byte, which no program can be given")
	}
}
