package anatomy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// file is a file of a layer; a name that ends in a slash is a folder.
type file struct {
	name, data string
	edit       func(*tar.Header)
}

// step is a layer and what made it.
type step struct {
	name  string
	files []file
	plain bool // not compressed
}

func day(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }

func tarball(t testing.TB, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Size: int64(len(f.data)), Mode: 0o644, ModTime: day(1), Format: tar.FormatPAX}
		if f.name[len(f.name)-1] == '/' {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if f.edit != nil {
			f.edit(h)
		}
		check(t, w.WriteHeader(h))
		_, err := w.Write([]byte(f.data))
		check(t, err)
	}
	check(t, w.Close())
	return b.Bytes()
}

// writer puts an image into an OCI layout in a folder.
type writer struct {
	t   testing.TB
	dir string
}

func newWriter(t testing.TB) *writer {
	w := &writer{t, t.TempDir()}
	check(t, os.WriteFile(filepath.Join(w.dir, ocispecs.ImageLayoutFile), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
	return w
}

func (w *writer) blob(mediaType string, data []byte) ocispecs.Descriptor {
	w.t.Helper()
	d := digest.FromBytes(data)
	dir := filepath.Join(w.dir, "blobs", "sha256")
	check(w.t, os.MkdirAll(dir, 0o755))
	check(w.t, os.WriteFile(filepath.Join(dir, d.Encoded()), data, 0o644))
	return ocispecs.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func (w *writer) json(mediaType string, value any) ocispecs.Descriptor {
	w.t.Helper()
	data, err := json.Marshal(value)
	check(w.t, err)
	return w.blob(mediaType, data)
}

func (w *writer) image(arch string, edit func(*dockerspec.DockerOCIImage), steps ...step) ocispecs.Descriptor {
	w.t.Helper()
	config := dockerspec.DockerOCIImage{}
	config.Platform = ocispecs.Platform{OS: "linux", Architecture: arch}
	config.RootFS.Type = "layers"
	m := ocispecs.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispecs.MediaTypeImageManifest}
	for _, s := range steps {
		plain := tarball(w.t, s.files)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(plain))
		config.History = append(config.History, ocispecs.History{CreatedBy: s.name}, ocispecs.History{CreatedBy: "ENV A=1", EmptyLayer: true})
		if s.plain {
			m.Layers = append(m.Layers, w.blob(ocispecs.MediaTypeImageLayer, plain))
			continue
		}
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := z.Write(plain)
		check(w.t, err)
		check(w.t, z.Close())
		m.Layers = append(m.Layers, w.blob(ocispecs.MediaTypeImageLayerGzip, b.Bytes()))
	}
	if edit != nil {
		edit(&config)
	}
	m.Config = w.json(ocispecs.MediaTypeImageConfig, config)
	desc := w.json(ocispecs.MediaTypeImageManifest, m)
	desc.Platform = &config.Platform
	return desc
}

// index writes index.json, the beginning of the layout.
func (w *writer) index(list ...ocispecs.Descriptor) *writer {
	w.t.Helper()
	data, err := json.Marshal(ocispecs.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispecs.MediaTypeImageIndex, Manifests: list})
	check(w.t, err)
	check(w.t, os.WriteFile(filepath.Join(w.dir, ocispecs.ImageIndexFile), data, 0o644))
	return w
}

func (w *writer) open() Source {
	w.t.Helper()
	return openFile(w.t, w.dir)
}

func openFile(t testing.TB, name string) Source {
	t.Helper()
	src, closer, err := FromFile(name)
	check(t, err)
	t.Cleanup(func() { closer.Close() })
	return src
}

// archive writes the layout into a tar file.
func (w *writer) archive() string {
	w.t.Helper()
	name := filepath.Join(w.t.TempDir(), "image.tar")
	f, err := os.Create(name)
	check(w.t, err)
	tw := tar.NewWriter(f)
	check(w.t, tw.AddFS(os.DirFS(w.dir)))
	check(w.t, tw.Close())
	check(w.t, f.Close())
	return name
}
