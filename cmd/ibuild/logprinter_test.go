package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/ibuild/ibuild/runner/gke"
)

func TestLogPrinter(t *testing.T) {
	host := func(slice, index int, text string) gke.Line { return gke.Line{Slice: slice, Index: index, Text: text} }
	more := func(l gke.Line) gke.Line { l.More = true; return l }
	note := func(l gke.Line) gke.Line { l.Note = true; return l }
	for _, c := range []struct {
		name, want, notes string
		slices, each      int
		terminal          bool
		lines             []gke.Line
	}{
		{name: "one host, as it is", slices: 1, each: 1, want: "a\xff\x1b]0;title\x07\nb\n", lines: []gke.Line{host(0, 0, "a\xff\x1b]0;title\x07"), host(0, 0, "b")}},
		{name: "several hosts", slices: 1, each: 16, want: "[ 3] a\n[12] \n", lines: []gke.Line{host(0, 3, "a"), host(0, 12, "")}},
		{name: "several slices", slices: 2, each: 4, want: "[1/3] a\n", lines: []gke.Line{host(1, 3, "a")}},
		{name: "a line in pieces", slices: 1, each: 2, want: "[0] abcd\n", lines: []gke.Line{more(host(0, 0, "ab")), host(0, 0, "cd")}},
		{name: "another host between", slices: 1, each: 2, want: "[0] ab\n[1] x\n[0] cd\n", lines: []gke.Line{more(host(0, 0, "ab")), host(0, 1, "x"), host(0, 0, "cd")}},
		{name: "notes are apart", slices: 1, each: 2, want: "[0] a\n", notes: "ibuild: [1] lost\n", lines: []gke.Line{host(0, 0, "a"), note(host(0, 1, "lost"))}},
		{name: "a terminal", slices: 1, each: 1, terminal: true, want: "\x1b[1;31mred\x1b[0m \u241b]0;title\ufffd\x1b[0m\n10%\r20%\n", lines: []gke.Line{host(0, 0, "\x1b[1;31mred\x1b[0m \x1b]0;title\x07"), host(0, 0, "10%\r20%")}},
		{name: "a progress bar of many", slices: 1, each: 2, terminal: true, want: "[0] 20%\n[1] dos\n", lines: []gke.Line{host(0, 0, "10%\r20%"), host(0, 1, "dos\r")}},
	} {
		var out, notes bytes.Buffer
		p := &logPrinter{out: &out, notes: &notes, terminal: c.terminal, slices: c.slices, each: c.each}
		for _, l := range c.lines {
			if err := p.write(l); err != nil {
				t.Fatal(err)
			}
		}
		if out.String() != c.want || notes.String() != c.notes {
			t.Errorf("%s: %q, notes %q", c.name, out.String(), notes.String())
		}
	}
}

func TestParseHost(t *testing.T) {
	for text, want := range map[string]gke.Place{"0": {}, "12": {Index: 12}, "1/3": {Slice: 1, Index: 3}} {
		if got, err := parseHost(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1/", "/1", "1/2/3", "1x", "1/-2", "99999999999999999999"} {
		if got, err := parseHost(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// FuzzVisible lets nothing to a terminal but text, tabs, \r and colours.
func FuzzVisible(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[31mred", "\x1b[2J\x1b[H", "\x1b]52;c;aGk=\x07", "\x9b31m", "\x1b[38;2;1;2;3m", "\u202egnp.exe", "\x1b[", "a\rb\r", "\xff\xfe\x00"} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, s string, several bool) {
		out := visible(s, several)
		if !utf8.ValidString(out) {
			t.Fatalf("%q", out)
		}
		for rest := out; rest != ""; {
			if n := colour(rest); n > 0 {
				rest = rest[n:]
				continue
			}
			r, size := utf8.DecodeRuneInString(rest)
			if !unicode.IsPrint(r) && r != '\t' && r != '\u200d' && (r != '\r' || several) {
				t.Fatalf("%q became %q with %U", s, out, r)
			}
			rest = rest[size:]
		}
		if strings.Contains(out, "\n") && !strings.Contains(s, "\n") {
			t.Errorf("%q has a new line", out)
		}
	})
}
