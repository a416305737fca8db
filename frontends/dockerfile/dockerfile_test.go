package dockerfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/platforms"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

type images struct{}

func (images) ResolveImage(_ context.Context, ref string, p ocispecs.Platform) (digest.Digest, []byte, error) {
	return digest.FromString(ref), []byte(`{"os":"linux","architecture":"` + p.Architecture + `","config":{"Env":["PATH=/bin"]}}`), nil
}

// record runs the plan as a build does, up to the builder.
func record(t *testing.T, p *llb.Plan) (*llb.Recording, *llb.Graph, error) {
	t.Helper()
	rec, err := llb.NewRecorder(images{}, p, platforms.MustParse("linux/amd64")).Record(t.Context(), p.Build)
	if err != nil {
		return nil, nil, err
	}
	g, err := rec.Graph(t.Context())
	return rec, g, err
}

func identity(t *testing.T, o Options) digest.Digest {
	t.Helper()
	p, err := Plan(o)
	if err != nil {
		t.Fatal(err)
	}
	_, g, err := record(t, p)
	if err != nil {
		t.Fatal(err)
	}
	return g.Identity()
}

func TestSyntax(t *testing.T) {
	for _, c := range []struct {
		name, data string
		args       map[string]string
		foreign    bool
		line       int
		msg        string // of the error when it is not allowed
	}{
		{name: "none", data: "FROM scratch\n"},
		{name: "the usual one", data: "# syntax=docker/dockerfile:1\nFROM scratch\n"},
		{name: "without a tag", data: "# syntax=docker/dockerfile\nFROM scratch\n"},
		{name: "a long name", data: "# syntax = docker.io/docker/dockerfile:1.7-labs\nFROM scratch\n"},
		{name: "by digest", data: "# syntax=docker/dockerfile:1@sha256:" + strings.Repeat("0", 64) + "\nFROM scratch\n"},
		{name: "upper case", data: "# SYNTAX=docker/dockerfile:1\nFROM scratch\n"},
		{name: "after the first instruction it is a comment", data: "FROM scratch\n# syntax=example.org/evil\n"},
		{name: "after an empty line it is one, too", data: "\n# syntax=example.org/evil\nFROM scratch\n"},
		{name: "foreign", data: "# syntax=example.org/evil:1\nFROM scratch\n", foreign: true, line: 1,
			msg: "the syntax image example.org/evil:1 is a program that would run on the builder"},
		{name: "foreign in the second line", data: "# escape=\\\n# syntax=example.org/evil\nFROM scratch\n", foreign: true, line: 2,
			msg: "the syntax image example.org/evil is a program that would run on the builder"},
		{name: "another repository of docker's", data: "# syntax=docker/dockerfile-upstream:master\nFROM scratch\n", foreign: true, line: 1,
			msg: "the syntax image docker/dockerfile-upstream:master is a program that would run on the builder"},
		{name: "the name on another host", data: "# syntax=evil.example/docker/dockerfile:1\nFROM scratch\n", foreign: true, line: 1,
			msg: "the syntax image evil.example/docker/dockerfile:1 is a program that would run on the builder"},
		{name: "with arguments", data: "# syntax=example.org/evil:1 --x\nFROM scratch\n", foreign: true, line: 1,
			msg: "the syntax image example.org/evil:1 is a program that would run on the builder"},
		{name: "a build argument", data: "FROM scratch\n", args: map[string]string{"BUILDKIT_SYNTAX": "example.org/evil"}, foreign: true,
			msg: "the syntax image example.org/evil is a program that would run on the builder"},
		{name: "a build argument of docker's", data: "# syntax=example.org/evil\nFROM scratch\n", args: map[string]string{"BUILDKIT_SYNTAX": "docker/dockerfile:1"}},
		{name: "a shebang", data: "#!/usr/bin/env docker-buildx\n# syntax=example.org/evil\nFROM scratch\n", foreign: true, line: 2,
			msg: "the syntax image example.org/evil is a program that would run on the builder"},
		{name: "another comment style", data: "// syntax=example.org/evil\nFROM scratch\n", foreign: true, line: 1,
			msg: "the syntax image example.org/evil is a program that would run on the builder"},
		{name: "JSON", data: `{"syntax":"example.org/evil"}`, foreign: true, // it has no lines
			msg: "the syntax image example.org/evil is a program that would run on the builder"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := folder(t, map[string]string{"Dockerfile": c.data})
			o := Options{Context: dir, BuildArgs: c.args}
			p, err := Plan(o)
			if !c.foreign {
				if err != nil {
					t.Fatal(err)
				}
				if p.Attrs["cmdline"] != "builtin" {
					t.Errorf("the frontend would fetch the syntax image: %v", p.Attrs)
				}
				if _, _, err := record(t, p); err != nil {
					t.Errorf("the built-in frontend does not serve it: %v", err)
				}
				return
			}
			var e *source.Error
			if !errors.As(err, &e) || e.Msg != c.msg || e.Line != c.line || e.File != filepath.Join(dir, "Dockerfile") || !strings.Contains(e.Hint, "--allow-syntax") {
				t.Errorf("got %+v (%v)", e, err)
			}
			if shown := errdefs.Sources(err); (len(shown) == 1) != (c.line > 0) {
				t.Errorf("%d places are shown", len(shown))
			}
			o.AllowSyntax = true
			if p, err = Plan(o); err != nil {
				t.Fatalf("allowed: %v", err)
			}
			_, _, err = record(t, p)
			var needs *llb.NeedsBuilderError
			if !errors.As(err, &needs) || !strings.Contains(needs.What, "example.org/evil") && !strings.Contains(needs.What, "dockerfile") {
				t.Errorf("allowed, and recorded as %v", err)
			}
		})
	}
	for _, bad := range []string{"# syntax=a/UPPER\nFROM scratch\n", "# syntax=a:b:c\n", "# syntax=://\n"} {
		_, err := Plan(Options{Context: folder(t, map[string]string{"Dockerfile": bad}), AllowSyntax: true})
		var e *source.Error
		if !errors.As(err, &e) || e.Line != 1 || !strings.HasPrefix(e.Msg, "syntax image") || e.Hint == "" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestAttrs(t *testing.T) {
	dir := folder(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	for name, c := range map[string]struct {
		o    Options
		want map[string]string
	}{
		"none":      {Options{}, map[string]string{}},
		"arguments": {Options{BuildArgs: map[string]string{"A": "1", "B": ""}}, map[string]string{"build-arg:A": "1", "build-arg:B": ""}},
		"labels":    {Options{Labels: map[string]string{"l": "1"}}, map[string]string{"label:l": "1"}},
		"target":    {Options{Target: "dev"}, map[string]string{"target": "dev"}},
		"platforms": {Options{Platforms: "linux/amd64,linux/arm64"}, map[string]string{"platform": "linux/amd64,linux/arm64"}},
		"no cache":  {Options{NoCache: true}, map[string]string{"no-cache": ""}},
		"namespace": {Options{CacheNamespace: "a"}, map[string]string{"build-arg:BUILDKIT_CACHE_MOUNT_NS": "a"}},
		"epoch":     {Options{Epoch: "7"}, map[string]string{"build-arg:SOURCE_DATE_EPOCH": "7"}},
		"what is given goes first": {Options{Epoch: "7", CacheNamespace: "a", BuildArgs: map[string]string{"SOURCE_DATE_EPOCH": "8", "BUILDKIT_CACHE_MOUNT_NS": "b"}},
			map[string]string{"build-arg:SOURCE_DATE_EPOCH": "8", "build-arg:BUILDKIT_CACHE_MOUNT_NS": "b"}},
	} {
		c.o.Context = dir
		p, err := Plan(c.o)
		if err != nil {
			t.Fatal(err)
		}
		c.want["filename"], c.want["cmdline"] = "Dockerfile", "builtin"
		if d := cmp.Diff(c.want, p.Attrs); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if p.Kind != "Dockerfile" || p.Image != nil || p.Name != filepath.Join(dir, "Dockerfile") {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := folder(t, map[string]string{
		"both/Dockerfile": "FROM upper\n", "both/dockerfile": "FROM lower\n", "lower/dockerfile": "FROM lower\n", "none/x": "",
		"deploy/App.dockerfile": "FROM deploy\nCOPY a /\n", "deploy/a": "1", "ctx/a": "2", "file": "",
	})
	at := func(p string) string { return filepath.Join(dir, p) }
	for name, c := range map[string]struct {
		o                     Options
		plan, filename, reads string
		context               llb.Local
	}{
		"upper case wins": {Options{Context: at("both")}, at("both/Dockerfile"), "Dockerfile", "FROM upper\n", llb.Local{Dir: at("both")}},
		"lower case":      {Options{Context: at("lower")}, at("lower/dockerfile"), "dockerfile", "FROM lower\n", llb.Local{Dir: at("lower")}},
		"outside the context": {Options{Context: at("ctx"), File: at("deploy/App.dockerfile")}, at("deploy/App.dockerfile"), "App.dockerfile",
			"FROM deploy\nCOPY a /\n", llb.Local{Dir: at("ctx")}},
		"no context":     {Options{File: at("deploy/App.dockerfile")}, at("deploy/App.dockerfile"), "App.dockerfile", "FROM deploy\nCOPY a /\n", llb.Local{Files: map[string][]byte{}}},
		"standard input": {Options{Context: at("ctx"), Data: []byte("FROM stdin\n")}, "Dockerfile", "Dockerfile", "FROM stdin\n", llb.Local{Dir: at("ctx")}},
		"nothing on it":  {Options{Context: at("ctx"), Data: []byte{}}, "Dockerfile", "Dockerfile", "", llb.Local{Dir: at("ctx")}},
	} {
		p, err := Plan(c.o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Name != c.plan || p.Attrs["filename"] != c.filename {
			t.Errorf("%s: %s, file %s", name, p.Name, p.Attrs["filename"])
		}
		if d := cmp.Diff(c.context, p.Locals["context"], cmpopts.IgnoreUnexported(llb.Local{})); d != "" {
			t.Errorf("%s: context (-want +got):\n%s", name, d)
		}
		l := p.Locals["dockerfile"]
		data := l.Files[c.filename]
		if l.Files == nil {
			data, err = os.ReadFile(filepath.Join(l.Dir, c.filename))
		}
		if err != nil || string(data) != c.reads {
			t.Errorf("%s: the frontend reads %q, %v", name, data, err)
		}
	}
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"no folder":     {Options{Context: at("missing")}, at("missing") + ": there is no such folder; give the folder that COPY and ADD read from, e.g. `ibuild build .`"},
		"a file":        {Options{Context: at("file")}, at("file") + ": the build context is not a folder; give the folder, and the Dockerfile with -f"},
		"no Dockerfile": {Options{Context: at("none")}, at("none/Dockerfile") + ": there is no such Dockerfile; name it with -f FILE"},
		"no such file":  {Options{Context: at("none"), File: at("none/D")}, at("none/D") + ": there is no such Dockerfile; name it with -f FILE"},
	} {
		_, err := Plan(c.o)
		var e *source.Error
		if !errors.As(err, &e) || e.Error() != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	large := at("large")
	if err := os.WriteFile(large, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, maxSize+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Plan(Options{Context: dir, File: large}); err == nil || !strings.Contains(err.Error(), "larger than 16777216 bytes") {
		t.Errorf("a file of 16 MiB and one byte: %v", err)
	}
}

// A Dockerfile may be a link, as one that several folders share is.
func TestLinkedDockerfile(t *testing.T) {
	dir := folder(t, map[string]string{"common/Dockerfile": "FROM debian:12\n", "app/a": "1"})
	if err := os.Symlink("../common/Dockerfile", filepath.Join(dir, "app/Dockerfile")); err != nil {
		t.Fatal(err)
	}
	p, err := Plan(Options{Context: filepath.Join(dir, "app")})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := record(t, p); err != nil {
		t.Errorf("the frontend cannot read it: %v", err)
	}
}

// What is recorded depends on what the build sees, and on nothing else.
func TestIdentity(t *testing.T) {
	const text = "ARG V=1\nFROM debian:12 AS a\nRUN --mount=type=cache,target=/c --mount=type=secret,id=s echo\nCOPY src /src\nFROM a AS b\nARG V\nLABEL v=$V\n"
	dir := folder(t, map[string]string{"Dockerfile": text, ".dockerignore": "*.md\n", "src/x": "1", "README.md": "1"})
	base := func() Options { return Options{Context: dir} }
	one := identity(t, base())
	for name, change := range map[string]func(*Options){
		"nothing":        func(*Options) {},
		"a cache's name": func(o *Options) { o.CacheNamespace = "tenant" },
		"no cache":       func(o *Options) { o.NoCache = true },
		"standard input": func(o *Options) { o.Data = []byte(text) },
		"another folder": func(o *Options) {
			o.Context = folder(t, map[string]string{"Dockerfile": text, ".dockerignore": "*.md\n", "src/x": "1", "README.md": "2"})
		},
		"an unused value": func(o *Options) { o.BuildArgs = map[string]string{"V": "1"} },
	} {
		o := base()
		change(&o)
		if identity(t, o) != one {
			t.Errorf("%s changes the identity", name)
		}
	}
	for name, change := range map[string]func(*Options){
		"an argument":  func(o *Options) { o.BuildArgs = map[string]string{"V": "2"} },
		"a label":      func(o *Options) { o.Labels = map[string]string{"l": "1"} },
		"a target":     func(o *Options) { o.Target = "a" },
		"a platform":   func(o *Options) { o.Platforms = "linux/arm64" },
		"two of them":  func(o *Options) { o.Platforms = "linux/amd64,linux/arm64" },
		"an epoch":     func(o *Options) { o.Epoch = "7" },
		"another text": func(o *Options) { o.Data = []byte(text + "RUN x\n") },
		"a file":       func(o *Options) { o.Context = folder(t, map[string]string{"Dockerfile": text, "src/x": "2"}) },
	} {
		o := base()
		change(&o)
		if identity(t, o) == one {
			t.Errorf("%s does not change the identity", name)
		}
	}
	specific := folder(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY . /\n", "Dockerfile.dockerignore": "b\n", ".dockerignore": "a\n", "a": "1", "b": "1"})
	before := identity(t, Options{Context: specific})
	if err := os.WriteFile(filepath.Join(specific, "b"), []byte("2"), 0o644); err != nil {
		t.Fatal(err)
	}
	if identity(t, Options{Context: specific}) != before {
		t.Error("Dockerfile.dockerignore is not honoured")
	}
	if err := os.WriteFile(filepath.Join(specific, "a"), []byte("2"), 0o644); err != nil {
		t.Fatal(err)
	}
	if identity(t, Options{Context: specific}) == before {
		t.Error(".dockerignore is honoured although there is a Dockerfile.dockerignore")
	}
}

// Errors of the frontend show their line.
func TestFrontendErrors(t *testing.T) {
	for text, want := range map[string]struct {
		msg  string
		line int
	}{
		"FROM scratch\nRUNN x\n":            {"unknown instruction: RUNN", 2},
		"FROM scratch\nCOPY --from=x a b\n": {"", 2},
		"RUN x\n":                           {"no build stage in current context", 1},
		"":                                  {"the Dockerfile cannot be empty", 0},
		"FROM $X\n":                         {"base name ($X) should not be blank", 1},
	} {
		p, err := Plan(Options{Data: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = record(t, p)
		if text == "FROM scratch\nCOPY --from=x a b\n" {
			if err != nil {
				t.Errorf("an image as a stage: %v", err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want.msg) {
			t.Errorf("%q: %v, want %q", text, err, want.msg)
			continue
		}
		src := errdefs.Sources(err)
		if want.line > 0 && (len(src) == 0 || int(src[0].Ranges[0].Start.Line) != want.line) {
			t.Errorf("%q: shown at %v", text, src)
		}
	}
}

func TestNamedAndHolds(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       bool
	}{
		{"Dockerfile", "", true}, {"a/b/Dockerfile", "x", true}, {"dockerfile", "", true}, {"Containerfile", "", true}, {"Dockerfile.dev", "", true},
		{"dev.Dockerfile", "", true}, {"dev.containerfile", "", true}, {"x.DOCKERFILE", "", true},
		{"build", "FROM debian\n", true}, {"build", "# comment\n\nARG A=1\nFROM debian\n", true}, {"build", "from debian as x\n", true},
		{"build", "# syntax=docker/dockerfile:1\nFROM debian\n", true},
		{"build", "", false}, {"build", "RUN x\n", false}, {"build", "#!/bin/sh\necho\n", false}, {"build", "\x00\x01\x02", false},
		{"build", "import os\n", false}, {"build", "base: debian\n", false},
	} {
		if got := Named(c.name) || Holds([]byte(c.data)); got != c.want {
			t.Errorf("%q, %q: %v", c.name, c.data, got)
		}
	}
}

// Whatever a file holds, it is a plan or an error with its name.
func FuzzPlan(f *testing.F) {
	for _, s := range []string{
		"FROM scratch\n", "# syntax=example.org/x\nFROM a\n", "{\"syntax\":\"a\"}", "#!\n# syntax=a\n", "// syntax=\n", "# escape=`\nFROM a `\n b\n",
		"FROM a\nRUN <<EOF\nx\nEOF\n", "FROM a\nRUN <<EOF\n", "\ufeffFROM a\n", "FROM a\\\n", "# syntax=a b c\n", "\x00", "FROM --platform=$X a\n", "ARG A\nFROM ${A:-b}\n",
	} {
		f.Add([]byte(s), "")
		f.Add([]byte("FROM scratch\n"), s)
	}
	f.Fuzz(func(t *testing.T, data []byte, arg string) {
		Holds(data)
		o := Options{Data: data, BuildArgs: map[string]string{"BUILDKIT_SYNTAX": arg}}
		p, err := Plan(o)
		if err != nil {
			var e *source.Error
			if !errors.As(err, &e) || e.File == "" {
				t.Errorf("the error %v names no file", err)
			}
			return
		}
		if p.Attrs["cmdline"] != "builtin" {
			t.Errorf("a syntax image is taken that nobody allowed: %v", p.Attrs)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		rec, err := llb.NewRecorder(images{}, p, platforms.MustParse("linux/amd64")).Record(ctx, p.Build)
		if err == nil && !slices.ContainsFunc(rec.Images, func(i llb.RecordedImage) bool { return len(i.Config) > 0 }) {
			t.Error("a recording without a config")
		}
	})
}
