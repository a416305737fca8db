package frontends

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/frontends/dockerfile"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
	"golang.org/x/sys/unix"
)

const (
	aDockerfile = "FROM debian:12\n"
	aSpec       = "base_image: debian:bookworm-slim\ncmd: x\n"
	aScript     = "# /// script\n# requires-python = \">=3.11\"\n# dependencies = []\n# ///\nprint(1)\n"
	fromScript  = "# /// script\n# requires-python = \">=3.11\"\n# dependencies = []\n# ///\nfrom pathlib import Path\nprint(Path())\n"
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

func TestDetection(t *testing.T) {
	dir := folder(t, map[string]string{
		"docker/Dockerfile": aDockerfile, "docker/x": "", "container/Containerfile": aDockerfile, "lower/dockerfile": aDockerfile,
		"spec/image.yaml": aSpec, "yml/image.yml": aSpec, "two/Dockerfile": aDockerfile, "two/dockerfile": aDockerfile,
		"both/Dockerfile": aDockerfile, "both/image.yaml": aSpec, "none/x": "", "sub/Dockerfile/x": "",
		"files/train.py": aScript, "files/from.py": fromScript, "files/app.Dockerfile": aDockerfile, "files/build": aDockerfile, "files/env.yaml": aSpec, "files/env.yml": aSpec,
		"files/n.ipynb": "{}", "files/text": "hello\n", "files/binary": "\x00\x01", "files/empty": "", "files/large.py": aScript + strings.Repeat("#\n", source.ScriptLimit/2),
		"files/run.sh": "#!/bin/sh\necho\n",
	})
	at := func(p string) string { return filepath.Join(dir, p) }
	for _, c := range []struct {
		name    string
		o       Options
		stdin   string
		kind    string
		context string // of a Dockerfile: the folder
		err     string // part of the error's text
	}{
		{name: "a folder with a Dockerfile", o: Options{Source: at("docker")}, kind: "Dockerfile", context: at("docker")},
		{name: "a Containerfile", o: Options{Source: at("container")}, kind: "Dockerfile", context: at("container")},
		{name: "in lower case", o: Options{Source: at("lower")}, kind: "Dockerfile", context: at("lower")},
		{name: "in both cases", o: Options{Source: at("two")}, kind: "Dockerfile", context: at("two")},
		{name: "a folder with a spec", o: Options{Source: at("spec")}, kind: "image spec"},
		{name: "with the other ending", o: Options{Source: at("yml")}, kind: "image spec"},
		{name: "both", o: Options{Source: at("both")}, err: "more than one file says how to build this folder: Dockerfile and image.yaml; name one with -f"},
		{name: "both, and the frontend said", o: Options{Source: at("both"), Frontend: "spec"}, kind: "image spec"},
		{name: "both, and the file named", o: Options{Source: at("both"), File: at("both/Dockerfile")}, kind: "Dockerfile", context: at("both")},
		{name: "neither", o: Options{Source: at("none")}, err: "nothing in this folder says how to build it (looked for Dockerfile, dockerfile, Containerfile, image.yaml, image.yml)"},
		{name: "a folder called Dockerfile", o: Options{Source: at("sub")}, err: "nothing in this folder says how to build it"},
		{name: "neither, and a frontend said", o: Options{Source: at("none"), Frontend: "spec"}, err: "(looked for image.yaml, image.yml)"},

		{name: "a script", o: Options{Source: at("files/train.py")}, kind: "uv script"},
		{name: "a script that begins with an import from", o: Options{Source: at("files/from.py")}, kind: "uv script"},
		{name: "a Dockerfile by name", o: Options{Source: at("files/app.Dockerfile")}, kind: "Dockerfile", context: at("files")},
		{name: "a Dockerfile by content", o: Options{Source: at("files/build")}, kind: "Dockerfile", context: at("files")},
		{name: "a spec by name", o: Options{Source: at("files/env.yaml")}, kind: "image spec"},
		{name: "a spec by the other name", o: Options{Source: at("files/env.yml")}, kind: "image spec"},
		{name: "a notebook", o: Options{Source: at("files/n.ipynb")}, err: "this is not a notebook: it has no \"nbformat\""},
		{name: "a text", o: Options{Source: at("files/text")}, err: "this is neither a Dockerfile, an image spec (YAML), a Python script nor a notebook; say what it is with --frontend uvscript|notebook|dockerfile|spec"},
		{name: "a binary", o: Options{Source: at("files/binary")}, err: "this is neither a Dockerfile"},
		{name: "an empty file", o: Options{Source: at("files/empty")}, err: "this is neither a Dockerfile"},
		{name: "a shell script", o: Options{Source: at("files/run.sh")}, err: "this is neither a Dockerfile"},
		{name: "a text that is said to be a Dockerfile", o: Options{Source: at("files/text"), Frontend: "dockerfile"}, kind: "Dockerfile", context: at("files")},
		{name: "a spec that is said to be a script", o: Options{Source: at("files/env.yaml"), Frontend: "uvscript"}, err: "files/env.yaml"},
		{name: "a file too large", o: Options{Source: at("files/large.py")}, err: "larger than the limit of 16 MiB"},
		{name: "a file with -f", o: Options{Source: at("files/train.py"), File: "x"}, err: "-f needs a folder; give the folder as the source, or leave -f out"},
		{name: "nothing there", o: Options{Source: at("missing")}, err: "there is no such file or folder; give a folder, a Dockerfile, an image.yaml or a Python script"},
		{name: "below a file", o: Options{Source: at("files/train.py/x")}, err: "train.py/x: cannot be read: not a directory"},
		{name: "a name too long", o: Options{Source: strings.Repeat("x", 300)}, err: "xxx: cannot be read: file name too long"},
		{name: "nothing given", o: Options{}, err: "there is no such file or folder"},
		{name: "-f of nothing", o: Options{Source: at("docker"), File: at("docker/missing")}, err: "there is no such file"},
		{name: "-f of a spec elsewhere", o: Options{Source: at("none"), File: at("files/env.yaml")}, kind: "image spec"},
		{name: "-f of a Dockerfile elsewhere", o: Options{Source: at("none"), File: at("files/build")}, kind: "Dockerfile", context: at("none")},

		{name: "a Dockerfile from stdin", o: Options{Source: "-"}, stdin: aDockerfile, kind: "Dockerfile"},
		{name: "a script from stdin", o: Options{Source: "-"}, stdin: aScript, kind: "uv script"},
		{name: "one that begins with an import from", o: Options{Source: "-"}, stdin: fromScript, kind: "uv script"},
		{name: "a spec from stdin", o: Options{Source: "-"}, stdin: aSpec, kind: "image spec"},
		{name: "a Dockerfile from stdin for a folder", o: Options{Source: at("none"), File: "-"}, stdin: aDockerfile, kind: "Dockerfile", context: at("none")},
		{name: "a spec from stdin for a folder", o: Options{Source: at("none"), File: "-"}, stdin: aSpec, kind: "image spec"},
		{name: "stdin twice", o: Options{Source: "-", File: "-"}, stdin: aSpec, err: "the source comes from standard input, so -f has nothing to point into; leave -f out, or give a folder"},
		{name: "latin-1", o: Options{Source: "-"}, stdin: "FROM a\n# \xe4\n", err: "<stdin>:2:3: the byte 0xe4 is not UTF-8"},

		{name: "an unknown frontend", o: Options{Source: at("files/train.py"), Frontend: "dokerfile"}, err: `there is no frontend "dokerfile"; did you mean dockerfile?`},
		{name: "an unknown frontend, far off", o: Options{Source: at("files/train.py"), Frontend: "bazel"}, err: `there is no frontend "bazel"; known are uvscript, notebook, dockerfile, spec`},
		{name: "an unknown frontend for a folder", o: Options{Source: at("docker"), Frontend: "dokerfile"}, err: `there is no frontend "dokerfile"; did you mean dockerfile?`},
		{name: "the script's frontend for a folder", o: Options{Source: at("files"), Frontend: "uvscript"}, err: "give the file"},

		{name: "git", o: Options{Source: "https://github.com/a/b.git"}, err: "git and http contexts are not supported yet; clone or download it, and give the folder"},
		{name: "git over ssh", o: Options{Source: "git@github.com:a/b"}, err: "git and http contexts are not supported yet"},
		{name: "git by short name", o: Options{Source: "github.com/a/b"}, err: "git and http contexts are not supported yet"},
		{name: "a tar archive on the web", o: Options{Source: "http://x/y.tar.gz"}, err: "git and http contexts are not supported yet"},

		{name: "an argument for a script", o: Options{Source: at("files/train.py"), Dockerfile: dockerfile.Options{BuildArgs: map[string]string{"A": "1"}}},
			err: "--build-arg means nothing for uv scripts; it is for Dockerfiles"},
		{name: "a target for a spec", o: Options{Source: at("spec"), Dockerfile: dockerfile.Options{Target: "x"}}, err: "--target means nothing for image specs; it is for Dockerfiles"},
		{name: "a syntax for a spec", o: Options{Source: at("spec"), Dockerfile: dockerfile.Options{AllowSyntax: true}}, err: "--allow-syntax means nothing for image specs"},
		{name: "labels and no cache are for all", o: Options{Source: at("spec"), Dockerfile: dockerfile.Options{NoCache: true, Labels: map[string]string{"a": "1"}}}, kind: "image spec"},
		{name: "arguments of a Dockerfile", o: Options{Source: at("docker"), Dockerfile: dockerfile.Options{BuildArgs: map[string]string{"A": "1"}, Target: "x"}}, kind: "Dockerfile", context: at("docker")},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Stdin = strings.NewReader(c.stdin)
			p, err := Load(c.o)
			if c.err != "" {
				var one *source.Error
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v (%+v), want %q", err, p, c.err)
				} else if !errors.As(err, &one) {
					t.Errorf("%v is a %T", err, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.Kind != c.kind || (p.Image == nil) == (p.Build == nil) || (p.Build != nil) != (c.kind == "Dockerfile") {
				t.Errorf("it is a %q (image %v, function %v)", p.Kind, p.Image != nil, p.Build != nil)
			}
			if c.kind == "Dockerfile" && p.Locals["context"].Dir != c.context {
				t.Errorf("the context is %q, want %q", p.Locals["context"].Dir, c.context)
			}
		})
	}
}

// A text is read once, and knows where it is.
func TestRead(t *testing.T) {
	t.Chdir(folder(t, map[string]string{"a/Dockerfile": aDockerfile, "a/train.py": aScript, "b/image.yaml": aSpec, "b/Dockerfile": aDockerfile, "c/x": "", "deploy/Dockerfile": aDockerfile}))
	if err := unix.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o                          Options
		frontend, dir, file, reads string // the last one is the folder that paths are relative to
	}{
		{Options{Source: "a"}, Dockerfile, "a", "Dockerfile", "a"},
		{Options{Source: "a/train.py"}, UVScript, "a", "train.py", "a"},
		{Options{Source: "b", Frontend: "spec"}, Spec, "b", "image.yaml", "b"},
		{Options{Source: "a", File: "deploy/Dockerfile"}, Dockerfile, "deploy", "Dockerfile", "deploy"},
		{Options{Source: "a", File: "-"}, Spec, "", "", "a"},
		{Options{Source: "-"}, Spec, "", "", "."},
		{Options{Source: "pipe"}, Spec, "", "", "."},
		{Options{Source: "a", File: "pipe"}, Spec, "", "", "a"},
	} {
		c.o.Stdin = strings.NewReader(aSpec)
		if c.o.Source == "pipe" || c.o.File == "pipe" {
			go os.WriteFile("pipe", []byte(aSpec), 0)
		}
		g, err := Read(c.o)
		dir, file := g.File()
		if err != nil || g.Frontend.Name != c.frontend || dir != c.dir || file != c.file || g.Text.Dir != c.reads {
			t.Errorf("%+v: %v, %s, %q, %q, %q", c.o, err, g.Frontend.Name, dir, file, g.Text.Dir)
		}
		if plan, err := g.Plan(); err != nil || plan.Kind != g.Frontend.Kind {
			t.Errorf("%+v: %+v, %v", c.o, plan, err)
		}
	}
	for arg, want := range map[string]bool{"a": true, "a/train.py": true, "-": true, "none": false, "": false, "ghcr.io/me/app:v1": false} {
		if Here(arg) != want {
			t.Errorf("%q is here: %v", arg, !want)
		}
	}
}

// When several options mean nothing, the same one is named each time.
func TestMeaninglessOptionsAreNamedInOrder(t *testing.T) {
	dir := folder(t, map[string]string{"image.yaml": aSpec})
	o := Options{Source: dir, Dockerfile: dockerfile.Options{Target: "x", AllowSyntax: true, BuildArgs: map[string]string{"A": "1"}}}
	seen := map[string]bool{}
	for range 50 {
		_, err := Load(o)
		if err == nil {
			t.Fatal("no error")
		}
		seen[err.Error()] = true
	}
	if len(seen) != 1 {
		t.Errorf("one mistake has %d messages", len(seen))
	}
}

// A folder that happens to be called like a URL is a folder.
func TestFoldersWithOddNames(t *testing.T) {
	t.Chdir(folder(t, map[string]string{"github.com/a/Dockerfile": aDockerfile, "git@x/Dockerfile": aDockerfile}))
	for _, s := range []string{"github.com/a", "git@x"} {
		if p, err := Load(Options{Source: s}); err != nil || p.Kind != "Dockerfile" {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestAll(t *testing.T) {
	var names []string
	for _, f := range All() {
		names = append(names, f.Name)
		if f.Named == nil || f.Kind == "" || f.Holds == nil || f.plan == nil {
			t.Errorf("%s is not whole", f.Name)
		}
	}
	if !slices.Equal(names, []string{"uvscript", "notebook", "dockerfile", "spec"}) {
		t.Errorf("the frontends are %v; --help names them", names)
	}
}

type brokenPipe struct{}

func (brokenPipe) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestStdinThatFails(t *testing.T) {
	if _, err := Load(Options{Source: "-", Stdin: brokenPipe{}}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

// Whatever bytes come, detection ends with a plan or a finding, and never with a panic.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{aDockerfile, aSpec, aScript, fromScript, "", "\x00", "FROM", "# /// script\n", "base:\n  - x\n", "{", "%YAML 1.2\n---\n"} {
		f.Add(s, "")
		f.Add(s, "spec")
		f.Add(s, "uvscript")
	}
	f.Fuzz(func(t *testing.T, data, frontend string) {
		p, err := Load(Options{Source: "-", Stdin: strings.NewReader(data), Frontend: frontend})
		var one *source.Error
		if (p == nil) == (err == nil) || err != nil && !errors.As(err, &one) {
			t.Errorf("plan %v, error %v (%T)", p, err, err)
		}
		if p != nil && p.Image != nil {
			var _ *llb.Image = p.Image
			env, code := p.Image.Split()
			if len(env.Steps)+len(code) != len(p.Image.Steps) {
				t.Error("steps were lost")
			}
		}
	})
}
