package engine

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/engine/export"
	"github.com/ibuild/ibuild/registry"
	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// stubBuilder has the answers of a builder to what exports ask of it.
type stubBuilder struct {
	Builder
	hands bool
	knows []string
}

func (b stubBuilder) HandsOver() bool             { return b.hands }
func (b stubBuilder) Compresses(name string) bool { return slices.Contains(b.knows, name) }

func pushEntry() []client.ExportEntry {
	return []client.ExportEntry{{Type: "local"}, {Type: "image", Attrs: map[string]string{"name": "r.example/a,r.example/b", "push": "true",
		"push-by-digest": "true", "oci-mediatypes": "true", "compression": "zstd", "compression-level": "7"}}}
}

func TestTakeOver(t *testing.T) {
	b := &build{Engine: &Engine{}, builder: stubBuilder{hands: true}}
	got, taker := b.takeOver(pushEntry(), func(error) {})
	want := map[string]string{export.AttrHandOff: "true", "oci-mediatypes": "true", "compression": "zstd", "compression-level": "7"}
	if d := cmp.Diff(want, got[1].Attrs); d != "" || taker == nil || !slices.Equal(taker.repos, []string{"r.example/a", "r.example/b"}) {
		t.Errorf("%s, %+v", d, taker)
	}
	for name, c := range map[string]struct {
		builder Builder
		entries []client.ExportEntry
	}{
		"a builder that does not": {stubBuilder{}, pushEntry()},
		"another builder":         {nil, pushEntry()},
		"no push":                 {stubBuilder{hands: true}, []client.ExportEntry{{Type: "image", Attrs: map[string]string{"push": "false"}}}},
	} {
		before := maps.Clone(c.entries[len(c.entries)-1].Attrs)
		b.builder = c.builder
		if got, taker := b.takeOver(c.entries, func(error) {}); taker != nil || !maps.Equal(got[len(got)-1].Attrs, before) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestWithoutZstd(t *testing.T) {
	f := newFixture(t)
	p := NewProgress()
	f.engine.Progress = p
	go func() {
		for range p.Statuses() {
		}
	}()
	defer p.Close()
	for _, c := range []struct {
		knows []string
		want  string
	}{{[]string{"gzip", "zstd"}, "zstd"}, {[]string{"gzip"}, "gzip"}} {
		b := &build{Engine: f.engine, builder: stubBuilder{knows: c.knows}}
		entries := pushEntry()
		got := b.withoutZstd(entries)[1].Attrs
		if got["compression"] != c.want || (got["compression-level"] != "") != (c.want == "zstd") || entries[1].Attrs["compression"] != "zstd" {
			t.Errorf("%v: %v", c.knows, got)
		}
	}
}

// engineFiles are the files of an in-process engine with one image: a layer of a base that is not there, one that is
// there, and one that was read while it grew.
type engineFiles struct {
	dir  string
	root ocispecs.Descriptor
	base ocispecs.Descriptor
	made ocispecs.Descriptor
}

func newEngineFiles(t *testing.T, base ocispecs.Descriptor) engineFiles {
	t.Helper()
	e := engineFiles{dir: t.TempDir(), base: base}
	add := func(mediaType string, data []byte) ocispecs.Descriptor {
		d := digest.FromBytes(data)
		check(t, os.MkdirAll(filepath.Join(e.dir, "sha256"), 0o755))
		check(t, os.WriteFile(filepath.Join(e.dir, "sha256", d.Encoded()), data, 0o644))
		return ocispecs.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
	}
	marshal := func(v any) []byte {
		data, err := json.Marshal(v)
		check(t, err)
		return data
	}
	e.made = add(ocispecs.MediaTypeImageLayerZstd, []byte("a layer"))
	m := ocispecs.Manifest{MediaType: ocispecs.MediaTypeImageManifest, Config: add(ocispecs.MediaTypeImageConfig, []byte(`{}`)), Layers: []ocispecs.Descriptor{base, e.made}}
	m.SchemaVersion = 2
	image := add(ocispecs.MediaTypeImageManifest, marshal(m))
	index := ocispecs.Index{MediaType: ocispecs.MediaTypeImageIndex, Manifests: []ocispecs.Descriptor{image}}
	index.SchemaVersion = 2
	e.root = add(ocispecs.MediaTypeImageIndex, marshal(index))
	return e
}

func (e engineFiles) image() export.Image {
	return export.Image{Root: e.root, Blobs: e.dir, Sources: map[digest.Digest][]string{e.base.Digest: {"127.0.0.1/base"}}}
}

// TestReceiverPushes: an index goes to all repositories with all that it names; a base layer that the engine has not
// pulled is taken from the base's repository.
func TestReceiverPushes(t *testing.T) {
	f := newFixture(t)
	f.base()
	base, err := f.image(t, f.host+"/base:1", amd64).Manifest()
	check(t, err)
	layer := base.Layers[0]
	files := newEngineFiles(t, ocispecs.Descriptor{MediaType: string(layer.MediaType), Digest: digest.Digest(layer.Digest.String()), Size: layer.Size})
	b := f.start(f.app("app:1"))
	b.resolver.repos = []string{f.host + "/other", f.host + "/base"}
	r := &receiver{build: b, repos: []string{f.host + "/app", f.host + "/second"}, stop: func(error) {}, over: make(chan struct{})}
	r.traffic = &registry.Traffic{}
	r.show.Do(func() {})
	ctx := t.Context()
	r.Made(ctx, export.Made{Layers: []ocispecs.Descriptor{files.made}, Blobs: files.dir})
	check(t, r.Image(ctx, files.image()))
	for _, repo := range r.repos {
		for _, d := range []digest.Digest{files.root.Digest} {
			if f.digest(t, repo+"@"+d.String()) != d.String() {
				t.Errorf("%s does not have %s", repo, d)
			}
		}
	}
}

// TestReceiverFails: a registry that lets nobody in ends the build at the first layer, and an image that cannot be
// pushed is this build's error, with what the registry said.
func TestReceiverFails(t *testing.T) {
	f := newFixture(t)
	files := newEngineFiles(t, ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageLayer, Digest: digest.FromString("nowhere"), Size: 7})
	b := f.start(f.app("app:1"))
	var stopped error
	r := &receiver{build: b, repos: []string{f.host + "/app"}, stop: func(err error) { stopped = err }, over: make(chan struct{}), traffic: &registry.Traffic{}}
	r.show.Do(func() {})
	err := r.Image(t.Context(), files.image())
	if err == nil || !strings.Contains(err.Error(), "neither in the cache nor in a known repository") || r.failure() == nil {
		t.Errorf("a layer that is nowhere: %v", err)
	}
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	r.err, r.repos = nil, []string{f.host + "/private"}
	r.Made(t.Context(), export.Made{Layers: []ocispecs.Descriptor{files.made}, Blobs: files.dir})
	if !errors.Is(stopped, registry.ErrDenied) || !errors.Is(r.failure(), registry.ErrDenied) {
		t.Errorf("stopped by %v, failed for %v", stopped, r.failure())
	}
	if errors.Is(stopped, context.Canceled) {
		t.Error("the reason is lost")
	}
	if err := os.RemoveAll(files.dir); err != nil {
		t.Fatal(err)
	}
	if err := r.Image(t.Context(), files.image()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("files that are gone: %v", err)
	}
}
