package spec

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

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
		l.targets[target] = goal{src: src, at: l.layer, name: l.where()}
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
	known := path.IsAbs(p) || l.workdir != ""
	if known {
		abs = l.resolve(p)
	}
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
		if known && (abs == special || strings.HasPrefix(abs, special+"/")) {
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
