package spec

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/llb"
)

// ContextName is the name of the local source that holds the spec's folder. Those of specs that it is
// based on have the same name with a number.
const ContextName = "context"

// lowering turns an image into steps and collects everything that is wrong with it on the way: what
// is checked and what is built cannot differ. The header of a script that the image names has a lowering of its
// own, which adds to the same point and outcome; so has a spec that it is based on, which shares the outcome.
type lowering struct {
	img    Image
	src    source.Source
	folder *folder // nil: only what can be checked without the disk
	// partial says that the YAML has errors, so that what is missing here may well be in the file.
	partial bool
	depth   int      // how many specs are on top of this one
	chain   []string // the files of base specs that led here
	*outcome
	*point

	layer  mark // of the layer at hand
	index  int  // of it among the layers; -1 is none
	file   int  // of src, among the outcome's sources
	gpu    gpu
	pinned []string // requirements of the local environment
}

func newLowering(img Image, src source.Source, partial bool) *lowering {
	return &lowering{img: img, src: src, partial: partial, index: -1, outcome: &outcome{}}
}

// point is what is true of the image after the steps so far.
type point struct {
	workdir   string          // "" is the base's, which is not known
	targets   map[string]goal // what source layers have put where
	userGiven bool
	shell     []string // of commands; none is /bin/sh -c
}

// outcome is what an image and the specs that it is based on come to together.
type outcome struct {
	errs      source.Errors
	warnings  source.Errors
	base      llb.Base
	steps     []llb.Step
	secrets   []llb.SecretNeed
	sources   []*llb.SourceFile
	platforms []ocispecs.Platform
	folders   []string      // that are read: those of local sources, in the order of their names
	ca        []certificate // of all of them, from the uppermost down
	cacheFrom []string
	runtime   []string // packages for the start of the image
	tools     Tools    // the uppermost spec that names one decides
	named     string   // the image's name where a start says it
	python    string   // X.Y of the interpreter that packages go to, "" when it is not known
	debian    bool     // the base is ibuild's own, with its user and virtual environment
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
	l := newLowering(img, img.textOr(src), partial)
	f, err := openFolder(src)
	if err != nil {
		l.errs.Collect(err)
	} else {
		defer f.close()
		l.folder = f
	}
	if d, ok := img.start.(dockerfileStart); ok {
		return l.planDockerfile(d)
	}
	l.run()
	if err := l.findings(); err != nil {
		return nil, err
	}
	return l.plan(), nil
}

func (l *lowering) findings() error {
	credential.MaskErrors(l.errs)
	credential.MaskErrors(l.warnings)
	return l.errs.Err()
}

// run goes through the image in the order in which it is built, and checks it. The header of a script that it
// names goes first in every part of it, so that the spec has the last word.
func (l *lowering) run() {
	l.point = &point{targets: map[string]goal{}}
	l.begin()
	both := []*lowering{l}
	h := l.header()
	if h != nil {
		both = []*lowering{h, l}
		defer h.closeBut(l.folder)
	}
	for _, p := range both {
		p.lowerStart()
		p.chooseGPU()
		p.lowerLayers(0, p.early())
	}
	for _, p := range both {
		p.lowerPackages()
		p.lowerLayers(p.early(), len(p.img.layers))
	}
	for _, p := range both {
		p.end()
	}
	if h != nil && h.check() {
		l.inherit(h.img)
	}
	l.check()
}

// begin notes what there has to be before the base: the text that steps point into, and the certificates.
func (l *lowering) begin() {
	l.addSource()
	l.readCertificates()
	if l.img.start != nil && l.img.python != "" {
		l.fail(l.img.marks.at("python_version"), "python_version goes with the Debian base only", pythonHint(l.img.start))
	}
}

// lowerLayers adds the layers from first up to before end.
func (l *lowering) lowerLayers(first, end int) {
	for i, layer := range l.img.layers[first:end] {
		l.layer, l.index = layer.mark(), first+i
		layer.lower(l)
	}
	l.layer, l.index = mark{}, -1 // what a start installs belongs to no layer
}

// end adds what comes after all layers.
func (l *lowering) end() {
	if s, ok := l.img.start.(ending); ok {
		s.lowerEnd(l)
	}
	if l.debianUser() && !l.userGiven {
		l.steps = append(l.steps, llb.User{Name: llb.DefaultUser})
	}
	l.lowerRuntime()
	l.lowerConfig()
}

// check checks what belongs to the image as a whole, and says whether it found nothing.
func (l *lowering) check() bool {
	before := len(l.errs)
	l.checkSecrets()
	l.checkName()
	l.checkAccelerator()
	l.checkTools()
	if p := l.checkPlatforms(); len(p) > 0 {
		l.platforms = p // else those of the spec that it is based on
	}
	return len(l.errs) == before
}

// closeBut closes the folder, unless it is another's.
func (l *lowering) closeBut(other *folder) {
	if l.folder != nil && l.folder != other {
		l.folder.close()
	}
}

// early counts the layers before the ones that install Python packages: what a start itself installs
// comes after them, so that it can be compiled with them and runs again when they change, not the other
// way round.
func (l *lowering) early() int {
	n := slices.IndexFunc(l.img.layers, func(layer Layer) bool {
		return !slices.Contains([]string{"apt", "env", "workdir"}, layer.kind())
	})
	if n < 0 {
		return len(l.img.layers)
	}
	return n
}

// addSource notes the text that steps point into.
func (l *lowering) addSource() {
	if len(l.src.Data) == 0 {
		return
	}
	data := l.src.Data
	if s, ok := l.img.start.(headerStart); ok {
		data = s.script.Head() // the body is none of the steps' business
	}
	l.file = len(l.sources)
	l.sources = append(l.sources, &llb.SourceFile{Name: l.src.Name, Language: cmp.Or(l.src.Language(), "YAML"), Data: credential.Mask(data)})
}

// lines are a mark's lines in the text of this image.
func (l *lowering) lines(m mark) llb.Lines {
	return llb.Lines{First: m.line, Last: m.last, File: l.file}
}

// context is the name of the local source of this image's folder, which is read from now on.
func (l *lowering) context() string { return l.local(cmp.Or(l.src.Dir, ".")) }

// local is the name of the local source of a folder.
func (l *lowering) local(dir string) string {
	i := slices.Index(l.folders, dir)
	if i < 0 {
		i = len(l.folders)
		l.folders = append(l.folders, dir)
	}
	return contextName(i)
}

func contextName(i int) string {
	if i == 0 {
		return ContextName
	}
	return fmt.Sprintf("%s-%d", ContextName, i+1)
}

// lowerConfig adds what does not depend on the order of layers.
func (l *lowering) lowerConfig() {
	if c, at := l.img.entrypoint, l.img.marks.at("entrypoint"); c.set {
		l.checkArgs("entrypoint", c.args, at)
		l.steps = append(l.steps, llb.Entrypoint{Lines: l.lines(at), Args: slices.Clone(c.args)})
	}
	if c, at := l.img.cmd, l.img.marks.at("cmd"); c.set {
		l.checkArgs("cmd", c.args, at)
		l.steps = append(l.steps, llb.Cmd{Lines: l.lines(at), Args: slices.Clone(c.args)})
	}
	for _, k := range slices.Sorted(maps.Keys(l.img.labels)) {
		at := l.img.marks.at("labels", k)
		if k == "" || control(k) {
			l.fail(at, fmt.Sprintf("%q is not the name of a label", k), "")
		}
		if strings.ContainsRune(l.img.labels[k], 0) {
			l.fail(at, fmt.Sprintf("the label %s has a NUL character in it", k), "")
		}
		l.checkCredential(fmt.Sprintf("the label %s", k), credential.InText(l.img.labels[k]), at)
		l.steps = append(l.steps, llb.Label{Lines: l.lines(at), Key: k, Value: l.img.labels[k]})
	}
}

func (l *lowering) checkArgs(what string, args []string, at mark) {
	if len(args) > 0 && args[0] == "" {
		l.fail(at, "the program of "+what+" is empty", what+": [] clears the base's")
	}
	for _, a := range args {
		if strings.ContainsRune(a, 0) {
			l.fail(at, "an argument of "+what+" has a NUL character in it", "")
		}
		l.checkCredential("an argument of "+what, credential.InText(a), at)
	}
}

// plan puts the result together; it is called when there are no findings.
func (l *lowering) plan() *llb.Plan {
	name, kind := l.img.name, "image spec"
	if s, ok := l.img.start.(headerStart); ok {
		name, kind = l.src.Name, cmp.Or(s.kindOf, "uv script")
	}
	name = cmp.Or(name, l.src.Name)
	img := &llb.Image{
		Name: name, Base: l.base, Steps: l.steps, Platforms: l.platforms, Sources: l.sources, Tools: l.tools.replaced(),
	}
	for i, dir := range l.folders {
		if img.Locals == nil {
			img.Locals = map[string]llb.Local{}
		}
		img.Locals[contextName(i)] = llb.Local{Dir: dir, PlainModes: true}
	}
	return l.addNames(&llb.Plan{
		Kind: kind, Name: name, Image: img, Locals: img.Locals, Platforms: img.Platforms, Secrets: l.secrets,
	})
}

// addNames adds what the image says about where it is built and pushed.
func (l *lowering) addNames(p *llb.Plan) *llb.Plan {
	p.Tag, p.TagFormat, p.CacheFrom = cmp.Or(l.img.reference(), l.named), l.img.tagFormat, l.cacheFrom
	p.Builder, p.BuilderOptions = l.img.builder, maps.Clone(l.img.builderOptions)
	if f := l.img.registryConfig; f != "" {
		p.RegistryConfig = path.Join(l.src.Dir, f)
	}
	for _, c := range l.ca {
		p.CA = append(p.CA, c.data...)
	}
	for _, w := range l.warnings {
		p.Warnings = append(p.Warnings, w)
	}
	return p
}

// fail adds a finding. One without a line of its own says which layer it is about.
func (l *lowering) fail(at mark, msg, hint string) { l.errs = append(l.errs, l.finding(at, msg, hint)) }

// warn adds a finding that does not stop the build.
func (l *lowering) warn(at mark, msg, hint string) {
	l.warnings = append(l.warnings, l.finding(at, msg, hint))
}

func (l *lowering) finding(at mark, msg, hint string) *source.Error {
	e := &source.Error{File: l.src.Name, Line: at.line, Column: at.column, Msg: msg, Hint: hint, Data: l.src.Data}
	if at.line == 0 {
		e.Data = nil
		if where := l.where(); where != "" {
			e.Msg = where + ": " + msg
		}
	}
	return e
}

// where is what the layer at hand is called where there are no lines.
func (l *lowering) where() string {
	if l.index < 0 {
		return ""
	}
	return fmt.Sprintf("layer %d (%s)", l.index+1, l.img.layers[l.index].kind())
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

// replaced are the helper images that are not ibuild's own choice.
func (t Tools) replaced() map[string]string {
	if t == (Tools{}) {
		return nil
	}
	out := map[string]string{llb.UVImage: t.UVImage, llb.MicromambaImage: t.MicromambaImage, llb.PixiImage: t.PixiImage}
	maps.DeleteFunc(out, func(_, other string) bool { return strings.TrimSpace(other) == "" })
	return out
}
