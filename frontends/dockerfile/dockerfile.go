package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
	"github.com/moby/buildkit/frontend/dockerfile/builder"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// maxSize is the largest Dockerfile that is read: a gRPC message of BuildKit's.
const maxSize = 16 << 20

// Options are what the caller says beside the Dockerfile itself.
type Options struct {
	Context string // folder that COPY and ADD read; "" is an empty one
	File    string // path of the Dockerfile; "" is Dockerfile in Context
	Data    []byte // the Dockerfile itself in place of File (from standard input)

	BuildArgs map[string]string
	Labels    map[string]string
	Target    string
	NoCache   bool
	// Platforms in the frontend's form ("linux/amd64,linux/arm64"), "" for the builder's own.
	Platforms string
	// CacheNamespace goes in front of the ids of cache mounts.
	CacheNamespace string
	// Epoch is SOURCE_DATE_EPOCH as the user wrote it.
	Epoch string
	// AllowSyntax lets "# syntax=" name images other than docker/dockerfile; they run on the builder.
	AllowSyntax bool
}

// Plan reads the Dockerfile and returns how to build it. Errors are *source.Error with file and line.
func Plan(o Options) (*llb.Plan, error) {
	context := llb.Local{Dir: o.Context}
	if o.Context == "" {
		context = llb.Local{Files: map[string][]byte{}}
	} else if err := checkFolder(o.Context); err != nil {
		return nil, err
	}
	name, base, data, local, err := read(o)
	if err != nil {
		return nil, err
	}
	foreign, err := checkSyntax(o, name, data)
	if err != nil {
		return nil, err
	}
	attrs := o.attrs()
	attrs["filename"] = base
	if !foreign {
		// the frontend takes this for "already forwarded" and serves the syntax by itself
		attrs["cmdline"] = "builtin"
	}
	return &llb.Plan{
		Kind:  "Dockerfile",
		Name:  name,
		Build: builder.Build,
		Attrs: attrs,
		Locals: map[string]llb.Local{
			"context":    context,
			"dockerfile": local,
		},
	}, nil
}

func (o Options) attrs() map[string]string {
	attrs := map[string]string{}
	for k, v := range o.BuildArgs {
		attrs["build-arg:"+k] = v
	}
	for k, v := range o.Labels {
		attrs["label:"+k] = v
	}
	for k, v := range map[string]string{
		"target":                            o.Target,
		"platform":                          o.Platforms,
		"build-arg:BUILDKIT_CACHE_MOUNT_NS": o.CacheNamespace,
		"build-arg:SOURCE_DATE_EPOCH":       o.Epoch,
	} {
		if _, set := attrs[k]; v != "" && !set {
			attrs[k] = v
		}
	}
	if o.NoCache {
		attrs["no-cache"] = ""
	}
	return attrs
}

func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &source.Error{File: dir, Msg: "there is no such folder", Hint: "give the folder that COPY and ADD read from, e.g. `ibuild build .`"}
	case err != nil:
		return err
	case !info.IsDir():
		return &source.Error{File: dir, Msg: "the build context is not a folder", Hint: "give the folder, and the Dockerfile with -f"}
	}
	return nil
}

// read finds the Dockerfile: its name for people, its own name in the folder that BuildKit reads it from,
// its text, and that folder.
func read(o Options) (name, base string, data []byte, local llb.Local, err error) {
	if o.Data != nil {
		return "Dockerfile", "Dockerfile", o.Data, llb.Local{Files: map[string][]byte{"Dockerfile": o.Data}}, nil
	}
	name = o.File
	if name == "" {
		name = filepath.Join(o.Context, "Dockerfile")
		if lower := filepath.Join(o.Context, "dockerfile"); !exists(name) && exists(lower) {
			name = lower
		}
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return name, "", nil, local, &source.Error{File: name, Msg: "there is no such Dockerfile", Hint: "name it with -f FILE"}
	}
	if err != nil {
		return name, "", nil, local, err
	}
	defer f.Close()
	if data, err = io.ReadAll(io.LimitReader(f, maxSize+1)); err != nil {
		return name, "", nil, local, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxSize {
		return name, "", nil, local, &source.Error{File: name, Msg: fmt.Sprintf("larger than %d bytes", maxSize), Hint: "is it a Dockerfile?"}
	}
	// BuildKit reads it below its folder, where a link to elsewhere would lead out
	real, err := filepath.EvalSymlinks(name)
	return name, filepath.Base(real), data, llb.Local{Dir: filepath.Dir(real)}, err
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// checkSyntax finds an image that wants to be the Dockerfile's frontend. docker/dockerfile is what the
// built-in frontend is made from; any other one is a program that runs on the builder with the whole
// context in reach (CVE-2024-23653), so it has to be allowed.
func checkSyntax(o Options, name string, data []byte) (foreign bool, err error) {
	ref, line := o.BuildArgs["BUILDKIT_SYNTAX"], 0
	if ref == "" {
		var loc []parser.Range
		var ok bool
		if ref, _, loc, ok = parser.DetectSyntax(data); !ok {
			return false, nil
		}
		if len(loc) > 0 {
			line = loc[0].Start.Line
		}
	}
	ref, _, _ = strings.Cut(strings.TrimSpace(ref), " ")
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return false, &source.Error{File: name, Line: line, Data: data, Msg: fmt.Sprintf("syntax image %q: %v", ref, err), Hint: "write e.g. # syntax=docker/dockerfile:1"}
	}
	if named.Name() == "docker.io/docker/dockerfile" {
		return false, nil
	}
	if !o.AllowSyntax {
		return true, &source.Error{File: name, Line: line, Data: data,
			Msg:  fmt.Sprintf("the syntax image %s is a program that would run on the builder", ref),
			Hint: "allow it with --allow-syntax if you trust it, or take docker/dockerfile"}
	}
	return true, nil
}

// Named says whether a file's name is one of a Dockerfile.
func Named(name string) bool {
	base := strings.ToLower(filepath.Base(name))
	return base == "dockerfile" || base == "containerfile" || strings.HasPrefix(base, "dockerfile.") ||
		strings.HasSuffix(base, ".dockerfile") || strings.HasSuffix(base, ".containerfile")
}

// Holds says whether a text begins as a Dockerfile does, with FROM or ARG.
func Holds(data []byte) bool {
	res, err := parser.Parse(bytes.NewReader(data))
	if err != nil || len(res.AST.Children) == 0 {
		return false
	}
	first := strings.ToLower(res.AST.Children[0].Value)
	return first == "from" || first == "arg"
}
