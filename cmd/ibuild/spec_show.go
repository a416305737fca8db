package main

import (
	"io"
	"strconv"
	"strings"

	"github.com/ibuild/ibuild/frontends"
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

Exit codes: 0 printed, 2 usage, or something is wrong with the source.`,
		Flags: append(givenFlags(),
			&cli.StringFlag{Name: "format", Value: "yaml", Usage: "`FORMAT`: yaml or json"},
			&cli.BoolFlag{Name: "script", Usage: "print the Python script that a notebook becomes"},
		),
		Action: runSpecShow,
	}
}

func runSpecShow(c *cli.Context) error {
	format, err := oneOf(c, "format", "yaml", "json")
	if err != nil {
		return err
	}
	arg, err := oneArg(c, "")
	if err != nil {
		return err
	}
	g, err := frontends.Read(given(c, arg))
	if err != nil {
		return err
	}
	plan, err := g.Plan()
	if err != nil {
		return err
	}
	warn(c.App.ErrWriter, "", plan)
	if c.Bool("script") {
		return showScript(c.App.Writer, g)
	}
	data, err := specOf(g, plan)
	if err != nil {
		return err
	}
	if format == "json" {
		return writeAsJSON(c.App.Writer, data)
	}
	_, err = c.App.Writer.Write(append([]byte(header(g, plan)), data...))
	return err
}

// specOf is the source as the YAML of a spec, what is decided by default said out loud. Only texts are looked at:
// the plan has checked the rest, and making it again could run programs again.
func specOf(g frontends.Given, plan *llb.Plan) ([]byte, error) {
	switch g.Frontend.Name {
	case frontends.Dockerfile:
		return nil, &usage{msg: g.Text.Name + ": a Dockerfile says all of its image by itself, so there is no spec to show",
			hint: "`ibuild llb` prints what the builder is asked to do"}
	case frontends.UVScript, frontends.Notebook:
		script, err := g.Script()
		if err != nil {
			return nil, err
		}
		img, err := spec.ParseScript(script)
		if err != nil {
			return nil, err
		}
		return img.YAML()
	}
	img, err := spec.Parse(g.Text)
	if err != nil {
		return nil, err
	}
	if python := pythonOf(plan); python != "" {
		// What has a Python of its own refuses one; all else means the same with it.
		said, err := img.WithPythonVersion(python).YAML()
		if err != nil {
			return nil, err
		}
		if _, err := spec.Parse(source.Source{Dir: g.Text.Dir, Data: said}); err == nil {
			return said, nil
		}
	}
	return img.YAML()
}

func showScript(w io.Writer, g frontends.Given) error {
	if g.Frontend.Name != frontends.Notebook {
		return &usage{msg: g.Text.Name + " is no notebook, so --script has nothing to print"}
	}
	script, err := g.Script()
	if err != nil {
		return err
	}
	_, err = w.Write(script.Data)
	return err
}

// pythonOf is the X.Y of ibuild's own base, "" for other bases.
func pythonOf(plan *llb.Plan) string {
	if plan.Image == nil {
		return ""
	}
	for _, v := range llb.PythonVersions() {
		if plan.Image.Base.Ref == llb.DebianPython(v) {
			return v
		}
	}
	return ""
}

// header says in comments what the source comes to.
func header(g frontends.Given, plan *llb.Plan) string {
	lines := []string{oneLine(g.Text.Name) + ": " + g.Frontend.Kind}
	if img := plan.Image; img == nil {
		lines = append(lines, "a Dockerfile says all of the image")
	} else {
		base := "base " + img.Base.Ref
		if v := pythonOf(plan); v != "" {
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
	case g.Frontend.Name == frontends.Notebook:
		lines = append(lines, "the script is what `ibuild spec show --script` prints; save it, too")
	case g.Frontend.Name == frontends.UVScript && g.Text.Stdin:
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
	return writeJSON(w, value)
}
