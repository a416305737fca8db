package results

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/ibuild/ibuild/registry"
)

// server is a registry in memory on the loopback interface.
type server struct {
	host string

	mu   sync.Mutex
	log  []string // "PUT /v2/app/manifests/1"
	mood func(w http.ResponseWriter, r *http.Request) (done bool)
}

func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{}
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	http1 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.log = append(s.log, r.Method+" "+r.URL.Path)
		mood := s.mood
		s.mu.Unlock()
		if mood == nil || !mood(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(http1.Close)
	s.host = strings.TrimPrefix(http1.URL, "http://")
	return s
}

func (s *server) be(mood func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood, s.log = mood, nil
}

func (s *server) count(prefix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.log {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

// uploads tells whether a request brings bytes of a blob.
func uploads(r *http.Request) bool {
	return (r.Method == http.MethodPatch || r.Method == http.MethodPut) && strings.Contains(r.URL.Path, "/uploads/") && r.ContentLength != 0
}

func newClient() *registry.Client {
	return registry.New(registry.Options{Keychain: registry.StaticKeychain(nil)})
}

func (s *server) ref() string { return s.host + "/me/job:run-0-0" }

// random is n bytes that cannot be compressed.
func random(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}

func write(t testing.TB, name string, data []byte, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	when := time.Unix(1_700_000_000, 0)
	if err := errors.Join(os.Chmod(name, mode), os.Chtimes(name, when, when)); err != nil {
		t.Fatal(err)
	}
}

// tree is all that is below a folder, for comparing.
func tree(t testing.TB, folder string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == folder {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(folder, name)
		text := info.Mode().String()
		switch info.Mode().Type() {
		case 0:
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %d bytes %x %d", len(data), data[:min(len(data), 20)], info.ModTime().Unix())
			if len(data) > 20 {
				text += fmt.Sprintf(" …%x", data[len(data)-20:])
			}
		case fs.ModeSymlink:
			link, err := os.Readlink(name)
			if err != nil {
				return err
			}
			text += " " + link
		}
		out[rel] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
