package engine

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/llb"
	bk "github.com/moby/buildkit/client/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// byIdentity is a build whose names are made from its identity.
func (f *fixture) byIdentity(req Request, names ...string) Request {
	f.t.Helper()
	req.Outputs.Names, req.Outputs.ByIdentity = nil, nil
	for _, n := range f.names(names...) {
		req.Outputs.ByIdentity = append(req.Outputs.ByIdentity, IdentityName{Name: n})
	}
	return req
}

// The identity is that of the image, for all platforms, whatever is done with it.
func TestIdentify(t *testing.T) {
	f := newFixture(t)
	f.base(amd64, arm64)
	req := f.app("app:1")
	id, err := f.engine.Identify(t.Context(), req)
	check(t, err)
	for name, change := range map[string]func(*Request){
		"the name":      func(r *Request) { r.Outputs.Names = f.names("other:2") },
		"names by it":   func(r *Request) { *r = f.byIdentity(*r, "other") },
		"the output":    func(r *Request) { r.Outputs = Outputs{Exports: []Export{{Type: OCIExport, Dest: "x"}}} },
		"the builder":   func(r *Request) { r.Builder = "noop"; r.Options.Platforms = []ocispecs.Platform{amd64} },
		"the namespace": func(r *Request) { r.Options.CacheNamespace = "team/" },
		"force":         func(r *Request) { r.Force, r.Options.NoCache = true, true },
		"the plan's":    func(r *Request) { p := *r.Plan; p.Tag, p.TagFormat, p.Kind = "x", "{spec_hash}-y", "z"; r.Plan = &p },
	} {
		r := req
		change(&r)
		if got, err := f.engine.Identify(t.Context(), r); err != nil || got != id {
			t.Errorf("%s changes the identity: %s, %v", name, got, err)
		}
	}
	for name, change := range map[string]func(*Request){
		"platforms": func(r *Request) { r.Options.Platforms = []ocispecs.Platform{amd64, arm64} },
		"an epoch":  func(r *Request) { at := time.Unix(1, 0); r.Options.Epoch = &at },
		"a label":   func(r *Request) { r.Plan = r.Plan.WithLabels(map[string]string{"a": "b"}) },
		"the base":  func(*Request) { f.base(amd64, arm64) },
	} {
		r := req
		change(&r)
		if got, err := f.engine.Identify(t.Context(), r); err != nil || got == id {
			t.Errorf("%s: the identity stays %s, %v", name, got, err)
		}
	}
	if f.opened.Load() != 0 {
		t.Error("a builder was opened")
	}
}

// An image made on one machine is found by another one, by its name alone.
func TestNamesFromTheIdentity(t *testing.T) {
	f := newFixture(t)
	f.base(amd64, arm64)
	req := f.byIdentity(f.app("x"), "team/app", "mirror/app")
	req.Outputs.ByIdentity[1].Format = "{spec_hash}-dev"
	req.Options.Platforms = []ocispecs.Platform{amd64, arm64}
	id, err := f.engine.Identify(t.Context(), req)
	check(t, err)
	f.know(f.withNames(req), "etc/")
	res := f.must(req, HowAssembled)
	hash := id.Encoded()[:32]
	if want := []string{f.host + "/team/app:" + hash, f.host + "/mirror/app:" + hash + "-dev"}; !slices.Equal(res.Names, want) {
		t.Errorf("names %q, want %q", res.Names, want)
	}
	if res.Identity != id {
		t.Errorf("identity %s, want %s", res.Identity, id)
	}
	for _, p := range req.Options.Platforms {
		env := config(t, f.image(t, res.Names[0], p)).Config.Env
		if env[len(env)-1] != "IBUILD_IMAGE_ID="+id.String() {
			t.Errorf("%s: the environment is %q", p.Architecture, env)
		}
	}
	if again := f.must(req, HowKnown); again.Descriptor.Digest != res.Descriptor.Digest {
		t.Errorf("known as %s", again.Descriptor.Digest)
	}
	f.newMachine()
	list, err := f.engine.Lookup(t.Context(), req)
	check(t, err)
	for i, found := range list {
		if found.Name != res.Names[i] || found.Exists != Yes || found.Descriptor.Digest != res.Descriptor.Digest {
			t.Errorf("looked up: %+v", found)
		}
	}
	if len(list) != 2 {
		t.Errorf("%d names", len(list))
	}
	other := f.must(req, HowKnown)
	if other.Descriptor.Digest != res.Descriptor.Digest || other.Descriptor.MediaType != res.Descriptor.MediaType || other.Descriptor.Size != res.Descriptor.Size || !slices.Equal(other.Names, res.Names) || other.ConfigDigest != res.ConfigDigest {
		t.Errorf("another machine finds %+v, want %+v", other, res)
	}
	f.on(nil)
	f.must(req, HowKnown) // it is remembered now
	for _, r := range f.requests() {
		if !strings.HasPrefix(r, "HEAD ") {
			t.Errorf("asked %s", r)
		}
	}
	forced := req
	forced.Force = true
	f.needs(forced, "force")
	more := req
	more.Options.Platforms = []ocispecs.Platform{arm64}
	f.needs(more, "another image")
}

// withNames is the request with the names as the build will make them.
func (f *fixture) withNames(req Request) Request {
	f.t.Helper()
	id, err := f.engine.Identify(f.t.Context(), req)
	check(f.t, err)
	req.Outputs, err = req.Outputs.named(id)
	check(f.t, err)
	req.Outputs.ByIdentity = nil
	return req
}

// A tag made from files that were not built would be a lie that everybody finds.
func TestFilesThatChangeGetNoNameFromTheIdentity(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.byIdentity(f.app("x"), "app")
	named := f.withNames(req)
	e := f.know(named, "etc/")
	file := filepath.Join(req.Plan.Locals["context"].Dir, "src/main.py")
	f.on(func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, e.tag()) {
			_ = os.WriteFile(file, []byte("print(9)\n"), 0o644) // as long as before
		}
	})
	if _, err := f.build(req); err == nil || f.opened.Load() != 0 {
		t.Errorf("error %v, %d opened", err, f.opened.Load())
	}
	f.on(nil)
	if d := f.digest(t, named.Outputs.Names[0].String()); d != "" {
		t.Errorf("the tag stands for %s", d)
	}
}

// A tag of the user's own says nothing about what is in the image.
func TestOwnTagIsNoAnswer(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.onlyEnvironment("app:1")
	f.server.push(t, f.host+"/app:1", baseImage(t, amd64, nil))
	f.needs(req, "an image of that name is there")
	both := f.byIdentity(req, "app")
	f.server.push(t, f.withNames(both).Outputs.Names[0].String(), baseImage(t, amd64, nil))
	both.Outputs.Names = f.names("app:1")
	f.needs(both, "a name of each kind")
}

func TestWhatIsThereIsNotAlwaysTheAnswer(t *testing.T) {
	for name, change := range map[string]func(f *fixture, req *Request){
		"another platform only": func(f *fixture, req *Request) {
			f.server.push(f.t, f.withNames(*req).Outputs.Names[0].String(), baseImage(f.t, arm64, nil))
		},
		"an archive, too": func(f *fixture, req *Request) {
			req.Outputs.Exports = []Export{{Type: OCIExport, Dest: filepath.Join(f.t.TempDir(), "x")}}
		},
		"no cache":               func(_ *fixture, req *Request) { req.Options.NoCache = true },
		"the tag was deleted":    func(f *fixture, req *Request) { f.remove(f.t, f.withNames(*req).Outputs.Names[0].String()) },
		"two different images":   func(f *fixture, req *Request) { *req = f.twoNames(*req) },
		"no push, nothing known": func(_ *fixture, req *Request) { req.Outputs.Push = false },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.base()
			req := f.byIdentity(f.onlyEnvironment("x"), "app")
			f.server.push(t, f.withNames(req).Outputs.Names[0].String(), baseImage(t, amd64, nil))
			if name != "two different images" {
				f.must(req, HowKnown)
				f.newMachine() // with no memory of it
			}
			change(f, &req)
			f.needs(req, name)
		})
	}
}

// twoNames has another image under a second name.
func (f *fixture) twoNames(req Request) Request {
	req = f.byIdentity(req, "app", "other")
	f.server.push(f.t, f.withNames(req).Outputs.Names[1].String(), baseImage(f.t, amd64, nil))
	return req
}

func TestShouldBuild(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.byIdentity(f.onlyEnvironment("x"), "app")
	f.engine.Builders[0].ShouldBuild = never
	if _, err := f.build(req); err == nil || !strings.Contains(err.Error(), "the builder test does not build ") || !strings.Contains(err.Error(), "not found") {
		t.Errorf("a builder that never builds what is not there: %v", err)
	}
	f.server.push(t, f.withNames(req).Outputs.Names[0].String(), baseImage(t, amd64, nil))
	f.must(req, HowKnown)
	f.newMachine()
	f.engine.Builders[0].ShouldBuild = always
	f.needs(req, "a builder that always builds")
}

// A registry that does not answer is not one that has no image.
func TestFailFast(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.byIdentity(f.onlyEnvironment("x"), "app")
	f.refuse("/v2/app/")
	f.needs(req, "cannot tell")
	req.FailFast = true
	var unknown *UnknownError
	if _, err := f.build(req); !errors.As(err, &unknown) || !strings.Contains(err.Error(), "/app:") || !strings.Contains(err.Error(), "access denied") {
		t.Errorf("got %v", err)
	}
	req.Force = true
	f.needs(req, "forced")

	own := f.onlyEnvironment("own:1")
	f.refuse("")
	f.knowResult(own)
	f.must(own, HowKnown)
	f.refuse("/v2/own/")
	f.needs(own, "a known image of which nothing can be told")
	own.FailFast = true
	if _, err := f.build(own); !errors.As(err, &unknown) {
		t.Errorf("got %v", err)
	}
}

// What may be another thing tomorrow has no identity, and no tag that stands for it.
func TestVolatileHasNoIdentity(t *testing.T) {
	f := newFixture(t)
	plan := &llb.Plan{Kind: "test", Name: "test", Build: httpSource}
	req := f.byIdentity(Request{Plan: plan, Outputs: Outputs{Push: true}}, "app")
	var volatile *VolatileError
	if _, err := f.engine.Identify(t.Context(), req); !errors.As(err, &volatile) || volatile.Source != "https://example.com/x" {
		t.Errorf("identify: %v", err)
	}
	if _, err := f.build(req); !errors.As(err, &volatile) || f.opened.Load() != 0 {
		t.Errorf("build: %v", err)
	}
	req.Outputs.ByIdentity, req.Outputs.Names = nil, f.names("app:1")
	f.needs(req, "with a tag of its own")
}

// httpSource builds on what a URL says today.
func httpSource(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
	def, err := bk.HTTP("https://example.com/x").Marshal(ctx)
	if err != nil {
		return nil, err
	}
	return c.Solve(ctx, gateway.SolveRequest{Definition: def.ToPB()})
}

func never(context.Context, Request, func(context.Context) (Existence, string)) (bool, error) {
	return false, nil
}

func always(context.Context, Request, func(context.Context) (Existence, string)) (bool, error) {
	return true, nil
}
