package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// memory is a source whose parts are in memory.
type memory struct {
	root  ocispecs.Descriptor
	parts map[digest.Digest][]byte
}

func newMemory() *memory { return &memory{parts: map[digest.Digest][]byte{}} }

func (m *memory) Name() string              { return "memory" }
func (m *memory) Root() ocispecs.Descriptor { return m.root }

func (m *memory) Open(_ context.Context, desc ocispecs.Descriptor, offset int64) (io.ReadCloser, error) {
	data, ok := m.parts[desc.Digest]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(data[offset:])), nil
}

func (m *memory) add(mediaType string, data []byte) ocispecs.Descriptor {
	c := newContent(mediaType, data)
	m.parts[c.Digest] = data
	return c.Descriptor
}

func (m *memory) json(t testing.TB, mediaType string, v any) ocispecs.Descriptor {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return m.add(mediaType, data)
}

// image adds an image for a platform, as an entry of an index.
func (m *memory) image(t testing.TB, p ocispecs.Platform, layers ...ocispecs.Descriptor) ocispecs.Descriptor {
	t.Helper()
	config := m.json(t, ocispecs.MediaTypeImageConfig, map[string]any{"os": p.OS, "architecture": p.Architecture, "rootfs": map[string]any{"type": "layers"}})
	if layers == nil {
		layers = []ocispecs.Descriptor{m.add(ocispecs.MediaTypeImageLayer, []byte("layer for "+p.Architecture))}
	}
	desc := m.json(t, ocispecs.MediaTypeImageManifest, map[string]any{"schemaVersion": 2, "mediaType": ocispecs.MediaTypeImageManifest, "config": config, "layers": layers})
	desc.Platform = &p
	return desc
}

// attest adds BuildKit's attestation about an image.
func (m *memory) attest(t testing.TB, about ocispecs.Descriptor) ocispecs.Descriptor {
	t.Helper()
	layer := m.add("application/vnd.in-toto+json", []byte("made "+about.Digest.String()))
	desc := m.image(t, ocispecs.Platform{OS: "unknown", Architecture: "unknown"}, layer)
	desc.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", referenceDigest: about.Digest.String()}
	return desc
}

func (m *memory) index(t testing.TB, entries ...ocispecs.Descriptor) ocispecs.Descriptor {
	t.Helper()
	return m.json(t, ocispecs.MediaTypeImageIndex, map[string]any{"schemaVersion": 2, "mediaType": ocispecs.MediaTypeImageIndex, "manifests": entries,
		"annotations": map[string]string{"keep": "this <too>"}, "unknown": 1})
}

func TestPackPlatforms(t *testing.T) {
	m := newMemory()
	amd, arm, s390 := m.image(t, amd64), m.image(t, arm64), m.image(t, s390x)
	amdProof, armProof := m.attest(t, amd), m.attest(t, arm)
	whole, plain := m.index(t, amd, arm, s390, amdProof, armProof), m.index(t, amd, arm)
	for name, c := range map[string]struct {
		root  ocispecs.Descriptor
		only  []ocispecs.Platform
		keeps []ocispecs.Descriptor // of the new index; nil when the root is one of the old documents
		is    ocispecs.Descriptor   // the root then
		left  int
		blobs int
	}{
		"all":                            {whole, nil, nil, whole, 0, 9}, // the configs of the two attestations are the same
		"two, with their attestations":   {whole, []ocispecs.Platform{arm64, amd64}, []ocispecs.Descriptor{amd, arm, amdProof, armProof}, ocispecs.Descriptor{}, 1, 7},
		"one, with its attestation":      {whole, []ocispecs.Platform{amd64}, []ocispecs.Descriptor{amd, amdProof}, ocispecs.Descriptor{}, 3, 4},
		"one without attestation":        {whole, []ocispecs.Platform{s390x}, nil, s390, 4, 2},
		"all of an index, by their name": {plain, []ocispecs.Platform{amd64, arm64}, nil, plain, 0, 4},
		"one of an index":                {plain, []ocispecs.Platform{arm64}, nil, arm, 1, 2},
		"an image":                       {amd, []ocispecs.Platform{amd64}, nil, amd, 0, 2},
	} {
		m.root = c.root
		p, err := Pack(ctx(t), m, c.only)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.keeps == nil && p.Root().Digest != c.is.Digest || len(p.Left) != c.left || len(p.Blobs) != c.blobs {
			t.Errorf("%s: root %s, left %d, blobs %d", name, p.Root().Digest, len(p.Left), len(p.Blobs))
		}
		if c.keeps == nil {
			continue
		}
		root := p.Manifests[len(p.Manifests)-1]
		var index struct {
			Manifests   []ocispecs.Descriptor
			Annotations map[string]string
			Unknown     int
		}
		if err := json.Unmarshal(root.Bytes, &index); err != nil || index.Annotations["keep"] != "this <too>" || index.Unknown != 1 || root.MediaType != ocispecs.MediaTypeImageIndex {
			t.Errorf("%s: %s, %v", name, root.Bytes, err)
		}
		if got, want := fmt.Sprint(index.Manifests), fmt.Sprint(c.keeps); digestsOf(index.Manifests) != digestsOf(c.keeps) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func digestsOf(list []ocispecs.Descriptor) (text string) {
	for _, d := range list {
		text += d.Digest.Encoded()[:12] + " "
	}
	return text
}

func TestPackRefuses(t *testing.T) {
	m := newMemory()
	amd := m.image(t, amd64)
	lie := amd
	lie.Size++
	typed := amd
	typed.MediaType = dockerManifest
	missing := ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageManifest, Digest: digest.FromString("nothing"), Size: 7}
	deep := amd
	for range maxParcelDepth + 2 {
		deep = m.index(t, deep)
	}
	var missed *PlatformError
	for name, c := range map[string]struct {
		root ocispecs.Descriptor
		only []ocispecs.Platform
		is   func(error) bool
	}{
		"size":                       {m.index(t, lie), nil, func(err error) bool { return errors.Is(err, ErrBadAnswer) }},
		"type":                       {m.index(t, typed), nil, func(err error) bool { return errors.Is(err, ErrBadAnswer) }},
		"missing":                    {m.index(t, amd, missing), nil, func(err error) bool { return errors.Is(err, fs.ErrNotExist) }},
		"too deep":                   {deep, nil, func(err error) bool { return errors.Is(err, ErrBadAnswer) }},
		"no such platform":           {m.index(t, amd), []ocispecs.Platform{amd64, arm64}, func(err error) bool { return errors.As(err, &missed) }},
		"an image for another":       {amd, []ocispecs.Platform{arm64}, func(err error) bool { return errors.As(err, &missed) }},
		"no document":                {m.add(ocispecs.MediaTypeImageManifest, []byte("{}")), nil, func(err error) bool { return errors.Is(err, ErrBadAnswer) }},
		"more than one may be large": {ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageManifest, Digest: amd.Digest, Size: 1 << 40}, nil, func(err error) bool { return errors.Is(err, ErrBadAnswer) }},
	} {
		m.root = c.root
		if _, err := Pack(ctx(t), m, c.only); !c.is(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Indexes in indexes, and BuildKit's caches, whose index has layers, are packed whole.
func TestPackIndexes(t *testing.T) {
	m := newMemory()
	amd, arm := m.image(t, amd64), m.image(t, arm64)
	layer := m.add(ocispecs.MediaTypeImageLayerGzip, []byte("cached"))
	m.root = m.index(t, m.index(t, amd, arm), arm, layer)
	p, err := Pack(ctx(t), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Manifests) != 4 || p.Root().Digest != m.root.Digest || len(p.Blobs) != 5 {
		t.Errorf("%d manifests, %d blobs", len(p.Manifests), len(p.Blobs))
	}
}

func TestIsImage(t *testing.T) {
	m := newMemory()
	amd := m.image(t, amd64)
	proof, typed, artifact, none := m.attest(t, amd), amd, amd, amd
	typed.ArtifactType, artifact.ArtifactType, none.Platform = dockerConfig, testArtifact, nil
	for name, c := range map[string]struct {
		entry ocispecs.Descriptor
		want  bool
	}{
		"image": {amd, true}, "attestation": {proof, false}, "type of the config": {typed, true}, "artifact": {artifact, false},
		"no platform": {none, false}, "layer": {m.add(ocispecs.MediaTypeImageLayer, nil), false},
	} {
		if got := IsImage(c.entry); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func FuzzPack(f *testing.F) {
	m := newMemory()
	m.root = m.index(f, m.image(f, amd64), m.image(f, arm64))
	f.Add(m.parts[m.root.Digest])
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + string(digest.FromString("x")) + `","size":1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &memory{root: m.add(ocispecs.MediaTypeImageIndex, data), parts: m.parts}
		for _, only := range [][]ocispecs.Platform{nil, {amd64}} {
			p, err := Pack(t.Context(), m, only)
			if err == nil && (len(p.Manifests) == 0 || digest.FromBytes(p.Manifests[len(p.Manifests)-1].Bytes) != p.Root().Digest) {
				t.Fatalf("packed %+v", p)
			}
		}
	})
}
