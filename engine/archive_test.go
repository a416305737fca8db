package engine

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/ibuild/ibuild/cache"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// local makes the machine one that has the environment in its local store only.
func (f *fixture) knowLocally(req Request, tree ...string) *environment {
	f.t.Helper()
	e := f.environment(req)
	img := environmentImage(f.t, e)
	keep := func(img v1.Image) {
		layers, err := img.Layers()
		check(f.t, err)
		for _, l := range layers {
			rc, err := l.Compressed()
			check(f.t, err)
			data, err := io.ReadAll(rc)
			check(f.t, err)
			f.keep(ocispecs.MediaTypeImageLayerGzip, data)
		}
		data, err := img.RawConfigFile()
		check(f.t, err)
		f.keep(ocispecs.MediaTypeImageConfig, data)
		data, err = img.RawManifest()
		check(f.t, err)
		f.keep(ocispecs.MediaTypeImageManifest, data)
	}
	data, err := img.(interface{ RawManifest() ([]byte, error) }).RawManifest()
	check(f.t, err)
	root := ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageManifest, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if idx, ok := img.(v1.ImageIndex); ok {
		root.MediaType = ocispecs.MediaTypeImageIndex
		f.keep(root.MediaType, data)
		m, err := idx.IndexManifest()
		check(f.t, err)
		for _, d := range m.Manifests {
			one, err := idx.Image(d.Digest)
			check(f.t, err)
			keep(one)
		}
	} else {
		keep(img.(v1.Image))
	}
	f.made(e, []string{localEnv}, root.Digest)
	for _, i := range e.rec.Images {
		known := listing(tree...)
		e.facts[i.ID] = &known
	}
	b := f.start(req)
	check(f.t, b.keepEnvironment(f.t.Context(), e))
	return e
}

func (f *fixture) keep(mediaType string, data []byte) {
	f.t.Helper()
	_, err := f.cache.WriteBlob(f.t.Context(), mediaType, data)
	check(f.t, err)
}

// archive reads a tar file into memory.
func archive(t *testing.T, file string) map[string]string {
	t.Helper()
	r, err := os.Open(file)
	check(t, err)
	defer r.Close()
	out := map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		check(t, err)
		data, err := io.ReadAll(tr)
		check(t, err)
		out[h.Name] = string(data)
	}
}

func (f *fixture) appArchive(typ ExportType, attrs map[string]string) (Request, string) {
	req := f.app("app:1")
	file := filepath.Join(f.t.TempDir(), "app.tar")
	req.Outputs.Push, req.Outputs.Exports = false, []Export{{Type: typ, Dest: file, Attrs: attrs}}
	return req, file
}

func TestAssembledArchives(t *testing.T) {
	for typ, index := range map[ExportType]string{OCIExport: "index.json", DockerExport: "manifest.json"} {
		t.Run(string(typ), func(t *testing.T) {
			f := newFixture(t)
			f.base()
			req, file := f.appArchive(typ, nil)
			f.knowLocally(req, "etc/")
			res := f.must(req, HowAssembled)
			files := archive(t, file)
			if !strings.Contains(files[index], "app:1") {
				t.Errorf("%s does not name the image: %s", index, files[index])
			}
			if files["blobs/sha256/"+res.Descriptor.Digest.Encoded()] == "" {
				t.Errorf("the manifest %s is not in the archive", res.Descriptor.Digest)
			}
			info, err := os.Stat(file)
			check(t, err)
			if info.Mode().Perm() != 0o644 {
				t.Errorf("the archive has mode %o", info.Mode().Perm())
			}
			onlyFile(t, file)
		})
	}
}

// onlyFile fails when there is more beside the file.
func onlyFile(t *testing.T, file string) {
	t.Helper()
	list, err := os.ReadDir(filepath.Dir(file))
	check(t, err)
	for _, e := range list {
		if e.Name() != filepath.Base(file) {
			t.Errorf("%s is left behind", e.Name())
		}
	}
}

func TestArchiveThatCannotBeWritten(t *testing.T) {
	f := newFixture(t)
	f.base()
	req, file := f.appArchive(DockerExport, nil)
	req.Options.Platforms = []ocispecs.Platform{amd64, arm64}
	f.base(amd64, arm64)
	f.knowLocally(req, "etc/")
	if _, err := f.build(req); err == nil {
		t.Error("docker's archive holds two platforms")
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the archive is there (%v)", err)
	}
	if list, err := os.ReadDir(filepath.Dir(file)); err != nil || len(list) > 0 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

// Options of an archive are honoured or the builder's; they are never ignored.
func TestAttributesOfArchives(t *testing.T) {
	t.Run("compression", func(t *testing.T) {
		f := newFixture(t)
		f.base()
		req, _ := f.appArchive(OCIExport, map[string]string{"compression": "zstd"})
		f.knowLocally(req, "etc/")
		f.needs(req, "an archive with zstd layers")
	})
	t.Run("name", func(t *testing.T) {
		f := newFixture(t)
		f.base()
		req, file := f.appArchive(OCIExport, map[string]string{"name": "example.org/given:7"})
		f.knowLocally(req, "etc/")
		if _, err := f.build(req); errors.Is(err, errNoBuilder) {
			return // it does it
		} else if err != nil {
			t.Fatal(err)
		}
		if got := archive(t, file)["index.json"]; !strings.Contains(got, "example.org/given:7") {
			t.Errorf("the image is not called as -o name= says: %s", got)
		}
	})
}

// Every entry of the cache can be lost without harm.
func TestLostBlobs(t *testing.T) {
	for _, what := range []string{"layer", "config", "manifest", "index", "facts"} {
		t.Run(what, func(t *testing.T) {
			f := newFixture(t)
			f.base()
			req, file := f.appArchive(OCIExport, nil)
			e := f.knowLocally(req, "etc/")
			r, ok := cache.Results(f.cache).Get("local " + e.id.String())
			if !ok {
				t.Fatal("nothing is remembered")
			}
			image := e.images[e.rec.Images[0].ID].Manifest.Digest
			data, err := f.cache.ReadBlob(image, 1<<20)
			check(t, err)
			kept, err := e.document()
			check(t, err)
			m, err := v1.ParseManifest(strings.NewReader(string(data)))
			check(t, err)
			lost := map[string]string{"layer": m.Layers[0].Digest.Hex, "config": m.Config.Digest.Hex, "manifest": image.Encoded(),
				"index": r.Descriptor.Digest.Encoded(), "facts": kept.Blobs[1].Digest.Encoded()}[what]
			check(t, os.Remove(filepath.Join(f.cache.Dir(), "blobs/sha256", lost)))
			f.needs(req, "a local environment image that lost its "+what)
			if _, err := os.Stat(file); err == nil {
				t.Error("the archive is there")
			}
		})
	}
}
