package spec

import (
	"path"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/uvscript"
	"github.com/ibuild/ibuild/llb"
)

// pixiStart starts from a Python script whose header has [tool.pixi].
type pixiStart struct {
	File string // relative to the spec's folder
}

// PixiScript starts from a Python script whose PEP 723 header has [tool.pixi], a path in the folder that the
// image is planned with: pixi makes an environment of conda and Python packages for it, at
// <[llb.PixiDir]>/.pixi/envs/default on the Debian base, as <script>.pixi.lock says where there is one. The
// script is the entry point. Packages are installed after the leading apt, env and workdir layers, in a step
// that mounts the secrets.
//
// What the header has beside [tool.pixi], requires-python and dependencies is for other tools.
func PixiScript(file string, secrets ...SecretMount) Image {
	return Image{start: pixiStart{File: file}, startSecrets: append([]SecretMount(nil), secrets...)}
}

func (p pixiStart) kind() string          { return "pixi_script" }
func (p pixiStart) yaml() *yaml.Node      { return encode(&p) }
func (p *pixiStart) fields(table) []field { return nil }
func (p *pixiStart) short(t table) field  { return t.text("pixi_script", "path of the script", &p.File) }

// script is the script, read; nil after a finding, or when only the disk could tell.
func (p pixiStart) script(l *lowering) *uvscript.Script {
	at := l.img.marks.at("pixi_script")
	if !l.checkSource(p.File, at) || l.folder == nil {
		return nil
	}
	if path.Ext(p.File) != ".py" {
		l.fail(at, "pixi_script: "+quoted(p.File)+" does not end in .py", "name a Python script")
		return nil
	}
	real, dir, ok := l.find(p.File, at)
	if dir {
		l.fail(at, "pixi_script: "+quoted(p.File)+" is a folder", "name a Python script")
	}
	if !ok || dir {
		return nil
	}
	file := filepath.Join(l.folder.dir, filepath.FromSlash(real))
	src, err := source.Read(file, source.ScriptLimit)
	if err == nil {
		src.Name, src.Dir = l.folder.show(p.File), filepath.Dir(file)
		var read uvscript.Script
		if read, err = uvscript.ReadPixi(src); err == nil {
			return &read
		}
	}
	l.errs.Collect(err)
	return nil
}

func (p pixiStart) lower(l *lowering) {
	at := l.img.marks.at("pixi_script")
	script := p.script(l)
	if script == nil {
		return
	}
	l.script = script
	l.lowerDebian(script.Python, at)
	dst := path.Join(llb.DefaultHome, path.Base(p.File))
	real, err := l.folder.real(p.File)
	l.errs.Collect(err)
	code, ok := scriptStart{file: real}.code(l, script, dst)
	if !ok {
		return
	}
	l.tail = []llb.Step{code}
	if !l.img.entrypoint.set {
		l.tail = append(l.tail, llb.Entrypoint{Args: []string{"python", dst}})
	}
}

// lowerPackages installs what the header asks for.
func (p pixiStart) lowerPackages(l *lowering) {
	if l.script == nil {
		return
	}
	at := l.lines(l.img.marks.at("pixi_script"))
	mounts, env := l.mounts(l.img.startSecrets)
	env = append(append(l.condaEnv(), pixiCredentials(mounts)...), env...)
	l.steps = append(l.steps, llb.PixiScript(l.script.Header, l.script.Lock, env, at, mounts...))
	l.steps = append(l.steps, llb.CondaActivate(llb.PixiPrefix(".", "default"), l.script.PixiPython, at)...)
	if l.script.PixiPython {
		l.python = "" // pixi's choice
	}
}
