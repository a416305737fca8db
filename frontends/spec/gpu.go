package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec/cuda"
	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/llb"
)

// gpu is what cuda and cudnn add to the image.
type gpu struct {
	packages map[int][]string // by the number of the layer that they are installed with
	alone    []string         // packages of no layer
	backend  map[int]string   // uv's --torch-backend, for layers with torch
}

// asked is one requirement of a Python layer.
type asked struct {
	text  string
	layer int
	at    mark
	fixed bool // by a project's lock: nothing can be installed with it
}

// chooseGPU decides how CUDA gets into the image, so that it agrees with what the Python layers ask for.
func (l *lowering) chooseGPU() {
	if l.img.cuda == "" && l.img.cudnn == "" {
		return
	}
	list := l.requirements()
	w := cuda.Wish{CUDA: l.img.cuda, CuDNN: l.img.cudnn, Python: l.python, Platforms: l.img.platforms}
	for _, r := range list {
		w.Requirements = append(w.Requirements, r.text)
	}
	if l.debian {
		w.SitePackages = fmt.Sprintf("%s/lib/python%s/site-packages", llb.VirtualEnv, l.python)
	} else {
		w.Base = l.base.Ref
	}
	choice, findings := cuda.Choose(w)
	for _, f := range findings {
		at := l.img.marks.at(string(f.Field))
		if f.Field == cuda.FieldPackage {
			at = list[f.Package].at
		}
		if f.Severity == cuda.Error {
			l.fail(at, f.Msg, f.Hint)
		} else {
			l.warn(at, f.Msg, f.Hint)
		}
	}
	l.applyGPU(choice, list)
}

func (l *lowering) applyGPU(choice cuda.Choice, list []asked) {
	l.gpu = gpu{packages: map[int][]string{}, backend: map[int]string{}}
	for _, a := range choice.Additions {
		if a.Package < 0 {
			l.gpu.alone = append(l.gpu.alone, a.Requirement)
			continue
		}
		layer := list[a.Package].layer
		if list[a.Package].fixed {
			l.warn(list[a.Package].at, fmt.Sprintf("cuda wants %s, and the project's lock decides what is installed", a.Requirement), "add it to the project, and lock it again")
			continue
		}
		l.gpu.packages[layer] = append(l.gpu.packages[layer], a.Requirement)
	}
	if choice.TorchBackend != "" {
		for _, r := range list {
			if p, err := python.ParseRequirement(r.text); err == nil && slices.Contains([]string{"torch", "torchvision", "torchaudio"}, python.NormalName(p.Name)) {
				if r.fixed {
					l.warn(r.at, fmt.Sprintf("cuda wants torch for %s, and the project's lock decides where torch comes from", choice.TorchBackend),
						"name the index https://download.pytorch.org/whl/"+choice.TorchBackend+" in the project's [tool.uv.sources], unless it does so already")
					continue
				}
				l.gpu.backend[r.layer] = choice.TorchBackend
			}
		}
	}
	at := l.img.marks.at("cuda")
	if at.line == 0 {
		at = l.img.marks.at("cudnn")
	}
	for _, k := range slices.Sorted(maps.Keys(choice.Env)) {
		l.steps = append(l.steps, llb.Env{Lines: l.lines(at), Key: k, Value: choice.Env[k]})
	}
}

// lowerGPU installs what belongs to no layer.
func (l *lowering) lowerGPU() {
	if len(l.gpu.alone) == 0 {
		return
	}
	at := l.img.marks.at("cuda").hull(l.img.marks.at("cudnn"))
	title := "cuda: " + strings.Join(l.gpu.alone, " ")
	l.steps = append(l.steps, llb.Pip{Title: title, Packages: l.gpu.alone, Lines: l.lines(at)}.Step())
	l.gpu.alone = nil
}

// requirements are those of all pip layers, those in requirements files included.
func (l *lowering) requirements() []asked {
	var out []asked
	for i, layer := range l.img.layers {
		if u, ok := layer.(UVProject); ok {
			for _, text := range u.dependencies(l) {
				out = append(out, asked{text: text, layer: i, at: u.marks.at("path"), fixed: true})
			}
		}
		p, ok := layer.(Pip)
		if !ok {
			continue
		}
		for j, text := range p.Packages {
			out = append(out, asked{text: text, layer: i, at: p.marks.at("packages", j)})
		}
		if p.Requirements == "" || l.folder == nil {
			continue
		}
		// What is wrong with the file is said when the layer is lowered.
		files, _ := l.tree().ReadAll(p.Requirements)
		for _, f := range files.Files {
			for _, line := range requirementLines(f) {
				out = append(out, asked{text: line, layer: i, at: p.marks.at("requirements")})
			}
		}
	}
	return out
}

// tree is the spec's folder, for whoever reads files of Python's.
func (l *lowering) tree() python.Tree {
	return python.Tree{FS: l.folder.root.FS(), Show: l.folder.show}
}
