package spec

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/source"
)

// maxDepth is how many specs may stand on each other.
const maxDepth = 8

// parentStart starts from what another spec makes: a file, or an image made in Go or nested in the YAML.
// The other spec's steps are part of the same graph, so a builder shares them with every image that is based
// on it, and nothing has to be pushed in between.
type parentStart struct {
	file  string // relative to this spec's folder; it may lead out of it
	image *Image
}

// FromSpec starts from what another image is made of. Both read their files from the same folder.
func FromSpec(parent Image) Image {
	parent = parent.clone()
	return Image{start: parentStart{image: &parent}}
}

// FromSpecFile starts from what an image spec makes. The path is relative to the folder that the image is
// planned with; that spec's own files are relative to its own folder.
func FromSpecFile(file string) Image { return Image{start: parentStart{file: file}} }

func (p parentStart) kind() string { return "base_image" }

func (p parentStart) yaml() *yaml.Node {
	if p.file != "" {
		return textNode("./" + strings.TrimPrefix(path.Clean(p.file), "./"))
	}
	return p.image.node()
}

// lower adds the steps of the other spec, with its own folder and its own places.
func (p parentStart) lower(l *lowering) {
	at := l.img.marks.at("base_image")
	if l.depth == maxDepth {
		l.fail(at, fmt.Sprintf("more than %d specs are based on each other", maxDepth), "look for a circle among them")
		return
	}
	below := &lowering{src: l.src, folder: l.folder, depth: l.depth + 1, index: -1, outcome: l.outcome, partial: l.partial}
	if p.image != nil {
		below.img = *p.image
		if own := below.img.text; own != nil {
			below.src.Name, below.src.Data, below.src.Stdin = own.Name, own.Data, own.Stdin
		} else if p.image.marks == nil {
			below.src.Data = nil // made in Go: it has no places in this text
		}
	} else if !p.read(l, below, at) {
		return
	}
	defer below.closeBut(l.folder)
	if _, ok := below.img.start.(dockerfileStart); ok {
		l.fail(at, "base_image: a spec that is a Dockerfile cannot be built upon", "build it first and name its image")
		return
	}
	before := len(l.errs)
	below.run()
	p.hideText(l, before, at)
	l.workdir = below.workdir
}

// read reads the other spec's file.
func (p parentStart) read(l, below *lowering, at mark) bool {
	if path.IsAbs(p.file) || strings.Contains(p.file, `\`) || control(p.file) {
		l.fail(at, fmt.Sprintf("base_image: the path %q is not relative", p.file), "paths are relative to the spec's folder")
		return false
	}
	if l.folder == nil {
		return false // only the disk can tell
	}
	name := filepath.ToSlash(filepath.Clean(p.file))
	full, shown := filepath.Join(l.folder.dir, filepath.FromSlash(name)), l.folder.show(name)
	if !p.descend(l, below, full) {
		l.fail(at, fmt.Sprintf("base_image: the spec %q is based on itself, in a circle", shown), "")
		return false
	}
	src, err := source.Read(full, source.SpecLimit)
	if err == nil && src.Stdin || path.Ext(name) != ".yaml" && path.Ext(name) != ".yml" {
		l.fail(at, fmt.Sprintf("base_image: %q is not a spec", shown), "a spec is a file whose name ends in .yaml or .yml")
		return false
	}
	if err != nil {
		l.fail(at, fmt.Sprintf("base_image: the spec %q cannot be read: %v", shown, readProblem(err)), "")
		return false
	}
	src.Name = shown
	img, errs := parse(src)
	below.img, below.src, below.partial = img, src, len(errs) > 0
	before := len(l.errs)
	l.errs = append(l.errs, errs...)
	p.hideText(l, before, at)
	if len(errs) > 0 && img.marks == nil {
		return false
	}
	f, err := openFolder(src)
	l.errs.Collect(err)
	below.folder = f
	return err == nil
}

// descend notes the file in the chain of those that are based on each other, unless it is there already.
func (p parentStart) descend(l, below *lowering, file string) bool {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	file, _ = filepath.Abs(file)
	below.chain = append(slices.Clone(l.chain), file)
	return !slices.Contains(l.chain, file)
}

// hideText replaces findings in a spec outside of this one's folder by one that shows nothing of it: a spec
// that somebody else has written does not get to show any file of the machine.
func (p parentStart) hideText(l *lowering, before int, at mark) {
	if p.file == "" || filepath.IsLocal(filepath.FromSlash(p.file)) || len(l.errs) == before || len(l.chain) > 0 && slices.ContainsFunc(l.errs[before:], circle) {
		return
	}
	found := len(l.errs) - before
	l.errs = l.errs[:before]
	name := l.folder.show(path.Clean(p.file))
	l.fail(at, fmt.Sprintf("base_image: the spec %q is not right (findings: %d)", name, found), "see ibuild spec validate "+name)
}

// circle says whether a finding shows nothing of a file's text.
func circle(e *source.Error) bool {
	return strings.HasSuffix(e.Msg, " is based on itself, in a circle")
}

// readProblem is what a source error says without its file.
func readProblem(err error) string {
	var all source.Errors
	all.Collect(err)
	return all[0].Msg
}
