package engine

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/llb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// An image without code at its end is found by the tag of its identity alone.
func TestImagesWithoutCodeTravel(t *testing.T) {
	f := newFixture(t)
	blobs := f.scoped()
	f.base(amd64, arm64)
	req := f.onlyEnvironment("app:1", "app:latest", "second/app:1")
	req.Options.Platforms = []ocispecs.Platform{amd64, arm64}
	f.needs(req, "an image that nobody has")
	d := f.share(req)
	f.on(nil)
	blobs.forget()
	res := f.must(req, HowKnown)
	if res.Descriptor.Digest != d || len(res.Names) != 3 {
		t.Errorf("found %+v, want %s", res, d)
	}
	for _, n := range req.Outputs.Names {
		if got := f.digest(t, n.String()); got != d.String() {
			t.Errorf("%s is %s", n, got)
		}
		f.image(t, n.String(), arm64)
	}
	f.newMachine()
	f.must(req, HowKnown)
	f.newMachine()
	for name, change := range map[string]func(*Request){
		"force":    func(r *Request) { r.Force = true },
		"no cache": func(r *Request) { r.Options.NoCache = true },
		"no tags":  func(r *Request) { r.Outputs.NoEnvTag = true },
		"no push":  func(r *Request) { r.Outputs.Push = false },
		"an archive": func(r *Request) {
			r.Outputs.Exports = []Export{{Type: OCIExport, Dest: filepath.Join(t.TempDir(), "x")}}
		},
		"another place":    func(r *Request) { r.Outputs.EnvRepo = f.repo("none") },
		"another platform": func(r *Request) { r.Options.Platforms = []ocispecs.Platform{arm64} },
	} {
		other := req
		change(&other)
		f.needs(other, name)
	}
}

// share puts what a builder would have made for the request under its tag, and returns its digest.
func (f *fixture) share(req Request) digest.Digest {
	f.t.Helper()
	b := f.start(req)
	rec, err := b.record(f.t.Context(), b.buildFunc())
	check(f.t, err)
	g, err := rec.Graph(f.t.Context())
	check(f.t, err)
	img := environmentImage(f.t, &environment{rec: rec})
	for _, repo := range req.Outputs.repositories() {
		f.server.push(f.t, repo+":built", img)
	}
	d, err := f.engine.Registry.Head(f.t.Context(), req.Outputs.repositories()[0]+":built")
	check(f.t, err)
	said := f.listen(func() { b.share(f.t.Context(), b.identity(g), &Result{Descriptor: d, How: HowSolved}) })
	if strings.Contains(said, "only this machine") {
		f.t.Errorf("people are told %s", said)
	}
	return d.Digest
}

// An image in another repository, or in another registry, comes with all its parts.
func TestImagesWithoutCodeElsewhere(t *testing.T) {
	f := newFixture(t)
	f.scoped()
	f.base(amd64, arm64)
	req := f.onlyEnvironment("app:1")
	req.Options.Platforms = []ocispecs.Platform{amd64, arm64}
	req.Outputs.EnvRepo = f.repo("environments")
	d := f.share(req)
	there := newServer(t)
	elsewhere, err := reference.ParseNormalizedNamed(there.host + "/team/app:1")
	check(t, err)
	req.Outputs.Names = append(f.names("new/app:1"), elsewhere.(reference.NamedTagged))
	f.newMachine()
	if got := f.must(req, HowKnown).Transferred; got == nil || got.Mounted.Blobs == 0 || got.Moved.Blobs != got.Mounted.Blobs || got.Sent == 0 {
		t.Errorf("mounted here and sent there: %+v", got)
	}
	for _, p := range req.Options.Platforms {
		f.image(t, f.host+"/new/app:1", p)
		there.image(t, elsewhere.String(), p)
	}
	if got := there.digest(t, elsewhere.String()); got != d.String() {
		t.Errorf("it is %s there, not %s", got, d)
	}
}

// A Dockerfile's image is found as well; one that is not all there is not.
func TestDockerfilesTravel(t *testing.T) {
	f := newFixture(t)
	f.base()
	inner := f.onlyEnvironment("app:1")
	req := inner
	req.Plan = &llb.Plan{Kind: "Dockerfile", Name: "Dockerfile", Build: inner.Plan.Image.BuildFunc(llb.Options{})}
	f.share(req)
	f.newMachine()
	res := f.must(req, HowKnown)
	f.newMachine()
	f.remove(t, res.Names[0])
	f.remove(t, f.host+"/app:built")
	f.remove(t, f.host+"/app@"+res.Descriptor.Digest.String())
	f.needs(req, "an image that is gone")
}

// A failing look-up is no reason to fail, but where people ask for that.
func TestSharedCannotTell(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.onlyEnvironment("app:1")
	f.share(req)
	f.newMachine()
	f.refuse("/v2/app/")
	f.needs(req, "a registry that does not say")
	req.FailFast = true
	var unknown *UnknownError
	if _, err := f.build(req); !errors.As(err, &unknown) {
		t.Errorf("got %v", err)
	}
	f.refuse("")
	f.must(req, HowKnown)
}
