package frontends

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/ibuild/ibuild/frontends/dockerfile"
	"github.com/ibuild/ibuild/frontends/notebook"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec"
	"github.com/ibuild/ibuild/frontends/uvscript"
	"github.com/ibuild/ibuild/llb"
)

func planDockerfile(g Given) (*llb.Plan, error) {
	d := g.docker
	d.Context = g.context
	if g.Text.Stdin {
		d.Data = g.Text.Data
	} else {
		d.File = g.Text.Name
		if g.context == "" {
			d.Context = g.Text.Dir
		}
	}
	return dockerfile.Plan(d)
}

// onlyDockerfiles refuses options that the source has no use for, rather than to ignore them.
func (g Given) onlyDockerfiles() error {
	flag := ""
	switch {
	case len(g.docker.BuildArgs) > 0:
		flag = "--build-arg"
	case g.docker.Target != "":
		flag = "--target"
	case g.docker.AllowSyntax:
		flag = "--allow-syntax"
	default:
		return nil
	}
	return &source.Error{File: g.Text.Name, Msg: fmt.Sprintf("%s means nothing for %ss", flag, g.Frontend.Kind), Hint: "it is for Dockerfiles"}
}

func planScript(g Given) (*llb.Plan, error) { return spec.LoadScript(g.Text) }

func planSpec(g Given) (*llb.Plan, error) { return spec.Load(g.Text) }

// planNotebook builds the script that a notebook's code cells make.
func planNotebook(g Given) (*llb.Plan, error) {
	nb, err := notebook.Read(g.Text)
	if err != nil {
		return nil, err
	}
	script := g.Text
	script.Data = nb.Script
	plan, err := spec.LoadGenerated(script, g.Frontend.Kind, scriptName(g.Text))
	return plan, nb.Rewrite(err)
}

// scriptName is the file name of a notebook's script, in the image and beside the notebook.
func scriptName(src source.Source) string {
	if src.Stdin {
		return uvscript.StdinName
	}
	return strings.TrimSuffix(src.Base(), ".ipynb") + ".py"
}

func scriptNamed(name string) bool { return strings.HasSuffix(name, ".py") }

func isScript(data []byte) bool {
	return bytes.HasPrefix(data, []byte("# /// script")) || bytes.Contains(data, []byte("\n# /// script"))
}

func notebookNamed(name string) bool { return strings.HasSuffix(name, ".ipynb") }

// isNotebook looks for a JSON object with cells.
func isNotebook(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) && bytes.Contains(data, []byte(`"nbformat"`))
}

func specNamed(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// isSpec looks for the first line of a mapping: a key and a colon.
func isSpec(data []byte) bool {
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || bytes.Equal(line, []byte("---")) {
			continue
		}
		key, _, ok := bytes.Cut(line, []byte(":"))
		return ok && !bytes.ContainsAny(key, " \t")
	}
	return false
}
