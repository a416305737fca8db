package anatomy

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// WriteText writes a report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b bytes.Buffer
	for _, img := range r.Images {
		fmt.Fprintf(&b, "%s\n", img.Platform)
		img.write(&b)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (r *ImageReport) write(b *bytes.Buffer) {
	if r.Missing != "" {
		fmt.Fprintf(b, "  the %s image has no such platform\n", r.Missing)
		return
	}
	same := 0
	for _, l := range r.Layers {
		if l.Verdict == Same {
			same++
		}
	}
	fmt.Fprintf(b, "  = %d of %d layers are the same\n", same, len(r.Layers))
	for i, l := range r.Layers {
		if l.Verdict != Same {
			l.write(b, i+1)
		}
	}
	if len(r.Config) > 0 {
		fmt.Fprintln(b, "  ~ config")
		for _, d := range r.Config {
			fmt.Fprintf(b, "      %s\n", d)
		}
	}
}

func (r *LayerReport) write(b *bytes.Buffer, number int) {
	step := r.Step
	if step == "" {
		step = "a step that the history does not name"
	}
	mark := map[Verdict]string{Form: "=", Differs: "~", Only: "~", Unknown: "?"}[r.Verdict]
	fmt.Fprintf(b, "  %s layer %d: %s\n", mark, number, cut(step))
	switch r.Verdict {
	case Form:
		fmt.Fprintf(b, "      the same files, %s\n", r.form())
	case Only, Unknown:
		fmt.Fprintf(b, "      %s\n", r.Reason)
	case Differs:
		fmt.Fprintf(b, "      %s\n", r.counts())
	}
	for _, f := range r.Files {
		var list []string
		for _, d := range f.Differences {
			list = append(list, d.String())
		}
		fmt.Fprintf(b, "      %s: %s\n", f.Path, strings.Join(list, "; "))
	}
	if r.More > 0 {
		fmt.Fprintf(b, "      and %d more files\n", r.More)
	}
}

// form says what is different about the same files.
func (r *LayerReport) form() string {
	if n := r.Counts["time only"]; n > 0 {
		return fmt.Sprintf("%d of them with other times", n)
	}
	return "written down in another form"
}

// counts says how many files differ in what.
func (r *LayerReport) counts() string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(r.Counts)) {
		list = append(list, fmt.Sprintf("%s %d", k, r.Counts[k]))
	}
	return "files by what is different: " + strings.Join(list, ", ")
}

// String is a difference in a few words.
func (d Difference) String() string {
	switch {
	case d.What == "new":
		return "only in the new image"
	case d.What == "gone":
		return "only in the old image"
	case d.Old == "" && d.New == "":
		return d.What
	case d.Old == "":
		return d.What + " is new: " + cut(d.New)
	case d.New == "":
		return d.What + " is gone: " + cut(d.Old)
	}
	return d.What + " " + cut(d.Old) + " -> " + cut(d.New)
}

func cut(s string) string {
	const most = 160 // characters
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
