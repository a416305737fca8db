package registry

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/ibuild/ibuild/cache"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// tarOf is an archive of entries; those without a type are files.
func tarOf(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	for _, h := range entries {
		body := h.PAXRecords["body"]
		h.PAXRecords = nil
		if h.Typeflag == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(body))
		}
		h.Mode = 0o644
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, body); h.Typeflag == tar.TypeReg && err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func entry(name, body string) tar.Header {
	return tar.Header{Name: name, PAXRecords: map[string]string{"body": body}}
}

func archiveFile(t testing.TB, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "archive.tar")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// What docker save wrote before version 25: files by name, layers as they are, and links where two images share one.
func TestDockerOldForm(t *testing.T) {
	layers := []string{string(tarOf(t, entry("one", strings.Repeat("first ", 10_000)))), string(tarOf(t, entry("two", "second")))}
	config, err := json.Marshal(map[string]any{"os": "linux", "architecture": "amd64",
		"rootfs": map[string]any{"type": "layers", "diff_ids": []digest.Digest{digest.FromString(layers[0]), digest.FromString(layers[1])}}})
	if err != nil {
		t.Fatal(err)
	}
	id := digest.FromBytes(config).Encoded()
	index := `[{"Config":"` + id + `.json","RepoTags":["team/app:1","localhost:5000/app:x"],"Layers":["a/layer.tar","b/layer.tar"]}]`
	file := archiveFile(t, tarOf(t, entry(id+".json", string(config)), entry("a/layer.tar", layers[0]), entry("c/layer.tar", layers[1]),
		tar.Header{Name: "b/layer.tar", Typeflag: tar.TypeSymlink, Linkname: "../c/layer.tar"}, entry("manifest.json", index), entry("repositories", "{}")))
	s := newServer(t)
	store := newCache(t)
	c := newClient(t, Options{Cache: store})
	l := opened(t, file)
	img, err := l.Find("localhost:5000/app:x")
	if err != nil || fmt.Sprint(img.Names) != "[docker.io/team/app:1 localhost:5000/app:x]" {
		t.Fatalf("%v: %v", img.Names, err)
	}
	var roots []digest.Digest
	for range 2 { // the second time, the layers are in the cache
		src, err := c.FromLayout(ctx(t), l, img)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, src.Root().Digest)
		bring(t, c, src, s.host+"/app:1")
	}
	if roots[0] != roots[1] {
		t.Errorf("not the same image twice: %s", roots)
	}
	got, err := pulled(t, s.host+"/app:1").Image()
	if err == nil {
		err = validate.Image(got) // among others, that the diff ids are those of the layers
	}
	if err != nil {
		t.Error(err)
	}
	if _, err := l.Source(img); err == nil {
		t.Error("an image without manifest was opened as it is")
	}
}

// What ggcr writes (as kaniko and ko do): layers are compressed already.
func TestDockerCompressedLayers(t *testing.T) {
	img := testImage(t, amd64)
	tag, err := name.NewTag("team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ggcr.tar")
	if err := tarball.MultiWriteToFile(file, map[name.Tag]v1.Image{tag: img}); err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	c := newClient(t, Options{})
	l := opened(t, file)
	found, err := l.Find("")
	if err != nil {
		t.Fatal(err)
	}
	src, err := c.FromLayout(ctx(t), l, found)
	if err != nil {
		t.Fatal(err)
	}
	bring(t, c, src, s.host+"/app:1")
	got, err := pulled(t, s.host+"/app:1").Image()
	if err == nil {
		err = validate.Image(got)
	}
	if err != nil {
		t.Fatal(err)
	}
	want, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := got.Layers()
	if err != nil || len(layers) != len(want) {
		t.Fatalf("%d layers: %v", len(layers), err)
	}
	for i := range want {
		if digestOf(t, layers[i]) != digestOf(t, want[i]) {
			t.Errorf("layer %d is compressed anew", i)
		}
	}
}

func TestLayoutRefuses(t *testing.T) {
	desc := func(d digest.Digest) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":1}`, ocispecs.MediaTypeImageManifest, d)
	}
	many := make([]tar.Header, maxArchiveFiles+1)
	for i := range many {
		many[i] = entry(fmt.Sprintf("f%d", i), "")
	}
	gz := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0}
	for name, c := range map[string]struct {
		data []byte
		text string
	}{
		"empty":               {nil, "no OCI layout: it has no index.json"},
		"text":                {[]byte(strings.Repeat("no archive ", 200)), "not an archive"},
		"compressed":          {gz, "compressed as a whole"},
		"index twice":         {tarOf(t, entry("index.json", `{"schemaVersion":2,"manifests":[]}`), entry("./index.json", `{"schemaVersion":2,"manifests":[]}`)), "index.json is in it twice"},
		"no JSON":             {tarOf(t, entry("index.json", "{")), "index.json: the manifest is not valid JSON"},
		"an image for index":  {tarOf(t, entry("index.json", `{"schemaVersion":2,"config":`+desc(digest.FromString("x"))+`,"layers":[]}`)), "index.json: not an index"},
		"too many files":      {tarOf(t, many...), "more than 20000 files"},
		"huge index":          {tarOf(t, entry("index.json", strings.Repeat(" ", maxArchiveIndex+1))), "more than the limit"},
		"index is a folder":   {tarOf(t, tar.Header{Name: "index.json", Typeflag: tar.TypeDir}), "no OCI layout"},
		"link to nothing":     {tarOf(t, tar.Header{Name: "index.json", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), "no OCI layout"},
		"link to itself":      {tarOf(t, tar.Header{Name: "index.json", Typeflag: tar.TypeSymlink, Linkname: "index.json"}), "no OCI layout"},
		"docker without list": {tarOf(t, entry("manifest.json", `{}`)), "manifest.json: not valid JSON"},
		"docker's bad name":   {tarOf(t, entry("manifest.json", `[{"Config":"c","RepoTags":["A B"]}]`)), "is no name of an image"},
	} {
		l, err := OpenLayout(archiveFile(t, c.data))
		var refused *LayoutError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %s", name, err, c.text)
		}
		if err == nil {
			l.Close()
		}
	}
}

func TestDockerOldFormRefuses(t *testing.T) {
	config := func(ids ...string) string {
		data, err := json.Marshal(map[string]any{"rootfs": map[string]any{"diff_ids": ids}})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for name, c := range map[string]struct {
		config, list, text string
	}{
		"other bytes":    {config(string(digest.FromString("other"))), `"layer"`, "does not have the digest"},
		"no layer":       {config(string(digest.FromString("data"))), `"none"`, `names "none", which is not in it`},
		"count":          {config(), `"layer"`, "the config has 0 layers, manifest.json 1"},
		"no digest":      {config("x"), `"layer"`, "no valid digest"},
		"outside":        {config(string(digest.FromString("data"))), `"../../etc/passwd"`, "which is not in it"},
		"broken config":  {"{", `"layer"`, "the image config"},
		"config is none": {"", `"layer"`, "the image config"},
	} {
		l := opened(t, archiveFile(t, tarOf(t, entry("c", c.config), entry("layer", "data"), entry("manifest.json", `[{"Config":"c","Layers":[`+c.list+`]}]`))))
		store := newCache(t)
		_, err := newClient(t, Options{Cache: store}).FromLayout(ctx(t), l, l.Images()[0])
		if err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A folder that somebody else controls leads nowhere else, and a pipe in it is not waited for.
func TestLayoutFolder(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte(`{"schemaVersion":2,"manifests":[]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func(string) error{
		"link":   func(at string) error { return os.Symlink(outside, at) },
		"pipe":   func(at string) error { return unix.Mkfifo(at, 0o644) },
		"folder": func(at string) error { return os.Mkdir(at, 0o755) },
	} {
		dir := t.TempDir()
		if err := make(filepath.Join(dir, "index.json")); err != nil {
			t.Fatal(err)
		}
		if l, err := OpenLayout(dir); err == nil {
			t.Errorf("%s: %+v", name, l.Images())
		}
	}
}

func TestLayoutOpen(t *testing.T) {
	store, index, _ := stored(t, amd64)
	l := opened(t, archiveFile(t, archived(t, store, Archive{Format: ArchiveOCI, Root: index.Descriptor})))
	src, err := l.Source(l.Images()[0])
	if err != nil {
		t.Fatal(err)
	}
	for offset := range index.Size + 1 {
		rc, err := src.Open(ctx(t), index.Descriptor, offset)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(rc); err != nil || !bytes.Equal(data, index.Bytes[offset:]) {
			t.Fatalf("from %d: %q, %v", offset, data, err)
		}
	}
	lie := index.Descriptor
	lie.Size--
	rc, err := src.Open(ctx(t), lie, 0)
	if err != nil {
		t.Fatal(err)
	}
	var refused *LayoutError
	if _, err := io.ReadAll(rc); !errors.As(err, &refused) {
		t.Errorf("another size: %v", err)
	}
	missing := ocispecs.Descriptor{Digest: digest.FromString("nothing"), Size: 1}
	if _, err := src.Open(ctx(t), missing, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := src.Open(ctx(t), ocispecs.Descriptor{Digest: "sha256:../../x"}, 0); err == nil {
		t.Error("a digest that is a path was opened")
	}
}

func FuzzArchive(f *testing.F) {
	f.Add(tarOf(f, entry("index.json", `{"schemaVersion":2,"manifests":[{"mediaType":"`+ocispecs.MediaTypeImageManifest+`","digest":"`+string(digest.FromString("x"))+`","size":1,"annotations":{"org.opencontainers.image.ref.name":"a"}}]}`)))
	f.Add(tarOf(f, entry("manifest.json", `[{"Config":"c","RepoTags":["a:1"],"Layers":["l"]}]`), entry("c", `{"rootfs":{"diff_ids":["`+string(digest.FromString("data"))+`"]}}`), entry("l", "data"),
		tar.Header{Name: "x", Typeflag: tar.TypeSymlink, Linkname: "y"}, tar.Header{Name: "y", Typeflag: tar.TypeLink, Linkname: "x"}))
	dir := f.TempDir()
	store, err := cache.Open(filepath.Join(dir, "cache"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { store.Close() })
	file := filepath.Join(dir, "archive")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := OpenLayout(file)
		if err != nil {
			return
		}
		defer l.Close()
		c := New(Options{Cache: store, Keychain: StaticKeychain(nil)})
		for _, img := range l.Images() {
			src, err := c.FromLayout(t.Context(), l, img)
			if err != nil {
				continue
			}
			if _, err := Pack(t.Context(), src, nil); err == nil && src.Root().Digest.Validate() != nil {
				t.Fatalf("packed without a digest: %+v", src.Root())
			}
		}
	})
}
