package spec

import (
	"bytes"

	"go.yaml.in/yaml/v3"
)

// YAML writes the image as a spec that says the same: the same steps in the same order, all of them in
// layers. Values are as they were given; a script is named, not included.
func (img Image) YAML() ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(img.node()); err != nil {
		return nil, err
	}
	err := enc.Close()
	return out.Bytes(), err
}

// node is the image as a YAML mapping.
func (img Image) node() *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	add := func(name string, n *yaml.Node) {
		if n != nil {
			out.Content = append(out.Content, textNode(name), n)
		}
	}
	order := map[string]func(){
		"layers":     func() { add("layers", layersNode(img.layers)) },
		"platforms":  func() { add("platforms", listNode(img.platforms)) },
		"entrypoint": func() { add("entrypoint", img.entrypoint.node()) },
		"cmd":        func() { add("cmd", img.cmd.node()) },
		"secrets":    func() { add("secrets", secretsNode(img.secrets)) },
	}
	if s := img.start; s != nil {
		add(s.kind(), s.yaml())
	}
	f := &flat{img: img}
	for _, field := range f.fields() {
		switch {
		case order[field.name] != nil:
			order[field.name]()
		case field.get != nil && !field.inLayer:
			add(field.name, field.get())
		}
	}
	if t := encodeFields(img.tools.fields(table{marks: marks{}})); len(t.Content) > 0 {
		add("builder_config", t)
	}
	if len(out.Content) == 0 {
		add("base_image", stringNode("debian"))
	}
	return out
}

func encodeFields(fields []field) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, f := range fields {
		if n := f.get(); n != nil {
			out.Content = append(out.Content, textNode(f.name), n)
		}
	}
	return out
}

func layersNode(layers []Layer) *yaml.Node {
	if len(layers) == 0 {
		return nil
	}
	out := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for _, l := range layers {
		value := l.yaml()
		if value == nil {
			value = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		}
		out.Content = append(out.Content, &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{textNode(l.kind()), value}})
	}
	return out
}

func (c command) node() *yaml.Node {
	if !c.set {
		return nil
	}
	return listNode(append([]string{}, c.args...))
}
