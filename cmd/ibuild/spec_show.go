package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ibuild/ibuild/frontends"
	"github.com/ibuild/ibuild/frontends/notebook"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec"
	"github.com/ibuild/ibuild/llb"
	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"
)

func specShowCommand() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "print what ibuild understood, as a spec with all steps in layers",
		ArgsUsage: "SOURCE",
		Description: `SOURCE is a folder, an image spec, a uv script, a notebook, or - for standard input. What is printed is a
spec that makes the same image when it is saved beside the source.

   ibuild spec show .
   ibuild spec show train.py > image.yaml
   ibuild spec show --script analysis.ipynb > analysis.py

Exit codes: 0, 2 when something is wrong with the source.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "the spec of a folder; - is standard input"},
			&cli.StringFlag{Name: "format", Value: "yaml", Usage: "yaml or json"},
			&cli.BoolFlag{Name: "script", Usage: "print the Python script that a notebook becomes"},
		},
		Action: runSpecShow,
	}
}

func runSpecShow(c *cli.Context) error {
	format := c.String("format")
	if format != "yaml" && format != "json" {
		return &usage{msg: fmt.Sprintf("--format %s: yaml or json", format)}
	}
	arg, err := specArg(c, "")
	if err != nil {
		return err
	}
	g, err := readGiven(frontends.Options{Source: arg, Stdin: c.App.Reader, File: c.String("file")})
	if err != nil {
		return err
	}
	warn(c.App.ErrWriter, "", g.plan)
	if c.Bool("script") {
		return showScript(c.App.Writer, g)
	}
	img, err := g.image()
	if err != nil {
		return err
	}
	data, err := img.YAML()
	if err != nil {
		return err
	}
	if format == "json" {
		return writeAsJSON(c.App.Writer, data)
	}
	_, err = c.App.Writer.Write(append([]byte(g.header()), data...))
	return err
}

// image is the source as a spec, what is decided by default said out loud.
func (g given) image() (spec.Image, error) {
	switch g.frontend {
	case "dockerfile":
		return spec.Image{}, &usage{msg: g.src.Name + ": a Dockerfile says all of its image by itself, so there is no spec to show",
			hint: "`ibuild llb` prints what the builder is asked to do"}
	case "uvscript":
		return spec.ParseScript(g.src)
	case "notebook":
		script, err := g.script()
		if err != nil {
			return spec.Image{}, err
		}
		return spec.ParseScript(script)
	}
	img, err := spec.Parse(g.src)
	if err != nil {
		return img, err
	}
	if python := g.python(); python != "" {
		// What has a Python of its own refuses one; all else means the same with it.
		if said := img.WithPythonVersion(python); said.Validate(g.src.Dir) == nil {
			return said, nil
		}
	}
	return img, nil
}

// script is the Python script that a notebook becomes. It would be saved beside it.
func (g given) script() (source.Source, error) {
	n, err := notebook.Read(g.src)
	if err != nil {
		return source.Source{}, err
	}
	name := strings.TrimSuffix(g.src.Name, filepath.Ext(g.src.Name)) + ".py"
	if g.src.Stdin {
		name = "script.py"
	}
	return source.New(name, g.src.Dir, n.Script)
}

func showScript(w io.Writer, g given) error {
	if g.frontend != "notebook" {
		return &usage{msg: g.src.Name + " is no notebook, so --script has nothing to print"}
	}
	src, err := g.script()
	if err != nil {
		return err
	}
	_, err = w.Write(src.Data)
	return err
}

// python is the X.Y of ibuild's own base, "" for other bases.
func (g given) python() string {
	if g.plan.Image == nil {
		return ""
	}
	for _, v := range llb.PythonVersions() {
		if g.plan.Image.Base.Ref == llb.DebianPython(v) {
			return v
		}
	}
	return ""
}

// header says in comments what the source comes to.
func (g given) header() string {
	kind := g.frontend
	for name, words := range map[string]string{"spec": "image spec", "uvscript": "uv script"} {
		if kind == name {
			kind = words
		}
	}
	lines := []string{oneLine(g.src.Name) + ": " + kind}
	if img := g.plan.Image; img == nil {
		lines = append(lines, "a Dockerfile says all of the image")
	} else {
		base := "base " + img.Base.Ref
		if v := g.python(); v != "" {
			base += ", Python " + v
		}
		lines = append(lines, base)
		user := ""
		for _, s := range img.Steps {
			if u, ok := s.(llb.User); ok {
				user = u.Name
			}
		}
		if user != "" {
			lines = append(lines, "user "+oneLine(user))
		}
	}
	switch {
	case g.frontend == "notebook":
		lines = append(lines, "the script is what `ibuild spec show --script` prints; save it, too")
	case g.frontend == "uvscript" && g.src.Stdin:
		lines = append(lines, "save the script as script.py beside this spec")
	}
	return "# " + strings.Join(lines, "\n# ") + "\n"
}

// oneLine quotes a name that is not plain text.
func oneLine(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}

// writeAsJSON writes YAML as JSON, which is YAML as well.
func writeAsJSON(w io.Writer, data []byte) error {
	var value any
	if err := yaml.Unmarshal(data, &value); err != nil {
		return err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(out.Bytes())
	return err
}
