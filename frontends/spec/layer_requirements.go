package spec

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"sync"

	"github.com/ibuild/ibuild/frontends/spec/project"
	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/llb"
)

// requirementsDir is where requirements files are while they are installed, each below it with the
// path that it has in the spec's folder, so that they find each other.
const requirementsDir = "/run/ibuild/requirements"

// WithRequirements adds a layer of the Python packages that a requirements file names.
func (img Image) WithRequirements(file string, o PipOptions) Image {
	return img.With(Pip{PipOptions: o, Requirements: file})
}

// fileForm is how a Pip layer that is a requirements file is written.
type fileForm struct{ *Pip }

func requirementsForm(p *Pip) readable { return fileForm{p} }

func (f fileForm) short(t table) field {
	file := t.raw("requirements", "a requirements file (.txt or .in), uv.lock, poetry.lock or pylock.toml", &f.Requirements)
	file.name = "file"
	return file
}

func (f fileForm) fields(t table) []field {
	return append([]field{f.short(t)}, f.PipOptions.fields(t)...)
}

// lockedProject is the layer that a requirements field means which names the lock of a project, as
// flytekit's may.
func (p Pip) lockedProject(l *lowering) (Layer, bool) {
	o := ProjectOptions{Path: path.Dir(p.Requirements), ExtraArgs: p.ExtraArgs, Secrets: p.Secrets}
	places := placed{marks{}}
	places.marks.set(p.mark())
	places.marks.set(p.marks.at("requirements"), "path")
	var project Layer
	switch base := path.Base(p.Requirements); base {
	case "uv.lock":
		project = UVProject{ProjectOptions: o, placed: places}
	case "poetry.lock":
		project = PoetryProject{ProjectOptions: o, placed: places}
	default:
		return nil, false
	}
	if len(p.Packages) > 0 || p.IndexURL != "" || len(p.ExtraIndexURLs) > 0 || p.Pre || p.WheelsOnly {
		l.fail(p.marks.at("requirements"), fmt.Sprintf("%s says all of what is installed: packages, indexes and options do not go with it", p.Requirements),
			"add them to the project and lock it again, or put the packages into a pip layer")
	}
	return project, true
}

// lowerFile adds the requirements file and all that it names to the step. Findings in it point into it.
func (p Pip) lowerFile(l *lowering, step *llb.Pip) {
	at := p.marks.at("requirements")
	step.Requirements = path.Join(requirementsDir, p.Requirements)
	if !l.checkSource(p.Requirements, at) {
		return
	}
	base := path.Base(p.Requirements)
	if l.folder == nil {
		return
	}
	switch {
	case base == "pyproject.toml":
		l.fail(at, "pyproject.toml is no requirements file", "use a uv_project or poetry_project layer")
	case strings.HasPrefix(base, "pylock.") && path.Ext(base) == ".toml":
		lock, err := project.ReadPylock(l.tree(), path.Clean(p.Requirements))
		if l.collect(err, at) {
			l.checkRequires(lock.RequiresPython, l.folder.show(p.Requirements), at)
			step.Mounts = append(step.Mounts, fileMounts(requirementsDir, []python.File{lock.File})...)
			step.Mounts = append(step.Mounts, l.localMounts(requirementsDir, lock.Locals, at)...)
		}
	case path.Ext(base) != ".txt" && path.Ext(base) != ".in":
		l.fail(at, fmt.Sprintf("the requirements file %q must end in .txt or .in", p.Requirements), "or be a uv.lock, poetry.lock or pylock.toml")
	default:
		found, err := l.tree().ReadAll(path.Clean(p.Requirements))
		if !l.collect(err, at) {
			return
		}
		if len(found.Locals) > 0 {
			step.Dir = path.Join(requirementsDir, found.Dir)
		}
		for i, file := range found.Files {
			if text, ok := p.Edited[file.Path]; ok {
				file.Data = text
			}
			found.Files[i].Data = notEditable(file.Data)
		}
		step.Mounts = append(step.Mounts, fileMounts(requirementsDir, found.Files)...)
		step.Mounts = append(step.Mounts, l.localMounts(requirementsDir, found.Locals, at)...)
	}
}

// notEditable takes the -e away from the lines that have one: the folders are there while the step runs, and an
// image has no checkout that anybody edits.
func notEditable(data []byte) []byte { return editableOption().ReplaceAll(data, nil) }

var editableOption = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^[ \t]*(?:-e|--editable)(?:[ \t]+|=)`)
})
