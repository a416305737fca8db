package spec

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/llb"
)

// start is where an image begins, when that is not the Debian base. Every kind is in a file of its own.
type start interface {
	// kind is its key in YAML.
	kind() string
	// lower sets the base and adds the first steps.
	lower(l *lowering)
	// yaml is what stands after the key.
	yaml() *yaml.Node
}

// A start that installs Python packages by itself does so after the image's leading apt, env and workdir
// layers.
type installing interface{ lowerPackages(l *lowering) }

// A start that brings code does so after all layers.
type ending interface{ lowerEnd(l *lowering) }

func (l *lowering) lowerStart() {
	if l.img.start == nil {
		l.lowerDebian(l.img.python, l.debianMark())
	} else {
		l.img.start.lower(l)
	}
	l.lowerPythonExec()
	l.lowerEverywhere()
}

// lowerPythonExec makes the virtual environment of an interpreter of the base.
func (l *lowering) lowerPythonExec() {
	python, at := l.img.pythonExec, l.img.marks.at("python_exec")
	switch {
	case python == "":
		return
	case l.debian:
		l.fail(at, "python_exec goes with a base_image that has a Python of its own", "say python_version: the Debian base has its own virtual environment")
		return
	case !pythonProgram(python):
		l.fail(at, fmt.Sprintf("%q is not a Python interpreter", python), "write a path in the image, e.g. /usr/bin/python3")
		return
	}
	l.steps = append(l.steps, llb.PythonVenv(python, l.lines(at))...)
}

// A start that chooses the Python says who does.
type choosing interface{ choosesPython() string }

// pythonHint says how the Python of another start is chosen.
func pythonHint(s start) string {
	if c, ok := s.(choosing); ok {
		return "remove it; " + c.choosesPython()
	}
	return "remove it, or name a base_image that has this Python"
}

func (l *lowering) lowerPackages() {
	if s, ok := l.img.start.(installing); ok {
		s.lowerPackages(l)
	}
	l.lowerGPU()
}

// debianUser says that the image's user is the one that ibuild's own base makes. An image on top of
// another spec keeps that one's, and one that names a script the script's.
func (l *lowering) debianUser() bool {
	start := l.img.start
	if s, ok := start.(headerStart); ok {
		start = s.base
	}
	switch start.(type) {
	case parentStart, scriptStart:
		return false
	}
	return l.debian
}

func (l *lowering) debianMark() mark {
	at := l.img.marks.at("python_version")
	if at.line == 0 {
		at = l.img.marks.at("base_image")
	}
	return at
}

// lowerDebian starts from the Debian base with a Python; "" is the newest.
func (l *lowering) lowerDebian(python string, at mark) {
	supported := llb.PythonVersions()
	if python == "" {
		python = supported[0]
	}
	if !slices.Contains(supported, python) {
		hint := "supported are " + strings.Join(supported, ", ")
		if parts := strings.Split(python, "."); len(parts) == 3 && slices.Contains(supported, parts[0]+"."+parts[1]) {
			hint = fmt.Sprintf("write %s.%s, its newest patch release is taken", parts[0], parts[1])
		}
		l.fail(at, fmt.Sprintf("Python %q is not supported", python), hint)
	}
	l.base = llb.Base{Ref: llb.DebianPython(python), Python: true, Lines: l.lines(at)}
	l.lowerCertificates()
	l.steps = append(l.steps, llb.DebianSetup(python, l.lines(at))...)
	l.workdir, l.python, l.debian = llb.DefaultHome, python, true
}

// existing starts from an image that is there.
type existing struct{ ref string }

func (e existing) kind() string { return "base_image" }

// yaml writes a reference in full where the short one would be read as something else.
func (e existing) yaml() *yaml.Node {
	if named, err := reference.ParseNormalizedNamed(e.ref); err == nil && (e.ref == "debian" || isFile(e.ref)) {
		return textNode(reference.TagNameOnly(named).String())
	}
	return textNode(e.ref)
}

func (e existing) lower(l *lowering) {
	at := l.img.marks.at("base_image")
	if e.ref == scratch {
		if len(l.ca) > 0 {
			l.fail(l.img.marks.at("ca_certificates"), "ca_certificates need a base with a shell, and scratch has none", "bring the file with source_file")
		}
		l.base = llb.Base{Ref: scratch, Lines: l.lines(at)}
		l.workdir = "/"
		return
	}
	named, err := reference.ParseNormalizedNamed(e.ref)
	if err != nil {
		msg, hint := refProblem(e.ref, err)
		l.fail(at, "base_image: "+msg, hint)
		return
	}
	l.base = llb.Base{Ref: reference.TagNameOnly(named).String(), Lines: l.lines(at)}
	l.lowerCertificates()
}

// isFile says whether a base is meant to be a file rather than a reference, which may end like one in its
// tag: app:v1.yaml.
func isFile(base string) bool {
	ext := path.Ext(base)
	return strings.HasPrefix(base, "./") || strings.HasPrefix(base, "../") || strings.HasPrefix(base, "/") ||
		(ext == ".yaml" || ext == ".yml") && !strings.Contains(path.Base(base), ":")
}

// checkReference wants an image reference, or nothing.
func (l *lowering) checkReference(field, ref string, at mark) {
	if ref == "" {
		return
	}
	if _, err := reference.ParseNormalizedNamed(ref); err != nil {
		msg, hint := refProblem(ref, err)
		l.fail(at, field+": "+msg, hint)
	}
}

// refProblem words why a text is not an image reference.
func refProblem(ref string, err error) (msg, hint string) {
	msg = fmt.Sprintf("%q is not an image reference", credential.WithoutPassword(ref))
	_, lowerErr := reference.ParseNormalizedNamed(strings.ToLower(ref))
	switch {
	case lowerErr == nil:
		return msg, fmt.Sprintf("names are lower case: %q", strings.ToLower(ref))
	case errors.Is(err, reference.ErrNameTooLong):
		return msg, "the name is too long"
	case strings.Contains(ref, "://"):
		return msg, "write it without a scheme: host[:port]/name[:tag]"
	}
	return msg, "write [host[:port]/]name[:tag][@digest]"
}
