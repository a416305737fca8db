package engine

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// When something cannot be read, it is said at once, and not after the environment was built.
func TestUnreadableCodeIsAnErrorBeforeTheBuilder(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1")
	e := f.know(req, "etc/")
	f.on(func(r *http.Request) {})
	dir := req.Plan.Locals["context"].Dir
	b := f.start(req)
	check(t, os.RemoveAll(filepath.Join(dir, "src")))
	var needs *needsBuilder
	_, err := b.knownEnvironment(t.Context(), e)
	if err == nil || errors.As(err, &needs) {
		t.Fatalf("a missing source is %v", err)
	}
	if _, err := f.build(req); err == nil || errors.Is(err, errNoBuilder) {
		t.Errorf("a missing source is %v", err)
	}
}

func TestErrorsOfSourcesAndRegistries(t *testing.T) {
	f := newFixture(t)
	f.base()
	var src *SourceError
	var reg *registry.Error
	req := f.onlyEnvironment("app:1")
	req.Plan.Image.Base.Ref = f.host + "/base:missing"
	if _, err := f.build(req); !errors.As(err, &reg) || !errors.Is(err, registry.ErrNotFound) || errors.As(err, &src) {
		t.Errorf("a base that is not there: %v", err)
	}
	req = f.onlyEnvironment("app:1")
	req.Plan.Image.Steps = append(req.Plan.Image.Steps, llb.Exec{Title: "x", Mounts: []llb.Mount{{Kind: 99, Target: "/x"}}})
	if _, err := f.build(req); !errors.As(err, &src) || !strings.Contains(err.Error(), "unknown kind of mount 99 at /x") {
		t.Errorf("a mount of no kind: %v", err)
	}
	if n := f.opened.Load(); n != 0 {
		t.Errorf("the builder was opened %d times for that", n)
	}
	f.Close() // the registry is gone
	req = f.onlyEnvironment("app:1")
	if _, err := f.build(req); !errors.Is(err, registry.ErrUnreachable) {
		t.Errorf("a registry out of reach: %v", err)
	}
}

// A push that is refused is what people are told, also where the builder cannot be used, and nothing is built.
func TestRefusedPushComesFirst(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.onlyEnvironment("app:1")
	inner := f.Config.Handler
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		inner.ServeHTTP(w, r)
	})
	if _, err := f.build(req); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("a registry that refuses: %v", err)
	}
}

func TestGraphNeedsNoBuilder(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1")
	g, err := f.engine.Graph(t.Context(), req)
	check(t, err)
	if len(g.Images) != 1 || f.opened.Load() != 0 {
		t.Errorf("%d images, the builder was opened %d times", len(g.Images), f.opened.Load())
	}
}

// What a builder builds for by itself is asked once.
func TestPlatformOfTheBuilder(t *testing.T) {
	f := newFixture(t)
	f.base(amd64, arm64)
	f.engine.Builders[0].Platform = ocispecs.Platform{}
	req := f.onlyEnvironment("app:1")
	f.needs(req, "a builder whose platform is not known")
	check(t, cache.Builders(f.cache).Put("test", cache.Builder{Platform: "linux/arm64"}))
	g, err := f.engine.Graph(t.Context(), req)
	check(t, err)
	if got := g.Images[0].Platform; got != "linux/arm64" {
		t.Errorf("the platform is %s", got)
	}
}

// A source that is wrong is an error at once, even when the builder is being reached for meanwhile.
func TestWrongSourceDoesNotWaitForTheBuilder(t *testing.T) {
	f := newFixture(t)
	f.base()
	f.engine.Builders[0].Open = func(ctx context.Context, _ string) (Builder, error) {
		select { // a builder out of reach: the dial takes its time
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(3 * time.Second):
			return nil, errNoBuilder
		}
	}
	req := f.onlyEnvironment("app:1")
	req.Force = true
	req.Plan.Image.Base.Ref = f.host + "/base:missing"
	start := time.Now()
	if _, err := f.build(req); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the error took %s", took)
	}
}
