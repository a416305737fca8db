package launch

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/python"
)

// install are the files below /ibuild that a pod installs from when it starts, by their names there; none when nothing
// is to be installed. The accelerator's variant is in the base image.
//
// A requirements file goes as it is, those that it names beside it. Of a pyproject.toml and a header the dependencies
// go. A uv.lock adds its versions as constraints: what is not needed is not installed. A pylock.toml is a list already.
func (d *declared) install(show func(string) string) (map[string][]byte, error) {
	var errs source.Errors
	files := map[string][]byte{}
	switch d.kind {
	case needRequirements:
		d.asTheyAre(files)
	case needHeader, needProject:
		errs = append(errs, d.unsupported(show)...)
		writeList(files, d.kept, "")
	case needUVLock:
		errs = append(errs, d.unsupported(show)...)
		constraints := d.constraints()
		files[constraintList] = constraints
		writeList(files, d.kept, "-c "+constraintList+"\n")
	case needPylock:
		for _, p := range d.locked {
			if p.Index != "" && !strings.HasPrefix(p.Index, "https://pypi.org/simple") {
				errs = append(errs, &source.Error{File: d.shown(show), Msg: fmt.Sprintf("%s is from the index %s, and a pod would look for it at its own", p.Name, p.Index), Hint: "take the mode bundled"})
			}
			if p.elsewhere() {
				errs = append(errs, &source.Error{File: d.shown(show), Msg: fmt.Sprintf("%s is not from a package index, which prebuilt mode needs", p.Name), Hint: "take the mode bundled"})
			}
		}
		writeList(files, d.kept, "")
	}
	if len(files[list]) == 0 {
		return nil, errs.Err()
	}
	return files, errs.Err()
}

// asTheyAre takes requirements files over: one alone as the list, several below a folder, which the list names.
func (d *declared) asTheyAre(files map[string][]byte) {
	if len(d.files) == 1 {
		if len(d.kept) > 0 {
			files[list] = d.files[0].Data
		}
		return
	}
	for _, f := range d.files {
		files[path.Join("requirements", f.Path)] = f.Data
	}
	files[list] = []byte("-r requirements/" + d.file + "\n")
}

// unsupported are the findings about settings of uv that a plain list cannot say.
func (d *declared) unsupported(show func(string) string) (errs source.Errors) {
	if len(d.settings) > 0 {
		errs = append(errs, &source.Error{File: d.shown(show), Msg: fmt.Sprintf("[tool.uv] has %s, which a pod that installs from a list does not see", strings.Join(d.settings, ", ")),
			Hint: "take the mode bundled, or write a requirements.txt"})
	}
	return errs
}

// writeList writes requirements, one a line. Nothing but the beginning is nothing.
func writeList(files map[string][]byte, all []requirement, begin string) {
	if len(all) == 0 {
		return
	}
	var b bytes.Buffer
	b.WriteString(begin)
	for _, r := range all {
		b.WriteString(r.Text + "\n")
	}
	files[list] = b.Bytes()
}

// constraints are the versions of a uv.lock, but for packages that it has in several, that come from elsewhere than an
// index, or that the accelerator replaces.
func (d *declared) constraints() []byte {
	var b bytes.Buffer
	for _, p := range d.locked {
		name := python.NormalName(p.Name)
		if p.elsewhere() || replaced(name) || strings.HasPrefix(name, "jax-cuda") || d.version(name) == "" {
			continue
		}
		fmt.Fprintf(&b, "%s==%s\n", p.Name, p.Version)
	}
	return b.Bytes()
}
