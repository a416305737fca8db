package uvscript

import (
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
	"go.yaml.in/yaml/v3"
)

// settings collects [tool.ibuild] as the YAML that says the same, each node with its place in the
// script: whoever reads image specs can read it, and complain about it.
type settings struct {
	c    *check
	root *yaml.Node // nil as long as there is none
	// values are those of each mapping by their keys.
	values map[*yaml.Node]map[string]*yaml.Node
}

// within says whether a key belongs to [tool.ibuild], and gives the rest of it.
func within(path []string) ([]string, bool) {
	if len(path) < 2 || path[0] != "tool" || path[1] != "ibuild" {
		return nil, false
	}
	return path[2:], true
}

// table opens [tool.ibuild], a table below it, or an item of [[tool.ibuild.x]].
func (s *settings) table(path []string, e *unstable.Node) {
	rest, ok := within(path)
	if !ok {
		return
	}
	at := firstKey(e)
	s.begin(at)
	n := s.root
	for i, name := range rest {
		if last := i == len(rest)-1; last && e.Kind == unstable.ArrayTable {
			list := s.child(n, name, at, yaml.SequenceNode)
			list.Content = append(list.Content, s.node(at, yaml.MappingNode))
			return
		}
		n = s.child(n, name, at, yaml.MappingNode)
	}
}

// keyValue adds one value; table is the path of the table that it stands in.
func (s *settings) keyValue(table []string, e *unstable.Node) {
	rest, ok := within(append(append([]string{}, table...), keys(e.Key())...))
	if !ok || len(rest) == 0 {
		return
	}
	at := firstKey(e)
	s.begin(at)
	n := s.root
	for _, name := range rest[:len(rest)-1] {
		n = s.child(n, name, at, yaml.MappingNode)
	}
	s.add(n, rest[len(rest)-1], at, s.value(e.Value(), at))
}

func (s *settings) begin(at *unstable.Node) {
	if s.root == nil {
		s.root = s.node(at, yaml.MappingNode)
	}
}

// child is the mapping or list below a key; in a list it is the last item, as TOML's tables mean it.
func (s *settings) child(n *yaml.Node, name string, at *unstable.Node, kind yaml.Kind) *yaml.Node {
	if found, ok := s.values[n][yamlKey(name, n == s.root)]; ok {
		if found.Kind == yaml.SequenceNode && kind == yaml.MappingNode && len(found.Content) > 0 {
			return found.Content[len(found.Content)-1]
		}
		return found
	}
	made := s.node(at, kind)
	s.add(n, name, at, made)
	return made
}

func (s *settings) add(n *yaml.Node, name string, at *unstable.Node, value *yaml.Node) {
	key := s.node(at, yaml.ScalarNode)
	key.Tag, key.Value = "!!str", yamlKey(name, n == s.root)
	n.Content = append(n.Content, key, value)
	if s.values == nil {
		s.values = map[*yaml.Node]map[string]*yaml.Node{}
	}
	if s.values[n] == nil {
		s.values[n] = map[string]*yaml.Node{}
	}
	if _, twice := s.values[n][key.Value]; !twice { // a-b and a_b: whoever reads the YAML complains
		s.values[n][key.Value] = value
	}
}

// yamlKey is a key as image specs spell it: TOML's are written with dashes by custom. Only those of the
// table itself, as the names of variables and labels are below.
func yamlKey(name string, top bool) string {
	if top {
		return strings.ReplaceAll(name, "-", "_")
	}
	return name
}

// value turns a TOML value into a node. at is the key, for values without a place of their own.
func (s *settings) value(v, at *unstable.Node) *yaml.Node {
	switch v.Kind {
	case unstable.Array:
		n := s.node(at, yaml.SequenceNode)
		for it := v.Children(); it.Next(); {
			if it.Node().Kind != unstable.Comment {
				n.Content = append(n.Content, s.value(it.Node(), at))
			}
		}
		return n
	case unstable.InlineTable:
		n := s.node(at, yaml.MappingNode)
		for it := v.Children(); it.Next(); {
			e := it.Node()
			if e.Kind != unstable.KeyValue {
				continue
			}
			in, path := n, keys(e.Key())
			for _, name := range path[:len(path)-1] {
				in = s.child(in, name, firstKey(e), yaml.MappingNode)
			}
			s.add(in, path[len(path)-1], firstKey(e), s.value(e.Value(), firstKey(e)))
		}
		return n
	}
	n := s.node(v, yaml.ScalarNode)
	if v.Raw.Length == 0 {
		n = s.node(at, yaml.ScalarNode)
	}
	n.Value = string(v.Data)
	n.Tag = map[unstable.Kind]string{unstable.Integer: "!!int", unstable.Float: "!!float", unstable.Bool: "!!bool"}[v.Kind]
	if n.Tag == "" {
		n.Tag = "!!str"
	}
	return n
}

func (s *settings) node(at *unstable.Node, kind yaml.Kind) *yaml.Node {
	line, column := s.c.place(at, 0)
	return &yaml.Node{Kind: kind, Line: line, Column: column}
}
