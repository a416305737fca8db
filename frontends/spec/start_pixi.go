package spec

import (
	"go.yaml.in/yaml/v3"
)

// pixiStart starts from a Python script whose header has [tool.pixi].
type pixiStart struct {
	File string // relative to the spec's folder
}

// PixiScript starts from a Python script whose PEP 723 header has [tool.pixi]: pixi makes an environment of
// conda and Python packages for it.
func PixiScript(file string) Image { return Image{start: pixiStart{File: file}} }

func (p pixiStart) kind() string          { return "pixi_script" }
func (p pixiStart) yaml() *yaml.Node      { return encode(&p) }
func (p *pixiStart) fields(table) []field { return nil }
func (p *pixiStart) short(t table) field  { return t.text("pixi_script", "path of the script", &p.File) }
func (p pixiStart) lower(l *lowering)     { l.fail(l.img.marks.at("pixi_script"), "TODO", "") }
