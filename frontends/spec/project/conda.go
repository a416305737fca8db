package project

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/frontends/spec/python"
)

// Conda is an environment file of conda (environment.yml).
type Conda struct {
	Files    []python.File  // the file, and the requirements files that its pip list names
	Locals   []python.Local // paths that its pip list names
	Name     string
	Channels []string
	Packages []string // match specs, as written
	Pip      []string // lines of a requirements file, as written; paths in them begin in the file's folder
	Env      map[string]string
}

// condaFile keeps the nodes of what needs a line.
type condaFile struct {
	Name         string            `yaml:"name"`
	Channels     []yaml.Node       `yaml:"channels"`
	Dependencies []yaml.Node       `yaml:"dependencies"`
	Variables    map[string]string `yaml:"variables"`
}

// matchSpec is a conda requirement, loosely: channel, name, then versions, builds or a bracket. What it
// lets through and conda does not is conda's to say.
const matchSpec = `^(?:[A-Za-z0-9_./:+-]+::)?[A-Za-z0-9_][A-Za-z0-9_.-]*(?:\[[^\[\]]*\]|[ ]*[=<>!~].*|[ ]+[0-9*].*)?$`

// ReadConda reads an environment file. Findings about the named file itself have no File.
func ReadConda(t python.Tree, name string) (Conda, error) {
	r := newReader(t)
	out := Conda{}
	d := r.open(name, "environment file", source.SpecLimit)
	if d == nil {
		return out, r.finish()
	}
	d.passwords()
	var f condaFile
	if err := yaml.Unmarshal(d.src.Data, &f); err != nil {
		d.failAt(0, 0, fmt.Sprintf("this is not a valid environment file: %s", strings.TrimPrefix(err.Error(), "yaml: ")), "")
		return out, r.finish()
	}
	out.Name, out.Env = f.Name, f.Variables
	for _, key := range sortedKeys(f.Variables) {
		if kind := credential.InVariable(key, f.Variables[key]); kind != "" {
			d.failAt(0, 0, fmt.Sprintf("the variable %s is %s, which would end up in the image", key, kind), "take it out, and give it as a secret")
		}
	}
	for _, n := range f.Channels {
		if n.Kind != yaml.ScalarNode || strings.TrimSpace(n.Value) == "" {
			d.failAt(n.Line, n.Column, "a channel has to be a name or a URL", "")
			continue
		}
		out.Channels = append(out.Channels, n.Value)
	}
	if len(f.Dependencies) == 0 {
		d.failAt(0, 0, "the environment has no dependencies", "")
	}
	spec := regexp.MustCompile(matchSpec)
	for _, n := range f.Dependencies {
		switch {
		case n.Kind == yaml.ScalarNode && spec.MatchString(n.Value) && !strings.ContainsAny(n.Value, "\n\r"):
			out.Packages = append(out.Packages, n.Value)
		case n.Kind == yaml.ScalarNode:
			d.failAt(n.Line, n.Column, fmt.Sprintf("%q is not a conda package", n.Value), "write e.g. numpy>=2 or conda-forge::numpy=2.1")
		default:
			r.condaPip(d, &out, n)
		}
	}
	out.Files = append([]python.File{r.files[0]}, out.Files...)
	return out, r.finish()
}

// condaPip reads the table in the list of dependencies.
func (r *reader) condaPip(d *document, out *Conda, n yaml.Node) {
	var table map[string]yaml.Node
	if n.Decode(&table) != nil || len(table) != 1 || table["pip"].Kind != yaml.SequenceNode {
		d.failAt(n.Line, n.Column, "a dependency is neither a text nor a list under pip", "")
		return
	}
	pip := table["pip"]
	for _, item := range pip.Content {
		if item.Kind != yaml.ScalarNode || strings.ContainsAny(item.Value, "\n\r") {
			d.failAt(item.Line, item.Column, "a line for pip has to be one line of text", "")
			continue
		}
		out.Pip = append(out.Pip, item.Value)
	}
	// The lines mean what they mean in a requirements file, and pip runs in the folder of this one.
	lines := make([]string, 0, len(pip.Content))
	for _, item := range pip.Content {
		lines = append(lines, strings.NewReplacer("\n", " ", "\r", " ").Replace(item.Value))
	}
	name := d.path + " (pip)"
	req, err := r.ReadText(name, []byte(strings.Join(lines, "\n")), path.Dir(d.path))
	var found source.Errors
	found.Collect(err)
	for _, e := range found {
		if e.File == r.Show(name) && e.Line > 0 && e.Line <= len(pip.Content) {
			e.File, e.Data, e.Line, e.Column = d.src.Name, d.src.Data, pip.Content[e.Line-1].Line, pip.Content[e.Line-1].Column
		}
		r.errs = append(r.errs, e)
	}
	for _, f := range req.Files {
		if f.Path != name {
			out.Files = append(out.Files, f)
		}
	}
	out.Locals = req.Locals
}
