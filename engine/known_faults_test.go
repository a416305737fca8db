package engine

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// liar stands before the fixture's registry. Where a lie is told, HEADs of the path have its digest.
type liar struct {
	lie  atomic.Pointer[string]
	path string
}

// behindLiar gives the fixture a registry that can lie about a path.
func behindLiar(t *testing.T, path string) (*fixture, *liar) {
	t.Helper()
	f := newFixture(t)
	l := &liar{path: path}
	honest := f.server.Config.Handler
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lie := l.lie.Load()
		if lie == nil || r.URL.Path != l.path || r.Method != http.MethodHead {
			honest.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		honest.ServeHTTP(answer, r)
		for k, v := range answer.Header() {
			w.Header()[k] = v
		}
		w.Header().Set("Docker-Content-Digest", *lie)
		w.WriteHeader(answer.Code)
	}))
	t.Cleanup(front.Close)
	f.host = strings.TrimPrefix(front.URL, "http://")
	return f, l
}

func (l *liar) says(d string) { l.lie.Store(&d) }

// A registry that names the digest of something that it does not have makes no build, and nothing is remembered.
func TestLieAboutABase(t *testing.T) {
	f, l := behindLiar(t, "/v2/base/manifests/1")
	f.base()
	req := f.onlyEnvironment("app:1")
	f.knowResult(req)
	f.must(req, HowKnown)
	l.says(digest.FromString("nothing").String())
	for range 2 {
		if res, err := f.build(req); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("built %+v, %v", res, err)
		}
	}
	if f.opened.Load() != 0 {
		t.Error("a builder was opened")
	}
	l.lie.Store(nil)
	f.must(req, HowKnown)
}

// A lie that is the digest of an older base is the older base: that is what a builder would get under this digest.
func TestOldBase(t *testing.T) {
	f, l := behindLiar(t, "/v2/base/manifests/1")
	f.base()
	old := f.digest(t, f.host+"/base:1")
	req := f.onlyEnvironment("app:1")
	want, err := f.engine.Identify(t.Context(), req)
	check(t, err)
	f.base()
	moved, err := f.engine.Identify(t.Context(), req)
	check(t, err)
	l.says(old)
	got, err := f.engine.Identify(t.Context(), req)
	check(t, err)
	if got != want || moved == want {
		t.Errorf("identities %s, %s after the move, %s of the digest that is said", want, moved, got)
	}
}

// A registry that says that the name is another image gets the right one again, and one that has lost it, too, is
// no reason for a hit.
func TestLieAboutTheName(t *testing.T) {
	f, l := behindLiar(t, "/v2/app/manifests/1")
	f.base()
	req := f.onlyEnvironment("app:1")
	d := f.knowResult(req)
	f.on(nil)
	l.says(digest.FromString("another").String())
	f.must(req, HowKnown)
	if !strings.Contains(strings.Join(f.requests(), "\n"), "PUT /v2/app/manifests/1") {
		t.Errorf("the tag was not set again: %q", f.requests())
	}
	f.remove(t, f.host+"/app@"+d.String())
	f.needs(req, "an image that is gone while its tag is said to be another")
}

// A base without the platform that is asked for is an error, also when the same build was known for another one.
func TestBaseLosesAPlatform(t *testing.T) {
	f := newFixture(t)
	f.base(amd64, arm64)
	req := f.onlyEnvironment("app:1")
	req.Options.Platforms = []ocispecs.Platform{arm64}
	f.knowResult(req)
	f.must(req, HowKnown)
	idx := mutate.AppendManifests(v1.ImageIndex(empty.Index), mutate.IndexAddendum{Add: baseImage(t, amd64, nil),
		Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	f.server.push(t, f.host+"/base:1", idx)
	var platform *registry.PlatformError
	if res, err := f.build(req); !errors.As(err, &platform) {
		t.Errorf("built %+v, %v", res, err)
	}
	f.remove(t, f.host+"/base:1")
	if res, err := f.build(req); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("without the base: built %+v, %v", res, err)
	}
}

// What is known of one registry or repository says nothing about another one.
func TestKnownElsewhere(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.onlyEnvironment("app:1")
	f.knowResult(req)
	there := newServer(t)
	for what, name := range map[string]string{"another registry": there.host + "/app:1", "another repository": f.host + "/other:1"} {
		other := req
		other.Outputs.Names = f.named(name)
		f.needs(other, what)
		other.Outputs.Names = append(f.names("app:1"), other.Outputs.Names...)
		f.needs(other, what+", beside the one that has it")
	}
	img, err := random.Image(32, 1)
	check(t, err)
	there.push(t, there.host+"/app:1", img) // something else under the same name
	req.Outputs.Names = f.named(there.host + "/app:1")
	f.needs(req, "another registry with another image of this name")
}

// Force and no-cache look nothing up, in no memory and under no name made from the identity.
func TestForceLooksNothingUp(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.byIdentity(f.onlyEnvironment("app:1"), "app")
	b := f.start(req)
	rec, err := b.record(t.Context(), b.buildFunc())
	check(t, err)
	g, err := rec.Graph(t.Context())
	check(t, err)
	check(t, b.name(g))
	named := req
	named.Outputs = Outputs{Push: true, Names: b.req.Outputs.Names}
	f.knowResult(named)
	f.must(req, HowKnown)
	for name, change := range map[string]func(*Request){
		"force":    func(r *Request) { r.Force = true },
		"no cache": func(r *Request) { r.Options.NoCache = true },
	} {
		for kind, r := range map[string]Request{"a name": named, "a name from the identity": req} {
			change(&r)
			f.needs(r, name+", "+kind)
		}
	}
}

// named are names as they are written, with their registries.
func (f *fixture) named(list ...string) []reference.NamedTagged {
	f.t.Helper()
	var out []reference.NamedTagged
	for _, s := range list {
		n, err := reference.ParseNormalizedNamed(s)
		check(f.t, err)
		out = append(out, n.(reference.NamedTagged))
	}
	return out
}
