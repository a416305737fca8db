package frontends

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/moby/buildkit/util/suggest"
)

// notYet refuses contexts that are not on this machine.
func (o Options) notYet() error {
	s := o.Source
	remote := strings.Contains(s, "://") || strings.HasPrefix(s, "git@") || strings.HasPrefix(s, "github.com/")
	if !remote || Here(s) {
		return nil
	}
	return &source.Error{File: s, Msg: "git and http contexts are not supported yet", Hint: "clone or download it, and give the folder"}
}

// read finds the text to detect: the file given, the one named by -f, or the one in the folder.
func (o Options) read() (context string, src source.Source, err error) {
	if o.Source == "-" {
		if o.File != "" {
			return "", src, &source.Error{Msg: "the source comes from standard input, so -f has nothing to point into", Hint: "leave -f out, or give a folder"}
		}
		src, err = source.ReadStdin(o.Stdin, ".", source.ScriptLimit)
		return "", src, err
	}
	info, err := os.Stat(o.Source)
	if errors.Is(err, fs.ErrNotExist) {
		return "", src, &source.Error{File: cmp.Or(o.Source, `""`), Msg: "there is no such file or folder", Hint: "give a folder, a Dockerfile, an image.yaml or a Python script"}
	}
	if err != nil {
		return "", src, &source.Error{File: o.Source, Msg: "cannot be read: " + errors.Unwrap(err).Error(), Err: err}
	}
	if !info.IsDir() {
		if o.File != "" {
			return "", src, &source.Error{File: o.Source, Msg: "-f needs a folder", Hint: "give the folder as the source, or leave -f out"}
		}
		src, err = source.ReadArgument(o.Source, limit(o.Source))
		return "", src, err
	}
	switch o.File {
	case "":
		src, err = o.find()
	case "-":
		src, err = source.ReadStdin(o.Stdin, o.Source, source.ScriptLimit)
	default:
		if src, err = source.ReadArgument(o.File, limit(o.File)); src.Stdin { // a pipe, which is in no folder
			src.Dir = o.Source
		}
	}
	return o.Source, src, err
}

// limit is how many bytes a file may have, by its name.
func limit(name string) int64 {
	for _, f := range All() {
		if f.Named(name) && f.Limit > 0 {
			return f.Limit
		}
	}
	return source.ScriptLimit
}

// find looks for the one file in a folder that says how to build it.
func (o Options) find() (source.Source, error) {
	var found, looked []string
	for _, f := range All() {
		if o.Frontend != "" && o.Frontend != f.Name {
			continue
		}
		for _, name := range f.Files {
			looked = append(looked, name)
			if info, err := os.Stat(filepath.Join(o.Source, name)); err == nil && info.Mode().IsRegular() {
				found = append(found, name)
				break
			}
		}
	}
	switch len(found) {
	case 1:
		return source.Read(filepath.Join(o.Source, found[0]), source.ScriptLimit)
	case 0:
		if len(looked) == 0 {
			return source.Source{}, &source.Error{File: o.Source, Msg: "a folder is not a source for the frontend " + o.Frontend, Hint: "give the file"}
		}
		return source.Source{}, &source.Error{File: o.Source, Msg: "nothing in this folder says how to build it (looked for " + strings.Join(looked, ", ") + ")",
			Hint: "name the file with -f, or give a Python script"}
	}
	return source.Source{}, &source.Error{File: o.Source, Msg: "more than one file says how to build this folder: " + strings.Join(found, " and "),
		Hint: "name one with -f"}
}

// choose finds the frontend: the one that was named, or the one that knows the file's name, or the text.
func (o Options) choose(src source.Source) (Frontend, error) {
	if o.Frontend != "" {
		return o.named()
	}
	for _, f := range All() {
		if f.Named(src.Name) {
			return f, nil
		}
	}
	for _, f := range All() {
		if f.Holds(src.Data) {
			return f, nil
		}
	}
	return Frontend{}, &source.Error{File: src.Name, Msg: "this is neither a Dockerfile, an image spec (YAML), a Python script nor a notebook",
		Hint: "say what it is with --frontend " + strings.Join(names(), "|")}
}

func names() []string {
	var list []string
	for _, f := range All() {
		list = append(list, f.Name)
	}
	return list
}

// named is the frontend of --frontend.
func (o Options) named() (Frontend, error) {
	for _, f := range All() {
		if f.Name == o.Frontend {
			return f, nil
		}
	}
	hint := "known are " + strings.Join(names(), ", ")
	if match, ok := suggest.Search(o.Frontend, names(), false); ok {
		hint = "did you mean " + match + "?"
	}
	return Frontend{}, &source.Error{Msg: fmt.Sprintf("there is no frontend %q", o.Frontend), Hint: hint}
}
