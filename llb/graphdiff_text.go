package llb

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Bounds of what people are shown of one step; the JSON has it all.
const (
	shownFiles = 10
	shownText  = 200 // characters of a value
	shownNames = 2   // steps that are to blame
)

// WriteText writes the difference for people, one line per step that is not the same, with what is different
// below it.
func (d *GraphDiff) WriteText(w io.Writer) error {
	var b bytes.Buffer
	for _, img := range d.Images {
		if len(d.Images) > 1 {
			fmt.Fprintf(&b, "%s\n", img.Platform)
		}
		img.write(&b)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (d *ImageDiff) write(b *bytes.Buffer) {
	switch d.Status {
	case StatusSame:
		fmt.Fprintf(b, "  nothing changed in %d steps\n", len(d.Steps))
		return
	case StatusGone:
		fmt.Fprintln(b, "  this platform is not built any more")
		return
	case StatusNew:
		fmt.Fprintf(b, "  this platform is new: all %d steps\n", len(d.Steps))
		return
	}
	same := 0
	var blamed []string
	for _, s := range d.Steps {
		if s.Status == StatusSame {
			same++
			continue
		}
		s.write(b, blamed)
		blamed = s.Because
	}
	if same > 0 {
		fmt.Fprintf(b, "  = %d %s as before\n", same, plural(same, "step", "steps"))
	}
	if len(d.Config) > 0 {
		mark := "~"
		if d.Status == StatusUnknown {
			mark = "?"
		}
		fmt.Fprintf(b, "  %s config of the image\n", mark)
		writeChanges(b, d.Config)
	}
}

// write tells why a step is done again, unless the step before it is so for the same reason.
func (s StepDiff) write(b *bytes.Buffer, blamed []string) {
	mark := map[Status]string{StatusChanged: "~", StatusAgain: ">", StatusNew: "+", StatusGone: "-"}[s.Status]
	fmt.Fprintf(b, "  %s %s\n", mark, Short(oneLine(s.Name), shownText))
	writeChanges(b, s.Changes)
	if s.Status == StatusAgain && len(s.Because) > 0 && !slices.Equal(s.Because, blamed) {
		fmt.Fprintf(b, "      because of %s\n", blame(s.Because))
	}
}

func blame(names []string) string {
	rest := len(names) - shownNames
	var list []string
	for _, n := range names[:min(len(names), shownNames)] {
		list = append(list, Short(oneLine(n), 60))
	}
	if rest > 0 {
		list = append(list, fmt.Sprintf("%d more", rest))
	}
	return strings.Join(list, ", ")
}

func writeChanges(b *bytes.Buffer, list []Change) {
	files := 0
	for _, c := range list {
		if c.What == "file" {
			if files++; files > shownFiles {
				continue
			}
		}
		fmt.Fprintf(b, "      %s\n", c)
	}
	if files > shownFiles {
		fmt.Fprintf(b, "      and %d more files\n", files-shownFiles)
	}
}

// String is one line for people.
func (c Change) String() string {
	what := c.What
	if c.Name != "" {
		what += " " + oneLine(c.Name)
	}
	old, now := Short(oneLine(c.Old), shownText), Short(oneLine(c.New), shownText)
	switch {
	case c.Kind == StatusNew:
		return strings.TrimSuffix(what+" is new: "+now, ": ")
	case c.Kind == StatusGone:
		return strings.TrimSuffix(what+" is gone: "+old, ": ")
	case c.Kind == StatusUnknown:
		return what + " is hidden, and cannot be compared with what was recorded then"
	case c.What == "setting":
		return "a setting that has no name here"
	case slices.ContainsFunc(c.Words, func(w Word) bool { return w.Mark == ' ' }):
		return what + ": " + wordsText(c.Words)
	case c.Old == "" && c.New != "" && (c.What == "file" || c.What == "files"):
		return what + ": " + now
	}
	return fmt.Sprintf("%s: %s -> %s", what, cmp.Or(old, "nothing"), cmp.Or(now, "nothing"))
}

// wordsText writes a changed text in one line: [-gone-] and {+new+}, as wdiff does.
func wordsText(list []Word) string {
	var out []string
	for _, w := range list {
		text := Short(oneLine(w.Text), shownText)
		switch w.Mark {
		case '-':
			text = "[-" + text + "-]"
		case '+':
			text = "{+" + text + "+}"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// oneLine replaces line breaks and runs of blanks, and shortens digests.
func oneLine(s string) string {
	return digestPattern().ReplaceAllString(strings.Join(strings.Fields(s), " "), "$1")
}

// digestPattern is a digest; what people need to tell two of them apart goes into group 1.
var digestPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\b(sha256:[0-9a-f]{12})[0-9a-f]{52}\b`) })

// Short is a text as one line of at most so many characters, for people. Line breaks and runs of blanks become one
// blank; what is left out becomes "…".
func Short(text string, most int) string {
	line := strings.Join(strings.Fields(text), " ")
	if r := []rune(line); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return line
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
