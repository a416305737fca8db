package frontends

import (
	"io"
	"os"
	"path/filepath"

	"github.com/ibuild/ibuild/frontends/dockerfile"
	"github.com/ibuild/ibuild/frontends/notebook"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
)

// Names of the frontends.
const (
	UVScript   = "uvscript"
	Notebook   = "notebook"
	Dockerfile = "dockerfile"
	Spec       = "spec"
)

// Options are what the caller says about the source.
type Options struct {
	// Source is a folder, a file, or "-" for standard input.
	Source string
	Stdin  io.Reader
	// File is what says how to build the folder (-f); "-" is standard input.
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
	// Kind is what people call a source of this kind.
	Kind string
	// Files are the names that are looked for in a folder, best first.
	Files []string
	// Named says whether a file's name is one of this kind.
	Named func(name string) bool
	// Holds says whether a text is of this kind; it is asked when no frontend knows the name.
	Holds func(data []byte) bool
	// Limit is how many bytes a file that is Named may have; 0 is that of scripts.
	Limit int64
	// plan makes the plan.
	plan func(g Given) (*llb.Plan, error)
}

// All lists the frontends in the order in which they are asked.
func All() []Frontend {
	return []Frontend{
		{Name: UVScript, Kind: "uv script", Named: scriptNamed, Holds: isScript, plan: planScript},
		{Name: Notebook, Kind: "notebook", Named: notebookNamed, Holds: isNotebook, Limit: notebook.Limit, plan: planNotebook},
		{Name: Dockerfile, Kind: "Dockerfile", Files: []string{"Dockerfile", "dockerfile", "Containerfile"}, Named: dockerfile.Named, Holds: dockerfile.Holds, plan: planDockerfile},
		{Name: Spec, Kind: "image spec", Files: []string{"image.yaml", "image.yml"}, Named: specNamed, Holds: isSpec, plan: planSpec},
	}
}

// Given is a source that was read, and the frontend that takes it.
type Given struct {
	// Text is the file that was given, the one in the folder that was given, or standard input.
	Text     source.Source
	Frontend Frontend

	context string // the folder that was given, "" when a file was given alone
	docker  dockerfile.Options
}

// Here says whether a source is on this machine: a file, a folder, or standard input ("-"). What is not may be
// the name of an image.
func Here(arg string) bool {
	_, err := os.Stat(arg)
	return err == nil || arg == "-"
}

// Read finds out what a source is, and reads the text that says how to build it, once: a pipe has it only once.
// Errors are source.Error with the place and the remedy.
func Read(o Options) (Given, error) {
	g := Given{docker: o.Dockerfile}
	if err := o.notYet(); err != nil {
		return g, err
	}
	if o.Frontend != "" {
		if _, err := o.named(); err != nil {
			return g, err
		}
	}
	var err error
	if g.context, g.Text, err = o.read(); err != nil {
		return g, err
	}
	g.Frontend, err = o.choose(g.Text)
	return g, err
}

// Plan makes the plan. Errors are source.Errors with the place and the remedy.
func (g Given) Plan() (*llb.Plan, error) {
	if g.Frontend.Name != Dockerfile {
		if err := g.onlyDockerfiles(); err != nil {
			return nil, err
		}
	}
	return g.Frontend.plan(g)
}

// Load is [Read] and [Given.Plan].
func Load(o Options) (*llb.Plan, error) {
	g, err := Read(o)
	if err != nil {
		return nil, err
	}
	return g.Plan()
}

// File is where the text is on this machine: its folder and its own name there. Both are "" when it came from
// a pipe.
func (g Given) File() (dir, name string) {
	if g.Text.Stdin {
		return "", ""
	}
	return g.Text.Dir, g.Text.Base()
}

// Script is the Python script that a notebook becomes, under the name that it would be saved as beside it;
// any other text stays as it is.
func (g Given) Script() (source.Source, error) {
	if g.Frontend.Name != Notebook {
		return g.Text, nil
	}
	nb, err := notebook.Read(g.Text)
	if err != nil {
		return source.Source{}, err
	}
	return source.New(filepath.Join(g.Text.Dir, scriptName(g.Text)), g.Text.Dir, nb.Script)
}
