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
	"github.com/ibuild/ibuild/frontends/notebook"
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
	// Named says whether a file's name is one of this kind.
	Named func(name string) bool
	// Holds says whether a text is of this kind; it is asked when no frontend knows the name.
	Holds func(data []byte) bool
	// Limit is how many bytes a file that is Named may have; 0 is that of scripts.
	Limit int64
	// Plan makes the plan. context is the folder that was given, "" when a file was given alone.
	Plan func(o Options, context string, src source.Source) (*llb.Plan, error)
}

// All lists the frontends in the order in which they are asked.
func All() []Frontend {
	return []Frontend{
		{Name: "uvscript", Named: scriptNamed, Holds: isScript, Plan: planScript},
		{Name: "notebook", Named: notebookNamed, Holds: isNotebook, Limit: notebook.Limit, Plan: planNotebook},
		{Name: "dockerfile", Files: []string{"Dockerfile", "dockerfile", "Containerfile"}, Named: dockerfile.Named, Holds: dockerfile.Holds, Plan: planDockerfile},
		{Name: "spec", Files: []string{"image.yaml", "image.yml"}, Named: specNamed, Holds: isSpec, Plan: planSpec},
	}
}

// Load finds the frontend for a source and returns its plan. Errors are source.Errors with the place and
// the remedy.
func Load(o Options) (*llb.Plan, error) {
	if err := o.notYet(); err != nil {
		return nil, err
	}
	if o.Frontend != "" {
		if _, err := o.named(); err != nil {
			return nil, err
		}
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
		src, err = source.ReadArgument(o.Source, limit(o.Source))
		return "", src, err
	}
	switch o.File {
	case "":
		src, err = o.find()
	case "-":
		src, err = source.ReadStdin(o.Stdin, o.Source, source.ScriptLimit)
	default:
		src, err = source.ReadArgument(o.File, limit(o.File))
	}
	return o.Source, src, err
}

// limit is how many bytes a file may have, by its name.
func limit(name string) int64 {
	for _, f := range All() {
		if f.Named(name) && f.Limit > 0 {
			return f.Limit
		}
	}
	return source.ScriptLimit
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
		if len(looked) == 0 {
			return source.Source{}, &source.Error{File: o.Source, Msg: "a folder is not a source for the frontend " + o.Frontend, Hint: "give the file"}
		}
		return source.Source{}, &source.Error{File: o.Source, Msg: "nothing in this folder says how to build it (looked for " + strings.Join(looked, ", ") + ")",
			Hint: "name the file with -f, or give a Python script"}
	}
	return source.Source{}, &source.Error{File: o.Source, Msg: "more than one file says how to build this folder: " + strings.Join(found, " and "),
		Hint: "name one with -f"}
}

// choose finds the frontend: the one that was named, or the one that knows the file's name, or the text.
func (o Options) choose(src source.Source) (Frontend, error) {
	if o.Frontend != "" {
		return o.named()
	}
	for _, f := range All() {
		if f.Named(src.Name) {
			return f, nil
		}
	}
	for _, f := range All() {
		if f.Holds(src.Data) {
			return f, nil
		}
	}
	return Frontend{}, &source.Error{File: src.Name, Msg: "this is neither a Dockerfile, an image spec (YAML), a Python script nor a notebook",
		Hint: "say what it is with --frontend " + strings.Join(names(), "|")}
}

func names() []string {
	var list []string
	for _, f := range All() {
		list = append(list, f.Name)
	}
	return list
}

// named is the frontend of --frontend.
func (o Options) named() (Frontend, error) {
	for _, f := range All() {
		if f.Name == o.Frontend {
			return f, nil
		}
	}
	hint := "known are " + strings.Join(names(), ", ")
	if match, ok := suggest.Search(o.Frontend, names(), false); ok {
		hint = "did you mean " + match + "?"
	}
	return Frontend{}, &source.Error{Msg: fmt.Sprintf("there is no frontend %q", o.Frontend), Hint: hint}
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
	var flags []string
	if len(d.BuildArgs) > 0 {
		flags = append(flags, "--build-arg")
	}
	if d.Target != "" {
		flags = append(flags, "--target")
	}
	if d.AllowSyntax {
		flags = append(flags, "--allow-syntax")
	}
	if len(flags) == 0 {
		return nil
	}
	return &source.Error{File: src.Name, Msg: flags[0] + " means nothing for " + kind, Hint: "it is for Dockerfiles"}
}

func planScript(o Options, _ string, src source.Source) (*llb.Plan, error) {
	if err := o.onlyDockerfiles(src, "a uv script"); err != nil {
		return nil, err
	}
	return spec.LoadScript(src)
}

// planNotebook builds the script that a notebook's code cells make.
func planNotebook(o Options, _ string, src source.Source) (*llb.Plan, error) {
	if err := o.onlyDockerfiles(src, "a notebook"); err != nil {
		return nil, err
	}
	nb, err := notebook.Read(src)
	if err != nil {
		return nil, err
	}
	script := src
	script.Data = nb.Script
	name := strings.TrimSuffix(src.Base(), ".ipynb") + ".py"
	if src.Stdin {
		name = uvscript.StdinName
	}
	plan, err := spec.LoadGenerated(script, "notebook", name)
	return plan, nb.Rewrite(err)
}

func planSpec(o Options, _ string, src source.Source) (*llb.Plan, error) {
	if err := o.onlyDockerfiles(src, "an image spec"); err != nil {
		return nil, err
	}
	return spec.Load(src)
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
