package source

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
)

// Error is one finding: where it is, what is wrong, and how to mend it.
type Error struct {
	File   string // as the user wrote it
	Line   int    // from 1, 0 when the finding has no line
	Column int    // from 1, counted in characters; 0 when it is not known
	Msg    string // what is wrong
	Hint   string // what to do about it, "" when Msg says it already

	// Data is the whole file, for the lines shown below the message; nil shows none.
	Data []byte
	// Err is the cause, for errors.Is; nil when there is none.
	Err error

	more int // how many findings this one stands for, see [Errors.Err]
}

// maxFindings is how many findings are told of at once: nobody reads more, and a file of a megabyte can
// have a million.
const maxFindings = 200

// Error is "file:line:column: what is wrong; hint". Characters that a terminal would act upon are
// escaped: names and values in it come from files that others may have written.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
			if e.Column > 0 {
				fmt.Fprintf(&b, ":%d", e.Column)
			}
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Msg)
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return Printable(b.String())
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Source is the finding's place as BuildKit knows it, nil when there are no lines to show.
func (e *Error) Source() *errdefs.Source {
	if e.Data == nil || e.Line == 0 {
		return nil
	}
	at := &pb.Position{Line: int32(e.Line), Character: int32(max(e.Column-1, 0))}
	return &errdefs.Source{
		Info: &pb.SourceInfo{
			Filename: e.File,
			Data:     e.Data,
			Language: Source{Name: e.File}.Language(),
		},
		Ranges: []*pb.Range{{Start: at, End: at}},
	}
}

// As makes errdefs.Sources find the place, without this package's users having to wrap anything.
func (e *Error) As(target any) bool {
	t, ok := target.(**errdefs.SourceError)
	if !ok {
		return false
	}
	src := e.Source()
	if src == nil {
		return false
	}
	// The inner error must not be e itself: errdefs.Sources goes on from it and would never end.
	return errors.As(errdefs.WithSource(errors.New(e.Error()), src), t)
}

// Errors are all findings in a source, at once.
type Errors []*Error

// Error has one line per finding.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.Is and errors.As every finding.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// Err is nil when there are no findings; else they are in the order of the text, each once, and those
// of one file together, the files in the order in which they came up. Of more than 200 the first ones are
// kept, and the last line says how many more there are.
func (es Errors) Err() error {
	if len(es) == 0 {
		return nil
	}
	file := map[string]int{}
	sorted := make(Errors, 0, len(es))
	more := 0
	for _, e := range es {
		if e.more > 0 { // from findings that were counted before
			more += e.more
			continue
		}
		if _, ok := file[e.File]; !ok {
			file[e.File] = len(file)
		}
		sorted = append(sorted, e)
	}
	slices.SortStableFunc(sorted, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(file[a.File], file[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	sorted = slices.CompactFunc(sorted, func(a, b *Error) bool { return a.Error() == b.Error() })
	if over := len(sorted) - maxFindings; over > 0 {
		sorted, more = sorted[:maxFindings], more+over
	}
	if more > 0 {
		sorted = append(sorted, &Error{Msg: fmt.Sprintf("and %d more findings", more), Hint: "mend these first", more: more})
	}
	return sorted
}

// Collect adds the findings in err. An error of another kind becomes a finding without a place.
func (es *Errors) Collect(err error) {
	var one *Error
	var many Errors
	switch {
	case err == nil:
	case errors.As(err, &many):
		*es = append(*es, many...)
	case errors.As(err, &one):
		*es = append(*es, one)
	default:
		*es = append(*es, &Error{Msg: err.Error(), Err: err})
	}
}

// Printable escapes control and other invisible characters, newlines included: for texts of others that are
// shown without [Error.Error].
func Printable(s string) string {
	clean := func(r rune) bool { return !unicode.IsPrint(r) }
	if strings.IndexFunc(s, clean) < 0 {
		return s
	}
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
