package spec

import (
	"cmp"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/frontends/uvscript"
	"github.com/ibuild/ibuild/llb"
)

// scriptStart starts from a Python script with a PEP 723 header: the Debian base with the Python that the
// header asks for, its dependencies, and, after all layers, the script itself as the entry point.
type scriptStart struct {
	file  string           // relative to the spec's folder
	given *uvscript.Script // the script itself, when it is what is built
	// text says that the script is not a file of the folder, so that it is written from the definition.
	text   bool
	kindOf string // for people; "" is "uv script"
}

// UVScript starts from a Python script with a PEP 723 header, a path in the folder that the image is planned
// with. The header decides the Python and the packages, [tool.ibuild] in it adds to the image, and the
// script is the entry point. Its dependencies are installed after the leading apt, env and workdir layers, in
// a step that mounts the secrets.
func UVScript(file string, secrets ...SecretMount) Image {
	return Image{start: scriptStart{file: file}, startSecrets: slices.Clone(secrets)}
}

// LoadScript makes the plan of the image that runs a uv script. The error is source.Errors.
func LoadScript(src source.Source) (*llb.Plan, error) {
	img, err := ParseScript(src)
	if err != nil {
		return nil, err
	}
	return img.Plan(src)
}

// ParseScript reads a uv script as an image: its header, and what [tool.ibuild] adds.
func ParseScript(src source.Source) (Image, error) {
	s, err := uvscript.Read(src)
	var errs source.Errors
	errs.Collect(err)
	img, found := scriptImage(s)
	errs = append(errs, found...)
	img.start = scriptStart{given: &s, text: src.Stdin}
	return img, errs.Err()
}

// LoadGenerated makes the plan of the image that runs a uv script which was made of another file, such as a
// notebook: kind is what that file is called, name the script's file name in the image. The script becomes a
// part of the definition.
func LoadGenerated(src source.Source, kind, name string) (*llb.Plan, error) {
	img, err := ParseScript(src)
	if err != nil {
		return nil, err
	}
	s := img.start.(scriptStart)
	script := *s.given
	script.Name = name
	s.given, s.text, s.kindOf = &script, true, kind
	img.start = s
	return img.Plan(src)
}

// scriptImage is what [tool.ibuild] says.
func scriptImage(s uvscript.Script) (Image, source.Errors) {
	if s.Settings == nil {
		return Image{marks: marks{}}, nil
	}
	r := &reader{src: s.Source}
	f := &flat{reader: r, img: Image{marks: marks{}}}
	r.mapping(s.Settings, "[tool.ibuild]", f.scriptFields(), nil)
	return f.image(), r.errs
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

func (s scriptStart) kindName() string { return cmp.Or(s.kindOf, "uv script") }
func (s scriptStart) kind() string     { return "uv_script" }
func (s scriptStart) yaml() *yaml.Node { return textNode(cmp.Or(s.file, s.name())) }

// name is the script's file name in the image.
func (s scriptStart) name() string {
	if s.given != nil {
		return s.given.Name
	}
	return path.Base(s.file)
}

// script is the script, read; nil after a finding, or when only the disk could tell.
func (s scriptStart) script(l *lowering) *uvscript.Script {
	if s.given != nil {
		return s.given
	}
	at := l.img.marks.at("uv_script")
	if !l.checkSource(s.file, at) || l.folder == nil {
		return nil
	}
	if path.Ext(s.file) != ".py" {
		l.fail(at, "uv_script: "+quoted(s.file)+" does not end in .py", "name a Python script")
		return nil
	}
	real, dir, ok := l.find(s.file, at)
	if !ok {
		return nil
	}
	if dir {
		l.fail(at, "uv_script: "+quoted(s.file)+" is a folder", "name a Python script")
		return nil
	}
	src, err := source.Read(filepath.Join(l.folder.dir, filepath.FromSlash(real)), source.ScriptLimit)
	src.Name = l.folder.show(s.file)
	if err == nil {
		src.Dir = filepath.Dir(filepath.Join(l.folder.dir, filepath.FromSlash(real)))
		var read uvscript.Script
		if read, err = uvscript.Read(src); err == nil {
			return &read
		}
	}
	l.errs.Collect(err)
	return nil
}

func (s scriptStart) lower(l *lowering) {
	script := s.script(l)
	if script == nil {
		return
	}
	at := mark{line: script.First, last: script.Last}
	if script.PythonLine > 0 {
		at = mark{line: script.PythonLine, last: script.PythonLine}
	}
	if s.given == nil {
		at = l.img.marks.at("uv_script")
	}
	l.script = script
	l.lowerDebian(script.Python, at)
	dst := path.Join(llb.DefaultHome, s.name())
	code, ok := s.code(l, script, dst)
	if !ok {
		return
	}
	l.tail = []llb.Step{code}
	if !l.img.entrypoint.set {
		l.tail = append(l.tail, llb.Entrypoint{Args: []string{"python", dst}})
	}
}

// lowerPackages installs what the header asks for.
func (s scriptStart) lowerPackages(l *lowering) {
	mounts, env := l.mounts(l.img.startSecrets)
	if l.script == nil {
		return
	}
	at := mark{line: l.script.First, last: l.script.Last}
	if s.given == nil {
		at = l.img.marks.at("uv_script")
	}
	step := llb.UVScript(l.script.Header, l.script.Lock, l.lines(at), slices.Concat(s.locals(l), mounts)...)
	step.Env = append(step.Env, env...)
	l.steps = append(l.steps, step)
}

// locals show the packages in the script's folder to the step, beside the header.
func (s scriptStart) locals(l *lowering) []llb.Mount {
	var out []llb.Mount
	for _, p := range l.script.Locals {
		m := llb.Mount{Kind: llb.LocalMount, Target: path.Join(llb.ScriptDir, p.Path), Local: l.local(l.script.Source.Dir), Source: path.Clean(p.Path)}
		m.File = p.Kind == python.Wheel || p.Kind == python.Sdist
		if m.Scratch = !m.File; m.Scratch && !l.img.allFiles {
			m.Exclude = StandardIgnores()
		}
		if !slices.ContainsFunc(out, func(o llb.Mount) bool { return o.Target == m.Target }) {
			out = append(out, m)
		}
	}
	return out
}

// code is the step that brings the script itself. One that is no file of a folder is a part of the
// definition. A link is followed here: the builder would bring the link.
func (s scriptStart) code(l *lowering, script *uvscript.Script, dst string) (llb.Step, bool) {
	title := "script: " + s.name()
	if s.text || script.Source.Stdin {
		return llb.WriteFile{Title: title, Dst: dst, Data: script.Source.Data}, true
	}
	dir, base := script.Source.Dir, script.Source.Base()
	if s.given == nil {
		base = filepath.Base(s.file)
	}
	if info, err := os.Lstat(filepath.Join(dir, base)); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		target, err := filepath.EvalSymlinks(filepath.Join(dir, base))
		if err != nil {
			l.errs = append(l.errs, &source.Error{File: script.Source.Name, Msg: "the link cannot be followed: " + pathless(err).Error(), Err: err})
			return nil, false
		}
		dir, base = filepath.Split(target)
		dir = filepath.Clean(dir)
	}
	return llb.Copy{Title: title, Local: l.local(dir), Src: base, Dst: dst}, true
}

func quoted(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` }
