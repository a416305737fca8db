package registry

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/ibuild/ibuild/cache"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard) // containerd's content store says what the file system cannot
	os.Exit(m.Run())
}

var (
	amd64 = ocispecs.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = ocispecs.Platform{OS: "linux", Architecture: "arm64"}
	s390x = ocispecs.Platform{OS: "linux", Architecture: "s390x"}
)

// server is a registry on the loopback interface that writes down what it is
// asked, and behaves as mood says.
type server struct {
	*httptest.Server
	host string

	mu   sync.Mutex
	log  []string // "HEAD /v2/app/manifests/1"
	auth []string // Authorization headers, as they came
	mood func(w http.ResponseWriter, r *http.Request) (done bool)
}

func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{}
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		line := r.Method + " " + r.URL.Path
		if r.URL.RawQuery != "" {
			line += "?" + r.URL.RawQuery
		}
		s.log = append(s.log, line)
		if a := r.Header.Get("Authorization"); a != "" {
			s.auth = append(s.auth, a)
		}
		mood := s.mood
		s.mu.Unlock()
		if mood == nil || !mood(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	s.host = strings.TrimPrefix(s.URL, "http://")
	return s
}

// be sets the server's mood and forgets its log.
func (s *server) be(mood func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood, s.log, s.auth = mood, nil, nil
}

// requests returns the requests since the last call of be, without pings.
func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, line := range s.log {
		if line != "GET /v2/" {
			out = append(out, line)
		}
	}
	return out
}

func (s *server) authorizations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.auth...)
}

// count returns how many requests begin with the prefix.
func (s *server) count(prefix string) int {
	n := 0
	for _, line := range s.requests() {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

func newCache(t testing.TB) *cache.Store {
	t.Helper()
	store, err := cache.Open(t.TempDir(), cache.WithWarn(func(msg string) { t.Log("cache: " + msg) }))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// newClient returns a client that loses no time with pauses.
func newClient(t testing.TB, opts Options) *Client {
	t.Helper()
	if opts.Keychain == nil {
		opts.Keychain = StaticKeychain(nil)
	}
	if opts.Log == nil {
		opts.Log = func(msg string) { t.Log(msg) }
	}
	c := New(opts)
	c.retry.base = time.Millisecond
	return c
}

// testImage returns a small image for a platform.
func testImage(t testing.TB, p ocispecs.Platform) v1.Image {
	t.Helper()
	img, err := random.Image(256, 2)
	if err != nil {
		t.Fatal(err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture, cf.Variant = p.OS, p.Architecture, p.Variant
	cf.Config.Env = []string{"PATH=/bin"}
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		t.Fatal(err)
	}
	return img
}

// testIndex returns an index of small images.
func testIndex(t testing.TB, ps ...ocispecs.Platform) v1.ImageIndex {
	t.Helper()
	index := v1.ImageIndex(empty.Index)
	for _, p := range ps {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        testImage(t, p),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}},
		})
	}
	return index
}

// push puts an image or index onto a server, past the code under test.
func push(t testing.TB, ref string, what remote.Taggable) {
	t.Helper()
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Push(parsed, what); err != nil {
		t.Fatal(err)
	}
}

func digestOf(t testing.TB, d interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	h, err := d.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}

func rawManifestOf(t testing.TB, what remote.Taggable) []byte {
	t.Helper()
	data, err := what.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func ctx(t testing.TB) context.Context {
	t.Helper()
	c, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return c
}

// corrupt changes a blob in the cache behind its back.
func corrupt(t testing.TB, store *cache.Store, d digest.Digest) {
	t.Helper()
	path := filepath.Join(store.Dir(), "blobs", "sha256", d.Encoded())
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	os.Remove(path)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
