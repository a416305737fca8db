package launch

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/frontends/uvscript"
	"github.com/pelletier/go-toml/v2"
)

// declared is what a program needs, as it is written down and without what the accelerator replaces.
type declared struct {
	needs
	all, kept, dropped []requirement
	files              []python.File     // requirements files, the named one first, as they are installed
	edited             map[string][]byte // those that are not what they are on disk
	locked             []lockedPackage   // of a lock
	installed          []lockedPackage   // those of them that the project needs without its extras and groups
	settings           []string          // keys of [tool.uv], which say how uv installs
}

// declare reads what the way of writing needs down names. All findings are in the one error.
func (n needs) declare(show func(string) string, header source.Source) (declared, error) {
	d := declared{needs: n}
	file := show(filepath.Join(n.dir, n.file))
	var err error
	switch n.kind {
	case needHeader:
		err = d.fromHeader(header)
	case needRequirements:
		err = d.fromRequirements(show)
	case needProject:
		err = d.fromProject(file, n.file)
	case needUVLock:
		if err = d.fromProject(show(filepath.Join(n.dir, n.manifest)), n.manifest); err == nil {
			err = d.fromLock(file)
		}
	case needPylock:
		err = d.fromLock(file)
	}
	return d, err
}

// fromRequirements reads a requirements file with all that it names, and refuses what is a path on this machine.
func (d *declared) fromRequirements(show func(string) string) error {
	root, err := os.OpenRoot(d.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	shown := func(p string) string { return show(filepath.Join(d.dir, filepath.FromSlash(p))) }
	found, err := python.Tree{FS: root.FS(), Show: shown}.ReadAll(d.file)
	var errs source.Errors
	errs.Collect(err)
	for i := range errs {
		if errs[i].File == "" {
			errs[i].File = shown(d.file)
		}
	}
	d.edited = map[string][]byte{}
	for i, f := range found.Files {
		out := filter(shown(f.Path), f.Data)
		for i := range out.dropped {
			out.dropped[i].constraint = f.Constraint
		}
		d.dropped = append(d.dropped, out.dropped...)
		if !f.Constraint {
			d.all = append(d.all, out.all...)
		}
		for _, e := range out.local { // in place of what package python says of the path
			errs = slices.DeleteFunc(errs, func(o *source.Error) bool { return o.File == e.File && o.Line == e.Line })
			errs = append(errs, e)
		}
		if out.hashes && len(out.dropped) > 0 {
			errs = append(errs, &source.Error{File: shown(f.Path), Line: out.dropped[0].Line, Msg: fmt.Sprintf("--require-hashes, and %s is taken in another variant, whose hash is not written here", out.dropped[0].Text),
				Hint: "end its line with # ibuild:keep to have it as it is"})
		}
		if len(out.dropped) > 0 {
			d.edited[f.Path], found.Files[i].Data = out.text, out.text
		}
	}
	d.files = found.Files
	d.kept, _ = filterList(d.all)
	return errs.Err()
}

// fromProject reads [project] and [tool.uv] of a pyproject.toml.
func (d *declared) fromProject(shown, name string) error {
	data, err := readFile(filepath.Join(d.dir, filepath.FromSlash(name)), source.SpecLimit)
	if err != nil {
		return &source.Error{File: shown, Msg: "cannot be read: " + err.Error(), Err: err}
	}
	var m manifest
	if err := toml.Unmarshal(data, &m); err != nil { // [search.manifest] has looked at it
		return &source.Error{File: shown, Msg: "cannot be read: " + err.Error(), Err: err}
	}
	d.take(located(shown, data, m.Project.Dependencies), m.Tool.UV)
	if d.kind == needUVLock {
		return nil // its paths are members of the workspace, or looked at with the lock
	}
	errs := d.localErrors()
	if names := sourced(m.Tool.UV, d.all); len(names) > 0 {
		errs = append(errs, &source.Error{File: shown, Msg: fmt.Sprintf("[tool.uv.sources] says where %s comes from, and there is no uv.lock", strings.Join(names, ", ")),
			Hint: "run uv lock, so that uv installs what it says"})
	}
	return errs.Err()
}

// take notes requirements and the settings beside them.
func (d *declared) take(all []requirement, uv map[string]any) {
	d.all = all
	d.kept, d.dropped = filterList(all)
	for key := range uv {
		switch key {
		case "sources":
		case "dev-dependencies", "package", "workspace", "default-groups", "managed", "required-version", "build-backend", "dependency-groups":
			continue // nothing about what is installed
		}
		d.settings = append(d.settings, key)
	}
	slices.Sort(d.settings)
}

// localErrors are the findings about requirements that are paths.
func (d *declared) localErrors() (errs source.Errors) {
	for _, r := range d.all {
		if e := r.local(); e != nil {
			errs = append(errs, e)
		}
	}
	return errs
}

// sourced are the requirements that [tool.uv.sources] is about.
func sourced(uv map[string]any, all []requirement) (names []string) {
	sources, _ := uv["sources"].(map[string]any)
	for name := range sources {
		if slices.ContainsFunc(all, func(r requirement) bool { return r.name() == python.NormalName(name) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// fromHeader reads the header of a script, which package uvscript has found in order.
func (d *declared) fromHeader(script source.Source) error {
	s, err := uvscript.Read(script)
	if err != nil {
		return err
	}
	var m struct {
		Dependencies []string `toml:"dependencies"`
		Tool         struct {
			UV map[string]any `toml:"uv"`
		} `toml:"tool"`
	}
	if err := toml.Unmarshal(headerTOML(s.Header), &m); err != nil {
		return &source.Error{File: script.Name, Line: s.First, Msg: "the header cannot be read: " + err.Error(), Err: err}
	}
	all := located(script.Name, headerTOML(s.Header), m.Dependencies)
	for i := range all {
		if all[i].Line > 0 {
			all[i].Line += s.First // the header's first line opens it
		}
	}
	d.take(all, m.Tool.UV)
	errs := d.localErrors()
	for _, l := range s.Locals {
		errs = append(errs, &source.Error{File: script.Name, Line: s.First, Msg: fmt.Sprintf("[tool.uv.sources] names %q, a path on this machine, which a pod does not have", l.Path), Hint: localHint})
	}
	return errs.Err()
}

// headerTOML is the document in a header: its lines without the # and the space after it, and without the first and
// the last one.
func headerTOML(header []byte) []byte {
	lines := strings.Split(strings.TrimSuffix(string(header), "\n"), "\n")
	var out strings.Builder
	for _, l := range lines[1 : len(lines)-1] {
		out.WriteString(strings.TrimPrefix(strings.TrimPrefix(l, "#"), " ") + "\n")
	}
	return []byte(out.String())
}

// fromLock reads which packages a lock names.
func (d *declared) fromLock(shown string) error {
	l, err := readLock(filepath.Join(d.dir, d.file))
	var decode *toml.DecodeError
	switch {
	case errors.As(err, &decode):
		line, column := decode.Position()
		return &source.Error{File: shown, Line: line, Column: column, Msg: "cannot be read: " + err.Error(), Err: err}
	case err != nil:
		return &source.Error{File: shown, Msg: "cannot be read: " + err.Error(), Err: err}
	}
	d.locked = l.all()
	d.installed = reached(d.locked, d.all)
	if d.kind == needPylock {
		d.all, d.installed = nil, d.locked
		for _, p := range d.locked {
			d.all = append(d.all, requirement{Text: pinned(p), File: shown})
		}
		d.kept, d.dropped = filterList(d.all)
	}
	return nil
}

// pinned writes a package of a lock as a requirement.
func pinned(p lockedPackage) string {
	text := p.Name
	if p.Version != "" {
		text += "==" + p.Version
	}
	if p.Marker != "" {
		text += " ; " + p.Marker
	}
	return text
}

// version is the version of a package that is installed from a lock, "" when it is not, or has several.
func (d *declared) version(name string) string {
	found := ""
	for _, p := range d.installed {
		if python.NormalName(p.Name) != name {
			continue
		}
		if found != "" && found != p.Version {
			return ""
		}
		found = p.Version
	}
	return found
}

// has says whether a package whose name begins so is installed from a lock.
func (d *declared) has(prefix string) bool {
	return slices.ContainsFunc(d.installed, func(p lockedPackage) bool { return strings.HasPrefix(python.NormalName(p.Name), prefix) })
}

// shown is the file, for people.
func (d *declared) shown(show func(string) string) string {
	if d.kind == needNothing {
		return ""
	}
	return show(filepath.Join(d.dir, d.file))
}

// below is a path below the folder of the file, as a spec's folder has it.
func (d *declared) project() string { return path.Dir(d.manifest) }
