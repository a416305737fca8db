package spec

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/uvscript"
	"github.com/ibuild/ibuild/llb"
)

// naming is what a script gets from the spec that names it.
type naming struct {
	local, real string      // the local source of the spec's folder, and the script's path in it, without links
	secrets     []llb.Mount // of the step that installs
	env         []string    // of that step
}

// mounts are those of the header and of the spec, the spec's own where both are at one place.
func (n *naming) mounts(header []llb.Mount) []llb.Mount {
	header = slices.DeleteFunc(header, func(h llb.Mount) bool {
		return slices.ContainsFunc(n.secrets, func(s llb.Mount) bool { return s.Env == h.Env && s.Target == h.Target })
	})
	return slices.Concat(header, n.secrets)
}

// header is what the header of the script that the image names says, nil when it names none, after a finding, or
// when only the disk could tell. It is lowered as an image of its own, with the script's places, folder and ignore
// file, as if the script was built alone, but part by part:
//
//  1. the base, python_exec, platform_packages and the leading apt, env and workdir layers of the header, then
//     those of the spec, but for the base
//  2. the script's dependencies
//  3. the header's other layers, then the spec's
//  4. the script, and what belongs to the whole: the header's, then the spec's
//
// So the spec has the last word. Layers and lists of a script in the spec's own folder that the spec repeats word
// by word count once.
func (l *lowering) header() *lowering {
	s, ok := l.img.start.(scriptStart)
	if !ok {
		return nil
	}
	named := &naming{}
	named.secrets, named.env = l.mounts(s.Secrets)
	if s.pixi {
		named.env = append(named.env, l.condaEnv()...)
	}
	if named.real, ok = s.find(l); !ok {
		return nil
	}
	named.local = l.context()
	script, below := s.read(l, named.real)
	if below == nil {
		return nil
	}
	img, errs := scriptImage(script)
	l.errs = append(l.errs, errs...)
	start := img.start.(headerStart)
	start.named, start.pixi = named, s.pixi
	img.start = start
	h := &lowering{
		img: img.without(l.img, below == l.folder), src: script.Source, folder: below, partial: l.partial || len(errs) > 0,
		depth: l.depth, chain: l.chain, index: -1, outcome: l.outcome, point: l.point,
	}
	h.begin()
	return h
}

// inherit takes over what the header of the named script says of the image's name and builder, where the spec says
// nothing.
func (l *lowering) inherit(h Image) {
	img := &l.img
	if img.name == "" {
		img.registry, img.name, img.tag = cmp.Or(img.registry, h.registry), h.name, cmp.Or(img.tag, h.tag)
	}
	img.tagFormat = cmp.Or(img.tagFormat, h.tagFormat)
	if img.builder == "" && len(img.builderOptions) == 0 {
		img.builder, img.builderOptions = h.builder, h.builderOptions
	}
	if img.registryConfig == "" && h.registryConfig != "" {
		img.registryConfig = path.Join(path.Dir(img.start.(scriptStart).File), h.registryConfig)
	}
}

// find is the script's path in the spec's folder, without links.
func (s scriptStart) find(l *lowering) (real string, ok bool) {
	at := l.img.marks.at("file")
	if !l.checkSource(s.File, at) || l.folder == nil {
		return "", false
	}
	if path.Ext(s.File) != ".py" {
		l.fail(at, fmt.Sprintf("%s: %q does not end in .py", s.kind(), s.File), "name a Python script")
		return "", false
	}
	real, dir, ok := l.find(s.File, at)
	if dir {
		l.fail(at, fmt.Sprintf("%s: %q is a folder", s.kind(), s.File), "name a Python script")
	}
	return real, ok && !dir
}

// read reads the script, and opens its folder, where the paths of its header begin; nil after a finding.
func (s scriptStart) read(l *lowering, real string) (script uvscript.Script, below *folder) {
	data, err := l.folder.read(real, source.ScriptLimit)
	if err == nil {
		below, err = l.folder.sub(path.Dir(path.Clean(s.File)))
	}
	if err != nil {
		l.fail(l.img.marks.at("file"), fmt.Sprintf("%s: %q cannot be read: %v", s.kind(), l.folder.show(s.File), err), "")
		return script, nil
	}
	src, err := source.New(l.folder.show(path.Clean(s.File)), below.dir, data)
	switch {
	case err != nil:
	case s.pixi:
		script, err = uvscript.ReadPixi(below.root.FS(), src)
	default:
		script, err = uvscript.ReadIn(below.root.FS(), src)
	}
	if err == nil {
		return script, below
	}
	l.errs.Collect(err)
	_, errs := scriptImage(script) // what else is wrong in it
	l.errs = append(l.errs, errs...)
	if below != l.folder {
		below.close()
	}
	return script, nil
}

// sub is a folder below f, for the caller to close, and f itself for ".".
func (f *folder) sub(dir string) (*folder, error) {
	if dir == "." {
		return f, nil
	}
	real, err := f.real(dir)
	if err != nil {
		return nil, err
	}
	root, err := f.root.OpenRoot(real)
	if err != nil {
		return nil, pathless(err)
	}
	return &folder{root: root, dir: filepath.Join(f.dir, filepath.FromSlash(real)), name: f.show(dir)}, nil
}

// scriptImage is what [tool.ibuild] says.
func scriptImage(s uvscript.Script) (Image, source.Errors) {
	r := &reader{src: s.Source}
	f := &flat{reader: r, img: Image{marks: marks{}}}
	if s.Settings != nil {
		r.mapping(s.Settings, "[tool.ibuild]", f.scriptFields())
	}
	if r.nodes >= maxNodes {
		msg := fmt.Sprintf("[tool.ibuild] has more than %d values", maxNodes)
		return Image{marks: marks{}, start: headerStart{script: s}}, source.Errors{{File: s.Source.Name, Line: s.Settings.Line, Column: s.Settings.Column, Msg: msg, Data: s.Source.Data}}
	}
	img := f.image()
	img.start = headerStart{scriptStart: scriptStart{File: s.Name, Secrets: f.forSteps["script"]}, script: s, base: img.start}
	return img, r.errs
}

// scriptFields are the flat fields that a script's header may have: what says where an image starts is the
// header's own business, but for a base with the right Python in it.
func (f *flat) scriptFields() []field {
	var out []field
	for _, field := range f.fields() {
		switch field.name {
		case "python_version", "dockerfile", "uv_script", "pixi_script", "from_env", "tensorflow_cloud", "entrypoint":
			continue
		}
		out = append(out, field)
	}
	return out
}

// without leaves out of a header's settings what the spec that names the script says instead. Paths mean the same
// in both where the folder is the same.
func (img Image) without(spec Image, sameFolder bool) Image {
	img = img.clone()
	if spec.cuda != "" || spec.cudnn != "" {
		img.cuda, img.cudnn = "", ""
	}
	if spec.pythonExec != "" {
		img.pythonExec = ""
	}
	if spec.accelerator != "" {
		img.accelerator = ""
	}
	if spec.cmd.set {
		img.cmd = command{}
	}
	maps.DeleteFunc(img.labels, func(k, _ string) bool { _, said := spec.labels[k]; return said })
	if !sameFolder {
		return img
	}
	said := map[string]bool{}
	for _, l := range spec.layers {
		said[layerText(l)] = true
	}
	delete(said, "") // nobody knows what these say
	img.layers = slices.DeleteFunc(img.layers, func(l Layer) bool { return said[layerText(l)] })
	if layerText(img.everywhere) == layerText(spec.everywhere) {
		img.everywhere = Pip{}
	}
	for list, again := range map[*[]string][]string{&img.ca: spec.ca, &img.runtime: spec.runtime} {
		if slices.Equal(*list, again) {
			*list = nil
		}
	}
	return img
}

// layerText is a layer as YAML, "" for one that cannot be written.
func layerText(l Layer) string {
	data, err := yaml.Marshal(layersNode([]Layer{l}))
	if err != nil {
		return ""
	}
	return string(data)
}
