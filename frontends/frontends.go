package frontends

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ibuild/ibuild/frontends/dockerfile"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec"
	"github.com/ibuild/ibuild/frontends/uvscript"
	"github.com/ibuild/ibuild/llb"
	"github.com/moby/buildkit/util/suggest"
)

// Options are what the caller says about the source.
type Options struct {
	// Source is a folder, a file, or "-" for standard input.
	Source string
	Stdin  io.Reader
	// File is the Dockerfile or spec inside or beside the folder (-f); "-" is standard input.
	File string
	// Frontend names a frontend; "" detects it.
	Frontend string
	// Dockerfile has what only Dockerfiles understand; using it with another source is an error.
	Dockerfile dockerfile.Options
}

// Frontend makes plans of one kind of source.
type Frontend struct {
	// Name is what --frontend takes.
	Name string
	// Files are the names that are looked for in a folder, best first.
	Files []string
	// Accepts says whether a file is of this kind, by its name or its bytes.
	Accepts func(name string, data []byte) bool
	// Plan makes the plan. context is the folder that was given, "" when a file was given alone.
	Plan func(o Options, context string, src source.Source) (*llb.Plan, error)
}

// All lists the frontends in the order in which they are asked.
func All() []Frontend {
	return []Frontend{
		{Name: "dockerfile", Files: []string{"Dockerfile", "dockerfile", "Containerfile"}, Accepts: dockerfile.Looks, Plan: planDockerfile},
		{Name: "uvscript", Accepts: isScript, Plan: planScript},
		{Name: "spec", Files: []string{"image.yaml", "image.yml"}, Accepts: isSpec, Plan: planSpec},
	}
}

// Load finds the frontend for a source and returns its plan. Errors are source.Errors with the place and
// the remedy.
func Load(o Options) (*llb.Plan, error) {
	if err := o.notYet(); err != nil {
		return nil, err
	}
	context, src, err := o.read()
	if err != nil {
		return nil, err
	}
	f, err := o.choose(src)
	if err != nil {
		return nil, err
	}
	return f.Plan(o, context, src)
}

// notYet refuses contexts that are not on this machine.
func (o Options) notYet() error {
	s := o.Source
	remote := strings.Contains(s, "://") || strings.HasPrefix(s, "git@") || strings.HasPrefix(s, "github.com/")
	if _, err := os.Stat(s); !remote || err == nil {
		return nil
	}
	return &source.Error{File: s, Msg: "git and http contexts are not supported yet", Hint: "clone or download it, and give the folder"}
}

// read finds the text to detect: the file given, the one named by -f, or the one in the folder.
func (o Options) read() (context string, src source.Source, err error) {
	if o.Source == "-" {
		if o.File != "" {
			return "", src, &source.Error{File: "-", Msg: "the source comes from standard input, so -f has nothing to point into"}
		}
		src, err = source.ReadStdin(o.Stdin, ".", source.ScriptLimit)
		return "", src, err
	}
	info, err := os.Stat(o.Source)
	if errors.Is(err, fs.ErrNotExist) {
		return "", src, &source.Error{File: o.Source, Msg: "there is no such file or folder", Hint: "give a folder, a Dockerfile, an image.yaml or a Python script"}
	}
	if err != nil {
		return "", src, err
	}
	if !info.IsDir() {
		if o.File != "" {
			return "", src, &source.Error{File: o.Source, Msg: "-f needs a folder", Hint: "give the folder as the source, or leave -f out"}
		}
		src, err = source.Read(o.Source, source.ScriptLimit)
		return "", src, err
	}
	switch o.File {
	case "":
		src, err = o.find()
	case "-":
		src, err = source.ReadStdin(o.Stdin, o.Source, source.ScriptLimit)
	default:
		src, err = source.Read(o.File, source.ScriptLimit)
	}
	return o.Source, src, err
}

// find looks for the one file in a folder that says how to build it.
func (o Options) find() (source.Source, error) {
	var found, looked []string
	for _, f := range All() {
		if o.Frontend != "" && o.Frontend != f.Name {
			continue
		}
		for _, name := range f.Files {
			looked = append(looked, name)
			if info, err := os.Stat(filepath.Join(o.Source, name)); err == nil && info.Mode().IsRegular() {
				found = append(found, name)
				break
			}
		}
	}
	switch len(found) {
	case 1:
		return source.Read(filepath.Join(o.Source, found[0]), source.ScriptLimit)
	case 0:
		return source.Source{}, &source.Error{File: o.Source, Msg: "nothing in this folder says how to build it (looked for " + strings.Join(looked, ", ") + ")",
			Hint: "name the file with -f, or give a Python script"}
	}
	return source.Source{}, &source.Error{File: o.Source, Msg: "more than one file says how to build this folder: " + strings.Join(found, " and "),
		Hint: "name one with -f"}
}

func (o Options) choose(src source.Source) (Frontend, error) {
	var names []string
	for _, f := range All() {
		names = append(names, f.Name)
		if o.Frontend == f.Name || o.Frontend == "" && f.Accepts(src.Name, src.Data) {
			return f, nil
		}
	}
	if o.Frontend != "" {
		hint := "known are " + strings.Join(names, ", ")
		if match, ok := suggest.Search(o.Frontend, names, false); ok {
			hint = "did you mean " + match + "?"
		}
		return Frontend{}, &source.Error{Msg: fmt.Sprintf("there is no frontend %q", o.Frontend), Hint: hint}
	}
	if strings.HasSuffix(src.Name, ".ipynb") {
		return Frontend{}, &source.Error{File: src.Name, Msg: "notebooks are not supported yet", Hint: "export it as a script"}
	}
	return Frontend{}, &source.Error{File: src.Name, Msg: "this is neither a Dockerfile, an image spec (YAML) nor a Python script",
		Hint: "say what it is with --frontend " + strings.Join(names, "|")}
}

func planDockerfile(o Options, context string, src source.Source) (*llb.Plan, error) {
	d := o.Dockerfile
	d.Context = context
	if src.Stdin {
		d.Data = src.Data
	} else {
		d.File = src.Name
		if context == "" {
			d.Context = src.Dir
		}
	}
	return dockerfile.Plan(d)
}

// onlyDockerfiles refuses options that the source has no use for, rather than to ignore them.
func (o Options) onlyDockerfiles(src source.Source, kind string) error {
	d := o.Dockerfile
	for flag, set := range map[string]bool{"--build-arg": len(d.BuildArgs) > 0, "--target": d.Target != "", "--allow-syntax": d.AllowSyntax} {
		if set {
			return &source.Error{File: src.Name, Msg: flag + " means nothing for " + kind, Hint: "it is for Dockerfiles"}
		}
	}
	return nil
}

func planScript(o Options, _ string, src source.Source) (*llb.Plan, error) {
	if err := o.onlyDockerfiles(src, "a uv script"); err != nil {
		return nil, err
	}
	return uvscript.Load(src)
}

func planSpec(o Options, _ string, src source.Source) (*llb.Plan, error) {
	if err := o.onlyDockerfiles(src, "an image spec"); err != nil {
		return nil, err
	}
	return spec.Load(src)
}

func isScript(name string, data []byte) bool {
	if name == source.StdinName {
		return bytes.Contains(data, []byte("# /// script"))
	}
	return strings.HasSuffix(name, ".py")
}

func isSpec(name string, data []byte) bool {
	if name == source.StdinName {
		return true // what is not a script nor a Dockerfile
	}
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}
