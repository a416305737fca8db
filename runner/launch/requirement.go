package launch

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/python"
)

// Dropped is a requirement that is left out, as the accelerator's own variant stands in for it.
type Dropped struct {
	File string // as the user knows it
	Line int    // from 1
	Text string // the requirement, in one line and without hashes
}

// requirement is one that the user wrote down, and where.
type requirement struct {
	Text string // PEP 508, or a path; one line, without hashes and comments
	File string
	Line int  // from 1, 0 when it is not known
	Keep bool // it has the mark that keeps it

	constraint bool // it is in a file of constraints, and installs nothing
}

// name is its normal name, "" for what is no requirement with a name.
func (r requirement) name() string {
	p, err := python.ParseRequirement(r.Text)
	if err != nil {
		return ""
	}
	return python.NormalName(p.Name)
}

// replaced says whether an accelerator's variant stands in for a package. The list is Kinetic's.
func replaced(name string) bool {
	switch name {
	case "jax", "jaxlib", "libtpu", "libtpu-nightly":
		return true
	}
	return false
}

// keepMark finds the mark that keeps a line, ibuild's or Kinetic's.
var keepMark = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`#[ \t]*(?:ibuild|kn):keep(?:[ \t\r]|$)`) })

// logical is one logical line of a requirements file: physical lines that a backslash joins.
type logical struct {
	first, count int    // physical lines; first from 1
	text         string // joined, without comments
	keep         bool
}

// logicalLines splits a requirements file as pip does: a line goes on after a backslash at its end, a comment ends it.
func logicalLines(data []byte) []logical {
	var out []logical
	open := false
	number := 0
	for raw := range bytes.Lines(data) {
		number++
		text := strings.TrimRight(string(raw), "\r\n")
		body, comment := splitComment(text)
		if !open {
			out = append(out, logical{first: number})
		}
		l := &out[len(out)-1]
		l.count++
		l.keep = l.keep || comment != "" && keepMark().MatchString(comment)
		body, open = strings.CutSuffix(body, `\`)
		open = open && comment == ""
		l.text = strings.TrimSpace(l.text + " " + strings.TrimSpace(body))
	}
	return out
}

// splitComment parts a line at the # that begins its line or has white space before it.
func splitComment(line string) (body, comment string) {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			return line[:i], line[i:]
		}
	}
	return line, ""
}

// local is the finding about a line that names a path on this machine; nil for others.
func (l logical) local(file string) *source.Error {
	found := &source.Error{File: file, Line: l.first, Hint: localHint}
	if r, ok := l.requirement(file); ok {
		return r.local()
	}
	name, value, _ := strings.Cut(l.text, " ")
	if before, after, ok := strings.Cut(name, "="); ok && strings.HasPrefix(name, "--") {
		name, value = before, after
	}
	if len(name) > 2 && !strings.HasPrefix(name, "--") { // -e. and -fwheels
		name, value = name[:2], strings.TrimPrefix(name[2:], "=")
	}
	value = strings.Trim(strings.TrimSpace(value), `"'`)
	remote := strings.Contains(value, "://") && !strings.Contains(value, "file:")
	switch name {
	case "-e", "--editable":
		found.Msg = fmt.Sprintf("%q is installed as editable from this machine, whose folders a pod does not have", value)
	case "-f", "--find-links":
		found.Msg = fmt.Sprintf("%q is a folder of packages on this machine, which a pod does not have", value)
	default:
		return nil
	}
	if remote || value == "" {
		return nil // what is wrong with these, package python says
	}
	return found
}

// requirement is the line's requirement; false for options and empty lines. What follows it (--hash and the like) is
// left away.
func (l logical) requirement(file string) (requirement, bool) {
	if l.text == "" || strings.HasPrefix(l.text, "-") {
		return requirement{}, false
	}
	text, _, _ := strings.Cut(l.text, " --")
	return requirement{Text: strings.TrimSpace(text), File: file, Line: l.first, Keep: l.keep}, true
}

// filtered is a requirements file without what the accelerator replaces.
type filtered struct {
	text    []byte        // the same number of lines as before, so that messages of installers have the right ones
	all     []requirement // what the file names, dropped ones included
	dropped []requirement
	hashes  bool // --require-hashes is asked for
	local   source.Errors
}

// filter drops the logical lines whose package the accelerator replaces, with their continuations and hashes. file is
// the name for messages.
func filter(file string, data []byte) filtered {
	var out filtered
	lines := bytes.SplitAfter(data, []byte("\n"))
	for _, l := range logicalLines(data) {
		out.hashes = out.hashes || l.text == "--require-hashes"
		if e := l.local(file); e != nil {
			out.local = append(out.local, e)
		}
		r, ok := l.requirement(file)
		if ok {
			out.all = append(out.all, r)
		}
		drop := ok && !r.Keep && replaced(r.name())
		if drop {
			out.dropped = append(out.dropped, r)
		}
		for _, raw := range lines[l.first-1 : l.first-1+l.count] {
			if drop {
				raw = lineEnd(raw)
			}
			out.text = append(out.text, raw...)
		}
	}
	return out
}

// lineEnd is what ends a line; nothing for the last one of a file.
func lineEnd(line []byte) []byte {
	return line[len(bytes.TrimRight(line, "\r\n")):]
}

// filterList is filter for requirements that are not in lines.
func filterList(all []requirement) (kept, dropped []requirement) {
	for _, r := range all {
		if !r.Keep && replaced(r.name()) {
			dropped = append(dropped, r)
		} else {
			kept = append(kept, r)
		}
	}
	return kept, dropped
}

// located gives the requirements of a TOML text their lines, and the marks in them. Requirements are quoted there, and
// a comment of the line belongs to the requirement in it.
func located(file string, data []byte, texts []string) []requirement {
	lines := strings.Split(string(data), "\n")
	type place struct {
		line int
		text string
	}
	used := map[place]int{} // how often a text was found in a line
	var out []requirement
	for _, text := range texts {
		r := requirement{Text: text, File: file}
		for i, line := range lines {
			if strings.Count(line, `"`+text+`"`)+strings.Count(line, "'"+text+"'") <= used[place{i, text}] {
				continue
			}
			used[place{i, text}]++
			r.Line = i + 1
			r.Keep = keepMark().MatchString(line[strings.Index(line, text)+len(text):])
			break
		}
		out = append(out, r)
	}
	return out
}

const localHint = "publish it to a package index; or write an image spec with a source_folder layer, which brings folders; code in the program's own folder goes along by itself"

// local is the finding about a requirement that is a path on this machine; nil for others.
func (r requirement) local() *source.Error {
	if !python.IsLocal(r.Text) {
		return nil
	}
	return &source.Error{File: r.File, Line: r.Line, Msg: fmt.Sprintf("%q is a path on this machine, which a pod does not have", r.Text), Hint: localHint}
}
