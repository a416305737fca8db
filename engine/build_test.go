package engine

import (
	"context"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/ibuild/ibuild/llb"
	bk "github.com/moby/buildkit/client/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// app is a build of code on an environment, pushed to the names.
func (f *fixture) app(names ...string) Request {
	f.t.Helper()
	dir := source(f.t, map[string]string{"src/main.py": "print(1)\n", "src/run": "x:#!/bin/sh\n", "src/empty/": "", "src/link": "->main.py", "src/x.pyc": "junk"})
	plan := f.plan(dir,
		llb.Workdir{Path: "/app"},
		llb.Copy{Local: "context", Src: "src", Dst: "code", Dir: true, Exclude: []string{"**/*.pyc"}},
		llb.WriteFile{Dst: "/etc/app.conf", Data: []byte("a=1\n"), Mode: 0o600},
		llb.Env{Key: "LANG", Value: "C.UTF-8"},
		llb.PathPrepend{Dir: "/app/bin"},
		llb.User{Name: "1000:1000"},
		llb.Entrypoint{Args: []string{"python", "code/main.py"}},
		llb.Label{Key: "org.example.a", Value: "b"},
	)
	return Request{Plan: plan, Outputs: Outputs{Push: true, Names: f.names(names...)}}
}

func (f *fixture) base(platforms ...ocispecs.Platform) {
	f.t.Helper()
	if len(platforms) < 2 {
		f.server.push(f.t, f.host+"/base:1", baseImage(f.t, amd64, nil))
		return
	}
	idx := v1.ImageIndex(empty.Index)
	for _, p := range platforms {
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: baseImage(f.t, p, nil),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.OS, Architecture: p.Architecture}}})
	}
	f.server.push(f.t, f.host+"/base:1", idx)
}

var wantCode = map[string]node{
	"app":              {Mode: fs.ModeDir | 0o755},
	"app/code":         {Mode: fs.ModeDir | 0o755},
	"app/code/main.py": {Mode: 0o644, Data: "print(1)\n"},
	"app/code/run":     {Mode: 0o755, Data: "#!/bin/sh\n"},
	"app/code/empty":   {Mode: fs.ModeDir | 0o755},
	"app/code/link":    {Mode: fs.ModeSymlink | 0o777, Data: "main.py"},
	"etc/app.conf":     {Mode: 0o600, Data: "a=1\n"},
}

func TestCodeIsPutOnTheKnownEnvironment(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("team/app:1", "team/app:2", "other/app")
	f.know(req, "etc/", "usr/")
	res := f.must(req, HowAssembled)

	if want := []string{f.host + "/team/app:1", f.host + "/team/app:2", f.host + "/other/app:latest"}; !slices.Equal(res.Names, want) {
		t.Errorf("names %v, want %v", res.Names, want)
	}
	for _, n := range res.Names {
		if d := f.digest(t, n); d != res.Descriptor.Digest.String() {
			t.Errorf("%s is %s, want %s", n, d, res.Descriptor.Digest)
		}
		img := f.image(t, n, amd64)
		if d := cmp.Diff(wantCode, added(t, img, 1)); d != "" {
			t.Errorf("%s: the code is another (-want +got):\n%s", n, d)
		}
		if d := cmp.Diff(f.recorded(req, 0), config(t, img).Config); d != "" {
			t.Errorf("%s: the config is not the one that llb makes (-want +got):\n%s", n, d)
		}
		if h, err := img.ConfigName(); err != nil || h.String() != res.ConfigDigest {
			t.Errorf("%s: the config is %s, the result says %s (%v)", n, h, res.ConfigDigest, err)
		}
		if m, err := img.MediaType(); err != nil || m != types.OCIManifestSchema1 {
			t.Errorf("%s: media type %s", n, m)
		}
		if got := config(t, img).Config.OnBuild; len(got) != 0 {
			t.Errorf("ONBUILD of the base is still there: %v", got)
		}
	}

	// on another day and another machine, with other times and modes in the checkout
	f.newMachine()
	again := req
	again.Plan = f.app("x").Plan
	check(t, os.Chtimes(filepath.Join(again.Plan.Locals["context"].Dir, "src/main.py"), time.Unix(1, 0), time.Unix(1, 0)))
	check(t, os.Chmod(filepath.Join(again.Plan.Locals["context"].Dir, "src/empty"), 0o755))
	if two := f.must(again, HowAssembled); two.Descriptor.Digest != res.Descriptor.Digest {
		t.Errorf("the same build gave %s, then %s", res.Descriptor.Digest, two.Descriptor.Digest)
	}
}

func TestAssembledIndex(t *testing.T) {
	f := newFixture(t)
	f.base(amd64, arm64)
	req := f.app("app:1")
	req.Options.Platforms = []ocispecs.Platform{amd64, arm64}
	f.know(req, "etc/")
	res := f.must(req, HowAssembled)
	if res.Descriptor.MediaType != ocispecs.MediaTypeImageIndex || res.ConfigDigest != "" {
		t.Errorf("result %+v is no index", res)
	}
	idx, err := remote.Index(f.ref(t, f.host+"/app:1"))
	check(t, err)
	m, err := idx.IndexManifest()
	check(t, err)
	if len(m.Manifests) != 2 {
		t.Fatalf("the index has %d entries", len(m.Manifests))
	}
	for i, p := range req.Options.Platforms {
		img := f.image(t, f.host+"/app:1", p)
		if c := config(t, img); c.Architecture != p.Architecture {
			t.Errorf("the image for %s says %s", p.Architecture, c.Architecture)
		}
		if d := cmp.Diff(wantCode, added(t, img, 1)); d != "" {
			t.Errorf("%s (-want +got):\n%s", p.Architecture, d)
		}
		if d := cmp.Diff(f.recorded(req, i), config(t, img).Config); d != "" {
			t.Errorf("%s: config (-want +got):\n%s", p.Architecture, d)
		}
	}
	if again := f.must(req, HowKnown); again.Descriptor.Digest != res.Descriptor.Digest {
		t.Errorf("known as %s", again.Descriptor.Digest)
	}
}

func TestKnownCostsOneHEADPerTag(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1", "app:2")
	f.know(req, "etc/")
	res := f.must(req, HowAssembled)
	f.on(nil)
	known := f.must(req, HowKnown)
	got := f.requests()
	slices.Sort(got)
	if want := []string{"HEAD /v2/app/manifests/1", "HEAD /v2/app/manifests/2", "HEAD /v2/base/manifests/1"}; !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
	if known.Descriptor.Digest != res.Descriptor.Digest || !slices.Equal(known.Names, res.Names) {
		t.Errorf("known as %+v, was %+v", known, res)
	}
}

// The same image has the same metadata, however little had to be done for it.
func TestKnownResultIsWhole(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1")
	f.know(req, "etc/")
	res := f.must(req, HowAssembled)
	known := f.must(req, HowKnown)
	if known.ConfigDigest != res.ConfigDigest {
		t.Errorf("the config of a known image is %q, of the same image when it was made %q", known.ConfigDigest, res.ConfigDigest)
	}
}

func TestTagsArePutBack(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1", "app:2", "app:3")
	f.know(req, "etc/")
	res := f.must(req, HowAssembled)
	other, err := random.Image(32, 1)
	check(t, err)
	f.server.push(t, f.host+"/app:1", other) // moved
	f.remove(t, f.host+"/app:2")             // deleted
	f.must(req, HowKnown)
	for _, n := range res.Names {
		if d := f.digest(t, n); d != res.Descriptor.Digest.String() {
			t.Errorf("%s is %q, want %s", n, d, res.Descriptor.Digest)
		}
	}
}

func TestNewNameOfAKnownImage(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1")
	f.know(req, "etc/")
	res := f.must(req, HowAssembled)
	req.Outputs.Names = f.names("app:new")
	f.must(req, HowKnown)
	if d := f.digest(t, f.host+"/app:new"); d != res.Descriptor.Digest.String() {
		t.Errorf("the new tag is %q", d)
	}
	req.Outputs.Names = f.names("elsewhere/app:1")
	f.needs(req, "a repository without the image and without its environment")
}

// onlyEnvironment is a build that ends with a command, so that nothing can be assembled.
func (f *fixture) onlyEnvironment(names ...string) Request {
	return Request{Plan: f.plan(f.t.TempDir()), Outputs: Outputs{Push: true, Names: f.names(names...)}}
}

// knowResult remembers an image as the result of the request, and pushes it.
func (f *fixture) knowResult(req Request) digest.Digest {
	f.t.Helper()
	b := f.start(req)
	rec, err := b.record(f.t.Context(), b.buildFunc())
	check(f.t, err)
	g, err := rec.Graph(f.t.Context())
	check(f.t, err)
	id := b.identity(g)
	img := made(f.t, rec.Images[0])
	for _, n := range req.Outputs.Names {
		f.server.push(f.t, n.String(), img)
	}
	h, err := img.Digest()
	check(f.t, err)
	size, err := img.Size()
	check(f.t, err)
	d := digest.Digest(h.String())
	config, err := img.ConfigName()
	check(f.t, err)
	b.remember("image", id, rec, ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageManifest, Digest: d, Size: size}, config.String())
	return d
}

func TestWhatIsNotKnownNeedsABuilder(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(f *fixture, req *Request)
	}{
		{"nothing is remembered", func(f *fixture, _ *Request) { f.newMachine() }},
		{"the manifest was deleted", func(f *fixture, req *Request) {
			f.remove(f.t, req.Outputs.Names[0].Name()+"@"+f.digest(f.t, req.Outputs.Names[0].String()))
			f.remove(f.t, req.Outputs.Names[0].String())
		}},
		{"force", func(_ *fixture, req *Request) { req.Force = true }},
		{"no cache", func(_ *fixture, req *Request) { req.Options.NoCache = true }},
		{"an archive is wanted", func(f *fixture, req *Request) {
			req.Outputs.Exports = []Export{{Type: OCIExport, Dest: filepath.Join(f.t.TempDir(), "x.tar")}}
		}},
		{"no push", func(_ *fixture, req *Request) { req.Outputs.Push = false }},
		{"another command", func(_ *fixture, req *Request) {
			req.Plan.Image.Steps[1] = llb.Exec{Title: "install", Args: []string{"other"}}
		}},
		{"another variable", func(_ *fixture, req *Request) { req.Plan.Image.Steps[0] = llb.Env{Key: "MODE", Value: "other"} }},
		{"another platform", func(f *fixture, req *Request) {
			f.base(amd64, arm64)
			req.Options.Platforms = []ocispecs.Platform{arm64}
		}},
		{"SOURCE_DATE_EPOCH", func(_ *fixture, req *Request) { at := time.Unix(1, 0); req.Options.Epoch = &at }},
		{"a new base under the same tag", func(f *fixture, _ *Request) { f.base() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.base()
			req := f.onlyEnvironment("app:1")
			f.knowResult(req)
			f.must(req, HowKnown)
			c.change(f, &req)
			f.needs(req, c.name)
			if n := f.opened.Load(); n != 1 {
				t.Errorf("the builder was opened %d times", n)
			}
		})
	}
}

func TestWhatKeepsCodeFromBeingAssembled(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(f *fixture, req *Request, e *environment)
		said   string // of the step that explains it
	}{
		{"no facts", func(f *fixture, req *Request, e *environment) {
			f.server.push(f.t, req.Outputs.repositories()[0]+":"+e.tag(), environmentImage(f.t, e))
		}, ""},
		{"the environment is gone", func(f *fixture, req *Request, e *environment) {
			f.remove(f.t, req.Outputs.repositories()[0]+":"+e.tag())
		}, ""},
		{"the destination is a link that leads nowhere", func(f *fixture, _ *Request, e *environment) { f.facts(e, "etc/", "app@app") },
			"/app is behind too many folders or links in the environment image"},
		{"a file is in the way of a folder", func(f *fixture, _ *Request, e *environment) { f.facts(e, "etc/", "app") },
			"/app is in the environment image and not a folder"},
		{"a folder is in the way of a file", func(f *fixture, _ *Request, e *environment) { f.facts(e, "etc/", "etc/app.conf/") },
			"/etc/app.conf is in the environment image and not a file"},
		{"the folder is not listed", func(f *fixture, _ *Request, e *environment) { f.facts(e, "etc/?") }, ""},
		{"an owner with a name", func(_ *fixture, req *Request, _ *environment) {
			c := req.Plan.Image.Steps[3].(llb.Copy)
			c.Owner = "app:app"
			req.Plan.Image.Steps[3] = c
		}, ""},
		{"force", func(_ *fixture, req *Request, _ *environment) { req.Force = true }, ""},
		{"no cache", func(_ *fixture, req *Request, _ *environment) { req.Options.NoCache = true }, ""},
		{"a file tree is wanted, too", func(f *fixture, req *Request, _ *environment) {
			req.Outputs.Exports = []Export{{Type: TarExport, Dest: filepath.Join(f.t.TempDir(), "x.tar")}}
		}, ""},
		{"no output", func(_ *fixture, req *Request, _ *environment) { req.Outputs = Outputs{} }, ""},
		{"an archive is wanted, too, and the environment is not in the local store", func(f *fixture, req *Request, _ *environment) {
			req.Outputs.Exports = []Export{{Type: OCIExport, Dest: filepath.Join(f.t.TempDir(), "x.tar")}}
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.base()
			req := f.app("app:1")
			e := f.know(req, "etc/")
			c.change(f, &req, e)
			f.needs(req, c.name)
			if !strings.Contains(f.said(), c.said) {
				t.Errorf("people are told %q, want %q in it", f.said(), c.said)
			}
			if d := f.digest(t, f.host+"/app:1"); d != "" {
				t.Errorf("the build failed, and the tag points to %s", d)
			}
		})
	}
}

// Facts are about one image. Another one under the environment's tag (built elsewhere, at another time: apt
// and pip bring what is newest) has another tree, which nobody has looked at.
func TestFactsBelongToOneEnvironmentImage(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1")
	e := f.know(req, "etc/")
	f.must(req, HowAssembled)

	f.server.push(t, f.host+"/app:"+e.tag(), environmentImage(t, e)) // another one's, with a tree of its own
	plant(t, req.Plan.Locals["context"].Dir, map[string]string{"src/main.py": "print(2)\n"})
	f.needs(req, "an environment image that the facts are not about")
}

// What is remembered under the digest of all inputs was made of these inputs.
func TestFilesThatChangeDuringTheBuildAreNotRemembered(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1")
	e := f.know(req, "etc/")
	file := filepath.Join(req.Plan.Locals["context"].Dir, "src/main.py")
	f.on(func(r *http.Request) {
		if r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, e.tag()) {
			_ = os.WriteFile(file, []byte("print(9)\n"), 0o644) // as long as before
		}
	})
	if _, err := f.build(req); err != nil {
		return // the bytes sent are the bytes hashed, or an error
	}
	f.on(nil)
	plant(t, req.Plan.Locals["context"].Dir, map[string]string{"src/main.py": "print(1)\n"})
	if _, err := f.build(req); err != nil {
		t.Fatal(err)
	}
	if got := added(t, f.image(t, f.host+"/app:1", amd64), 1)["app/code/main.py"].Data; got != "print(1)\n" {
		t.Errorf("main.py is %q in the folder and %q in the image", "print(1)\n", got)
	}
}

func TestVolatileSourcesAreNotRemembered(t *testing.T) {
	f := newFixture(t)
	b := &build{Engine: f.engine}
	f.engine.Progress = NewProgress()
	go func() {
		for range f.engine.Progress.Statuses() {
		}
	}()
	defer f.engine.Progress.Close()
	plan := &llb.Plan{Build: func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
		def, err := bk.HTTP("https://example.org/x").Marshal(ctx)
		check(t, err)
		return c.Solve(ctx, gateway.SolveRequest{Definition: def.ToPB()})
	}}
	rec, err := llb.NewRecorder(nil, plan, amd64).Record(t.Context(), plan.Build)
	check(t, err)
	g, err := rec.Graph(t.Context())
	check(t, err)
	if id := b.identity(g); id != "" {
		t.Errorf("a URL without checksum has the identity %q", id)
	}
}
