package settings

import (
	"fmt"
	"strings"
	"unicode"
)

// Error is one thing wrong with a settings file: where it is, what is wrong, and how to mend it.
type Error struct {
	File   string // as it was named, or found
	Line   int    // from 1, 0 when the finding has no line
	Column int    // from 1, counted in characters; 0 when it is not known
	Msg    string // what is wrong
	Hint   string // what to do about it, "" when Msg says it already
	Err    error  // the cause, for errors.Is; nil when there is none
}

// Error is "file:line:column: what is wrong; hint", on one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
		if e.Column > 0 {
			fmt.Fprintf(&b, ":%d", e.Column)
		}
	}
	b.WriteString(": " + e.Msg)
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return printable(b.String())
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// printable escapes what a terminal would act upon: names in errors and notes come from files.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		q := fmt.Sprintf("%q", r)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}
