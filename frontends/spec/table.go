package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// field is one key of a mapping: how it is read, how it is written, and what an editor is told of it.
// One table of fields serves all three, so that they cannot drift.
type field struct {
	name string
	doc  string // a sentence for editors, "" for none
	form form
	set  func(key, value *yaml.Node)
	get  func() *yaml.Node // what `spec show` writes; nil, or a nil node, leaves the key out
	// inLayer says that the field is one of a layer's, so that the image itself has nothing to write.
	inLayer bool
}

// table makes the fields of one value. The reader is nil when the value is only written or described.
type table struct {
	r     *reader
	marks marks
}

// text is a text that must not be blank.
func (t table) text(name, doc string, to *string) field {
	return field{name: name, doc: doc, form: textForm(), get: func() *yaml.Node { return textNode(*to) },
		set: func(k, v *yaml.Node) {
			s, ok := t.r.text(v, k.Value)
			if ok && strings.TrimSpace(s) == "" {
				t.r.fail(v, k.Value+" is empty", "give it a value, or remove the key")
				return
			}
			*to = s
			t.marks.set(t.r.place(v), name)
		}}
}

// raw is a text that may be blank: whoever uses it says what is wrong with it.
func (t table) raw(name, doc string, to *string) field {
	f := t.text(name, doc, to)
	f.set = func(k, v *yaml.Node) {
		*to, _ = t.r.text(v, k.Value)
		t.marks.set(t.r.place(v), name)
	}
	return f
}

// texts is a list of texts.
func (t table) texts(name, doc string, to *[]string) field {
	return field{name: name, doc: doc, form: listForm(textForm()), get: func() *yaml.Node { return listNode(*to) },
		set: func(k, v *yaml.Node) {
			list, at := t.r.texts(v, k.Value)
			*to = list
			t.marks.set(t.r.place(v), name)
			t.marks.list(name, at)
		}}
}

// textOrTexts is a list of texts, or a single one.
func (t table) textOrTexts(name, doc string, to *[]string) field {
	f := t.texts(name, doc, to)
	f.form = eitherForm(textForm(), listForm(textForm()))
	many := f.set
	f.set = func(k, v *yaml.Node) {
		if v.Kind != yaml.ScalarNode {
			many(k, v)
			return
		}
		if s, ok := t.r.text(v, k.Value); ok {
			*to = []string{s}
			t.marks.set(t.r.place(v), name)
		}
	}
	return f
}

// arguments is a list of texts, or a text that is parted as a shell would.
func (t table) arguments(name, doc string, to *[]string) field {
	f := t.texts(name, doc, to)
	f.form = eitherForm(textForm(), listForm(textForm()))
	f.set = func(k, v *yaml.Node) {
		var at []mark
		*to, at = t.r.arguments(v, k.Value)
		t.marks.set(t.r.place(v), name)
		t.marks.list(name, at)
	}
	return f
}

// flag is true or false.
func (t table) flag(name, doc string, to *bool) field {
	return field{name: name, doc: doc, form: flagForm(),
		get: func() *yaml.Node {
			if !*to {
				return nil
			}
			return scalarNode("!!bool", "true")
		},
		set: func(k, v *yaml.Node) {
			*to = t.r.flag(v, k.Value)
			t.marks.set(t.r.place(k), name)
		}}
}

// notFlag is true or false in YAML, and the opposite in Go, where the zero value is the usual one.
func (t table) notFlag(name, doc string, to *bool) field {
	f := t.flag(name, doc, to)
	f.set = func(k, v *yaml.Node) {
		*to = !t.r.flag(v, k.Value)
		t.marks.set(t.r.place(k), name)
	}
	f.get = func() *yaml.Node {
		if !*to {
			return nil
		}
		return scalarNode("!!bool", "false")
	}
	return f
}

// choice is one of two words; the first is false, and what is meant when the key is absent.
func (t table) choice(name, doc, no, yes string, to *bool) field {
	return field{name: name, doc: doc, form: enumForm(no, yes),
		get: func() *yaml.Node {
			if !*to {
				return nil
			}
			return stringNode(yes)
		},
		set: func(k, v *yaml.Node) {
			s, ok := t.r.text(v, k.Value)
			if ok && s != no && s != yes {
				t.r.fail(v, fmt.Sprintf("%q is not a value of %s", s, k.Value), fmt.Sprintf("write %s or %s", no, yes))
			}
			*to = s == yes
			t.marks.set(t.r.place(v), name)
		}}
}

// vars is a mapping of names to texts; what is one of them, for messages ("the variable").
func (t table) vars(name, doc, what, whole string, to *map[string]string) field {
	return field{name: name, doc: doc, form: varsForm(), get: func() *yaml.Node { return varsNode(*to) },
		set: func(k, v *yaml.Node) {
			*to = map[string]string{}
			t.r.pairs(v, k.Value, func(key string, kn, vn *yaml.Node) {
				if vn.Tag == "!!null" {
					t.r.fail(kn, fmt.Sprintf("the %s %s has no value", what, short(key)), `write "" for an empty one`)
					return
				}
				if s, ok := t.r.text(vn, whole+" "+short(key)); ok {
					(*to)[key] = s
					t.marks.set(t.r.span(kn, vn), name, key)
				}
			})
		}}
}

// secrets are what a layer mounts.
func (t table) secrets(to *[]Secret) field {
	return field{name: "secrets", doc: "secrets that the step mounts: ids, or {id, env or file or index, optional}", form: listForm(refForm("secretMount")),
		get: func() *yaml.Node { return secretsNode(*to) },
		set: func(_, v *yaml.Node) { *to = t.r.secretMounts(v) }}
}

// A readable is a layer, or a start, that its fields read and write.
type readable interface {
	// fields are the keys of its mapping form; none when it has no such form.
	fields(t table) []field
	// short is what a value that is no mapping sets; the field's name may be one of fields.
	short(t table) field
}

// lacking is a layer that means nothing without one of its fields.
type lacking interface {
	// lacks says what is missing, "" for nothing.
	lacks() (msg, hint string)
}

// readInto reads a value into l, whose places go to m. It says whether there is something to go on with.
func (r *reader) readInto(l readable, m marks, k, v *yaml.Node) bool {
	t := table{r, m}
	before := len(r.errs)
	fields := l.fields(t)
	if v.Kind != yaml.MappingNode || len(fields) == 0 {
		l.short(t).set(k, v)
		return len(r.errs) == before
	}
	r.mapping(v, k.Value, fields)
	if l, ok := l.(lacking); ok {
		if msg, hint := l.lacks(); msg != "" {
			if len(r.errs) == before {
				r.fail(k, k.Value+" "+msg, hint)
			}
			return false
		}
	}
	return true
}

// encode is the YAML of a layer: the short form where that says all of it.
func encode(l readable) *yaml.Node {
	t := table{marks: marks{}}
	short := l.short(t)
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	var value *yaml.Node // of the short form's field
	for _, f := range l.fields(t) {
		n := f.get()
		if n == nil {
			continue
		}
		if f.name == short.name {
			value = n
		}
		out.Content = append(out.Content, textNode(f.name), n)
	}
	switch {
	case len(out.Content) == 0:
		return short.get()
	case value != nil && len(out.Content) == 2:
		return value
	}
	return out
}

func scalarNode(tag, text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}
}

// textNode is nil for no text.
func textNode(s string) *yaml.Node {
	if s == "" {
		return nil
	}
	return stringNode(s)
}

// stringNode quotes what YAML would take for something else than a text, or change: the library writes
// line breaks other than \n, tabs, and space at the edges of lines, in ways that are read as another text.
func stringNode(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	for i, line := range lines {
		edge := i == 0 || i == len(lines)-1
		if edge && line == "" || i == 0 && strings.HasPrefix(line, " ") || strings.HasSuffix(line, " ") || strings.ContainsFunc(line, notPrinted) {
			n.Style = yaml.DoubleQuotedStyle
			return n
		}
	}
	if strings.Contains(s, "\n") {
		n.Style = yaml.LiteralStyle
	}
	return n
}

// notPrinted is true for control characters and all spaces but the common one.
func notPrinted(r rune) bool { return !unicode.IsPrint(r) }

// listNode is nil for no list; one that is empty is written.
func listNode(list []string) *yaml.Node {
	if list == nil {
		return nil
	}
	out := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	if len(list) <= 6 {
		out.Style = yaml.FlowStyle
	}
	for _, s := range list {
		if strings.Contains(s, "\n") || len(s) > 40 {
			out.Style = 0
		}
		out.Content = append(out.Content, stringNode(s))
	}
	return out
}

func varsNode(vars map[string]string) *yaml.Node {
	if len(vars) == 0 {
		return nil
	}
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		out.Content = append(out.Content, stringNode(k), stringNode(vars[k]))
	}
	return out
}

// secretsNode is nil for none.
func secretsNode(list []Secret) *yaml.Node {
	if len(list) == 0 {
		return nil
	}
	out := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for _, s := range list {
		n := encode(&s)
		if n == nil {
			n = stringNode("") // the finding about it has to find it
		}
		out.Content = append(out.Content, n)
	}
	return out
}
