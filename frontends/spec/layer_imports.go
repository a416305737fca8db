package spec

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/imports"
	"github.com/ibuild/ibuild/llb"
)

// lowerImported adds the modules that the scripts import.
func (c CodeBundle) lowerImported(l *lowering, src, dst string) {
	at := c.marks.at("entries")
	real, dir, ok := l.find(src, c.marks.at("src"))
	if !ok || !dir {
		if ok {
			l.fail(at, fmt.Sprintf("the source %q is a file", src), "name its folder, and the file in entries")
		}
		return
	}
	entries := slices.Clone(c.Entries)
	if len(entries) == 0 {
		entries = l.entryScripts(real)
	}
	if len(entries) == 0 {
		l.fail(at, "code_bundle: imported, but it is not known which scripts are run", "name them in entries")
		return
	}
	root, err := l.folder.root.OpenRoot(real)
	if err != nil {
		l.fail(at, fmt.Sprintf("%q cannot be read: %v", l.folder.show(src), pathless(err)), "")
		return
	}
	defer root.Close()
	found, err := imports.Find(root.FS(), entries, c.Roots)
	if err != nil {
		l.importProblems(err, src, at)
		return
	}
	for _, n := range found.Notes {
		l.warnings = append(l.warnings, &source.Error{File: l.folder.show(path.Join(src, n.File)), Line: n.Line, Msg: n.Msg})
	}
	l.steps = append(l.steps, llb.Copy{
		Title: "code: " + strings.Join(entries, ", ") + " and what is imported", Lines: l.lines(l.layer), Local: l.context(),
		Src: real, Dst: path.Clean(dst), Dir: true, Only: found.Files,
	})
}

func (l *lowering) importProblems(err error, src string, at mark) {
	var found source.Errors
	if !errors.As(err, &found) {
		l.fail(at, err.Error(), "")
		return
	}
	for _, e := range found {
		if e.File != "" {
			e.File = l.folder.show(path.Join(src, e.File))
			l.errs = append(l.errs, e)
		} else {
			l.fail(at, e.Msg, e.Hint)
		}
	}
}

// entryScripts are the Python files of the entry point and command that are in the folder.
func (l *lowering) entryScripts(dir string) []string {
	var out []string
	for _, a := range slices.Concat(l.img.entrypoint.args, l.img.cmd.args) {
		for _, word := range strings.Fields(a) {
			name := path.Clean(word)
			if path.IsAbs(name) && l.workdir != "" {
				rel, err := filepath.Rel(l.workdir, name)
				if err != nil {
					continue
				}
				name = filepath.ToSlash(rel)
			}
			if path.Ext(name) != ".py" || !filepath.IsLocal(name) {
				continue
			}
			if info, err := l.folder.root.Stat(path.Join(dir, name)); err == nil && info.Mode().IsRegular() {
				out = append(out, name)
			}
		}
	}
	return out
}
