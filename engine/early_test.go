package engine

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/registry"
)

// The name is asked for while the graph is recorded: the base's registry does not answer before.
func TestNamesAreAskedForEarly(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1")
	f.know(req, "etc/")
	f.must(req, HowAssembled)
	asked := make(chan struct{})
	f.on(func(r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/v2/app/"):
			close(asked)
		case r.URL.Path == "/v2/base/manifests/1":
			select {
			case <-asked:
			case <-time.After(20 * time.Second):
				t.Error("the name was not asked for while the base was resolved")
			}
		}
	})
	f.must(req, HowKnown)
	got := f.requests()
	slices.Sort(got)
	if want := []string{"HEAD /v2/app/manifests/1", "HEAD /v2/base/manifests/1"}; !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// What is not pushed, asked for anew, or was never pushed from here is not asked for ahead.
func TestNamesThatAreNotAskedForEarly(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1", "app:2")
	f.know(req, "etc/")
	f.must(req, HowAssembled)
	early := func(edit func(*Request)) []string {
		r := req
		edit(&r)
		b := f.start(r)
		b.watch()
		return b.earlyNames()
	}
	if got, want := early(func(*Request) {}), []string{f.host + "/app:1", f.host + "/app:2"}; !slices.Equal(got, want) {
		t.Errorf("early are %q, want %q", got, want)
	}
	if got, want := early(func(r *Request) { r.Outputs.Names = f.names("app:1", "app:3") }), []string{f.host + "/app:1"}; !slices.Equal(got, want) {
		t.Errorf("early are %q, want %q: the other one is new", got, want)
	}
	for what, edit := range map[string]func(*Request){
		"force":      func(r *Request) { r.Force = true },
		"no cache":   func(r *Request) { r.Options.NoCache = true },
		"no push":    func(r *Request) { r.Outputs.Push = false },
		"an archive": func(r *Request) { r.Outputs.Exports = []Export{{Type: OCIExport, Dest: "x.tar"}} },
		"a new name": func(r *Request) { r.Outputs.Names = f.names("new:1") },
	} {
		if got := early(edit); got != nil {
			t.Errorf("%s: early are %q, want none", what, got)
		}
	}
}

func TestEarlyAnswersAreTakenOnce(t *testing.T) {
	f := newFixture(t)
	f.base()
	b := f.start(f.app("app:1"))
	name := f.host + "/base:1"
	b.early = askEarly(t.Context(), f.engine.Registry, []string{name, name})
	defer b.early.close()
	for range 2 {
		at, err := b.head(t.Context(), name, f.engine.Registry.Head)
		check(t, err)
		if at.Digest.String() != f.digest(t, name) {
			t.Errorf("%s stands for %s", name, at.Digest)
		}
		f.base() // another image
	}
}

// A build that does not need the answer does not wait for it.
func TestEarlyEndsWithTheBuild(t *testing.T) {
	f := newFixture(t)
	f.base()
	stuck, release := make(chan struct{}), make(chan struct{})
	f.on(func(r *http.Request) {
		if r.URL.Path == "/v2/base/manifests/1" {
			close(stuck)
			<-release
		}
	})
	defer close(release)
	e := askEarly(t.Context(), registry.New(registry.Options{Keychain: registry.StaticKeychain(nil)}), []string{f.host + "/base:1"})
	<-stuck
	ended := make(chan struct{})
	go func() { e.close(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("it still waits for the registry")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := f.start(f.app("app:1"))
	b.early = &early{asked: map[string]<-chan standing{"x": make(chan standing)}}
	if _, err := b.head(ctx, "x", f.engine.Registry.Head); err == nil {
		t.Error("a cancelled build has an answer")
	}
}
