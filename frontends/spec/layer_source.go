package spec

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/llb"
)

// SourceFolder brings a folder of the spec's folder into the image.
type SourceFolder struct {
	Src string
	// Dst is what the folder becomes; "" is <workdir>/<its name>, or the workdir itself for ".".
	Dst string
	// Contents puts what is in the folder into the workdir. It goes with no Dst.
	Contents bool
	Exclude  []string // .dockerignore patterns, relative to the folder
	Owner    string   // name or uid, with a group or gid after a colon; "" is root
	AllFiles bool     // no standard ignores
	placed
}

// WithSourceFolder brings a folder into the image. With a dst the folder becomes dst, without one it
// keeps its name in the workdir.
func (img Image) WithSourceFolder(src, dst string) Image {
	return img.With(SourceFolder{Src: src, Dst: dst})
}

func (s SourceFolder) kind() string { return "source_folder" }
func (s SourceFolder) clone() Layer {
	s.Exclude = slices.Clone(s.Exclude)
	return s
}

func (s SourceFolder) yaml() *yaml.Node { return encode(&s) }

func (s *SourceFolder) short(t table) field { return t.raw("src", "path of the folder", &s.Src) }

func (s *SourceFolder) fields(t table) []field {
	return []field{
		t.text("src", "path of the folder", &s.Src),
		t.text("dst", "what the folder becomes; absent: its name, in the workdir", &s.Dst),
		t.text("owner", "name or uid, with a group or gid after a colon; absent: root", &s.Owner),
		t.texts("exclude", "patterns as in .dockerignore, relative to src", &s.Exclude),
		t.flag("contents", "what is in the folder goes into the workdir", &s.Contents),
		t.notFlag("standard_ignores", "false brings VCS folders, caches and virtual environments, too", &s.AllFiles),
	}
}

func (s *SourceFolder) lacks() (msg, hint string) { return lacksSource(s.Src) }

func lacksSource(src string) (msg, hint string) {
	if src != "" {
		return "", ""
	}
	return "names no src", "add src: the path in the spec's folder"
}

func (s SourceFolder) lower(l *lowering) {
	at := s.marks.at("src")
	ok := l.checkSource(s.Src, at)
	l.checkOwner(s.Owner, s.marks.at("owner"))
	exclude, valid := l.patterns(s)
	ok = ok && valid
	s.Exclude = exclude
	if s.Contents && s.Dst != "" {
		l.fail(s.marks.at("contents"), "contents has no meaning with dst: the folder becomes dst", "remove one of them")
	}
	dst := s.Dst
	switch src := path.Clean(s.Src); {
	case dst != "":
		ok = l.checkTarget("dst", dst, s.marks.at("dst")) && ok
	case s.Contents || src == ".":
		dst = "."
	default:
		dst = path.Base(src)
	}
	if !ok {
		return
	}
	if s.Dst == "" && dst != "." {
		l.claim(dst, s.Src, true)
	}
	l.copyFolder(s, dst, at)
}

// patterns reads a layer's ignore patterns as lines of an ignore file.
func (l *lowering) patterns(s SourceFolder) (list []string, ok bool) {
	ok = true
	for i, text := range s.Exclude {
		one, err := ignorefile.ReadAll(strings.NewReader(text))
		if err == nil && len(one) == 1 {
			_, err = patternmatcher.New(one)
		}
		if err != nil || len(one) != 1 || control(text) || strings.HasPrefix(strings.TrimPrefix(one[0], "!"), "..") {
			l.fail(s.marks.at("exclude", i), fmt.Sprintf("%q is not an ignore pattern", text), "patterns are those of .dockerignore, relative to src")
			ok = false
			continue
		}
		list = append(list, one[0])
	}
	return list, ok
}

// copyFolder adds the step once everything but the disk has been looked at.
func (l *lowering) copyFolder(s SourceFolder, dst string, at mark) {
	step := llb.Copy{
		Title: "source folder: " + path.Clean(s.Src), Lines: l.lines(l.layer), Local: l.context(), Src: path.Clean(s.Src),
		Dst: path.Clean(dst), Dir: true, Owner: s.Owner,
	}
	if l.folder != nil {
		real, dir, ok := l.find(s.Src, at)
		if !ok {
			return
		}
		if !dir {
			l.fail(at, fmt.Sprintf("the source %q is a file", s.Src), "use source_file")
			return
		}
		step.Src = real
		ig, err := l.folder.ignores()
		l.errs.Collect(err)
		ignored, err := ig.below(real)
		if err != nil {
			l.errs.Collect(err)
			return
		}
		if slices.Equal(ignored, []string{"**"}) {
			l.fail(at, fmt.Sprintf("the source %q is ignored by .dockerignore", s.Src), fmt.Sprintf("add the line !%s there", real))
			return
		}
		step.Exclude = ignored
	}
	step.Exclude = append(step.Exclude, s.Exclude...)
	if !s.AllFiles && !l.img.allFiles {
		step.Exclude = append(step.Exclude, StandardIgnores()...)
	}
	l.steps = append(l.steps, step)
}
