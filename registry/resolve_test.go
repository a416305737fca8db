package registry

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestResolveIndex(t *testing.T) {
	s := newServer(t)
	index := testIndex(t, amd64, arm64)
	push(t, s.host+"/base/python:3", index)
	c := newClient(t, Options{Cache: newCache(t)})

	s.be(nil)
	img, err := c.Resolve(ctx(t), s.host+"/base/python:3", arm64)
	if err != nil {
		t.Fatal(err)
	}
	root := digestOf(t, index)
	if want := s.host + "/base/python@" + root; img.Ref != want || img.Digest.String() != root {
		t.Errorf("ref %s, want %s", img.Ref, want)
	}
	if img.Platform.Architecture != "arm64" || img.Manifest.Digest == img.Digest {
		t.Errorf("got %+v", img.Manifest)
	}
	if digest.FromBytes(img.Config) != img.ConfigDigest || digest.FromBytes(img.ManifestBytes) != img.Manifest.Digest {
		t.Error("bytes and digests differ")
	}
	if got := s.requests(); len(got) != 3 || got[0] != "GET /v2/base/python/manifests/3" { // the index, manifest, config
		t.Errorf("requests: %q", got)
	}

	s.be(nil)
	if _, err := c.Resolve(ctx(t), s.host+"/base/python:3", arm64); err != nil {
		t.Fatal(err)
	}
	if got := s.requests(); !slices.Equal(got, []string{"HEAD /v2/base/python/manifests/3"}) {
		t.Errorf("a known tag: %q", got)
	}

	s.be(nil)
	again, err := newClient(t, Options{Cache: c.opts.Cache}).Resolve(ctx(t), s.host+"/base/python:3@"+root, arm64)
	if err != nil {
		t.Fatal(err)
	}
	if again.Ref != img.Ref || !bytes.Equal(again.Config, img.Config) {
		t.Errorf("got %s", again.Ref)
	}
	if len(s.log) != 0 {
		t.Errorf("a known digest: %q", s.log)
	}
}

func TestResolveWithoutCache(t *testing.T) {
	s := newServer(t)
	img := testImage(t, amd64)
	push(t, s.host+"/app:1", img)
	got, err := newClient(t, Options{}).Resolve(ctx(t), s.host+"/app:1", amd64)
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != got.Manifest.Digest || got.Digest.String() != digestOf(t, img) {
		t.Errorf("got %+v", got)
	}
}

func TestResolvePlatforms(t *testing.T) {
	v7 := ocispecs.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	v6 := ocispecs.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}
	s := newServer(t)
	push(t, s.host+"/app:1", testIndex(t, amd64, v6, v7, ocispecs.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}))
	push(t, s.host+"/single:1", testImage(t, arm64))
	c := newClient(t, Options{Cache: newCache(t)})

	for _, want := range []ocispecs.Platform{amd64, v6, v7, arm64, {OS: "linux", Architecture: "aarch64"}, {OS: "linux", Architecture: "amd64", Variant: "v2"}} {
		if _, err := c.Resolve(ctx(t), s.host+"/app:1", want); err != nil {
			t.Errorf("%v: %v", want, err)
		}
	}
	got, err := c.Resolve(ctx(t), s.host+"/app:1", v7)
	if err != nil || got.Platform.Variant != "v7" {
		t.Errorf("v7: %v %v", got.Platform, err)
	}
	var missing *PlatformError
	if _, err := c.Resolve(ctx(t), s.host+"/app:1", s390x); !errors.As(err, &missing) || len(missing.Have) != 4 {
		t.Errorf("got %v", err)
	} else if text := err.Error(); !strings.Contains(text, "linux/s390x") || !strings.Contains(text, "linux/arm/v7") {
		t.Errorf("got %s", text)
	}
	if _, err := c.Resolve(ctx(t), s.host+"/single:1", amd64); !errors.As(err, &missing) || len(missing.Have) != 1 {
		t.Errorf("an image for another platform: %v", err)
	}
	if _, err := c.Resolve(ctx(t), s.host+"/single:1", arm64); err != nil {
		t.Error(err)
	}
	if _, err := c.Resolve(ctx(t), s.host+"/single:1", ocispecs.Platform{}); err != nil && !errors.As(err, &missing) {
		t.Error(err)
	}
}

// TestHeadQuirks: registries that cannot answer a HEAD are asked with GET.
func TestHeadQuirks(t *testing.T) {
	for name, quirk := range map[string]func(w http.ResponseWriter){
		"404": func(w http.ResponseWriter) { w.WriteHeader(404) },
		"405": func(w http.ResponseWriter) { w.WriteHeader(405) },
		"400": func(w http.ResponseWriter) { w.WriteHeader(400) },
		"no digest": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
			w.Header().Set("Content-Length", "10")
		},
		"no type": func(w http.ResponseWriter) {
			w.Header()["Content-Type"] = nil
			w.Header().Set("Content-Length", "10")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			img := testImage(t, amd64)
			push(t, s.host+"/app:1", img)
			s.be(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodHead {
					quirk(w)
					return true
				}
				return false
			})
			c := newClient(t, Options{Cache: newCache(t)})
			got, err := c.Resolve(ctx(t), s.host+"/app:1", amd64)
			if err != nil || got.Digest.String() != digestOf(t, img) {
				t.Fatalf("got %s, %v", got.Digest, err)
			}
			if n := s.count("GET /v2/app/manifests/"); n != 1 {
				t.Errorf("the manifest was fetched %d times", n)
			}
			if desc, err := c.Head(ctx(t), s.host+"/app:1"); err != nil || desc.Digest != got.Digest {
				t.Errorf("Head: %v %v", desc, err)
			}
		})
	}
}

func TestNotFound(t *testing.T) {
	s := newServer(t)
	push(t, s.host+"/app:1", testImage(t, amd64))
	c := newClient(t, Options{})
	for _, ref := range []string{"/app:2", "/nothing:1", "/app@" + digest.FromString("x").String()} {
		_, err := c.Resolve(ctx(t), s.host+ref, amd64)
		var e *Error
		if !errors.Is(err, ErrNotFound) || !errors.As(err, &e) || e.Host != s.host || e.Hint == "" {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if _, err := c.Head(ctx(t), s.host+"/app:2"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Head: %v", err)
	}
	for _, ref := range []string{"", "app/UPPER", "a b", "x@sha256:1", strings.Repeat("a", 300)} {
		if _, err := c.Resolve(ctx(t), ref, amd64); !errors.Is(err, ErrBadAnswer) {
			t.Errorf("%q: %v", ref, err)
		}
	}
}

func TestCorruptedCacheIsFetchedAgain(t *testing.T) {
	s := newServer(t)
	push(t, s.host+"/app:1", testImage(t, amd64))
	store := newCache(t)
	c := newClient(t, Options{Cache: store})
	img, err := c.Resolve(ctx(t), s.host+"/app:1", amd64)
	if err != nil {
		t.Fatal(err)
	}
	corrupt(t, store, img.ConfigDigest)
	corrupt(t, store, img.Digest)
	again, err := c.Resolve(ctx(t), s.host+"/app:1", amd64)
	if err != nil || !bytes.Equal(again.Config, img.Config) {
		t.Fatalf("got %v", err)
	}
}

// TestTagsThatWereSeen: a tag is fetched the first time that a machine meets it, and asked for with a HEAD from then
// on, wherever it stands; one that is not there is no seen one.
func TestTagsThatWereSeen(t *testing.T) {
	s := newServer(t)
	c := newClient(t, Options{Cache: newCache(t)})
	if _, _, err := c.Current(ctx(t), s.host+"/app:1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a tag that is not there: %v", err)
	}
	var want digest.Digest
	for i, first := range []bool{true, false, false} {
		if i != 1 {
			img := testImage(t, amd64)
			push(t, s.host+"/app:1", img)
			want = digest.Digest(digestOf(t, img))
		}
		s.be(nil)
		at, got, err := c.Current(ctx(t), s.host+"/app:1")
		if err != nil || got != first || at.Digest != want {
			t.Errorf("time %d: %s, first: %v, %v", i, at.Digest, got, err)
		}
		if method := map[bool]string{true: "GET ", false: "HEAD "}[first]; len(s.requests()) != 1 || s.count(method) != 1 {
			t.Errorf("time %d: asked %q", i, s.requests())
		}
	}
	img, err := c.Resolve(ctx(t), s.host+"/app:1", amd64) // which has to be fetched, as the tag has moved
	if err != nil || img.Digest != want {
		t.Errorf("%s, %v", img.Digest, err)
	}
	if at, first, err := newClient(t, Options{}).Current(ctx(t), s.host+"/app:1"); err != nil || first || at.Digest != want {
		t.Errorf("without a cache: %s, %v, %v", at.Digest, first, err)
	}
}

func TestResolverAsksOnce(t *testing.T) {
	s := newServer(t)
	push(t, s.host+"/app:1", testIndex(t, amd64, arm64))
	c := newClient(t, Options{Cache: newCache(t)})
	s.be(nil)
	r := c.NewResolver()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := r.Resolve(ctx(t), s.host+"/app:1", []ocispecs.Platform{amd64, arm64}[i%2]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := s.requests(); len(got) != 1+2+2 || s.count("GET /v2/app/manifests/1") != 1 { // and two manifests, two configs
		t.Errorf("asked %q", got)
	}
	// The tag moves; this build does not see it.
	push(t, s.host+"/app:1", testIndex(t, s390x))
	if _, err := r.Resolve(ctx(t), s.host+"/app:1", amd64); err != nil {
		t.Error(err)
	}
	if _, err := c.Resolve(ctx(t), s.host+"/app:1", amd64); err == nil {
		t.Error("a new resolution sees the old tag")
	}
}

func opener(text string) func(int64) (io.ReadCloser, error) {
	return func(offset int64) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text[offset:])), nil }
}

// contentOf is opener for an entry of a layer.
func contentOf(text string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return opener(text)(0) }
}
