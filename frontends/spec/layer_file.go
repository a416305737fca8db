package spec

import (
	"fmt"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/llb"
)

// SourceFile brings a file of the spec's folder into the image.
type SourceFile struct {
	Src   string
	Dst   string // "" or ending in a slash: the file keeps its name in the workdir or in Dst
	Owner string // name or uid, with a group or gid after a colon; "" is root
	placed
}

// WithSourceFile brings a file into the image. It keeps its name where dst is empty or ends in a slash.
func (img Image) WithSourceFile(src, dst string) Image {
	return img.With(SourceFile{Src: src, Dst: dst})
}

func (s SourceFile) kind() string     { return "source_file" }
func (s SourceFile) clone() Layer     { return s }
func (s SourceFile) yaml() *yaml.Node { return encode(&s) }

func (s *SourceFile) short(t table) field { return t.raw("src", "path of the file", &s.Src) }

func (s *SourceFile) fields(t table) []field {
	return []field{
		t.text("src", "path of the file", &s.Src),
		t.text("dst", "what the file becomes; it keeps its name where that ends in a slash or is absent", &s.Dst),
		t.text("owner", "name or uid, with a group or gid after a colon; absent: root", &s.Owner),
	}
}

func (s *SourceFile) lacks() (msg, hint string) { return lacksSource(s.Src) }

func (s SourceFile) lower(l *lowering) {
	at := s.marks.at("src")
	ok := l.checkSource(s.Src, at)
	l.checkOwner(s.Owner, s.marks.at("owner"))
	dst := s.Dst
	if dst != "" {
		ok = l.checkTarget("dst", dst, s.marks.at("dst")) && ok
	}
	if !ok {
		return
	}
	if dst == "" || strings.HasSuffix(dst, "/") {
		dst = path.Join(dst, path.Base(path.Clean(s.Src)))
	}
	l.claim(dst, s.Src, false)
	l.copyFile(s, dst, at)
}

func (l *lowering) copyFile(s SourceFile, dst string, at mark) {
	step := llb.Copy{
		Title: "source file: " + path.Clean(s.Src), Lines: l.lines(l.layer), Local: l.context(), Src: path.Clean(s.Src),
		Dst: path.Clean(dst), Owner: s.Owner,
	}
	if l.folder != nil {
		real, dir, ok := l.find(s.Src, at)
		if !ok {
			return
		}
		if dir {
			l.fail(at, fmt.Sprintf("the source %q is a folder", s.Src), "use source_folder")
			return
		}
		step.Src = real
		ig, err := l.folder.ignores()
		l.errs.Collect(err)
		ignored, err := ig.matches(real)
		if err != nil {
			l.errs.Collect(err)
			return
		}
		if ignored {
			l.fail(at, fmt.Sprintf("the source %q is ignored by .dockerignore", s.Src), fmt.Sprintf("add the line !%s there", real))
			return
		}
	}
	l.steps = append(l.steps, step)
}

// Copy brings a file or folder to the same path below the workdir, as flytekit's copy does.
type Copy struct {
	Path string
	placed
}

// WithCopy brings files and folders to the same paths below the workdir.
func (img Image) WithCopy(paths ...string) Image {
	var layers []Layer
	for _, p := range paths {
		layers = append(layers, Copy{Path: p})
	}
	return img.With(layers...)
}

func (c Copy) kind() string          { return "copy" }
func (c Copy) clone() Layer          { return c }
func (c Copy) yaml() *yaml.Node      { return encode(&c) }
func (c *Copy) fields(table) []field { return nil }
func (c *Copy) short(t table) field  { return t.raw("path", "", &c.Path) }

func (c Copy) lower(l *lowering) {
	at := c.mark()
	if !l.checkSource(c.Path, at) {
		return
	}
	dir := false
	if l.folder != nil {
		var ok bool
		if _, dir, ok = l.find(c.Path, at); !ok {
			return
		}
	}
	p := path.Clean(c.Path)
	if p != "." {
		l.claim(p, c.Path, dir)
	}
	if dir {
		l.copyFolder(SourceFolder{Src: c.Path}, p, at)
		return
	}
	l.copyFile(SourceFile{Src: c.Path}, p, at)
}
