package spec

import (
	"fmt"
	"maps"
	"path"
	"slices"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/llb"
)

// ContextName is the name of the local source that holds the spec's folder.
const ContextName = "context"

// lowering turns an image into steps and collects everything that is wrong with it on the way: what
// is checked and what is built cannot differ.
type lowering struct {
	img    Image
	src    source.Source
	folder *folder // nil: only what can be checked without the disk
	// partial says that the YAML has errors, so that what is missing here may well be in the file.
	partial bool

	errs      source.Errors
	base      llb.Base
	steps     []llb.Step
	platforms []ocispecs.Platform
	secrets   []llb.SecretNeed
	usesFiles bool

	layer     mark            // of the layer at hand
	where     string          // what the layer at hand is called where there are no lines
	workdir   string          // at this point; "" is the base's, which is not known
	targets   map[string]goal // what source layers have put where
	userGiven bool
}

// Load reads the spec in src and makes the plan of it. All findings come at once, as source.Errors.
func Load(src source.Source) (*llb.Plan, error) {
	img, errs := parse(src)
	if len(errs) > 0 && img.marks == nil {
		return nil, errs.Err() // nothing could be read
	}
	// What could be read is looked at all the same, so that the user need not come back for the rest.
	plan, err := img.plan(src, len(errs) > 0)
	errs.Collect(err)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return plan, nil
}

// Validate finds everything that is wrong with the image, the files that it needs in dir included. The
// error is source.Errors.
func (img Image) Validate(dir string) error {
	_, err := img.Plan(source.Source{Dir: dir})
	return err
}

// Plan validates the image and lowers it to the steps that build it. The source says in which folder
// its files are, and names and shows the file that findings and failing steps point at; for an image
// made in Go it need only have a Dir.
func (img Image) Plan(src source.Source) (*llb.Plan, error) { return img.plan(src, false) }

func (img Image) plan(src source.Source, partial bool) (*llb.Plan, error) {
	l := &lowering{img: img, src: src, partial: partial}
	f, err := openFolder(src)
	if err != nil {
		l.errs.Collect(err)
	} else {
		defer f.close()
		l.folder = f
	}
	l.run()
	if err := l.findings(); err != nil {
		return nil, err
	}
	return l.plan(), nil
}

func (l *lowering) findings() error {
	credential.MaskErrors(l.errs)
	return l.errs.Err()
}

// run goes through the image in the order in which it is built.
func (l *lowering) run() {
	l.targets = map[string]goal{}
	l.lowerBase()
	for i, layer := range l.img.layers {
		l.layer, l.where = layer.mark(), fmt.Sprintf("layer %d (%s)", i+1, layer.kind())
		layer.lower(l)
	}
	l.layer, l.where = mark{}, ""
	if l.img.base == "" && !l.userGiven {
		l.steps = append(l.steps, llb.User{Name: llb.DefaultUser})
	}
	l.lowerConfig()
	l.checkSecrets()
	l.checkName()
	l.platforms = l.checkPlatforms()
}

// lowerConfig adds what does not depend on the order of layers.
func (l *lowering) lowerConfig() {
	if c := l.img.entrypoint; c.set {
		at := l.img.marks.at("entrypoint")
		l.checkArgs("entrypoint", c.args, at)
		l.steps = append(l.steps, llb.Entrypoint{Lines: at.lines(), Args: slices.Clone(c.args)})
	}
	if c := l.img.cmd; c.set {
		at := l.img.marks.at("cmd")
		l.checkArgs("cmd", c.args, at)
		l.steps = append(l.steps, llb.Cmd{Lines: at.lines(), Args: slices.Clone(c.args)})
	}
	for _, k := range slices.Sorted(maps.Keys(l.img.labels)) {
		at := l.img.marks.at("labels", k)
		if k == "" || control(k) {
			l.fail(at, fmt.Sprintf("%q is not the name of a label", k), "")
		}
		l.checkCredential(fmt.Sprintf("the label %s", k), credential.InText(l.img.labels[k]), at)
		l.steps = append(l.steps, llb.Label{Lines: at.lines(), Key: k, Value: l.img.labels[k]})
	}
}

func (l *lowering) checkArgs(what string, args []string, at mark) {
	if len(args) > 0 && args[0] == "" {
		l.fail(at, "the program of "+what+" is empty", what+": [] clears the base's")
	}
	for _, a := range args {
		l.checkCredential("an argument of "+what, credential.InText(a), at)
	}
}

// plan puts the result together; it is called when there are no findings.
func (l *lowering) plan() *llb.Plan {
	name := l.img.name
	if name == "" {
		name = l.src.Name
	}
	img := &llb.Image{Name: name, Base: l.base, Steps: l.steps, Platforms: l.platforms}
	if len(l.src.Data) > 0 {
		img.Sources = []*llb.SourceFile{{Name: l.src.Name, Language: "YAML", Data: credential.Mask(l.src.Data)}}
	}
	if l.usesFiles {
		img.Locals = map[string]llb.Local{ContextName: {Dir: l.src.Dir}}
	}
	return &llb.Plan{
		Kind: "image spec", Name: name, Image: img, Locals: img.Locals, Platforms: l.platforms,
		Secrets: l.secrets, Tag: l.img.reference(),
	}
}

// fail adds a finding. One without a line of its own says which layer it is about.
func (l *lowering) fail(at mark, msg, hint string) {
	e := &source.Error{File: l.src.Name, Line: at.line, Column: at.column, Msg: msg, Hint: hint, Data: l.src.Data}
	if at.line == 0 {
		e.Data = nil
		if l.where != "" {
			e.Msg = l.where + ": " + msg
		}
	}
	l.errs = append(l.errs, e)
}

// empty is for lists with nothing in them. Where the YAML has errors, what was in them may be among these.
func (l *lowering) empty(at mark, msg string) {
	if !l.partial {
		l.fail(at, msg, "")
	}
}

// checkCredential refuses what looks like a credential; kind is what [credential] says, "" for nothing.
func (l *lowering) checkCredential(what, kind string, at mark) {
	if kind == "" || l.img.plainCredentials {
		return
	}
	l.fail(at, fmt.Sprintf("%s looks like %s, and everybody who has the image could read it", what, kind),
		"mount a secret instead, or say allow_plain_credentials: true")
}

// resolve is where a path in the image leads: itself, or below the workdir as far as that is known.
func (l *lowering) resolve(p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	if l.workdir == "" {
		return path.Join("<workdir>", p)
	}
	return path.Join(l.workdir, p)
}
