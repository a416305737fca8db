package spec

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Layer is one step of an image: [Apt], [Pip], [Commands] and so on. Every kind is a struct of values in a
// file of its own.
type Layer interface {
	// kind is the layer's name in YAML.
	kind() string
	// clone shares nothing that can be changed.
	clone() Layer
	// lower checks the layer and adds its steps.
	lower(l *lowering)
	// mark is where the YAML has it.
	mark() mark
	// yaml is what stands after its name in YAML.
	yaml() *yaml.Node
}

// placed is embedded in what has places in a YAML file.
type placed struct{ marks marks }

func (p placed) mark() mark     { return p.marks.at("") }
func (p *placed) place(m marks) { p.marks = m }

// layerKind is a key that an item of layers may have.
type layerKind struct {
	name, doc string
	read      func(r *reader, k, v *yaml.Node) Layer
	form      func() form
}

// layerKinds are all that there are.
func layerKinds() []layerKind {
	return []layerKind{
		kindOf[Apt]("apt", "Debian packages: names, or {packages, secrets}"),
		kindOf[Pip]("pip", "Python packages: requirements, or a mapping with indexes and options"),
		kindOf("requirements", "Python packages of a requirements file, a uv.lock, a poetry.lock or a pylock.toml", requirementsForm),
		kindOf[UVProject]("uv_project", "the packages of a project's uv.lock: its folder, or a mapping"),
		kindOf[PoetryProject]("poetry_project", "the packages of a project's poetry.lock: its folder, or a mapping"),
		kindOf[Conda]("conda", "conda packages: names, or a mapping with channels"),
		kindOf[PixiProject]("pixi_project", "the environment of a project's pixi.lock: its folder, or a mapping"),
		kindOf[Commands]("commands", "shell commands, one step each"),
		kindOf[Commands]("run", "the same as commands"),
		kindOf[Env]("env", "environment variables; nothing is expanded"),
		kindOf[Workdir]("workdir", "the working folder of what follows and of the image"),
		kindOf[User]("user", "the user of the commands that follow and of the image"),
		kindOf[Shell]("shell", "the shell of the commands that follow, and of the image"),
		kindOf[SourceFolder]("source_folder", "a folder of the spec's folder"),
		kindOf[SourceFile]("source_file", "a file of the spec's folder"),
		kindOf[CodeBundle]("code_bundle", "the user's own code: all of a folder, or what scripts import"),
		kindOf[Copy]("copy", "a file or folder, to the same path below the workdir"),
	}
}

// layerPointer is what the pointer to a layer can do.
type layerPointer[L any] interface {
	*L
	readable
	place(m marks)
}

// kindOf makes the entry of a kind of layer. as shows the layer in another form than its own.
func kindOf[L Layer, P layerPointer[L]](name, doc string, as ...func(P) readable) layerKind {
	view := func(l P) readable {
		if len(as) > 0 {
			return as[0](l)
		}
		return l
	}
	return layerKind{
		name: name, doc: doc,
		read: func(r *reader, k, v *yaml.Node) Layer {
			l, m := P(new(L)), r.begin(k, v)
			l.place(m)
			if !r.readInto(view(l), m, k, v) && v.Kind != yaml.MappingNode {
				return nil
			}
			if lack, ok := any(l).(lacking); ok {
				if msg, _ := lack.lacks(); msg != "" {
					return nil
				}
			}
			return *l
		},
		form: func() form { return formOf(view(P(new(L)))) },
	}
}

// begin starts a layer's marks with its own place.
func (r *reader) begin(k, v *yaml.Node) marks {
	m := marks{}
	m.set(r.span(k, v))
	return m
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
	n = f.follow(n)
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		f.fail(n, "a layer has no key", "write e.g. run: make")
	}
	if n.Kind == yaml.MappingNode && len(n.Content) > 2 {
		if first, second := n.Content[0].Value, n.Content[2].Value; isLayer(first) && !isLayer(second) {
			f.fail(n, "a layer has more than one key", fmt.Sprintf("options go below the layer's name: write %s: {…, %s: …}", first, second))
			return
		}
		f.fail(n, "a layer has more than one key", `begin each with a dash of its own ("- ")`)
	}
	var fields []field
	for _, kind := range layerKinds() {
		fields = append(fields, field{name: kind.name, set: func(k, v *yaml.Node) {
			if l := kind.read(f.reader, k, v); l != nil {
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
	f.mapping(n, "a layer", fields)
}

func isLayer(name string) bool {
	return slices.ContainsFunc(layerKinds(), func(k layerKind) bool { return k.name == name })
}

// flatName is the layer that does what a flat field does.
func flatName(field string) (string, bool) {
	switch field {
	case "apt_packages":
		return "apt", true
	case "packages", "pip_packages":
		return "pip", true
	}
	return "", false
}

// layerForm is what an item of layers may be.
func layerForm() form {
	var kinds []form
	for _, kind := range layerKinds() {
		value := form{"description": kind.doc}
		for k, v := range kind.form() {
			value[k] = v
		}
		kinds = append(kinds, form{
			"type": "object", "required": []string{kind.name}, "additionalProperties": false,
			"properties": map[string]form{kind.name: value},
		})
	}
	return eitherForm(kinds...)
}
