package registry

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/ibuild/ibuild/cache"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// stored returns a cache with an index and all that it names in it.
func stored(t *testing.T, ps ...ocispecs.Platform) (*cache.Store, Content, []ocispecs.Descriptor) {
	t.Helper()
	s := newServer(t)
	push(t, s.host+"/app:1", testIndex(t, ps...))
	store := newCache(t)
	c := newClient(t, Options{Cache: store})
	var images []ocispecs.Descriptor
	for _, p := range ps {
		img, err := c.Resolve(ctx(t), s.host+"/app:1", p)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := decodeDocument(img.ManifestBytes, defaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range doc.image.Layers {
			if err := c.FetchBlob(ctx(t), s.host+"/app", l); err != nil {
				t.Fatal(err)
			}
		}
		platform := img.Platform
		desc := img.Manifest
		desc.Platform = &platform
		images = append(images, desc)
	}
	index, err := Index(images)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.WriteBlob(ctx(t), index.MediaType, index.Bytes); err != nil {
		t.Fatal(err)
	}
	return store, index, images
}

func archived(t *testing.T, store *cache.Store, a Archive) []byte {
	t.Helper()
	cs, err := store.Content()
	if err != nil {
		t.Fatal(err)
	}
	var out, again bytes.Buffer
	if err := WriteArchive(ctx(t), &out, cs, a); err != nil {
		t.Fatal(err)
	}
	if err := WriteArchive(ctx(t), &again, cs, a); err != nil || !bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Errorf("not the same bytes: %v", err)
	}
	return out.Bytes()
}

// unpack writes an archive's files into a folder, as the test trusts its own.
func unpack(t *testing.T, data []byte) string {
	t.Helper()
	dir := t.TempDir()
	tr := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != 0 || h.Uname+h.Gname != "" || h.Uid+h.Gid != 0 {
			t.Errorf("something of this machine: %+v", h)
		}
		path := filepath.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOCIArchive(t *testing.T) {
	store, index, _ := stored(t, amd64, arm64)
	dir := unpack(t, archived(t, store, Archive{Format: ArchiveOCI, Root: index.Descriptor, Names: []string{"team/app:1.0"}}))
	path, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	root, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(root); err != nil {
		t.Error(err)
	}
	m, err := root.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Manifests) != 1 || m.Manifests[0].Digest.String() != index.Digest.String() {
		t.Errorf("got %+v", m.Manifests)
	}
	a := m.Manifests[0].Annotations
	if a["io.containerd.image.name"] != "docker.io/team/app:1.0" || a[ocispecs.AnnotationRefName] != "1.0" {
		t.Errorf("got %v", a)
	}
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err == nil {
		t.Error("docker's manifest is in an OCI layout")
	}
}

func TestDockerArchive(t *testing.T) {
	store, index, images := stored(t, amd64)
	for name, root := range map[string]ocispecs.Descriptor{"image": images[0], "index of one": index.Descriptor} {
		data := archived(t, store, Archive{Format: ArchiveDocker, Root: root, Names: []string{"team/app:1.0", "localhost:5000/app:x"}})
		tag, err := name2tag("team/app:1.0")
		if err != nil {
			t.Fatal(err)
		}
		img, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }, &tag)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := validate.Image(img); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		raw, err := os.ReadFile(filepath.Join(unpack(t, data), "manifest.json"))
		if err != nil {
			t.Fatal(err)
		}
		var m []struct{ RepoTags []string }
		if err := json.Unmarshal(raw, &m); err != nil || len(m) != 1 || strings.Join(m[0].RepoTags, " ") != "team/app:1.0 localhost:5000/app:x" {
			t.Errorf("%s: %v %+v", name, err, m)
		}
	}
}

func name2tag(s string) (name.Tag, error) { return name.NewTag(s) }

func TestArchiveRefuses(t *testing.T) {
	store, index, images := stored(t, amd64, arm64)
	cs, err := store.Content()
	if err != nil {
		t.Fatal(err)
	}
	missing := images[0]
	missing.Digest = images[0].Digest[:len(images[0].Digest)-4] + "0000"
	for name, a := range map[string]Archive{
		"two platforms":   {Format: ArchiveDocker, Root: index.Descriptor},
		"digest for name": {Format: ArchiveOCI, Root: index.Descriptor, Names: []string{"a@" + index.Digest.String()}},
		"bad name":        {Format: ArchiveOCI, Root: index.Descriptor, Names: []string{"A B"}},
		"format":          {Format: "zip", Root: index.Descriptor},
		"missing":         {Format: ArchiveOCI, Root: missing},
	} {
		if err := WriteArchive(ctx(t), io.Discard, cs, a); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// A full disk, at any point of the archive.
	size := len(archived(t, store, Archive{Format: ArchiveOCI, Root: index.Descriptor}))
	for _, room := range []int{0, 100, size / 2, size - 1} {
		if err := WriteArchive(ctx(t), &fullDisk{room}, cs, Archive{Format: ArchiveOCI, Root: index.Descriptor}); !errors.Is(err, errFull) {
			t.Errorf("with room for %d of %d: %v", room, size, err)
		}
	}
	corrupt(t, store, images[0].Digest)
	if err := WriteArchive(ctx(t), io.Discard, cs, Archive{Format: ArchiveOCI, Root: index.Descriptor}); err == nil {
		t.Error("a corrupted blob was archived")
	}
}

var errFull = errors.New("disk full")

type fullDisk struct{ room int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > d.room {
		n := d.room
		d.room = 0
		return n, errFull
	}
	d.room -= len(p)
	return len(p), nil
}
