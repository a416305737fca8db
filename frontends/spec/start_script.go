package spec

import (
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

// scriptStart names a Python script with a PEP 723 header. What the header says goes before what the image says
// itself, in all of it: see [lowering.run] and [headerStart].
type scriptStart struct {
	File    string   // relative to the spec's folder
	Secrets []Secret // of the step that installs the dependencies
	pixi    bool     // it is pixi that installs, not uv
}

// headerStart starts from what the header of a script says: the Debian base with the Python that it asks for, or the
// base_image of its [tool.ibuild], which has the right one; its dependencies; and, after all layers, the script
// itself as the entry point.
type headerStart struct {
	scriptStart // File is the script's file name in the image
	script      uvscript.Script
	// text says that the script is not a file of the folder, so that it is written from the definition.
	text   bool
	kindOf string  // for people; "" is "uv script"
	bare   bool    // the image is what the script runs in, and not the script
	base   start   // base_image of [tool.ibuild]; nil is the Debian base
	named  *naming // nil: no spec names the script
}

// UVScript starts from a Python script with a PEP 723 header, a path in the folder that the image is planned
// with. The header decides the Python and the packages, [tool.ibuild] in it adds to the image, and the
// script is the entry point. Its dependencies are installed after the leading apt, env and workdir layers, in
// a step that mounts the secrets.
//
// What [tool.ibuild] says comes before what the image itself says, which so has the last word.
func UVScript(file string, secrets ...Secret) Image {
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
	start := img.start.(headerStart)
	start.text = src.Stdin
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
	s := img.start.(headerStart)
	s.File, s.text, s.kindOf = name, true, kind
	img.start = s
	return img.Plan(src)
}

// ParseScriptEnvironment reads a uv script as the image that it runs in: all that [ParseScript] gives, but for the
// script itself and its entry point.
func ParseScriptEnvironment(src source.Source) (Image, error) {
	img, err := ParseScript(src)
	s := img.start.(headerStart)
	s.bare = true
	img.start = s
	return img, err
}

func (s scriptStart) kind() string {
	if s.pixi {
		return "pixi_script"
	}
	return "uv_script"
}

func (s scriptStart) yaml() *yaml.Node { return encode(&s) }

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
	if s.pixi {
		return "pixi installs the Python that the script's header asks for"
	}
	return "requires-python in the script's header says which Python"
}

// lower adds nothing: the header has the base.
func (s scriptStart) lower(*lowering) {}

func (s headerStart) choosesPython() string {
	if s.base != nil {
		return "the base_image of the script's header has the Python"
	}
	return s.scriptStart.choosesPython()
}

func (s headerStart) lower(l *lowering) {
	switch {
	case s.base == nil:
		at := s.header()
		if line := s.script.PythonLine; line > 0 {
			at = mark{line: line, last: line}
		}
		l.lowerDebian(s.script.Python, at)
	case s.base == existing{ref: scratch}:
		l.fail(l.img.marks.at("base_image"), "base_image: scratch has no Python to run the script", "name an image that has one")
	default:
		s.base.lower(l)
	}
}

// header is where the script has its header.
func (s headerStart) header() mark { return mark{line: s.script.First, last: s.script.Last} }

// lowerPackages installs what the header asks for.
func (s headerStart) lowerPackages(l *lowering) {
	mounts, env := l.mounts(s.Secrets)
	if s.named != nil {
		mounts, env = s.named.mounts(mounts), append(env, s.named.env...)
	}
	if s.pixi {
		s.pixiPackages(l, mounts, env)
		return
	}
	step := llb.UVScript(s.script.Header, s.script.Lock, l.lines(s.header()), slices.Concat(s.locals(l), mounts)...)
	step.Env = append(step.Env, env...)
	l.steps = append(l.steps, step)
}

// locals show the packages in the script's folder to the step, beside the header.
func (s headerStart) locals(l *lowering) []llb.Mount {
	if l.folder == nil {
		return nil
	}
	var list []python.Local
	for _, p := range s.script.Locals {
		p.Path = path.Clean(p.Path)
		list = append(list, p)
	}
	return l.localMounts(llb.ScriptDir, list, s.header())
}

// lowerEnd brings the script itself, as the entry point.
func (s headerStart) lowerEnd(l *lowering) {
	if s.bare {
		return
	}
	program, dst := "python3", s.File // in the base's own workdir; not every base knows a "python"
	if l.debian {
		program, dst = "python", path.Join(llb.DefaultHome, s.File)
	}
	code, err := s.code(l, dst)
	if err != nil {
		l.errs = append(l.errs, &source.Error{File: s.script.Source.Name, Msg: "the link cannot be followed: " + pathless(err).Error(), Err: err})
		return
	}
	l.steps = append(l.steps, code)
	if !l.img.entrypoint.set {
		l.steps = append(l.steps, llb.Entrypoint{Args: []string{program, dst}})
	}
}

// code is the step that brings the script. One that is no file of a folder is a part of the definition. A link is
// followed here: the builder would bring the link.
func (s headerStart) code(l *lowering, dst string) (llb.Step, error) {
	src, title := s.script.Source, "script: "+s.File
	if s.text || src.Stdin {
		return llb.WriteFile{Title: title, Dst: dst, Data: src.Data}, nil
	}
	if s.named != nil {
		return llb.Copy{Title: title, Local: s.named.local, Src: s.named.real, Dst: dst}, nil
	}
	dir, base := src.Dir, src.Base()
	if info, err := os.Lstat(filepath.Join(dir, base)); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		target, err := filepath.EvalSymlinks(filepath.Join(dir, base))
		if err != nil {
			return nil, err
		}
		dir, base = filepath.Dir(target), filepath.Base(target)
	}
	return llb.Copy{Title: title, Local: l.local(dir), Src: base, Dst: dst}, nil
}
