package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ibuild/ibuild/runner/gke"
)

// logPrinter writes the output of a job's hosts, each line with its host before
// it where there are several.
//
// What a program writes goes to a file or a pipe as it is. A terminal gets only
// what shows text: colours are kept, and all else that would move the cursor,
// set titles, ask the terminal for something or paste into it is made visible
// instead. Such bytes come from a cluster, where a job may print what it has
// downloaded. A progress bar's \r works for a single host; of several only what it
// shows last is written.
type logPrinter struct {
	out, notes   io.Writer // notes are ibuild's own words
	terminal     bool
	slices, each int       // hosts that the job has
	open         gke.Place // whose line has no end yet
	unfinished   bool
}

// newLogPrinter is for a job of so many hosts.
func newLogPrinter(out, notes io.Writer, run *gke.Run) *logPrinter {
	p := &logPrinter{out: out, notes: notes}
	p.slices, p.each = run.Hosts()
	p.terminal = terminal(out)
	return p
}

// write writes one line. Its error says that nobody reads any more.
func (p *logPrinter) write(l gke.Line) error {
	at := gke.Place{Slice: l.Slice, Index: l.Index}
	if l.Note {
		_, err := fmt.Fprintf(plainText{p.notes}, "ibuild: %s%s\n", p.prefix(at), l.Text)
		return err
	}
	var b strings.Builder
	switch {
	case p.unfinished && p.open != at: // another host's line is not finished yet
		b.WriteByte('\n')
		b.WriteString(p.prefix(at))
	case !p.unfinished:
		b.WriteString(p.prefix(at))
	}
	text := l.Text
	if p.terminal {
		text = visible(text, p.several())
	}
	b.WriteString(text)
	if !l.More {
		b.WriteByte('\n')
	}
	p.open, p.unfinished = at, l.More
	_, err := io.WriteString(p.out, b.String())
	return err
}

func (p *logPrinter) several() bool { return p.slices*p.each > 1 }

// prefix names a host where there are several: "[3] ", or "[1/3] " in the second of several slices.
func (p *logPrinter) prefix(at gke.Place) string {
	switch {
	case p.slices > 1:
		return fmt.Sprintf("[%d/%d] ", at.Slice, at.Index)
	case p.each > 1:
		return fmt.Sprintf("[%*d] ", len(fmt.Sprint(p.each-1)), at.Index)
	}
	return ""
}

// visible makes a text safe for a terminal. Colours end with the text: those of
// one line must not reach the next one, which may be another host's.
func visible(text string, several bool) string {
	if several {
		if n := strings.LastIndexByte(strings.TrimRight(text, "\r"), '\r'); n >= 0 {
			text = text[n+1:]
		}
	}
	var b strings.Builder
	coloured := false
	for len(text) > 0 {
		if n := colour(text); n > 0 {
			b.WriteString(text[:n])
			text, coloured = text[n:], true
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == '\t', r == '\r' && !several, r == '\u200d', unicode.IsPrint(r) && (r != utf8.RuneError || size > 1):
			b.WriteString(text[:size])
		case r == '\x1b':
			b.WriteString("\u241b") // the picture of an escape
		case r == '\r': // at the end of a line, of programs that end lines as DOS does
		default:
			b.WriteRune(utf8.RuneError)
		}
		text = text[size:]
	}
	if coloured {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// colour is the length of the sequence for a colour or a weight that a text
// begins with: ESC [ NUMBERS m. It is 0 for anything else.
func colour(text string) int {
	const longest = 64
	if !strings.HasPrefix(text, "\x1b[") {
		return 0
	}
	for n := 2; n < min(len(text), longest); n++ {
		switch c := text[n]; {
		case c == 'm':
			return n + 1
		case c < '0' || c > ';':
			return 0
		}
	}
	return 0
}
