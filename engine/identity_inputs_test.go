package engine

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/ibuild/ibuild/frontends/dockerfile"
	"github.com/ibuild/ibuild/llb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

const allInputs = `# a comment
ARG TAG=1
FROM HOST/base:${TAG} AS tools
ARG USED=a
ARG DECLARED
RUN --mount=type=cache,target=/c --mount=type=secret,id=token --mount=type=ssh,id=agent echo $USED

FROM HOST/onbuild:1 AS final
COPY --chmod=644 src /src
ADD add.txt /add.txt
RUN --mount=type=bind,source=bound,target=/bound --network=none cat /bound/a
RUN --mount=type=bind,from=HOST/tools:1,target=/tools true
COPY --from=tools /x /x
COPY <<EOF /here
text
EOF
ENV A=b
WORKDIR /w
USER u
HEALTHCHECK CMD true
ENTRYPOINT ["a"]

FROM final AS other
RUN other

FROM final
`

// inputs are all that a build of a Dockerfile reads.
type inputs struct {
	files map[string]string // of the folder
	text  string            // of the Dockerfile
	opt   dockerfile.Options
	req   Request
	dir   string // "" is a new one
	after func(dir string)
}

func freshInputs(f *fixture) *inputs {
	return &inputs{
		files: map[string]string{"src/a": "1", "src/b": "2", "src/run": "x:#!", "src/l": "->a", "add.txt": "add", "bound/a": "bound",
			"trigger.txt": "onbuild", "unused": "u", ".dockerignore": "ignored\nsrc/ignored\n", "src/ignored": "i"},
		text: strings.ReplaceAll(allInputs, "HOST", f.host),
		opt:  dockerfile.Options{BuildArgs: map[string]string{}, Labels: map[string]string{}},
	}
}

// edit replaces a piece of the Dockerfile, which has to be there.
func (in *inputs) edit(t *testing.T, old, new string) {
	t.Helper()
	if !strings.Contains(in.text, old) {
		t.Fatalf("the Dockerfile has no %q", old)
	}
	in.text = strings.Replace(in.text, old, new, 1)
}

func (in *inputs) identify(f *fixture) (digest.Digest, error) {
	f.t.Helper()
	dir := in.dir
	if dir == "" {
		dir = f.t.TempDir()
	}
	in.files["Dockerfile"] = in.text
	plant(f.t, dir, in.files)
	if in.after != nil {
		in.after(dir)
	}
	in.opt.Context = dir
	plan, err := dockerfile.Plan(in.opt)
	check(f.t, err)
	in.req.Plan = plan
	return f.engine.Identify(f.t.Context(), in.req)
}

// pushAll gives the registry new images under the names that allInputs uses, or those that are given.
func pushAll(f *fixture, only ...string) {
	f.t.Helper()
	if len(only) == 0 {
		only = []string{"base:1", "base:2", "onbuild:1", "tools:1"}
	}
	for _, ref := range only {
		f.pushIndex(ref, func(c *v1.Config) {
			if ref == "onbuild:1" {
				c.OnBuild = []string{"COPY trigger.txt /t"}
			}
		})
	}
}

// pushIndex pushes an index of two platforms with configs of their own.
func (f *fixture) pushIndex(ref string, edit func(*v1.Config)) {
	f.t.Helper()
	idx := v1.ImageIndex(empty.Index)
	for _, p := range []ocispecs.Platform{amd64, arm64} {
		image := baseImage(f.t, p, func(c *v1.Config) {
			c.OnBuild = nil
			edit(c)
		})
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.OS, Architecture: p.Architecture}}})
	}
	f.server.push(f.t, f.host+"/"+ref, idx)
}

// Each input of a Dockerfile's build changes its identity, and no two of them to the same.
func TestDockerfileInputsCount(t *testing.T) {
	f := newFixture(t)
	pushAll(f)
	seen := map[digest.Digest]string{}
	add := func(name string, in *inputs) {
		t.Helper()
		id, err := in.identify(f)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		if other, dup := seen[id]; dup {
			t.Errorf("%q and %q have the same identity", name, other)
		}
		seen[id] = name
	}
	add("as it is", freshInputs(f))
	for name, pair := range map[string][2]string{
		"a command": {"echo $USED", "echo  $USED"}, "a variable": {"ENV A=b", "ENV A=c"}, "a user": {"USER u", "USER v"},
		"a folder": {"WORKDIR /w", "WORKDIR /v"}, "an entry point": {`["a"]`, `["b"]`}, "a health check": {"CMD true", "CMD false"},
		"a mode": {"chmod=644", "chmod=600"}, "an owner": {"COPY --chmod=644", "COPY --chmod=644 --chown=1"}, "a heredoc": {"text", "other"},
		"a secret's id": {"id=token", "id=other"}, "a secret's need": {"id=token", "id=token,required=true"}, "a secret's place": {"id=token", "id=token,target=/s"},
		"an agent's id": {"id=agent", "id=other"}, "a network": {"--network=none", "--network=default"}, "another folder": {"source=bound", "source=src"},
		"a cache's place": {"target=/c", "target=/d"}, "a destination": {"COPY --from=tools /x /x", "COPY --from=tools /x /y"},
		"a default": {"USED=a", "USED=b"}, "a step": {"RUN other\n\nFROM final\n", "RUN other\n\nFROM final\nRUN more\n"},
	} {
		in := freshInputs(f)
		in.edit(t, pair[0], pair[1])
		add(name, in)
	}
	for name, change := range map[string]func(*inputs){
		"an argument":           func(in *inputs) { in.opt.BuildArgs["USED"] = "c" },
		"one without a default": func(in *inputs) { in.opt.BuildArgs["DECLARED"] = "d" },
		"one in FROM":           func(in *inputs) { in.opt.BuildArgs["TAG"] = "2" },
		"an index of one":       func(in *inputs) { in.opt.BuildArgs["BUILDKIT_MULTI_PLATFORM"] = "1" },
		"the target":            func(in *inputs) { in.opt.Target = "other" },
		"a label":               func(in *inputs) { in.opt.Labels["a"] = "b" },
		"its value":             func(in *inputs) { in.opt.Labels["a"] = "c" },
		"a platform":            func(in *inputs) { in.opt.Platforms = "linux/arm64" },
		"two":                   func(in *inputs) { in.opt.Platforms = "linux/amd64,linux/arm64" },
		"their order":           func(in *inputs) { in.opt.Platforms = "linux/arm64,linux/amd64" },
		"an epoch":              func(in *inputs) { in.opt.Epoch = "1" },
		"another":               func(in *inputs) { in.opt.Epoch = "2" },
		"ignore rules":          func(in *inputs) { in.files[".dockerignore"] += "src/b\n" },
		"fewer of them":         func(in *inputs) { in.files[".dockerignore"] = "" },
		"a copied file":         func(in *inputs) { in.files["src/a"] = "3" },
		"one more":              func(in *inputs) { in.files["src/c"] = "" },
		"its mode":              func(in *inputs) { in.files["src/a"] = "x:1" },
		"a link":                func(in *inputs) { in.files["src/l"] = "->b" },
		"an empty folder":       func(in *inputs) { in.files["src/d/"] = "" },
		"an added file":         func(in *inputs) { in.files["add.txt"] = "dda" },
		"a mounted file":        func(in *inputs) { in.files["bound/a"] = "dnuob" },
		"a file of ONBUILD":     func(in *inputs) { in.files["trigger.txt"] = "dliubno" },
	} {
		in := freshInputs(f)
		change(in)
		add(name, in)
	}
	for _, ref := range []string{"base:1", "onbuild:1", "tools:1"} { // tags that move
		pushAll(f, ref)
		add(ref+" was moved", freshInputs(f))
	}
}

// Of a Dockerfile that changes nothing, what is stored still depends on the arguments.
func TestArgumentsOfABareBase(t *testing.T) {
	f := newFixture(t)
	pushAll(f)
	seen := map[digest.Digest]string{}
	for name, change := range map[string]func(*inputs){
		"none":            func(*inputs) {},
		"an epoch":        func(in *inputs) { in.opt.Epoch = "1" },
		"another":         func(in *inputs) { in.opt.Epoch = "2" },
		"an index of one": func(in *inputs) { in.opt.BuildArgs["BUILDKIT_MULTI_PLATFORM"] = "1" },
	} {
		in := freshInputs(f)
		in.text = "FROM " + f.host + "/base:1\n"
		change(in)
		id, err := in.identify(f)
		check(t, err)
		if other, dup := seen[id]; dup {
			t.Errorf("%q and %q have the same identity", name, other)
		}
		seen[id] = name
	}
}

// doesNotCount are changes of what decides nothing. first is the folder of a build that there was before.
func doesNotCount(f *fixture, first string) map[string]func(t *testing.T, in *inputs) {
	old := time.Unix(1_000_000_000, 0)
	return map[string]func(t *testing.T, in *inputs){
		"nothing":                     func(*testing.T, *inputs) {},
		"the same folder again":       func(_ *testing.T, in *inputs) { in.dir = first; clearFolder(f.t, first) },
		"a comment":                   func(t *testing.T, in *inputs) { in.edit(t, "a comment", "another\n\n# and more") },
		"the syntax that is built in": func(t *testing.T, in *inputs) { in.edit(t, "# a comment", "# syntax=docker/dockerfile:1") },
		"words in small letters":      func(t *testing.T, in *inputs) { in.edit(t, "ENV A", "env A") },
		"a stage that nothing uses": func(t *testing.T, in *inputs) {
			in.edit(t, "FROM final AS other\nRUN other", "FROM final AS other\nRUN more")
		},
		"the name of a cache":       func(t *testing.T, in *inputs) { in.edit(t, "target=/c", "target=/c,id=x,sharing=locked") },
		"its namespace":             func(_ *testing.T, in *inputs) { in.opt.CacheNamespace = "team" },
		"an argument of nobody":     func(_ *testing.T, in *inputs) { in.opt.BuildArgs["NOBODY"] = "x" },
		"a proxy for the build":     func(_ *testing.T, in *inputs) { in.opt.BuildArgs["HTTP_PROXY"] = "http://user:canary@proxy" },
		"a default that is said":    func(_ *testing.T, in *inputs) { in.opt.BuildArgs["USED"] = "a" },
		"the platform that is said": func(_ *testing.T, in *inputs) { in.opt.Platforms = "linux/amd64" },
		"the target that is last": func(t *testing.T, in *inputs) {
			in.text = strings.TrimSuffix(in.text, "\nFROM final\n")
			in.opt.Target = "final"
		},
		"a file of nobody":   func(_ *testing.T, in *inputs) { in.files["unused"], in.files["more"] = "v", "m" },
		"an ignored file":    func(_ *testing.T, in *inputs) { in.files["src/ignored"] = "j" },
		"a rule for nothing": func(_ *testing.T, in *inputs) { in.files["unused2"] = "x"; in.files["Makefile"] = "y" },
		"the Dockerfile's name": func(_ *testing.T, in *inputs) {
			in.after = func(dir string) {
				in.opt.File = filepath.Join(dir, "Containerfile")
				check(f.t, os.Rename(filepath.Join(dir, "Dockerfile"), in.opt.File))
			}
		},
		"standard input": func(_ *testing.T, in *inputs) { in.opt.Data = []byte(in.text) },
		"times": func(_ *testing.T, in *inputs) {
			in.after = func(dir string) {
				for name := range in.files {
					if name != "src/l" {
						check(f.t, os.Chtimes(filepath.Join(dir, name), old, old))
					}
				}
			}
		},
		"names, force, no cache": func(_ *testing.T, in *inputs) {
			in.req.Force, in.opt.NoCache, in.req.Options.NoCache = true, true, true
			in.req.Outputs = Outputs{Push: true, Names: f.names("a:1", "b:2"), EnvRepo: f.names("env")[0]}
		},
		"secrets": func(_ *testing.T, in *inputs) { in.req.Secrets = machineStore{"token": []byte("canary")} },
		"the machine": func(_ *testing.T, in *inputs) {
			in.req.Machine = func() (llb.Machine, error) {
				return llb.Machine{Env: map[string]string{"HTTPS_PROXY": "http://p"}, Files: map[string][]byte{llb.MachineCA: []byte("ca")}}, nil
			}
		},
		"the user": func(t *testing.T, _ *inputs) {
			for k, v := range map[string]string{"HOME": t.TempDir(), "USER": "x", "LOGNAME": "x", "HOSTNAME": "x", "LANG": "tr_TR.UTF-8", "LC_ALL": "C",
				"TZ": "Pacific/Kiritimati", "HTTP_PROXY": "http://x", "SSL_CERT_FILE": "/none", "TMPDIR": t.TempDir()} {
				t.Setenv(k, v)
			}
		},
		"owners": func(t *testing.T, in *inputs) {
			in.after = func(dir string) {
				if os.Geteuid() != 0 {
					t.Skip("only root can give files away")
				}
				check(t, os.Lchown(filepath.Join(dir, "src/a"), 1234, 1234))
			}
		},
		"the number of CPUs": func(t *testing.T, _ *inputs) {
			was := runtime.GOMAXPROCS(1)
			t.Cleanup(func() { runtime.GOMAXPROCS(was) })
		},
		"an empty cache": func(*testing.T, *inputs) { f.newMachine() },
		"progress":       func(*testing.T, *inputs) { f.engine.Progress = nil },
	}
}

// What decides nothing changes no identity.
func TestWhatDoesNotCount(t *testing.T) {
	f := newFixture(t)
	pushAll(f)
	first := freshInputs(f)
	first.dir = t.TempDir()
	want, err := first.identify(f)
	check(t, err)
	for name, change := range doesNotCount(f, first.dir) {
		t.Run(name, func(t *testing.T) {
			in := freshInputs(f)
			change(t, in)
			if id, err := in.identify(f); err != nil || id != want {
				t.Errorf("the identity is %s, not %s (%v)", id, want, err)
			}
		})
	}
}

// clearFolder removes what is in a folder, so that the same files get other inodes.
func clearFolder(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	check(t, err)
	for _, e := range list {
		check(t, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
}

// What cannot be told without a builder has no identity, so nothing is remembered of it.
func TestWhatHasNoIdentity(t *testing.T) {
	f := newFixture(t)
	pushAll(f)
	for name, step := range map[string]string{
		"a URL":           "ADD https://example.org/x /x",
		"a branch":        "ADD https://example.org/x.git#main /x",
		"a short commit":  "ADD --checksum=abcdef0 https://example.org/x.git#main /x",
		"a foreign image": "# syntax=" + f.host + "/frontend:1",
	} {
		in := freshInputs(f)
		in.opt.AllowSyntax = true
		if strings.HasPrefix(step, "#") {
			in.text = step + "\n" + in.text
		} else {
			in.text += step + "\n"
		}
		var volatile *VolatileError
		var needs *llb.NeedsBuilderError
		if id, err := in.identify(f); id != "" || !errors.As(err, &volatile) && !errors.As(err, &needs) {
			t.Errorf("%s: identity %q, %v", name, id, err)
		}
	}
	full := freshInputs(f)
	full.text += "ADD --checksum=sha256:" + strings.Repeat("a", 64) + " https://example.org/x /x\n"
	if id, err := full.identify(f); err != nil || id == "" {
		t.Errorf("a URL with a checksum has no identity: %v", err)
	}
}

// The maps of a plan have no order.
func TestOrderOfMaps(t *testing.T) {
	f := newFixture(t)
	pushAll(f)
	var want digest.Digest
	for i := range 5 {
		in := freshInputs(f)
		for _, k := range []string{"a", "b", "c", "d", "e", "f"} {
			in.opt.Labels[k], in.opt.BuildArgs[k] = k, k
		}
		in.files = maps.Clone(in.files)
		id, err := in.identify(f)
		check(t, err)
		if i > 0 && id != want {
			t.Errorf("identity %s, then %s", want, id)
		}
		want = id
	}
}
