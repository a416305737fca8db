package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func textBlob(text string) Blob {
	return Blob{
		Descriptor: ocispecs.Descriptor{MediaType: "text/plain", Digest: digest.FromString(text), Size: int64(len(text))},
		Open:       opener(text),
	}
}

// pulled returns what a reference points to, read and checked by ggcr alone.
func pulled(t *testing.T, ref string) *remote.Descriptor {
	t.Helper()
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := remote.Get(parsed)
	if err != nil {
		t.Fatal(err)
	}
	return desc
}

// TestAssembleAndPush is the whole way: a base from one registry, code layers on
// top, for two platforms, as an index in another repository.
func TestAssembleAndPush(t *testing.T) {
	s := newServer(t)
	index := testIndex(t, amd64, arm64)
	push(t, s.host+"/base/python:3", index)
	store := newCache(t)
	c := newClient(t, Options{Cache: store})
	cs, err := store.Content()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := BuildLayer(ctx(t), cs, []Entry{file("app/main.py", "print('hi')"), {Path: "app", Mode: dirMode}}, LayerOptions{CreatedBy: "ibuild: code"})
	if err != nil {
		t.Fatal(err)
	}
	up := Upload{Repository: s.host + "/team/app", Tags: []string{s.host + "/team/app:1", s.host + "/team/app:latest"}}
	up.Blobs = append(up.Blobs, Blob{Descriptor: layer.Descriptor})
	var entries []ocispecs.Descriptor
	for _, p := range []ocispecs.Platform{amd64, arm64} {
		base, err := c.Resolve(ctx(t), s.host+"/base/python:3", p)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := decodeDocument(base.ManifestBytes, defaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range doc.image.Layers {
			up.Blobs = append(up.Blobs, Blob{Descriptor: l, From: s.host + "/base/python"})
		}
		img, err := Assemble(base.Parts(), []Layer{layer}, AssembleOptions{Edit: func(c *Config) error {
			c.Config.Entrypoint = []string{"python", "/app/main.py"}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		up.Blobs = append(up.Blobs, img.Config.Blob())
		up.Manifests = append(up.Manifests, img.Manifest)
		entries = append(entries, img.Manifest.Descriptor)
	}
	root, err := Index(entries)
	if err != nil {
		t.Fatal(err)
	}
	up.Manifests = append(up.Manifests, root)

	s.be(nil)
	if err := c.Push(ctx(t), up); err != nil {
		t.Fatal(err)
	}
	requests := s.requests()
	if n := s.count("PUT /v2/team/app/blobs/"); n != 3 { // the layer, two configs
		t.Errorf("%d blobs were uploaded:\n%s", n, strings.Join(requests, "\n"))
	}
	if n := s.count("GET "); n != 0 {
		t.Errorf("something was pulled:\n%s", strings.Join(requests, "\n"))
	}
	if last := requests[len(requests)-2:]; !slices.Equal(last, []string{"PUT /v2/team/app/manifests/1", "PUT /v2/team/app/manifests/latest"}) {
		t.Errorf("the tags are not last:\n%s", strings.Join(requests, "\n"))
	}

	got, err := pulled(t, s.host+"/team/app:latest").ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(got); err != nil {
		t.Error(err)
	}
	img, err := c.Resolve(ctx(t), s.host+"/team/app:1", arm64)
	if err != nil || img.Digest != root.Digest {
		t.Errorf("got %s, %v", img.Digest, err)
	}
	if ok, err := c.Exists(ctx(t), s.host+"/team/app", root.Descriptor); !ok || err != nil {
		t.Errorf("Exists: %v %v", ok, err)
	}
	if ok, err := c.Exists(ctx(t), s.host+"/team/app", layer.Descriptor); !ok || err != nil {
		t.Errorf("Exists: %v %v", ok, err)
	}
	if ok, err := c.Exists(ctx(t), s.host+"/team/app", textBlob("x").Descriptor); ok || err != nil {
		t.Errorf("Exists: %v %v", ok, err)
	}
	missing := root.Descriptor
	missing.Digest = digest.FromString("x")
	if ok, err := c.Exists(ctx(t), s.host+"/team/app", missing); ok || err != nil {
		t.Errorf("Exists: %v %v", ok, err)
	}

	// Once more: nothing goes up but the tags.
	s.be(nil)
	if err := c.Push(ctx(t), up); err != nil {
		t.Fatal(err)
	}
	if n := s.count("PUT /v2/team/app/blobs/"); n != 0 {
		t.Errorf("%d blobs were uploaded again", n)
	}
}

// TestFailureMovesNoTag: whatever goes wrong, the tag stays where it is.
func TestFailureMovesNoTag(t *testing.T) {
	for name, broken := range map[string]func(r *http.Request) bool{
		"blobs": func(r *http.Request) bool { return r.Method == http.MethodPost },
		"upload": func(r *http.Request) bool {
			return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/")
		},
		"manifests": func(r *http.Request) bool {
			return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "sha256:")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			old := testImage(t, amd64)
			push(t, s.host+"/app:1", old)
			s.be(func(w http.ResponseWriter, r *http.Request) bool {
				if broken(r) {
					w.WriteHeader(http.StatusForbidden)
					_, _ = io.WriteString(w, `{"errors":[{"code":"DENIED","message":"read only\u001b[31m"}]}`)
					return true
				}
				return false
			})
			part := newContent(ocispecs.MediaTypeImageManifest, []byte(`{"schemaVersion":2}`))
			m := newContent(ocispecs.MediaTypeImageIndex, []byte(`{"schemaVersion":2,"manifests":[]}`))
			err := newClient(t, Options{}).Push(ctx(t), Upload{
				Repository: s.host + "/app", Blobs: []Blob{textBlob("hello")}, Manifests: []Content{part, m}, Tags: []string{s.host + "/app:1"},
			})
			var e *Error
			if !errors.Is(err, ErrDenied) || !errors.As(err, &e) || !strings.Contains(e.Hint, "docker login") {
				t.Errorf("got %v", err)
			}
			if strings.Contains(err.Error(), "\x1b") {
				t.Errorf("control characters in %q", err)
			}
			s.be(nil)
			if got := digestOf(t, described{pulled(t, s.host+"/app:1")}); got != digestOf(t, old) {
				t.Error("the tag has moved")
			}
		})
	}
}

// Digest lets a remote.Descriptor pass for what digestOf takes.
func (d described) Digest() (v1.Hash, error) { return d.Descriptor.Digest, nil }

type described struct{ *remote.Descriptor }

func TestInterruptedUpload(t *testing.T) {
	s := newServer(t)
	var once sync.Once
	for name, fail := range map[string]func(w http.ResponseWriter, r *http.Request){
		"cut": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.CopyN(io.Discard, r.Body, 100)
			panic(http.ErrAbortHandler)
		},
		"503": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) },
		"429": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(429) },
		"404": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) }, // the session is gone
	} {
		once = sync.Once{}
		s.be(func(w http.ResponseWriter, r *http.Request) bool {
			done := false
			if r.Method == http.MethodPut && isUpload(r) {
				once.Do(func() { done = true; fail(w, r) })
			}
			return done
		})
		b := textBlob(strings.Repeat(name, 100_000))
		if err := newClient(t, Options{}).PushBlob(ctx(t), s.host+"/app", b, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTokenExpires: in the middle of a push, a fresh token is fetched, and the
// blob is sent again as a whole.
func TestTokenExpires(t *testing.T) {
	s := newServer(t)
	var mu sync.Mutex
	issued, valid := 0, 1
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/token" {
			issued++
			fmt.Fprintf(w, `{"token":"t%d"}`, issued)
			return true
		}
		if isUpload(r) && valid == 1 {
			valid++ // as if time had passed
		}
		if r.Header.Get("Authorization") != fmt.Sprintf("Bearer t%d", valid) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="s"`, s.URL))
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	})
	b := textBlob(strings.Repeat("0123456789", 300_000))
	if err := newClient(t, Options{}).PushBlob(ctx(t), s.host+"/app", b, nil); err != nil {
		t.Fatal(err)
	}
	if issued != 2 || s.count("PUT ") != 2 || s.count("POST ") != 1 {
		t.Errorf("%d tokens, %q", issued, s.requests())
	}
}

func TestPushBlobVerifies(t *testing.T) {
	s := newServer(t)
	c := newClient(t, Options{})
	for name, text := range map[string]string{"shorter": "hell", "longer": "hello!", "other": "jello"} {
		b := textBlob("hello")
		b.Open = opener(text)
		if err := c.PushBlob(ctx(t), s.host+"/app", b, nil); err == nil {
			t.Errorf("%s bytes were pushed", name)
		}
	}
	unknown := textBlob("nowhere")
	unknown.Open = nil
	if err := c.PushBlob(ctx(t), s.host+"/app", unknown, nil); !errors.Is(err, ErrBadAnswer) {
		t.Errorf("a blob from nowhere: %v", err)
	}
	if ok, err := c.Exists(ctx(t), s.host+"/app", textBlob("hello").Descriptor); ok || err != nil {
		t.Errorf("it is there: %v", err)
	}
}

func TestPushArguments(t *testing.T) {
	s := newServer(t)
	c := newClient(t, Options{})
	desc := ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageIndex, Digest: digest.FromString("{}"), Size: 2}
	for name, err := range map[string]error{
		"repo with tag":   c.PutManifest(ctx(t), s.host+"/app:1", desc, []byte("{}")),
		"wrong bytes":     c.PutManifest(ctx(t), s.host+"/app", desc, []byte("[]")),
		"tag with digest": c.Tag(ctx(t), s.host+"/app@"+desc.Digest.String(), desc, []byte("{}")),
		"no manifests":    c.Push(ctx(t), Upload{Repository: s.host + "/app", Tags: []string{s.host + "/app:1"}}),
		"bad digest":      c.PushBlob(ctx(t), s.host+"/app", Blob{Descriptor: ocispecs.Descriptor{Digest: "sha256:x"}}, nil),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := c.FetchManifest(ctx(t), s.host+"/app:1"); err == nil {
		t.Error("FetchManifest took a tag")
	}
}

func TestBlobBetweenRegistries(t *testing.T) {
	a, b := newServer(t), newServer(t)
	c := newClient(t, Options{Cache: newCache(t)})
	blob := textBlob(strings.Repeat("hello ", 1000))
	if err := c.PushBlob(ctx(t), a.host+"/app", blob, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.PushBlob(ctx(t), b.host+"/other", Blob{Descriptor: blob.Descriptor, From: a.host + "/app"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.FetchBlob(ctx(t), b.host+"/other", blob.Descriptor); err != nil {
		t.Fatal(err)
	}
	if !c.opts.Cache.HasBlob(blob.Descriptor) {
		t.Error("not in the cache")
	}
	b.be(nil)
	if err := c.FetchBlob(ctx(t), b.host+"/other", blob.Descriptor); err != nil || len(b.requests()) != 0 {
		t.Errorf("%v, %q", err, b.requests())
	}
	lie := blob.Descriptor
	lie.Size--
	rc, err := c.OpenBlob(ctx(t), b.host+"/other", lie)
	if err == nil {
		_, err = io.Copy(&bytes.Buffer{}, rc)
		rc.Close()
	}
	if !errors.Is(err, ErrBadAnswer) {
		t.Errorf("a wrong size: %v", err)
	}
}

func TestManyConcurrentPushes(t *testing.T) {
	s := newServer(t)
	c := newClient(t, Options{Cache: newCache(t)})
	var up Upload
	up.Repository = s.host + "/app"
	for i := range 40 {
		up.Blobs = append(up.Blobs, textBlob(fmt.Sprint("blob ", i%30))) // some twice
	}
	if err := c.Push(ctx(t), up); err != nil {
		t.Error(err)
	}
}
