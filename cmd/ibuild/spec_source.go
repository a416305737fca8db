package main

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/ibuild/ibuild/frontends"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
)

// given is a source that was read, and what it means.
type given struct {
	src      source.Source
	frontend string // its name
	plan     *llb.Plan
}

// readGiven loads a source as a build does, and returns the text that it is in, too.
func readGiven(o frontends.Options) (given, error) {
	var g given
	piped, err := readPipe(&o)
	if err != nil {
		return g, err
	}
	if g.plan, err = frontends.Load(o); err != nil {
		return g, err
	}
	if piped != nil {
		dir := o.Source
		if dir == "-" {
			dir = "."
		}
		g.src, err = source.ReadStdin(bytes.NewReader(piped), dir, source.ScriptLimit)
	} else {
		name := textFile(o)
		g.src, err = source.Read(name, textLimit(name))
	}
	g.frontend = frontendOf(o, g.src)
	return g, err
}

// readPipe reads what can be read only once, so that it can be looked at twice; nil when the source is a file.
func readPipe(o *frontends.Options) ([]byte, error) {
	path := &o.Source
	if o.File != "" {
		path = &o.File
	}
	var src source.Source
	var err error
	switch info, statErr := os.Stat(*path); {
	case *path == "-":
		src, err = source.ReadStdin(o.Stdin, ".", source.ScriptLimit)
	case statErr == nil && info.Mode()&os.ModeNamedPipe != 0:
		src, err = source.Read(*path, source.ScriptLimit)
		*path = "-"
	default:
		return nil, nil
	}
	if src.Data == nil {
		src.Data = []byte{}
	}
	o.Stdin = bytes.NewReader(src.Data)
	return src.Data, err
}

// textFile is the file that the frontends read for a source: -f, the one in a folder, or the source itself.
func textFile(o frontends.Options) string {
	if o.File != "" {
		return o.File
	}
	if info, err := os.Stat(o.Source); err == nil && info.IsDir() {
		return filepath.Join(o.Source, soleFile(o.Source, o.Frontend))
	}
	return o.Source
}

// textLimit is how many bytes a file may have, as its frontend says.
func textLimit(name string) int64 {
	for _, f := range frontends.All() {
		if f.Named(name) && f.Limit > 0 {
			return f.Limit
		}
	}
	return source.ScriptLimit
}

// frontendOf is the name of the frontend that takes a text.
func frontendOf(o frontends.Options, src source.Source) string {
	if o.Frontend != "" {
		return o.Frontend
	}
	for _, f := range frontends.All() {
		if f.Named(src.Name) {
			return f.Name
		}
	}
	for _, f := range frontends.All() {
		if f.Holds(src.Data) {
			return f.Name
		}
	}
	return ""
}
