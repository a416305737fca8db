package spec

import (
	"slices"

	"github.com/ibuild/ibuild/llb"
)

// PixiScript starts from a Python script whose PEP 723 header has [tool.pixi], a path in the folder that the
// image is planned with: pixi makes an environment of conda and Python packages for it, at
// <[llb.PixiDir]>/.pixi/envs/default on the Debian base, as <script>.pixi.lock says where there is one. The
// script is the entry point. Packages are installed after the leading apt, env and workdir layers, in a step
// that mounts the secrets.
//
// [tool.ibuild] in the header counts as it does for [UVScript]. What else the header has beside [tool.pixi],
// requires-python and dependencies is for other tools.
func PixiScript(file string, secrets ...Secret) Image {
	return Image{start: scriptStart{File: file, Secrets: slices.Clone(secrets), pixi: true}}
}

// pixiPackages installs what the header asks for by pixi.
func (s headerStart) pixiPackages(l *lowering, mounts []llb.Mount, env []string) {
	at := l.lines(s.header())
	env = append(append(l.condaEnv(), pixiCredentials(mounts)...), env...)
	l.steps = append(l.steps, llb.PixiScript(s.script.Header, s.script.Lock, env, at, mounts...))
	l.steps = append(l.steps, llb.CondaActivate(llb.PixiPrefix(".", "default"), s.script.PixiPython, at)...)
	if s.script.PixiPython {
		l.python = "" // pixi's choice
	}
}
