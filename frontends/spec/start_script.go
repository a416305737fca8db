package spec

import (
	"cmp"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/frontends/uvscript"
	"github.com/ibuild/ibuild/llb"
)

// scriptStart starts from a Python script with a PEP 723 header: the Debian base with the Python that the
// header asks for, or the base_image of its [tool.ibuild], which has the right one; its dependencies; and, after
// all layers, the script itself as the entry point.
type scriptStart struct {
	File    string        // relative to the spec's folder
	Secrets []SecretMount // of the step that installs the dependencies
	pixi    bool          // it is pixi that installs, not uv

	given *uvscript.Script // the script itself, when it is what is built
	// text says that the script is not a file of the folder, so that it is written from the definition.
	text   bool
	kindOf string  // for people; "" is "uv script"
	base   start   // base_image of [tool.ibuild]; nil is the Debian base
	named  *naming // nil: no spec names the script, or it has not been read yet
}

// UVScript starts from a Python script with a PEP 723 header, a path in the folder that the image is planned
// with. The header decides the Python and the packages, [tool.ibuild] in it adds to the image, and the
// script is the entry point. Its dependencies are installed after the leading apt, env and workdir layers, in
// a step that mounts the secrets.
//
// What [tool.ibuild] says comes before what the image itself says, which so has the last word.
func UVScript(file string, secrets ...SecretMount) Image {
	return Image{start: scriptStart{File: file, Secrets: slices.Clone(secrets)}}
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
	start := img.start.(scriptStart)
	start.given, start.text = &s, src.Stdin
	img.start, img.text = start, &src
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

func (s scriptStart) kindName() string { return cmp.Or(s.kindOf, "uv script") }

func (s scriptStart) kind() string {
	if s.pixi {
		return "pixi_script"
	}
	return "uv_script"
}

func (s scriptStart) yaml() *yaml.Node {
	s.File = cmp.Or(s.File, s.name())
	return encode(&s)
}

func (s *scriptStart) short(t table) field { return t.text("file", "path of the script", &s.File) }

func (s *scriptStart) fields(t table) []field {
	return []field{s.short(t), t.secrets(&s.Secrets)}
}

func (s *scriptStart) lacks() (msg, hint string) {
	if s.File != "" {
		return "", ""
	}
	return "names no file", "add file: the path of the script"
}

func (s scriptStart) choosesPython() string {
	switch {
	case s.base != nil:
		return "the base_image of the script's header has the Python"
	case s.pixi:
		return "pixi installs the Python that the script's header asks for"
	}
	return "requires-python in the script's header says which Python"
}

// name is the script's file name in the image.
func (s scriptStart) name() string {
	if s.given != nil {
		return s.given.Name
	}
	return path.Base(s.File)
}

func (s scriptStart) lower(l *lowering) {
	if s.given == nil {
		s.lowerNamed(l)
		return
	}
	program, dst := "python", path.Join(llb.DefaultHome, s.name())
	switch {
	case s.base == nil:
		at := s.header()
		if line := s.given.PythonLine; line > 0 {
			at = mark{line: line, last: line}
		}
		l.lowerDebian(s.given.Python, at)
	case s.base == existing{ref: scratch}:
		l.fail(l.img.marks.at("base_image"), "base_image: scratch has no Python to run the script", "name an image that has one")
		return
	default:
		s.base.lower(l)
		if !l.debian {
			program, dst = "python3", s.name() // in the base's own workdir; not every base knows a "python"
		}
	}
	code, ok := s.code(l, dst)
	if !ok {
		return
	}
	l.tail = []llb.Step{code}
	if !l.img.entrypoint.set {
		l.tail = append(l.tail, llb.Entrypoint{Args: []string{program, dst}})
	}
}

// header is where the script has its header.
func (s scriptStart) header() mark { return mark{line: s.given.First, last: s.given.Last} }

// lowerPackages installs what the header asks for.
func (s scriptStart) lowerPackages(l *lowering) {
	if s.given == nil {
		l.lowerScript()
		return
	}
	mounts, env := l.mounts(s.Secrets)
	if s.named != nil {
		mounts, env = s.named.mounts(mounts), append(env, s.named.env...)
	}
	if s.pixi {
		s.pixiPackages(l, mounts, env)
		return
	}
	step := llb.UVScript(s.given.Header, s.given.Lock, l.lines(s.header()), slices.Concat(s.locals(l), mounts)...)
	step.Env = append(step.Env, env...)
	l.steps = append(l.steps, step)
}

// locals show the packages in the script's folder to the step, beside the header.
func (s scriptStart) locals(l *lowering) []llb.Mount {
	if l.folder == nil {
		return nil
	}
	var list []python.Local
	for _, p := range s.given.Locals {
		p.Path = path.Clean(p.Path)
		list = append(list, p)
	}
	return l.localMounts(llb.ScriptDir, list, s.header())
}

// code is the step that brings the script itself. One that is no file of a folder is a part of the
// definition. A link is followed here: the builder would bring the link.
func (s scriptStart) code(l *lowering, dst string) (llb.Step, bool) {
	script := s.given
	title := "script: " + s.name()
	if s.text || script.Source.Stdin {
		return llb.WriteFile{Title: title, Dst: dst, Data: script.Source.Data}, true
	}
	if s.named != nil {
		return llb.Copy{Title: title, Local: s.named.local, Src: s.named.real, Dst: dst}, true
	}
	dir, base := script.Source.Dir, script.Source.Base()
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
