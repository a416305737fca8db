package spec

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// layerKind is a key that an item of layers may have.
type layerKind struct {
	name string
	read func(key, value *yaml.Node) Layer
}

func (r *reader) layerKinds() []layerKind {
	return []layerKind{
		{"apt", r.apt},
		{"pip", r.pip},
		{"requirements", r.requirementsFile},
		{"commands", r.run},
		{"run", r.run},
		{"env", r.env},
		{"workdir", r.workdir},
		{"user", r.user},
		{"source_folder", r.sourceFolder},
		{"source_file", r.sourceFile},
	}
}

// laterLayers are kinds of layers that a later version will know.
func laterLayers() []string {
	return []string{
		"uv_project", "poetry_project", "pixi_project", "conda", "conda_packages", "conda_environment", "code_bundle",
		"runtime_packages", "cuda", "cudnn", "ca_certificates", "shell", "from_env",
	}
}

func (f *flat) layerList(k, v *yaml.Node) {
	if v.Kind != yaml.SequenceNode {
		f.wrongKind(v, k.Value, "a list")
		return
	}
	for _, item := range v.Content {
		f.layerItem(item)
	}
}

// layerItem reads one item: a mapping with one key.
func (f *flat) layerItem(n *yaml.Node) {
	kinds := f.layerKinds()
	n = f.follow(n)
	if n.Kind == yaml.MappingNode && len(n.Content) > 2 {
		f.fail(n, "a layer has more than one key", `begin each with a dash of its own ("- ")`)
	}
	var fields []field
	for _, kind := range kinds {
		fields = append(fields, field{kind.name, func(k, v *yaml.Node) {
			if l := kind.read(k, v); l != nil {
				f.layers = append(f.layers, l)
			}
		}})
	}
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 {
		if name, ok := flatName(n.Content[0].Value); ok {
			f.fail(n.Content[0], fmt.Sprintf("unknown key %q in a layer", n.Content[0].Value), fmt.Sprintf("did you mean %q?", name))
			return
		}
	}
	f.mapping(n, "a layer", fields, laterLayers())
}

// flatName is the layer that does what a flat field does.
func flatName(field string) (string, bool) {
	switch field {
	case "apt_packages":
		return "apt", true
	case "packages", "pip_packages":
		return "pip", true
	case "copy":
		return "source_folder", true
	}
	return "", false
}

// begin starts a layer's marks with its own place.
func (r *reader) begin(k, v *yaml.Node) marks {
	m := marks{}
	m.set(r.span(k, v))
	return m
}

// aptList is a plain list of packages; apt is that or a mapping.
func (r *reader) aptList(k, v *yaml.Node) Layer {
	list, at := r.texts(v, k.Value)
	if list == nil {
		return nil
	}
	a := Apt{Packages: list, marks: r.begin(k, v)}
	a.marks.list("packages", at)
	return a
}

func (r *reader) apt(k, v *yaml.Node) Layer {
	if v.Kind != yaml.MappingNode {
		return r.aptList(k, v)
	}
	a := Apt{marks: r.begin(k, v)}
	r.mapping(v, "apt", []field{
		{"packages", r.list(&a.Packages, a.marks, "packages")},
		{"secrets", func(k, v *yaml.Node) { a.Secrets = r.secretMounts(v) }},
	}, nil)
	return a
}

func (r *reader) pip(k, v *yaml.Node) Layer {
	p := Pip{marks: r.begin(k, v)}
	if v.Kind != yaml.MappingNode {
		list, at := r.texts(v, k.Value)
		if list == nil {
			return nil
		}
		p.Packages = list
		p.marks.list("packages", at)
		return p
	}
	fields := []field{{"packages", r.list(&p.Packages, p.marks, "packages")}}
	r.mapping(v, "pip", append(fields, r.pipOptions(&p)...), nil)
	return p
}

func (r *reader) requirementsFile(k, v *yaml.Node) Layer {
	p := Pip{marks: r.begin(k, v)}
	file := func(_, v *yaml.Node) {
		p.Requirements, _ = r.text(v, "requirements")
		p.marks.set(r.place(v), "requirements")
	}
	if v.Kind != yaml.MappingNode {
		if file(k, v); p.Requirements == "" {
			return nil
		}
		return p
	}
	r.mapping(v, "requirements", append([]field{{"file", file}}, r.pipOptions(&p)...), nil)
	return p
}

// pipOptions are the keys that pip and requirements share.
func (r *reader) pipOptions(p *Pip) []field {
	return []field{
		{"index_url", func(k, v *yaml.Node) {
			p.IndexURL, _ = r.text(v, k.Value)
			p.marks.set(r.place(v), "index_url")
		}},
		{"extra_index_urls", r.list(&p.ExtraIndexURLs, p.marks, "extra_index_urls")},
		{"pre", func(k, v *yaml.Node) { p.Pre = r.flag(v, k.Value) }},
		{"wheels_only", func(k, v *yaml.Node) { p.WheelsOnly = r.flag(v, k.Value) }},
		{"extra_args", func(k, v *yaml.Node) {
			var at []mark
			p.ExtraArgs, at = r.arguments(v, k.Value)
			p.marks.list("extra_args", at)
		}},
		{"secrets", func(k, v *yaml.Node) { p.Secrets = r.secretMounts(v) }},
	}
}

// list reads a list of texts into a field of a layer.
func (r *reader) list(to *[]string, m marks, name string) func(k, v *yaml.Node) {
	return func(k, v *yaml.Node) {
		list, at := r.texts(v, k.Value)
		*to = list
		m.set(r.place(v), name)
		m.list(name, at)
	}
}

// commandList is a list of commands, or a single one.
func (r *reader) commandList(k, v *yaml.Node) Layer {
	c := Commands{marks: r.begin(k, v)}
	if v.Kind == yaml.ScalarNode {
		s, ok := r.text(v, k.Value)
		if !ok {
			return nil
		}
		c.Commands = []string{s}
		return c
	}
	list, at := r.texts(v, k.Value)
	if list == nil {
		return nil
	}
	c.Commands = list
	c.marks.list("commands", at)
	return c
}

func (r *reader) run(k, v *yaml.Node) Layer {
	if v.Kind != yaml.MappingNode {
		return r.commandList(k, v)
	}
	c := Commands{marks: r.begin(k, v)}
	r.mapping(v, k.Value, []field{
		{"commands", func(k, v *yaml.Node) {
			if inner, ok := r.commandList(k, v).(Commands); ok {
				c.Commands, c.marks = inner.Commands, inner.marks
			}
		}},
		{"secrets", func(k, v *yaml.Node) { c.Secrets = r.secretMounts(v) }},
	}, nil)
	return c
}

func (r *reader) env(k, v *yaml.Node) Layer {
	e := Env{Vars: map[string]string{}, marks: r.begin(k, v)}
	r.pairs(v, k.Value, func(name string, key, value *yaml.Node) {
		if value.Tag == "!!null" {
			r.fail(key, fmt.Sprintf("the variable %s has no value", short(name)), `write "" for an empty one`)
			return
		}
		if s, ok := r.text(value, "the value of "+short(name)); ok {
			e.Vars[name] = s
			e.marks.set(r.span(key, value), "vars", name)
		}
	})
	if v.Kind != yaml.MappingNode {
		return nil
	}
	return e
}

func (r *reader) workdir(k, v *yaml.Node) Layer {
	s, ok := r.text(v, k.Value)
	if !ok {
		return nil
	}
	w := Workdir{Path: s, marks: r.begin(k, v)}
	w.marks.set(r.place(v), "path")
	return w
}

func (r *reader) user(k, v *yaml.Node) Layer {
	s, ok := r.text(v, k.Value)
	if !ok {
		return nil
	}
	u := User{Name: s, marks: r.begin(k, v)}
	u.marks.set(r.place(v), "name")
	return u
}

func (r *reader) sourceFolder(k, v *yaml.Node) Layer {
	s := SourceFolder{marks: r.begin(k, v)}
	if v.Kind != yaml.MappingNode {
		text, ok := r.text(v, k.Value)
		if !ok {
			return nil
		}
		s.Src = text
		s.marks.set(r.place(v), "src")
		return s
	}
	before := len(r.errs)
	r.mapping(v, k.Value, []field{
		{"src", r.part(&s.Src, s.marks)},
		{"dst", r.part(&s.Dst, s.marks)},
		{"owner", r.part(&s.Owner, s.marks)},
		{"exclude", r.list(&s.Exclude, s.marks, "exclude")},
		{"contents", func(k, v *yaml.Node) {
			s.Contents = r.flag(v, k.Value)
			s.marks.set(r.place(k), "contents")
		}},
		{"standard_ignores", func(k, v *yaml.Node) { s.AllFiles = !r.flag(v, k.Value) }},
	}, nil)
	return r.withSource(s, s.Src, k, before)
}

func (r *reader) sourceFile(k, v *yaml.Node) Layer {
	s := SourceFile{marks: r.begin(k, v)}
	if v.Kind != yaml.MappingNode {
		text, ok := r.text(v, k.Value)
		if !ok {
			return nil
		}
		s.Src = text
		s.marks.set(r.place(v), "src")
		return s
	}
	before := len(r.errs)
	r.mapping(v, k.Value, []field{
		{"src", r.part(&s.Src, s.marks)},
		{"dst", r.part(&s.Dst, s.marks)},
		{"owner", r.part(&s.Owner, s.marks)},
	}, nil)
	return r.withSource(s, s.Src, k, before)
}

// withSource drops a layer without a source; that is a finding unless its src was one already.
func (r *reader) withSource(l Layer, src string, k *yaml.Node, before int) Layer {
	if src != "" {
		return l
	}
	if len(r.errs) == before {
		r.fail(k, k.Value+" names no src", "add src: the path in the spec's folder")
	}
	return nil
}

// part reads a text into a field of a layer.
func (r *reader) part(to *string, m marks) func(k, v *yaml.Node) {
	return func(k, v *yaml.Node) {
		s, ok := r.text(v, k.Value)
		if ok && strings.TrimSpace(s) == "" {
			r.fail(v, k.Value+" is empty", "give it a value, or remove the key")
			return
		}
		*to = s
		m.set(r.place(v), k.Value)
	}
}
