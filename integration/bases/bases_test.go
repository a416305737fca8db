package bases

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestKeyFollowsInputs(t *testing.T) {
	base := &recipe{title: "base", inputs: []string{"1"}}
	child := &recipe{title: "child", from: base, inputs: []string{"x"}}
	before, baseBefore := child.key(), base.key()
	if before == baseBefore {
		t.Error("two recipes have the same key")
	}
	base.inputs = []string{"2"}
	if base.key() == baseBefore {
		t.Error("the key did not change with the inputs")
	}
	if child.key() == before {
		t.Error("the key did not change with the base")
	}
	if again := child.key(); again != child.key() {
		t.Error("the key is not stable")
	}
}

func TestParseSources(t *testing.T) {
	const targets = `Debian bookworm deb http://mirror.example/debian/ bookworm main
Debian bookworm deb http://mirror.example/debian/ bookworm contrib
Debian bookworm-security deb http://mirror.example/security/ bookworm-security main
Debian bookworm-backports deb http://mirror.example/debian/ bookworm-backports main
Debian trixie deb http://mirror.example/debian/ trixie main
Other bookworm deb http://other.example/ bookworm main
`
	got := strings.Join(parseSources([]byte(targets)), "\n")
	const want = `deb http://mirror.example/debian/ bookworm main contrib
deb http://mirror.example/security/ bookworm-security main`
	if got != want {
		t.Errorf("parseSources =\n%s\nwant\n%s", got, want)
	}
}

func TestCertificates(t *testing.T) {
	block := func(kind, text string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(text)}))
	}
	bundle := "# a comment\n" + block("CERTIFICATE", "one") + "\n\n" + block("PRIVATE KEY", "no") +
		strings.ReplaceAll(block("CERTIFICATE", "two"), "\n", "\r\n")
	got := certificates([]byte(bundle))
	if len(got) != 2 || string(got[0]) != block("CERTIFICATE", "one") || string(got[1]) != block("CERTIFICATE", "two") {
		t.Errorf("certificates = %q", got)
	}
}

// archive makes a tar of "name content" lines; a name with a slash at its end
// is a folder.
func archive(t *testing.T, lines ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, line := range lines {
		name, content, _ := strings.Cut(line, " ")
		h := file{Name: "./" + name, Mode: 0o755, Text: content}.header()
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestDifference(t *testing.T) {
	lower := archive(t, "same/", "same/file 1", "changed 1", "old/", "old/file 1", "same/gone 1")
	upper := archive(t, "same/", "same/file 1", "changed 2", "new 1", "etc/hostname host", "dev/null 1")
	var got []string
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(upper)), nil }
	err := difference(bytes.NewReader(lower), open)(func(h *tar.Header, body io.Reader) error {
		content, err := io.ReadAll(body)
		got = append(got, h.Name+"="+string(content))
		return err
	})
	const want = ".wh.old= same/.wh.gone= changed=2 new=1"
	if err != nil || strings.Join(got, " ") != want {
		t.Errorf("difference = %s, %v, want %s", strings.Join(got, " "), err, want)
	}
}

// toy is a recipe that needs nothing of the machine.
func toy(title, text string, from *recipe, made *atomic.Int32) *recipe {
	return &recipe{
		title: title, names: []string{title + ":1", title + ":latest"}, from: from, inputs: text,
		make: func(_ context.Context, k *kitchen, p v1.Platform, base v1.Image) (v1.Image, error) {
			made.Add(1)
			layer, err := k.layer(func(write func(*tar.Header, io.Reader) error) error {
				return write(regular(title+".txt", 0o644, len(text)), strings.NewReader(text))
			})
			if err != nil {
				return nil, err
			}
			return addition{platform: p, layer: layer, config: v1.Config{Cmd: []string{title}}}.add(base)
		},
	}
}

func list(recipes ...*recipe) func() []*recipe { return func() []*recipe { return recipes } }

func TestStoreMakesOnceAndKeeps(t *testing.T) {
	var made atomic.Int32
	base := toy("base", "x", nil, &made)
	store := &Store{dir: t.TempDir(), temp: t.TempDir(), log: io.Discard, recipes: list(base, toy("child", "y", base, &made))}
	for range 2 {
		image, err := store.Image(t.Context(), "docker.io/library/child")
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Index(image.Index); err != nil {
			t.Fatal(err)
		}
		checkPlatforms(t, image.Index)
	}
	if got, want := int(made.Load()), 2*len(platforms()); got != want {
		t.Errorf("made %d images, want %d", got, want)
	}
	if got := fmt.Sprint(store.Names()); got != "[base:1 child:1]" {
		t.Errorf("Names = %s", got)
	}
}

// TestSlowImagesAreAskedFor lists one that is slow to make only once it has been made.
func TestSlowImagesAreAskedFor(t *testing.T) {
	var made atomic.Int32
	slow := toy("slow", "x", nil, &made)
	slow.slow = true
	store := &Store{dir: t.TempDir(), temp: t.TempDir(), log: io.Discard, recipes: list(slow, toy("quick", "y", nil, &made))}
	if got := fmt.Sprint(store.Names()); got != "[quick:1]" {
		t.Errorf("Names = %s", got)
	}
	if _, err := store.Image(t.Context(), "slow:1"); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(store.Names()); got != "[slow:1 quick:1]" {
		t.Errorf("Names = %s once it is made", got)
	}
}

func checkPlatforms(t *testing.T, index v1.ImageIndex) {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range platforms() {
		m := manifest.Manifests[i]
		img, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if !m.Platform.Equals(want) || !config.Platform().Equals(want) {
			t.Errorf("platform %s in the index, %s in the config, want %s", m.Platform, config.Platform(), want)
		}
		if layers, _ := img.Layers(); len(layers) != 2 {
			t.Errorf("%d layers, want those of the base and its own", len(layers))
		}
	}
}

func TestStoreIsDeterministic(t *testing.T) {
	digest := func() v1.Hash {
		store := &Store{dir: t.TempDir(), temp: t.TempDir(), log: io.Discard, recipes: list(toy("a", "x", nil, new(atomic.Int32)))}
		image, err := store.Image(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		digest, err := image.Index.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return digest
	}
	if a, b := digest(), digest(); a != b {
		t.Errorf("digests %s and %s of the same recipe", a, b)
	}
}

func TestStoreKeepsNothingOfAFailure(t *testing.T) {
	broken := toy("a", "x", nil, new(atomic.Int32))
	works := broken.make
	failed := errors.New("no network")
	broken.make = func(context.Context, *kitchen, v1.Platform, v1.Image) (v1.Image, error) { return nil, failed }
	store := &Store{dir: t.TempDir(), temp: t.TempDir(), log: io.Discard, recipes: list(broken)}
	if _, err := store.Image(t.Context(), "a"); !errors.Is(err, failed) {
		t.Fatalf("error = %v", err)
	}
	broken.make = works
	if _, err := store.Image(t.Context(), "a"); err != nil {
		t.Errorf("after a failure: %v", err)
	}
}

func TestUnknownImage(t *testing.T) {
	store := Open(t.TempDir(), t.TempDir(), io.Discard)
	for _, name := range []string{"python:3.12", "debian:trixie", "busybox:1.36"} {
		var unknown *UnknownError
		if _, err := store.Image(t.Context(), name); !errors.As(err, &unknown) {
			t.Errorf("Image(%s): error = %v, want UnknownError", name, err)
		}
	}
}
