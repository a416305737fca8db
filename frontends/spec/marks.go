package spec

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mark is a place in the YAML; the zero value is none.
type mark struct{ line, column, last int }

// hull is the range of lines that covers both.
func (m mark) hull(o mark) mark {
	switch {
	case m.line == 0:
		return o
	case o.line == 0:
		return m
	case o.line < m.line:
		m, o = o, m
	}
	m.last = max(m.last, o.last)
	return m
}

// marks are the places of a layer's or image's parts in the YAML, by their path ("packages.2"); "" is
// the whole. An image made in Go has none.
type marks map[string]mark

// at is the place of a part, or of the nearest part around it that has one.
func (m marks) at(path ...any) mark {
	if len(m) == 0 {
		return mark{}
	}
	for n := len(path); n >= 0; n-- {
		if at, ok := m[markKey(path[:n])]; ok {
			return at
		}
	}
	return mark{}
}

func (m marks) set(at mark, path ...any) { m[markKey(path)] = at }

// list sets the places of a list's items.
func (m marks) list(name string, at []mark) {
	for i, p := range at {
		m.set(p, name, i)
	}
}

func markKey(path []any) string {
	if len(path) == 0 {
		return ""
	}
	return strings.TrimSuffix(fmt.Sprintln(path...), "\n")
}

// place is where a node begins and ends.
func (r *reader) place(n *yaml.Node) mark {
	return mark{line: n.Line, column: n.Column, last: r.lastLine(n)}
}

// span is where a key and its value are; just the key, when the value is an alias of something before it.
func (r *reader) span(k, v *yaml.Node) mark {
	if v.Line < k.Line {
		return r.place(k)
	}
	return r.place(k).hull(r.place(v))
}

func (r *reader) lastLine(n *yaml.Node) int {
	if n.Kind == yaml.ScalarNode {
		if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			return n.Line + strings.Count(strings.TrimRight(n.Value, "\n"), "\n") + 1
		}
		return n.Line
	}
	if last, ok := r.last[n]; ok {
		return last
	}
	last := n.Line
	for _, c := range n.Content {
		last = max(last, r.lastLine(c))
	}
	if r.last == nil {
		r.last = map[*yaml.Node]int{}
	}
	r.last[n] = last
	return last
}
