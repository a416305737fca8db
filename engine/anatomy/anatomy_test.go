package anatomy

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/registry"
	"github.com/klauspost/compress/zstd"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard) // as main does
	os.Exit(m.Run())
}

func base() step {
	return step{name: "base", files: []file{{name: "etc/"}, {name: "etc/os", data: "debian"}}}
}

func TestReadFromEverywhere(t *testing.T) {
	w := newWriter(t)
	img := w.image("amd64", nil, base(), step{name: "RUN  make\n world", files: []file{{name: "bin", data: "x"}}})
	w.index(img)

	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	hash, err := v1.NewHash(img.Digest.String())
	check(t, err)
	one, err := ocilayout.Path(w.dir).Image(hash)
	check(t, err)
	ref, err := name.ParseReference(host + "/app:1")
	check(t, err)
	check(t, remote.Write(ref, one))
	store, err := cache.Open(t.TempDir())
	check(t, err)
	defer store.Close()
	named, err := reference.ParseNormalizedNamed(host + "/app:1")
	check(t, err)
	pushed, err := FromRegistry(t.Context(), registry.New(registry.Options{Cache: store, Keychain: registry.StaticKeychain(nil)}), named)
	check(t, err)

	for where, src := range map[string]Source{"folder": w.open(), "archive": openFile(t, w.archive()), "registry": pushed} {
		c, err := Read(t.Context(), src)
		if err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		if c.Root.Digest != img.Digest || c.Index || len(c.Images) != 1 {
			t.Errorf("%s: %+v", where, c)
		}
		if i := c.Images[0]; i.Platform != "linux/amd64" || len(i.Layers) != 2 || i.Layers[1].Step != "RUN make world" {
			t.Errorf("%s: %+v", where, i)
		}
		r, err := Compare(t.Context(), src, w.open(), Options{})
		if err != nil || !r.Same() {
			t.Errorf("%s: %+v, %v", where, r, err)
		}
	}

	blobs, err := os.ReadDir(filepath.Join(w.dir, "blobs/sha256"))
	check(t, err)
	for _, b := range blobs {
		data, err := os.ReadFile(filepath.Join(w.dir, "blobs/sha256", b.Name()))
		check(t, err)
		_, err = store.WriteBlob(t.Context(), "", data)
		check(t, err)
	}
	if r, err := Compare(t.Context(), FromCache(store, pushed.Root()), w.open(), Options{}); err != nil || !r.Same() {
		t.Errorf("local store: %+v, %v", r, err)
	}
	if _, err := Read(t.Context(), FromCache(store, ocispecs.Descriptor{MediaType: img.MediaType, Digest: digest.FromString("none"), Size: 1})); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}

func TestReadIndex(t *testing.T) {
	w := newWriter(t)
	amd, arm := w.image("amd64", nil, base()), w.image("arm64", nil, base())
	other := w.image("amd64", nil)
	other.Platform = &ocispecs.Platform{OS: "unknown", Architecture: "unknown"}
	arm.ArtifactType = ocispecs.MediaTypeImageConfig // as go-containerregistry writes it
	root := w.json(ocispecs.MediaTypeImageIndex, ocispecs.Index{MediaType: ocispecs.MediaTypeImageIndex, Manifests: []ocispecs.Descriptor{amd, arm, other}})
	named := root
	named.Annotations = map[string]string{"a": "a second name of it"}
	c, err := Read(t.Context(), w.index(root, named).open())
	check(t, err)
	if !c.Index || len(c.Images) != 2 || c.Images[1].Platform != "linux/arm64" || len(c.Others) != 1 {
		t.Errorf("%+v", c)
	}
}

func TestReadRefuses(t *testing.T) {
	w := newWriter(t)
	good := w.image("amd64", nil, base())
	text := filepath.Join(t.TempDir(), "text")
	check(t, os.WriteFile(text, []byte(strings.Repeat("no archive ", 100)), 0o644))
	empty := t.TempDir()
	two := newWriter(t)
	two.index(two.image("amd64", nil, base()), two.image("arm64", nil, base()))
	for file, want := range map[string]string{
		text: "not an archive", empty: "no OCI layout: it has no index.json", two.dir: "it holds 2 images, not one", filepath.Join(empty, "none"): "no such file",
	} {
		if _, _, err := FromFile(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", file, err, want)
		}
	}
	blob := filepath.Join(w.dir, "blobs/sha256", good.Digest.Encoded())
	src := w.index(good).open()
	check(t, os.WriteFile(blob, bytes.Repeat([]byte("x"), int(good.Size)), 0o644))
	if _, err := Read(t.Context(), src); err == nil || !strings.Contains(err.Error(), "has other content than its digest says") {
		t.Errorf("changed bytes: %v", err)
	}
	check(t, os.Remove(blob))
	check(t, os.Symlink(text, blob))
	if _, err := Read(t.Context(), src); err == nil {
		t.Error("a link out of the layout is followed")
	}
	unequal := w.image("amd64", func(c *dockerspec.DockerOCIImage) { c.RootFS.DiffIDs = nil }, base())
	if _, err := Read(t.Context(), w.index(unequal).open()); err == nil || !strings.Contains(err.Error(), "the config has 0 layers, the manifest 1") {
		t.Errorf("no diff ids: %v", err)
	}
	large := good
	large.Size = maxDocument + 1
	if _, err := Read(t.Context(), w.index(large).open()); err == nil || !strings.Contains(err.Error(), "a document of") {
		t.Errorf("large: %v", err)
	}
}

func TestCompareGolden(t *testing.T) {
	one := newWriter(t)
	one.index(one.image("amd64", nil, base(),
		step{name: "RUN make", files: []file{{name: "bin/a", data: "1"}, {name: "bin/b", data: "1"}, {name: "bin/c", data: "1"}, {name: "bin/old", data: "1"}, {name: "bin/l", edit: func(h *tar.Header) { h.Typeflag, h.Linkname = tar.TypeSymlink, "a" }}}},
		step{name: "COPY . /app", files: []file{{name: "app/", edit: nil}, {name: "app/x", data: "x"}}},
		step{name: "RUN date", files: []file{{name: "now"}, {name: "later"}}},
	))
	two := newWriter(t)
	two.index(two.image("amd64", func(c *dockerspec.DockerOCIImage) { c.Config.Env = []string{"A=2"} }, base(),
		step{name: "RUN make", files: []file{
			{name: "bin/a", data: "2", edit: func(h *tar.Header) { h.ModTime = day(2) }}, {name: "bin/b", data: "22", edit: func(h *tar.Header) { h.Mode = 0o4755 }},
			{name: "bin/c", data: "1", edit: func(h *tar.Header) { h.Uid, h.Gid = 1000, 5 }}, {name: "bin/new", data: "1"},
			{name: "bin/l", edit: func(h *tar.Header) { h.Typeflag, h.Linkname = tar.TypeSymlink, "b" }},
		}},
		step{name: "COPY . /app", files: []file{{name: "app/x", data: "x"}, {name: "app/"}}}, // another order
		step{name: "RUN date", files: []file{{name: "now", edit: func(h *tar.Header) { h.ModTime = day(3) }}, {name: "later", edit: func(h *tar.Header) { h.ModTime = day(3) }}}},
	))
	var out bytes.Buffer
	for _, opt := range []Options{{Files: 10}, {Files: 2}, {Files: 10, IgnoreTimes: true}} {
		r, err := Compare(t.Context(), one.open(), two.open(), opt)
		check(t, err)
		if r.Same() || r.Unknown() {
			t.Errorf("%+v: same %v, unknown %v", opt, r.Same(), r.Unknown())
		}
		fmt.Fprintf(&out, "# files %d, ignore times %v\n", opt.Files, opt.IgnoreTimes)
		check(t, r.WriteText(&out))
	}
	golden(t, "compare.txt", out.Bytes())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		check(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	check(t, err)
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (write it with -update):\n%s", file, d)
	}
}

func verdicts(t *testing.T, a, b *writer, opt Options) string {
	t.Helper()
	r, err := Compare(t.Context(), a.open(), b.open(), opt)
	check(t, err)
	var list []string
	for _, i := range r.Images {
		if i.Missing != "" {
			list = append(list, i.Platform+" missing in "+i.Missing)
		}
		for _, l := range i.Layers {
			list = append(list, string(l.Verdict))
		}
	}
	return strings.Join(list, " ")
}

func TestVerdicts(t *testing.T) {
	image := func(steps ...step) *writer { w := newWriter(t); return w.index(w.image("amd64", nil, steps...)) }
	x, y := step{name: "x", files: []file{{name: "x", data: "1"}}}, step{name: "y", files: []file{{name: "y", data: "1"}}}
	later := step{name: "x", files: []file{{name: "x", data: "1", edit: func(h *tar.Header) { h.ModTime = day(9) }}}}
	plain := x
	plain.plain = true
	model, code := file{name: "app/model", data: "m"}, file{name: "app/code", data: "c"}
	whole := step{name: "copy: . to /app", files: []file{{name: "app/"}, code, model}}
	big := step{name: "copy: . to /app (app/model)", files: []file{{name: "app/"}, model}}
	bigger := step{name: big.name, files: []file{{name: "app/"}, {name: "app/model", data: "M"}}}
	rest := step{name: whole.name, files: []file{{name: "app/"}, code}}
	arm := newWriter(t)
	arm.index(arm.image("arm64", nil, x))
	for _, c := range []struct {
		name     string
		old, now *writer
		opt      Options
		want     string
	}{
		{"the same", image(x, y), image(x, y), Options{}, "same same"},
		{"compressed or not", image(x), image(plain), Options{}, "same"},
		{"later", image(x), image(later), Options{}, "differs"},
		{"later, which is no matter", image(x), image(later), Options{IgnoreTimes: true}, "form"},
		{"one more", image(x), image(x, y), Options{}, "same only"},
		{"one more before", image(y), image(x, y), Options{}, "only same"},
		{"one less", image(x, y), image(y), Options{}, "only same"},
		{"changed and one more", image(x), image(later, y), Options{}, "differs only"},
		{"big files apart", image(y, big, rest), image(y, whole), Options{}, "same form"},
		{"big files apart, one changed", image(bigger, rest, y), image(whole, y), Options{}, "differs same"},
		{"another platform", image(x), arm, Options{}, "linux/amd64 missing in new linux/arm64 missing in old"},
	} {
		if got := verdicts(t, c.old, c.now, c.opt); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestALayerThatCannotBeRead(t *testing.T) {
	w := newWriter(t)
	w.index(w.image("amd64", nil, step{name: "x", files: []file{{name: "x", data: "1"}}}))
	other := newWriter(t)
	other.index(other.image("amd64", nil, step{name: "x", files: []file{{name: "x", data: "2"}}}))
	c, err := Read(t.Context(), other.open())
	check(t, err)
	check(t, os.Remove(filepath.Join(other.dir, "blobs/sha256", c.Images[0].Layers[0].Desc.Digest.Encoded())))
	r, err := Compare(t.Context(), w.open(), other.open(), Options{})
	check(t, err)
	if r.Same() || !r.Unknown() || !strings.Contains(r.Images[0].Layers[0].Reason, "no such file") {
		t.Errorf("%+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Compare(ctx, w.open(), w.open(), Options{}); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestTreeOfZstd(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	check(t, err)
	tree, err := readTree(t.Context(), bytes.NewReader(enc.EncodeAll(tarball(t, []file{{name: "./a/b", data: "1"}}), nil)))
	if err != nil || len(tree) != 1 || tree["a/b"].size != 1 {
		t.Errorf("%v, %v", tree, err)
	}
}

// FuzzTree reads any bytes as a layer: no panic, no hang.
func FuzzTree(f *testing.F) {
	f.Add(tarball(f, []file{{name: "a/"}, {name: "a/b", data: "1"}}))
	f.Add([]byte{0x1f, 0x8b, 8})
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := readTree(t.Context(), bytes.NewReader(data))
		if err != nil {
			return
		}
		r := &LayerReport{}
		(&comparison{}).files(r, tree, tree)
		if r.Verdict != Form || len(r.Counts) != 0 {
			t.Errorf("a tree differs from itself: %+v", r)
		}
	})
}
