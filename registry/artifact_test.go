package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

const testArtifact = "application/vnd.example.facts.v1+json"

// companion puts an index with an artifact into a repository, and returns it.
func companion(t *testing.T, s *server, data string, ps ...ocispecs.Platform) Companion {
	t.Helper()
	c := newClient(t, Options{})
	push(t, s.host+"/env:built", testIndex(t, ps...))
	var list []ocispecs.Descriptor
	for _, p := range ps {
		img, err := c.Resolve(ctx(t), s.host+"/env:built", p)
		if err != nil {
			t.Fatal(err)
		}
		d := ocispecs.Descriptor{MediaType: img.Manifest.MediaType, Digest: img.Manifest.Digest, Size: img.Manifest.Size, Data: img.ManifestBytes}
		d.Platform = &img.Platform
		list = append(list, d)
	}
	made, err := IndexWith(list, Artifact{Type: testArtifact, MediaType: "application/json", Data: []byte(data)})
	if err != nil {
		t.Fatal(err)
	}
	up := Upload{Repository: s.host + "/env", Manifests: []Content{made.Manifest, made.Index}, Tags: []string{s.host + "/env:1"}}
	for _, b := range made.Blobs {
		up.Blobs = append(up.Blobs, b.Blob())
	}
	if err := c.Push(ctx(t), up); err != nil {
		t.Fatal(err)
	}
	return made
}

// An artifact costs two requests, and the images beside it none but for their configs.
func TestArtifact(t *testing.T) {
	s := newServer(t)
	made := companion(t, s, `{"a":1}`, amd64, arm64)
	c := newClient(t, Options{Cache: newCache(t)})
	ref := s.host + "/env@" + made.Index.Digest.String()
	s.be(nil)
	data, err := c.FetchArtifact(ctx(t), ref, testArtifact, 100)
	if err != nil || string(data) != `{"a":1}` {
		t.Fatalf("%q, %v", data, err)
	}
	for _, p := range []ocispecs.Platform{amd64, arm64} {
		if img, err := c.Resolve(ctx(t), ref, p); err != nil || img.Platform.Architecture != p.Architecture {
			t.Errorf("%s: %+v, %v", p.Architecture, img.Platform, err)
		}
	}
	if got := s.requests(); len(got) != 4 {
		t.Errorf("asked %q", got)
	}
	s.be(nil)
	if _, err := c.FetchArtifact(ctx(t), ref, testArtifact, 100); err != nil || len(s.requests()) != 0 {
		t.Errorf("what is in the cache is asked for: %q, %v", s.requests(), err)
	}
	if _, err := newClient(t, Options{}).FetchArtifact(ctx(t), ref, testArtifact, 100); err != nil {
		t.Errorf("without a cache: %v", err)
	}
	if data, err := c.FetchArtifact(ctx(t), ref, "application/other", 100); data != nil || err != nil {
		t.Errorf("of another type: %q, %v", data, err)
	}
	if _, err := newClient(t, Options{}).FetchArtifact(ctx(t), ref, testArtifact, 3); !errors.Is(err, ErrBadAnswer) {
		t.Errorf("a large one: %v", err)
	}
	image := s.host + "/env@" + c.mustResolve(t, ref).Manifest.Digest.String()
	if data, err := c.FetchArtifact(ctx(t), image, testArtifact, 100); data != nil || err != nil {
		t.Errorf("beside a single image: %q, %v", data, err)
	}
	if _, err := c.FetchArtifact(ctx(t), s.host+"/env:1", testArtifact, 100); !errors.Is(err, ErrBadAnswer) {
		t.Errorf("by a tag: %v", err)
	}
}

func (c *Client) mustResolve(t *testing.T, ref string) Image {
	t.Helper()
	img, err := c.Resolve(ctx(t), ref, amd64)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestIndexWith(t *testing.T) {
	s := newServer(t)
	one, two := companion(t, s, "{}", amd64), companion(t, s, "{}", amd64)
	if bytes.Equal(one.Index.Bytes, two.Index.Bytes) {
		t.Error("two random images make one index")
	}
	var index ocispecs.Index
	if err := json.Unmarshal(one.Index.Bytes, &index); err != nil {
		t.Fatal(err)
	}
	last := index.Manifests[len(index.Manifests)-1]
	if len(index.Manifests) != 2 || last.ArtifactType != testArtifact || last.Platform.OS != "unknown" || last.Platform.Architecture != "unknown" {
		t.Errorf("%+v", index.Manifests)
	}
	var m ocispecs.Manifest
	if err := json.Unmarshal(one.Manifest.Bytes, &m); err != nil {
		t.Fatal(err)
	}
	if m.ArtifactType != testArtifact || m.Config.MediaType != ocispecs.MediaTypeEmptyJSON || len(m.Layers) != 1 || m.Layers[0].MediaType != "application/json" {
		t.Errorf("%+v", m)
	}
	img := index.Manifests[0]
	img.Data = []byte("another manifest")
	made, err := IndexWith([]ocispecs.Descriptor{img}, Artifact{Type: testArtifact, MediaType: "x", Data: []byte("{}")})
	if err != nil || strings.Contains(string(made.Index.Bytes), "YW5vdGhlc") {
		t.Errorf("data that is not the manifest's is passed on (%v)", err)
	}
	if _, err := IndexWith(nil, Artifact{}); err != nil {
		t.Errorf("an index of an artifact alone: %v", err) // it is one entry, and of no image
	}
	if _, err := IndexWith([]ocispecs.Descriptor{{MediaType: ocispecs.MediaTypeImageManifest, Digest: digest.FromString("x")}}, Artifact{}); err == nil {
		t.Error("an image without a platform")
	}
}

// What an index carries of a manifest counts only if it is the manifest.
func TestEmbeddedData(t *testing.T) {
	s := newServer(t)
	companion(t, s, "{}", amd64)
	img := testImage(t, amd64)
	push(t, s.host+"/env:real", img)
	real, err := v1.NewHash(digestOf(t, img))
	if err != nil {
		t.Fatal(err)
	}
	fake := rawManifestOf(t, testImage(t, amd64))
	index := ocispecs.Index{MediaType: ocispecs.MediaTypeImageIndex, Manifests: []ocispecs.Descriptor{{
		MediaType: string(types.DockerManifestSchema2), Digest: digest.Digest(real.String()), Size: int64(len(rawManifestOf(t, img))), Data: fake,
		Platform: &amd64,
	}}}
	index.SchemaVersion = 2
	raw, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	push(t, s.host+"/env:2", rawIndex(raw))
	c := newClient(t, Options{Cache: newCache(t)})
	ref := s.host + "/env@" + digest.FromBytes(raw).String()
	if _, err := c.FetchArtifact(ctx(t), ref, testArtifact, 100); err != nil {
		t.Fatal(err)
	}
	if got := c.mustResolve(t, ref); got.Manifest.Digest.String() != real.String() || bytes.Equal(got.ManifestBytes, fake) {
		t.Errorf("resolved to %s", got.Manifest.Digest)
	}
}

// rawIndex is pushed as it is.
type rawIndex []byte

func (r rawIndex) RawManifest() ([]byte, error)        { return r, nil }
func (r rawIndex) MediaType() (types.MediaType, error) { return types.OCIImageIndex, nil }

// A copy on one registry mounts, and moves no byte of a layer.
func TestCopyMounts(t *testing.T) {
	s := newServer(t)
	index := testIndex(t, amd64, arm64)
	push(t, s.host+"/from:1", index)
	c := newClient(t, Options{Cache: newCache(t)})
	desc, err := c.Head(ctx(t), s.host+"/from:1")
	if err != nil {
		t.Fatal(err)
	}
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		switch {
		case r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/to/blobs/"):
			w.WriteHeader(http.StatusNotFound)
			return true
		case r.Method == http.MethodPost && q.Get("from") == "from" && q.Get("mount") != "":
			w.Header().Set("Location", "/v2/to/blobs/"+q.Get("mount"))
			w.WriteHeader(http.StatusCreated)
			return true
		}
		return false
	})
	if err := c.Copy(ctx(t), s.host+"/from", s.host+"/to", desc, nil); err != nil {
		t.Fatal(err)
	}
	if n := s.count("PUT /v2/to/blobs") + s.count("GET /v2/from/blobs"); n != 0 {
		t.Errorf("bytes were moved: %q", s.requests())
	}
	if n := s.count("POST /v2/to/blobs"); n != 6 {
		t.Errorf("%d mounts, not 2 configs and 4 layers", n)
	}
	puts := slices.DeleteFunc(s.requests(), func(r string) bool { return !strings.HasPrefix(r, "PUT ") })
	if len(puts) != 3 || puts[2] != "PUT /v2/to/manifests/"+desc.Digest.String() {
		t.Errorf("the index does not come last: %q", puts)
	}
}

func TestCopyToAnotherRegistry(t *testing.T) {
	a, b := newServer(t), newServer(t)
	foreign, err := mutate.AppendLayers(testImage(t, amd64), static.NewLayer([]byte("elsewhere"), types.DockerForeignLayer))
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.AppendManifests(testIndex(t, arm64), mutate.IndexAddendum{Add: foreign, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	push(t, a.host+"/from:1", index)
	c := newClient(t, Options{Cache: newCache(t)})
	for _, what := range []string{a.host + "/from:1", a.host + "/from@" + digestOf(t, foreign)} {
		desc, err := c.Head(ctx(t), what)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Copy(ctx(t), a.host+"/from", b.host+"/to", desc, nil); err != nil {
			t.Fatal(err)
		}
		img := c.mustResolve(t, b.host+"/to@"+desc.Digest.String())
		layers, err := img.Layers("")
		if err != nil || len(layers) != 2 {
			t.Errorf("%d layers to push of 3, of which one is elsewhere: %v", len(layers), err)
		}
		for _, l := range layers {
			if ok, err := c.Exists(ctx(t), b.host+"/to", l.Descriptor); err != nil || !ok {
				t.Errorf("the layer %s is not there: %v", l.Digest, err)
			}
		}
	}
	if err := c.Copy(ctx(t), a.host+"/from", b.host+"/to", ocispecs.Descriptor{Digest: digest.FromString("nothing")}, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("an image that is not there: %v", err)
	}
	if err := c.Copy(ctx(t), "UPPER", b.host+"/to", ocispecs.Descriptor{}, nil); err == nil {
		t.Error("no repository")
	}
}

var _ remote.Taggable = rawIndex(nil)
