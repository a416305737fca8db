package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/util/suggest"
	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/source"
)

// maxNodes bounds what aliases can blow a small file up to.
const maxNodes = 20_000

// reader walks the nodes of one YAML file. It collects findings and goes on, so that one reading finds
// them all.
type reader struct {
	src   source.Source
	errs  source.Errors
	nodes int                // followed so far
	last  map[*yaml.Node]int // last lines of nodes; aliases make us ask many times
}

func (r *reader) fail(n *yaml.Node, msg, hint string) {
	r.failAt(mark{line: n.Line, column: n.Column}, msg, hint)
}

func (r *reader) failAt(m mark, msg, hint string) {
	r.errs = append(r.errs, &source.Error{File: r.src.Name, Line: m.line, Column: m.column, Msg: msg, Hint: hint, Data: r.src.Data})
}

// document reads the file's one document; nil means that there is none to go on with.
func (r *reader) document() *yaml.Node {
	d := yaml.NewDecoder(bytes.NewReader(r.src.Data))
	var first, second yaml.Node
	err := d.Decode(&first)
	switch {
	case errors.Is(err, io.EOF), err == nil && (len(first.Content) == 0 || first.Content[0].Tag == "!!null" && first.Content[0].Value == ""):
		r.failAt(mark{line: 1, column: 1}, "the spec is empty", `the smallest one is "packages: [numpy]"`)
		return nil
	case err != nil:
		r.syntax(err)
		return nil
	}
	switch err := d.Decode(&second); {
	case err == nil:
		r.failAt(mark{line: second.Line, column: second.Column}, "a second document begins here, a spec is one", "remove the line --- and what follows, or use two files")
		return nil
	case !errors.Is(err, io.EOF):
		r.syntax(err)
		return nil
	}
	return first.Content[0]
}

// syntax turns the YAML library's words into a finding. They have a line, though none in the first one,
// and no column.
func (r *reader) syntax(err error) {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = msg[len(m[0]):]
	}
	if name, ok := strings.CutPrefix(msg, "unknown anchor '"); ok {
		name, _, _ = strings.Cut(name, "'")
		line, _ = r.src.Position(bytes.Index(r.src.Data, []byte("*"+name)))
	}
	at := mark{line: line}
	hint := ""
	if tab, ok := r.tab(line); ok && (strings.Contains(msg, "tab") || strings.Contains(msg, "cannot start any token")) {
		at, msg, hint = tab, "a tab in the indentation", "indent with spaces"
	} else if strings.Contains(msg, "cannot start any token") {
		hint = "put texts that begin with @, ` or % into quotes"
	} else if strings.Contains(msg, "mapping values are not allowed") {
		hint = `put texts that contain ": " into quotes, and check the indentation`
	}
	r.failAt(at, "not valid YAML: "+msg, hint)
}

// tab finds a tab before the first character of a line near the given one.
func (r *reader) tab(line int) (mark, bool) {
	lines := strings.Split(string(r.src.Data), "\n")
	for _, n := range []int{line, line + 1, line - 1} {
		if n < 1 || n > len(lines) {
			continue
		}
		text := lines[n-1]
		indent := text[:len(text)-len(strings.TrimLeft(text, " \t-"))]
		if i := strings.IndexByte(indent, '\t'); i >= 0 {
			return mark{line: n, column: i + 1}, true
		}
	}
	return mark{}, false
}

// follow resolves an alias and counts, as aliases of aliases grow beyond all bounds.
func (r *reader) follow(n *yaml.Node) *yaml.Node {
	r.nodes++
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if r.nodes >= maxNodes {
		return &yaml.Node{Kind: yaml.SequenceNode, Line: n.Line, Column: n.Column}
	}
	return n
}

// mapping hands each key of a mapping to its field.
func (r *reader) mapping(n *yaml.Node, what string, fields []field) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	r.pairs(n, what, func(name string, key, value *yaml.Node) {
		i := slices.Index(names, name)
		switch {
		case i >= 0 && value.Tag == "!!null":
			r.fail(key, name+" has no value", "give it one, or remove the key")
		case i >= 0:
			fields[i].set(key, value)
		default:
			r.fail(key, fmt.Sprintf("unknown key %q%s", name, within(what)), keyHint(name, names))
		}
	})
}

func within(what string) string {
	if what == "" {
		return ""
	}
	return " in " + what
}

// keyHint says what an unknown key may have been meant to be.
func keyHint(name string, names []string) string {
	plain := strings.ReplaceAll(strings.ToLower(name), "-", "_")
	for _, o := range names {
		if o == plain || o == plain+"s" || o+"s" == plain {
			return fmt.Sprintf("did you mean %q?", o)
		}
	}
	if longer := slices.DeleteFunc(slices.Clone(names), func(o string) bool { return !strings.HasPrefix(o, plain+"_") }); len(longer) == 1 {
		return fmt.Sprintf("did you mean %q?", longer[0])
	}
	if near, ok := closest(plain, names); ok {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(names) <= 10 {
		return "the keys are " + strings.Join(names, ", ")
	}
	return "see docs/spec.md for the keys"
}

// closest is what was probably meant. Long texts and long lists are not compared: that takes the time of
// their product, for every finding.
func closest(text string, options []string) (string, bool) {
	if len(text) > 64 || len(options) > 100 {
		return "", false
	}
	return suggest.Search(text, options, true)
}

// pairs goes through a mapping: keys are texts, each there once.
func (r *reader) pairs(n *yaml.Node, what string, each func(name string, key, value *yaml.Node)) {
	n = r.follow(n)
	if n.Kind != yaml.MappingNode {
		if r.nodes < maxNodes {
			r.wrongKind(n, what, "a mapping (key: value)")
		}
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := r.follow(n.Content[i]), r.follow(n.Content[i+1])
		if r.nodes >= maxNodes {
			return
		}
		if key.Kind != yaml.ScalarNode || key.Tag == "!!null" {
			r.fail(key, "a key must be a text", "")
			continue
		}
		if key.Tag == "!!merge" {
			r.fail(key, "merge keys (<<) are not supported", "write the keys out")
			continue
		}
		if line, twice := first[key.Value]; twice {
			r.fail(key, fmt.Sprintf("the key %q is given twice, first in line %d", key.Value, line), "")
			continue
		}
		first[key.Value] = key.Line
		each(key.Value, key, value)
	}
}

// text is the value of a scalar, as it is written: 3.10 stays 3.10.
func (r *reader) text(n *yaml.Node, what string) (string, bool) {
	n = r.follow(n)
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.wrongKind(n, what, "a text")
		return "", false
	}
	switch n.Tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
		return n.Value, true
	}
	r.fail(n, fmt.Sprintf("%s has the YAML tag %s, which means nothing here", what, n.Tag), "remove the tag")
	return "", false
}

// texts is a list of scalars, with the place of each.
func (r *reader) texts(n *yaml.Node, what string) (list []string, at []mark) {
	n = r.follow(n)
	if n.Kind != yaml.SequenceNode {
		if n.Kind == yaml.ScalarNode {
			r.fail(n, what+" must be a list, not a text", fmt.Sprintf("write [%s]", short(n.Value)))
		} else {
			r.wrongKind(n, what, "a list")
		}
		return nil, nil
	}
	list = []string{}
	for _, c := range n.Content {
		if s, ok := r.text(c, "an item of "+what); ok {
			list, at = append(list, s), append(at, r.place(r.follow(c)))
		}
	}
	return list, at
}

// flag is true or false.
func (r *reader) flag(n *yaml.Node, what string) bool {
	n = r.follow(n)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		r.wrongKind(n, what, "true or false")
		return false
	}
	return strings.EqualFold(n.Value, "true")
}

func (r *reader) wrongKind(n *yaml.Node, what, want string) {
	if what == "" {
		what = "the spec"
	}
	r.fail(n, fmt.Sprintf("%s must be %s, not %s", what, want, kindName(n)), "")
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!null":
		return "empty"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	}
	return "a text"
}

func short(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
