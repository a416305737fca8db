package draft

import (
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// width is where comments are broken.
const width = 100

// text is a YAML file with comments.
type text struct{ strings.Builder }

// comment writes words as comment lines, what could end the comment taken out.
func (t *text) comment(indent, words string) {
	line := indent + "#"
	for _, w := range strings.Fields(words) {
		w = strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return unicode.ReplacementChar
			}
			return r
		}, w)
		if len(line)+1+len(w) > width && len(line) > len(indent)+1 {
			t.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + w
	}
	t.WriteString(line + "\n")
}

// line writes a part of the spec, or, when it is a suggestion, the same behind a #.
func (t *text) line(indent, yaml string, suggested bool) {
	if suggested {
		indent += "#"
	}
	t.WriteString(indent + yaml + "\n")
}

func (t *text) gap() { t.WriteString("\n") }

// scalar is a text as YAML, quoted where that is needed.
func scalar(s string) string { return encode(scalarNode(s)) }

// list is a list of texts in one line of YAML.
func list(items []string) string {
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Style: yaml.FlowStyle}
	for _, s := range items {
		n.Content = append(n.Content, scalarNode(s))
	}
	return encode(n)
}

// scalarNode quotes rather than to spread a text over lines.
func scalarNode(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	if n.Style == yaml.LiteralStyle {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

func encode(n *yaml.Node) string {
	data, err := yaml.Marshal(n)
	if err != nil {
		panic(err) // a tree of texts always can be written
	}
	return strings.TrimSpace(string(data))
}

// printable says whether a text has no character that is not seen.
func printable(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
