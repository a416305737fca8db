package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/engine/journal"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/opencontainers/go-digest"
)

func TestPinsApply(t *testing.T) {
	d := digest.FromString("x")
	pins := Pins{"docker.io/library/debian:12": d, "docker.io/library/debian:latest": d, "ghcr.io/a/b:1": d}
	own := "debian:12@" + digest.FromString("y").String()
	for ref, want := range map[string][2]string{
		"debian:12":                   {"docker.io/library/debian:12", "docker.io/library/debian@" + d.String()},
		"docker.io/library/debian:12": {"docker.io/library/debian:12", "docker.io/library/debian@" + d.String()},
		"debian":                      {"docker.io/library/debian:latest", "docker.io/library/debian@" + d.String()},
		"ghcr.io/a/b:1":               {"ghcr.io/a/b:1", "ghcr.io/a/b@" + d.String()},
		"debian:13":                   {"docker.io/library/debian:13", "debian:13"},
		own:                           {"", own},
		"Not a reference":             {"", "Not a reference"},
	} {
		name, at, pinned := pins.apply(ref)
		if name != want[0] || at != want[1] || pinned != strings.Contains(at, d.String()) {
			t.Errorf("%s: %q, %q, %v; want %q", ref, name, at, pinned, want)
		}
	}
}

// A pinned tag is not looked up, and moving it changes nothing.
func TestPinnedBase(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.onlyEnvironment("app:1")
	list, err := f.engine.Images(t.Context(), req)
	check(t, err)
	at := digest.Digest(f.digest(t, f.host+"/base:1"))
	if d := cmp.Diff([]ResolvedImage{{Name: f.host + "/base:1", Digest: at}}, list); d != "" {
		t.Errorf("images (-want +got):\n%s", d)
	}
	id, err := f.engine.Identify(t.Context(), req)
	check(t, err)

	req.Pins = Pins{f.host + "/base:1": at}
	f.base() // another image under the tag
	f.on(nil)
	pinned, err := f.engine.Identify(t.Context(), req)
	check(t, err)
	if pinned != id {
		t.Error("the pinned image is another one")
	}
	if asked := f.requests(); len(asked) != 0 { // what the digest names is in the cache
		t.Errorf("asked %q", asked)
	}
	g, err := f.engine.Graph(t.Context(), req)
	check(t, err)
	if id := g.Images[0].Vertices[0].Op.GetSource().GetIdentifier(); !strings.HasSuffix(id, "/base:1@"+at.String()) {
		t.Errorf("the graph starts at %s", id)
	}
	list, err = f.engine.Images(t.Context(), req)
	check(t, err)
	if len(list) != 1 || !list[0].Pinned || list[0].Digest != at {
		t.Errorf("images %+v", list)
	}
	f.needs(req, "the first time")
	if strings.Contains(f.said(), "not in the lock") {
		t.Errorf("said %s", f.said())
	}
	req.Pins = Pins{}
	f.needs(req, "a lock without the base")
	if !strings.Contains(f.said(), "not in the lock of images (ibuild lock adds them): "+f.host+"/base:1") {
		t.Errorf("said %s", f.said())
	}
	req.Pins = Pins{f.host + "/base:1": digest.FromString("gone")}
	if _, err := f.build(req); err == nil || !strings.Contains(err.Error(), "ibuild lock --update") {
		t.Errorf("a pin of an image that is gone: %v", err)
	}
}

// pinTester is a builder's gateway that says what it was asked to resolve.
type pinTester struct {
	gateway.Client
	asked []string
}

func (p *pinTester) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	p.asked = append(p.asked, ref)
	return ref, digest.FromString("answer"), nil, nil
}

// A frontend that runs against the builder is held to the lock, too.
func TestPinnedClient(t *testing.T) {
	d := digest.FromString("x")
	inner := &pinTester{}
	c := &pinnedClient{Client: inner, build: &build{resolver: &resolver{}, req: Request{Pins: Pins{"docker.io/library/debian:12": d}, Plan: &llb.Plan{}}}}
	for _, ref := range []string{"debian:12", "debian:13"} {
		if got, _, _, err := c.ResolveImageConfig(t.Context(), ref, sourceresolver.Opt{}); err != nil || got != ref {
			t.Errorf("%s: %s, %v", ref, got, err)
		}
	}
	if want := []string{"docker.io/library/debian@" + d.String(), "debian:13"}; !slices.Equal(inner.asked, want) {
		t.Errorf("asked %q, want %q", inner.asked, want)
	}
}

// A registry that is out of reach is no reason to build on what a tag stood for, and the error says what that was.
func TestTagsThatWereSeen(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.onlyEnvironment("app:1")
	f.knowResult(req)
	f.must(req, HowKnown)
	at := f.digest(t, f.host+"/base:1")
	if bases := f.last().Bases; len(bases) != 1 || bases[0] != (journal.Base{Name: f.host + "/base:1", Digest: digest.Digest(at)}) {
		t.Errorf("recorded %+v", bases)
	}
	f.Close()
	_, err := f.build(req)
	var reach *registry.Error
	if !errors.Is(err, registry.ErrUnreachable) || !errors.As(err, &reach) {
		t.Fatalf("a registry that is gone: %v", err)
	}
	if !strings.Contains(reach.Msg, "; at 20") || !strings.HasSuffix(reach.Msg, " UTC it was "+at) {
		t.Errorf("it does not say what the tag was: %s", reach.Msg)
	}
	if want := "write " + f.host + "/base:1@" + at + ", which asks for no tag"; !strings.HasSuffix(reach.Hint, want) {
		t.Errorf("the hint is %q, want %q at its end", reach.Hint, want)
	}
	req.Plan.Image.Base.Ref = f.host + "/base:1@" + at
	if _, err := f.engine.Graph(t.Context(), req); err != nil {
		t.Errorf("what the hint says does not work: %v", err)
	}
	req.Plan.Image.Base.Ref = f.host + "/base:2"
	if _, err := f.engine.Graph(t.Context(), req); !errors.As(err, &reach) || strings.Contains(reach.Msg, "it was") {
		t.Errorf("a tag that was never seen: %v", err)
	}
}
