package draft

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec"
	"github.com/ibuild/ibuild/frontends/spec/cuda"
	"github.com/ibuild/ibuild/llb"
)

// Answers are what the user says; what is empty is taken from the folder.
type Answers struct {
	From     From     // the zero value is [Folder.Default]
	Name     string   // image name; empty: the folder's, else "app"
	Registry string   // host[:port][/path]; empty is a suggestion in the draft
	Python   string   // X.Y
	Entry    []string // entry point; nil: the first of [Folder.Entries]
	NoEntry  bool     // there is none
}

// Default is what the image is best made from. It is not ok where every file that was found needs no spec:
// then the user is asked first.
func (f Folder) Default() (from From, ok bool) {
	if len(f.From) == 0 {
		return From{Kind: Nothing}, true
	}
	return f.From[0], !f.From[0].NeedsNoSpec()
}

// Find returns what the file called name says; name is its path in the folder.
func (f Folder) Find(name string) (From, bool) {
	i := slices.IndexFunc(f.From, func(from From) bool { return from.File == name })
	if i < 0 {
		return From{}, false
	}
	return f.From[i], true
}

// ErrNotebook says that no spec can begin with a notebook.
var ErrNotebook = errors.New("an image spec cannot begin with a notebook")

// drafting is the state of one [Folder.Spec].
type drafting struct {
	Folder
	text
	asked   Answers
	from    From
	entry   Entry
	project bool // the project itself is installed, so its code needs no layer
}

// Spec writes the draft.
func (f Folder) Spec(a Answers) ([]byte, error) {
	d := &drafting{Folder: f, asked: a, from: a.From}
	if d.from.Kind == "" {
		d.from, _ = f.Default()
	}
	if d.from.Kind == Notebook {
		return nil, ErrNotebook
	}
	d.chooseEntry()
	d.head()
	d.names()
	switch d.from.Kind {
	case Dockerfile:
		d.start("dockerfile", d.from.File+" says all of the image. `ibuild build "+d.from.File+"` takes it without a spec, too; a spec gives it a name and platforms.")
		return []byte(d.String()), nil
	case UVScript:
		d.start("uv_script", "The header of "+d.from.File+" says which Python and packages there are, and the script is the entry point. `ibuild build "+d.from.File+"` takes it without a spec, too.")
	case PixiScript:
		d.start("pixi_script", "The header of "+d.from.File+" says which packages there are, and the script is the entry point.")
	default:
		d.pythonVersion()
	}
	d.gpu()
	d.layers()
	d.entryPoint()
	return []byte(d.String()), nil
}

// Possible says whether the entry point is there when the image is made from a file: a script of the project
// needs the project itself to be installed.
func (e Entry) Possible(from From) bool {
	return !e.installed || from.Kind == UVProject || from.Kind == PoetryProject
}

// chooseEntry settles the entry point: the user's words, or the likeliest that is possible.
func (d *drafting) chooseEntry() {
	for _, e := range d.Entries {
		if e.Possible(d.from) && (d.asked.Entry == nil || slices.Equal(e.Args, d.asked.Entry)) {
			d.entry = e
			break
		}
	}
	if d.asked.Entry != nil && !slices.Equal(d.entry.Args, d.asked.Entry) {
		d.entry = Entry{Args: d.asked.Entry, Why: "The program that the image runs."}
	}
	if d.asked.NoEntry {
		d.entry = Entry{}
	}
	d.project = d.entry.installed
}

func (d *drafting) head() {
	d.WriteString("# yaml-language-server: $schema=" + spec.SchemaURL + "\n")
	d.comment("", "A draft by `ibuild spec init`, made of what is in this folder. Lines such as \"#registry: …\" are suggestions: "+
		"remove the # to use them. Paths are relative to this file. `ibuild spec validate image.yaml` checks it, `ibuild build image.yaml` builds it.")
	for _, n := range d.Notes {
		d.comment("", "Note: "+n)
	}
	d.gap()
}

func (d *drafting) names() {
	why := "The image's name in its registry."
	if d.asked.Name == "" && d.Name.Value != "" {
		why = "The image's name in its registry, " + d.Folder.Name.Why + "."
	}
	d.comment("", why)
	d.line("", "name: "+scalar(cmp.Or(d.asked.Name, d.Name.Value, "app")), false)
	d.line("", "registry: "+scalar(cmp.Or(d.asked.Registry, "ghcr.io/your-name")), d.asked.Registry == "")
	d.comment("", "The platforms that it is made for; absent, that of the builder.")
	d.line("", "platforms: [linux/amd64, linux/arm64]", true)
	d.gap()
}

func (d *drafting) start(key, why string) {
	d.comment("", why)
	d.line("", key+": "+scalar(d.from.File), false)
	d.gap()
}

// pythonVersion is the Python of the Debian base. A pixi project brings its own.
func (d *drafting) pythonVersion() {
	if d.from.Kind == PixiProject {
		return
	}
	version, why := d.pythonOrDefault()
	d.comment("", why)
	d.line("", "python_version: "+quoted(version), false)
	d.gap()
}

func (d *drafting) pythonOrDefault() (version, why string) {
	found := d.Python
	switch version = cmp.Or(d.asked.Python, found.Value); {
	case version == "":
		return llb.PythonVersions()[0], "Nothing in the folder says which Python; this is the newest one."
	case version == found.Value:
		return version, "The Python of the Debian base, " + found.Why + "."
	}
	return version, "The Python of the Debian base."
}

// quoted is a version, in quotes even where YAML needs none: 3.10 would be a number.
func quoted(version string) string {
	if s := scalar(version); strings.ContainsAny(s, `"'`) {
		return s
	}
	return `"` + version + `"`
}

// gpu suggests what an image for GPUs has to say.
func (d *drafting) gpu() {
	used := frameworks(d.from.packages)
	if len(used) == 0 || d.from.Kind == PixiProject || d.from.Kind == Conda {
		return
	}
	can := strings.Join(used, " and ") + " can use a GPU: "
	if version := d.cudaVersion(); version != "" {
		d.comment("", can+"which CUDA the image has, and what it runs on.")
		d.line("", "cuda: "+quoted(version), true)
	} else {
		d.comment("", can+"what the image runs on.")
	}
	d.line("", "accelerator: l4", true)
	d.gap()
}

// cudaVersion is the newest widespread CUDA that fits the packages, "" when none does.
func (d *drafting) cudaVersion() string {
	python, _ := d.pythonOrDefault()
	wish := cuda.Wish{Requirements: d.from.pins, Python: python, Platforms: []string{"linux/amd64", "linux/arm64"}}
	for _, v := range []string{"12.8", "12.6", "12.4"} {
		wish.CUDA = v
		_, findings := cuda.Choose(wish)
		if !slices.ContainsFunc(findings, func(f cuda.Finding) bool { return f.Severity == cuda.Error }) {
			return v
		}
	}
	return ""
}

// item is an entry of layers.
type item struct {
	why       string // comment above, "" for none
	yaml      string
	suggested bool
}

// layers writes the steps: the system's packages, Python's, then the code.
func (d *drafting) layers() {
	var items []item
	for _, s := range d.system(d.from) {
		items = append(items, item{s.why, "apt: " + list(s.debian), true})
	}
	items = append(items, d.installs()...)
	items = append(items, d.sources()...)
	if len(items) == 0 {
		return
	}
	all := !slices.ContainsFunc(items, func(i item) bool { return !i.suggested })
	d.comment("", "Steps, in this order.")
	d.line("", "layers:", all)
	for _, i := range items {
		if i.why != "" {
			d.comment("  ", i.why)
		}
		d.line("  ", "- "+i.yaml, i.suggested)
	}
	d.gap()
}

// installs are the layers with Python packages.
func (d *drafting) installs() []item {
	var items []item
	switch d.from.Kind {
	case UVProject:
		items = append(items, d.locked("uv_project", "uv.lock"))
	case PoetryProject:
		items = append(items, d.locked("poetry_project", "poetry.lock"))
	case PixiProject:
		items = append(items, item{d.from.File + " and pixi.lock: the default environment.", "pixi_project: " + scalar(d.from.File), false})
	case Conda:
		items = append(items, item{d.from.File + " as conda understands it, by micromamba.", "conda: {file: " + scalar(d.from.File) + "}", false})
	case Requirements:
		items = append(items, item{"", "requirements: " + scalar(d.from.File), false})
	case Pyproject:
		items = append(items, d.plain()...)
	case Setup:
		items = append(items, item{"setup.py says what it needs only when it is run: list that here.", "pip: " + list(d.examples()), true})
	case Nothing:
		items = append(items, item{"No file says which Python packages the code needs: list them here, or write a requirements.txt.", "pip: " + list(d.examples()), true})
	}
	return append(items, d.rest()...)
}

func (d *drafting) locked(layer, lock string) item {
	if d.project {
		return item{"pyproject.toml and " + lock + ", with the project itself for its script.", layer + ": {path: ., install: project}", false}
	}
	return item{"pyproject.toml and " + lock + ": what they name, without the project itself, so that a change of code installs nothing again.", layer + ": .", false}
}

// plain is a pyproject.toml without a lock.
func (d *drafting) plain() []item {
	hint := "`uv lock` writes a uv.lock that pins these; then `uv_project: .` takes their place."
	if d.poetry {
		hint = "`poetry lock` writes a poetry.lock; then `poetry_project: .` takes the place of this."
	}
	if len(d.from.requirements) == 0 {
		return []item{{"pyproject.toml lists no packages that can be taken over. " + hint, "pip: " + list(d.examples()), true}}
	}
	return []item{{"The dependencies of pyproject.toml. " + hint, "pip: " + list(d.from.requirements), false}}
}

// examples are packages for a list that the user has to write.
func (d *drafting) examples() []string {
	if g := d.guessed(); len(g) > 0 {
		return g
	}
	return []string{"numpy"}
}

// rest are other requirements files, as suggestions.
func (d *drafting) rest() []item {
	var items []item
	add := func(file, why string) { items = append(items, item{why, "requirements: " + scalar(file), true}) }
	pinned := d.from.Kind == UVProject || d.from.Kind == PoetryProject
	for _, o := range d.From {
		if o.Kind == Requirements && o.File != d.from.File && !d.from.NeedsNoSpec() {
			why := "It is there, too."
			if pinned {
				why = "It is there, too; " + d.from.File + " pins more."
			}
			add(o.File, why)
		}
	}
	if !d.from.NeedsNoSpec() && d.from.Kind != PixiScript {
		for _, f := range d.dev {
			add(f, "By its name this is for developers.")
		}
	}
	return items
}

// sources are the layers with the user's code.
func (d *drafting) sources() []item {
	if d.from.NeedsNoSpec() || d.from.Kind == PixiScript || d.project {
		return nil
	}
	ignored := "VCS folders, caches and virtual environments never come along; a .dockerignore beside this file can leave out more."
	if d.ignores {
		ignored = "VCS folders, caches and virtual environments never come along, nor does what .dockerignore names."
	}
	var items []item
	for _, c := range d.code {
		key := "source_file: "
		if c.folder {
			key = "source_folder: "
		}
		value := scalar(c.src)
		if c.dst != "" {
			value = fmt.Sprintf("{src: %s, dst: %s}", scalar(c.src), scalar(c.dst))
		}
		items = append(items, item{"", key + value, false})
	}
	for _, o := range d.other {
		if !slices.ContainsFunc(d.code, func(c code) bool { return c.src == "." }) {
			items = append(items, item{"", "source_folder: " + scalar(o), true})
		}
	}
	if len(items) > 0 {
		items[0].why = "The code comes last, so that changing it installs nothing again. " + ignored
	}
	return items
}

func (d *drafting) entryPoint() {
	switch {
	case d.from.NeedsNoSpec() || d.from.Kind == PixiScript:
	case len(d.entry.Args) > 0:
		d.comment("", d.entry.Why)
		d.line("", "entrypoint: "+list(d.entry.Args), false)
	default:
		d.comment("", "What the image runs.")
		d.line("", "entrypoint: [python, main.py]", true)
	}
}
