//go:build integration && linux

package embed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/ibuild/ibuild/engine/export"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/session"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// taker keeps what it is handed.
type taker struct {
	reads  sync.WaitGroup // of layers
	mu     sync.Mutex
	layers map[digest.Digest][]byte // as read while they grew
	made   []ocispecs.Descriptor
	images []export.Image
	config []byte
	refuse error
}

func (k *taker) Made(_ context.Context, m export.Made) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.made = append(k.made, m.Layers...)
}

func (k *taker) Layer(ctx context.Context, l *export.Layer) {
	k.reads.Add(1)
	defer k.reads.Done()
	r, err := l.Open(0)
	if err != nil {
		return
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return
	}
	desc, err := l.Done(ctx)
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.layers == nil {
		k.layers = map[digest.Digest][]byte{}
	}
	k.layers[desc.Digest] = data
}

func (k *taker) Image(_ context.Context, img export.Image) error {
	k.reads.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.images = append(k.images, img)
	return k.refuse
}

// manifest reads the image's manifest from the engine's files.
func (k *taker) manifest(t *testing.T) ocispecs.Manifest {
	t.Helper()
	if len(k.images) != 1 {
		t.Fatalf("%d images were handed over", len(k.images))
	}
	img := k.images[0]
	data, err := os.ReadFile(filepath.Join(img.Blobs, "sha256", img.Root.Digest.Encoded()))
	if err != nil {
		t.Fatal(err)
	}
	var m ocispecs.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func handOver(k *taker, attrs ...string) client.SolveOpt {
	all := map[string]string{export.AttrHandOff: "true", "oci-mediatypes": "true", "compression": "zstd"}
	for i := 0; i < len(attrs); i += 2 {
		all[attrs[i]] = attrs[i+1]
	}
	return client.SolveOpt{Exports: []client.ExportEntry{{Type: client.ExporterImage, Attrs: all}}, Session: []session.Attachable{export.Attach(k)}}
}

// TestEngineHandsOver: each layer is read while it is made, is what the manifest says, and is made once.
func TestEngineHandsOver(t *testing.T) {
	base, mounts := busybox(t)
	st := base.Run(llb.Args([]string{"/bin/busybox", "sh", "-c", "busybox seq 1 3000000 > /numbers"})).Root()
	e := startEngine(t, Config{})
	c := newClient(t, e)
	k := &taker{}
	opt := handOver(k)
	opt.LocalMounts = mounts
	if _, err := build(t.Context(), c, st, opt); err != nil {
		t.Fatal(err)
	}
	m := k.manifest(t)
	if len(m.Layers) != 2 || len(k.layers) != 2 {
		t.Fatalf("%d layers, %d were handed over", len(m.Layers), len(k.layers))
	}
	for _, l := range m.Layers {
		data := k.layers[l.Digest]
		if l.MediaType != ocispecs.MediaTypeImageLayerZstd || int64(len(data)) != l.Size || digest.FromBytes(data) != l.Digest {
			t.Errorf("%s %s: %d bytes were read while it grew", l.MediaType, l.Digest, len(data))
		}
		if _, err := os.Stat(filepath.Join(k.images[0].Blobs, "sha256", l.Digest.Encoded())); err != nil {
			t.Errorf("the engine does not keep it: %v", err)
		}
	}
	plain, err := compression.DecompressStream(bytes.NewReader(k.layers[m.Layers[1].Digest]))
	if err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(plain); err != nil || !bytes.Contains(all, []byte("\n2999999\n")) {
		t.Errorf("the layer does not have the step's file: %v", err)
	}

	again := &taker{}
	opt = handOver(again)
	opt.LocalMounts = mounts
	if _, err := build(t.Context(), c, st, opt); err != nil {
		t.Fatal(err)
	}
	if len(again.layers) != 0 || len(again.made) != 2 || again.manifest(t).Layers[1].Digest != m.Layers[1].Digest {
		t.Errorf("made again: %d layers; told of as made: %d", len(again.layers), len(again.made))
	}
}

// TestEngineCompresses: each way to compress is what was asked for, and asked for by force it is so for layers that
// were compressed in another way before.
func TestEngineCompresses(t *testing.T) {
	base, mounts := busybox(t)
	e := startEngine(t, Config{})
	c := newClient(t, e)
	for _, way := range []struct {
		attrs []string
		want  string
	}{
		{nil, ocispecs.MediaTypeImageLayerZstd},
		{[]string{"compression", "gzip"}, ocispecs.MediaTypeImageLayerZstd}, // it is there
		{[]string{"compression", "gzip", "force-compression", "true"}, ocispecs.MediaTypeImageLayerGzip},
		{[]string{"compression", "uncompressed", "force-compression", "true"}, ocispecs.MediaTypeImageLayer},
	} {
		k := &taker{}
		opt := handOver(k, way.attrs...)
		opt.LocalMounts = mounts
		if _, err := build(t.Context(), c, base, opt); err != nil {
			t.Fatalf("%v: %v", way.attrs, err)
		}
		if l := k.manifest(t).Layers[0]; l.MediaType != way.want {
			t.Errorf("%v: %s", way.attrs, l.MediaType)
		}
	}
}

// TestEngineHandsOverToItsOwn: of two exports at a time, each is told of its own layers alone.
func TestEngineHandsOverToItsOwn(t *testing.T) {
	base, mounts := busybox(t)
	e := startEngine(t, Config{})
	var takers [3]taker
	var all sync.WaitGroup
	for i := range takers {
		all.Go(func() {
			st := base.Run(llb.Args([]string{"/bin/busybox", "sh", "-c", "busybox seq 1 500000 > /numbers; echo " + strings.Repeat("x", i) + " > /own"})).Root()
			opt := handOver(&takers[i])
			opt.LocalMounts = mounts
			if _, err := build(t.Context(), newClient(t, e), st, opt); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range takers {
		own := takers[i].manifest(t).Layers
		for d := range takers[i].layers {
			if d != own[0].Digest && d != own[1].Digest {
				t.Errorf("export %d was told of %s, which is not its own", i, d)
			}
		}
		if takers[i].layers[own[1].Digest] == nil {
			t.Errorf("export %d was not told of its layer", i)
		}
	}
}

// TestEngineTakerRefuses: what the client says of the image is the end of the build, and nobody is asked who does not
// take images.
func TestEngineTakerRefuses(t *testing.T) {
	base, mounts := busybox(t)
	e := startEngine(t, Config{})
	c := newClient(t, e)
	k := &taker{refuse: errors.New("the registry is full")}
	opt := handOver(k)
	opt.LocalMounts = mounts
	if _, err := build(t.Context(), c, base, opt); err == nil || !strings.Contains(err.Error(), "the registry is full") {
		t.Errorf("got %v", err)
	}
	opt = handOver(&taker{})
	opt.LocalMounts, opt.Session = mounts, nil
	if _, err := build(t.Context(), c, base, opt); err == nil || !strings.Contains(err.Error(), "does not take them") {
		t.Errorf("got %v", err)
	}
}
