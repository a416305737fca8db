package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func says(ok bool, why string) func(context.Context) (bool, string) {
	return func(context.Context) (bool, string) { return ok, why }
}

func TestChoose(t *testing.T) {
	list := Builders{
		{Name: "low", Priority: 1},
		{Name: "high", Priority: 9, Usable: says(false, "no address")},
		{Name: "middle", Priority: 5, Usable: says(true, "")},
		{Name: "equal", Priority: 5},
		{Name: "hidden", Priority: -1, Usable: says(true, "it is there")},
	}
	for name, want := range map[string]string{
		"":       "middle (high: no address)",
		"low":    "low (asked for by me)",
		"hidden": "hidden (asked for by me; it is there)",
		"high":   "the builder high (asked for by me) cannot be used: no address | name another with --builder: low, middle, equal, hidden",
		"hgih":   `there is no builder "hgih" (asked for by me) | did you mean high?`,
		"docker": `there is no builder "docker" (asked for by me) | the builders are low, high, middle, equal, hidden`,
	} {
		if got := chosen(t, list, name); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
	// the list is the caller's: nothing is sorted in it
	if list[0].Name != "low" {
		t.Error("the caller's list was changed")
	}
	none := Builders{{Name: "a", Usable: says(false, "x")}, {Name: "b", Priority: 3, Usable: says(false, "y")}, {Name: "c", Priority: -1}}
	if got, want := chosen(t, none, ""), "no builder can be used: b: y; a: x | name one with --builder: a, b, c"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func chosen(t *testing.T, list Builders, name string) string {
	t.Helper()
	c, err := list.Choose(t.Context(), name, "me")
	var refused *BuilderError
	if errors.As(err, &refused) {
		return refused.Msg + " | " + refused.Hint
	}
	check(t, err)
	return c.Name + " (" + c.Why + ")"
}

// The caller's name goes before the source's, which goes before the priorities.
func TestWhoNamesTheBuilder(t *testing.T) {
	f := newFixture(t)
	var opened []string
	f.engine.Builders = nil
	for i, name := range []string{"one", "two", "three"} {
		f.engine.Builders = append(f.engine.Builders, Provider{Name: name, Priority: i, Key: name, Platform: amd64,
			Open: func(_ context.Context, why string) (Builder, error) {
				opened = append(opened, name+": "+why)
				return nil, errNoBuilder
			}})
	}
	f.base()
	req := f.onlyEnvironment("app:1")
	f.needs(req, "nobody names one")
	req.Plan.Builder = "two"
	f.needs(req, "the source names one")
	req.Builder = "one"
	f.needs(req, "the caller names one")
	if want := []string{"three: ", "two: asked for by test", "one: asked for by --builder or IBUILD_BUILDER"}; !slices.Equal(opened, want) {
		t.Errorf("opened %q, want %q", opened, want)
	}
	req.Builder = "four"
	var refused *BuilderError
	if _, err := f.build(req); !errors.As(err, &refused) {
		t.Errorf("a builder that is not there: %v", err)
	}
}

// What a builder would be asked to do can be seen where it cannot be used, but not for one that nobody knows.
func TestGraphWithoutTheBuilder(t *testing.T) {
	f := newFixture(t)
	f.base()
	f.engine.Builders = append(f.engine.Builders, Provider{Name: "later", Usable: says(false, "comes later")})
	req := f.onlyEnvironment("app:1")
	want, err := f.engine.Identify(t.Context(), req)
	check(t, err)
	req.Builder = "later"
	var refused *BuilderError
	if _, err := f.build(req); !errors.As(err, &refused) || !refused.Unusable || !strings.Contains(err.Error(), "comes later") {
		t.Errorf("build: %v", err)
	}
	req.Options.Platforms = []ocispecs.Platform{amd64}
	if id, err := f.engine.Identify(t.Context(), req); err != nil || id != want {
		t.Errorf("identify: %s, %v", id, err)
	}
	req.Builder = "latre"
	if _, err := f.engine.Graph(t.Context(), req); !errors.As(err, &refused) {
		t.Errorf("graph: %v", err)
	}
}

// A Go program adds a builder that is no BuildKit.
func TestMake(t *testing.T) {
	f := newFixture(t)
	f.engine.Builders = append(f.engine.Builders, Provider{Name: "elsewhere", Priority: 9, Make: func(_ context.Context, _ *Engine, req Request) (*Result, error) {
		return &Result{How: HowSolved, Names: []string{req.Plan.Name}}, nil
	}})
	res, err := f.build(f.onlyEnvironment("app:1"))
	check(t, err)
	if res.Builder != "elsewhere" || !slices.Equal(res.Names, []string{"test"}) || f.opened.Load() != 0 || len(f.requests()) != 0 {
		t.Errorf("result %+v, %d opened, asked %q", res, f.opened.Load(), f.requests())
	}
}

func TestNoop(t *testing.T) {
	f := newFixture(t)
	f.base(amd64, arm64)
	req := Request{Plan: f.plan(t.TempDir()), Builder: "noop"}
	req.Options.Platforms = []ocispecs.Platform{amd64, arm64}
	res := f.noop(req)
	want := f.digest(t, f.host+"/base:1")
	if res.How != HowBase || res.Builder != "noop" || res.Descriptor.Digest.String() != want || !slices.Equal(res.Names, []string{f.host + "/base@" + want}) {
		t.Errorf("result %+v, want the base %s", res, want)
	}
	if res.Descriptor.MediaType != ocispecs.MediaTypeImageIndex || res.Descriptor.Size == 0 || res.ConfigDigest != "" {
		t.Errorf("descriptor %+v, config %s", res.Descriptor, res.ConfigDigest)
	}
	if !strings.Contains(f.said(), "steps left out: 2") || !strings.Contains(f.said(), "builder: noop (asked for by") {
		t.Errorf("said %s", f.said())
	}
	f.base() // one platform only
	var platform *registry.PlatformError
	if _, err := f.build(req); !errors.As(err, &platform) || f.opened.Load() != 0 {
		t.Errorf("a base that is not there for arm64: %v", err)
	}
	req.Options.Platforms = req.Options.Platforms[:1]
	if res := f.noop(req); res.ConfigDigest == "" || res.Descriptor.MediaType == ocispecs.MediaTypeImageIndex {
		t.Errorf("an image: %+v", res)
	}
}

func (f *fixture) noop(req Request) *Result {
	f.t.Helper()
	res, err := f.build(req)
	check(f.t, err)
	return res
}

func TestNoopHasNothingToGive(t *testing.T) {
	f := newFixture(t)
	f.base()
	for want, change := range map[string]func(*Request){
		"that of test is the empty image":                           func(r *Request) { r.Plan.Image.Base.Ref = "scratch" },
		"the builder noop makes nothing that could be pushed":       func(r *Request) { r.Outputs = Outputs{Push: true, Names: f.names("app:1")} },
		"makes nothing that could be pushed or written":             func(r *Request) { r.Outputs.Exports = []Export{{Type: OCIExport, Dest: "x"}} },
		"takes the base image as it is, and test (test) names none": func(r *Request) { r.Plan = &llb.Plan{Kind: "test", Name: "test"} },
	} {
		req := Request{Plan: f.plan(t.TempDir()), Builder: "noop"}
		change(&req)
		var refused *BuilderError
		if _, err := f.build(req); !errors.As(err, &refused) || !strings.Contains(err.Error(), want) || refused.Hint == "" {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
