package spec

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/ibuild/ibuild/llb"
)

// Workdir sets the working folder of what follows and of the image.
type Workdir struct {
	Path  string // relative to the workdir before it
	marks marks
}

func (w Workdir) kind() string { return "workdir" }
func (w Workdir) mark() mark   { return w.marks.at("") }
func (w Workdir) clone() Layer { return w }

func (w Workdir) lower(l *lowering) {
	if !l.checkTarget("workdir", w.Path, w.marks.at("path")) {
		return
	}
	l.steps = append(l.steps, llb.Workdir{Lines: l.layer.lines(), Path: w.Path})
	if path.IsAbs(w.Path) || l.workdir != "" {
		l.workdir = l.resolve(w.Path)
	}
}

// User sets the user of the commands that follow and of the image.
type User struct {
	Name  string // name or uid, with a group or gid after a colon
	marks marks
}

func (u User) kind() string { return "user" }
func (u User) mark() mark   { return u.marks.at("") }
func (u User) clone() Layer { return u }

func (u User) lower(l *lowering) {
	l.userGiven = true
	if !userName(u.Name) {
		l.fail(u.marks.at("name"), fmt.Sprintf("%q is not a user", u.Name), "write a name or uid, e.g. app or 1000:1000")
		return
	}
	l.steps = append(l.steps, llb.User{Lines: l.layer.lines(), Name: u.Name})
}

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

	marks marks
}

func (s SourceFolder) kind() string { return "source_folder" }
func (s SourceFolder) mark() mark   { return s.marks.at("") }
func (s SourceFolder) clone() Layer {
	s.Exclude = slices.Clone(s.Exclude)
	return s
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
		Title: "source folder: " + s.Src, Lines: l.layer.lines(), Local: ContextName, Src: path.Clean(s.Src),
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
	l.usesFiles = true
	l.steps = append(l.steps, step)
}

// SourceFile brings a file of the spec's folder into the image.
type SourceFile struct {
	Src   string
	Dst   string // "" or ending in a slash: the file keeps its name in the workdir or in Dst
	Owner string // name or uid, with a group or gid after a colon; "" is root

	marks marks
}

func (s SourceFile) kind() string { return "source_file" }
func (s SourceFile) mark() mark   { return s.marks.at("") }
func (s SourceFile) clone() Layer { return s }

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
		Title: "source file: " + s.Src, Lines: l.layer.lines(), Local: ContextName, Src: path.Clean(s.Src),
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
	l.usesFiles = true
	l.steps = append(l.steps, step)
}

// Copy brings a file or folder to the same path below the workdir, as flytekit's copy does.
type Copy struct {
	Path  string
	marks marks
}

func (c Copy) kind() string { return "copy" }
func (c Copy) mark() mark   { return c.marks.at("") }
func (c Copy) clone() Layer { return c }

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

// goal is what a source layer has put somewhere.
type goal struct {
	src  string
	at   mark
	name string // of the layer
}

// claim refuses two sources that would end up as one path.
func (l *lowering) claim(dst, src string, folder bool) {
	target := l.resolve(dst)
	before, taken := l.targets[target]
	if !taken {
		l.targets[target] = goal{src: src, at: l.layer, name: l.where}
		return
	}
	first := before.name
	if before.at.line > 0 {
		first = fmt.Sprintf("line %d", before.at.line)
	}
	what := "files"
	if folder {
		what = "folders"
	}
	l.fail(l.layer, fmt.Sprintf("%q and %q (%s) both become %s", src, before.src, first, target), "give these "+what+" a dst of their own")
}

// checkSource checks the path of a source without looking at the disk.
func (l *lowering) checkSource(p string, at mark) bool {
	switch {
	case strings.TrimSpace(p) == "" || control(p):
		l.fail(at, fmt.Sprintf("%q is not a path", p), "")
	case path.IsAbs(p) || strings.HasPrefix(p, "~"):
		l.fail(at, fmt.Sprintf("the path %q is not relative", p), "paths are relative to the spec's folder, so that the image is the same on every machine")
	case strings.Contains(p, `\`):
		l.fail(at, fmt.Sprintf("the path %q has a backslash in it", p), "separate folders by /")
	case strings.ContainsAny(p, "*?["):
		l.fail(at, fmt.Sprintf("the path %q is a pattern", p), "name the folder, and what to leave out in exclude")
	case path.Clean(p) == ".." || strings.HasPrefix(path.Clean(p), "../"):
		l.fail(at, fmt.Sprintf("the path %q leaves the spec's folder", p), "move the spec up, or the files down")
	default:
		return true
	}
	return false
}

// checkTarget checks a path in the image.
func (l *lowering) checkTarget(what, p string, at mark) bool {
	problem := func(msg, hint string) bool {
		l.fail(at, fmt.Sprintf("%s %q %s", what, p, msg), hint)
		return false
	}
	abs := path.Join("/", p)
	switch {
	case strings.TrimSpace(p) == "" || control(p):
		return problem("is not a path", "")
	case strings.ContainsRune(p, '$') || strings.HasPrefix(p, "~"):
		return problem("would be taken as it is, nothing is expanded", "write the path out")
	case strings.Contains(p, `\`):
		return problem("has a backslash in it", "separate folders by /")
	case slices.Contains(strings.Split(p, "/"), ".."):
		return problem("has .. in it", "write an absolute path")
	}
	for _, special := range []string{"/proc", "/sys", "/dev"} {
		// Also the way in of CVE-2024-21626: a workdir of /proc/self/fd/8.
		if path.IsAbs(p) && (abs == special || strings.HasPrefix(abs, special+"/")) {
			return problem("is not a folder of the image, it belongs to the system that runs it", "")
		}
	}
	return true
}

func (l *lowering) checkOwner(owner string, at mark) {
	if owner != "" && !userName(owner) {
		l.fail(at, fmt.Sprintf("%q is not an owner", owner), "write a name or uid, e.g. app or 1000:1000")
	}
}
