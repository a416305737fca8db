package imagetest

import (
	"archive/tar"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// hub is a registry in this process that counts how often it hands out each blob, and can lose them.
type hub struct {
	host string
	lost atomic.Bool
	mu   sync.Mutex
	sent map[string]int // by digest
}

func newHub(t *testing.T) *hub {
	t.Helper()
	h, handler := &hub{sent: map[string]int{}}, registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, digest, ok := strings.Cut(r.URL.Path, "/blobs/sha256:"); ok {
			if h.lost.Load() {
				http.NotFound(w, r)
				return
			}
			if r.Method == http.MethodGet {
				h.mu.Lock()
				h.sent[digest]++
				h.mu.Unlock()
			}
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	h.host = strings.TrimPrefix(server.URL, "http://")
	return h
}

// push pushes an image and returns its name.
func (h *hub) push(t *testing.T, repo string, img v1.Image) string {
	t.Helper()
	ref, err := name.ParseReference(h.host + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return ref.Name()
}

func openStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func pullFrom(t *testing.T, s *Store, ref string) v1.Image {
	t.Helper()
	img, err := s.Pull(t.Context(), ref, "linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// forLinux is an image with a platform, by which it can be pulled.
func forLinux(t *testing.T, layers ...[]tar.Header) v1.Image {
	t.Helper()
	img := image(t, layers...)
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

// TestStoreReadsALayerOnce, and images of it have the same files as others.
func TestStoreReadsALayerOnce(t *testing.T) {
	h, s, layers := newHub(t), openStore(t), map[string]bool{}
	base := []tar.Header{dir("a"), reg("a/x", "1"), hard("a/y", "a/x"), reg("a/z", "3")}
	for repo, img := range map[string]v1.Image{
		"one":   forLinux(t, base, []tar.Header{reg("a/x", "22")}),
		"two":   forLinux(t, base, []tar.Header{reg("a/.wh.z", "")}),
		"twice": forLinux(t, base, base),
	} {
		want, err := Files(img)
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := img.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range manifest.Layers {
			layers[l.Digest.Hex] = true
		}
		ref := h.push(t, repo, img)
		for range 2 {
			got, err := Files(pullFrom(t, s, ref))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (- is wanted):\n%s", repo, diff)
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for digest := range layers {
		if n := h.sent[digest]; n != 1 {
			t.Errorf("the layer %s was fetched %d times", digest, n)
		}
	}
	if len(layers) != 3 { // the base, and one layer more of two images
		t.Errorf("there are %d layers", len(layers))
	}
}

// TestStoreSeesWhatIsWrong: a layer that is gone, and one that is not what the config says.
func TestStoreSeesWhatIsWrong(t *testing.T) {
	h, s := newHub(t), openStore(t)
	img := pullFrom(t, s, h.push(t, "gone", forLinux(t, []tar.Header{reg("x", "1")})))
	if _, err := Files(img); err != nil {
		t.Fatal(err)
	}
	h.lost.Store(true)
	if _, err := Files(img); err == nil || !strings.Contains(err.Error(), "does not have the layer") {
		t.Errorf("a layer that is gone: %v", err)
	}
	h.lost.Store(false)

	honest := forLinux(t, []tar.Header{reg("x", "1")}, []tar.Header{reg("y", "1")})
	config, err := honest.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.RootFS.DiffIDs[1] = config.RootFS.DiffIDs[0]
	lying, err := mutate.ConfigFile(mutate.MediaType(honest, types.DockerManifestSchema2), config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Files(pullFrom(t, s, h.push(t, "lying", lying))); err == nil || !strings.Contains(err.Error(), "the config says that it unpacks to") {
		t.Errorf("a config that lies: %v", err)
	}
}
