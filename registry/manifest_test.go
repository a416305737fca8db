package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// manifestMood answers GETs of manifests with body.
func manifestMood(body []byte, mediaType string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		w.Header().Set("Content-Type", mediaType)
		_, _ = w.Write(body)
		return true
	}
}

func TestBadAnswers(t *testing.T) {
	s := newServer(t)
	push(t, s.host+"/app:1", testImage(t, amd64))
	for name, mood := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"other content": manifestMood([]byte(`{"schemaVersion":2,"layers":[],"config":{}}`), ocispecs.MediaTypeImageManifest),
		"huge, with length": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/") {
				w.Header().Set("Content-Length", fmt.Sprint(int64(1)<<30))
				return true
			}
			return false
		},
		"huge, without": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/") {
				chunk := bytes.Repeat([]byte(" "), 1<<20)
				for range 1 << 10 {
					if _, err := w.Write(chunk); err != nil {
						return true
					}
				}
				return true
			}
			return false
		},
		"endless redirects": func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/manifests/") {
				http.Redirect(w, r, r.URL.Path+"x", http.StatusTemporaryRedirect)
				return true
			}
			return false
		},
		"config with other content": func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/blobs/") {
				_, _ = io.WriteString(w, `{"os":"linux","architecture":"amd64"}`)
				return true
			}
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.be(mood)
			_, err := newClient(t, Options{Cache: newCache(t)}).Resolve(ctx(t), s.host+"/app:1", amd64)
			var e *Error
			if !errors.Is(err, ErrBadAnswer) || !errors.As(err, &e) || e.Host != s.host || e.Hint == "" {
				t.Errorf("got %v (%+v)", err, e)
			}
			t.Log(err)
		})
	}
}

func TestTruncatedBody(t *testing.T) {
	s := newServer(t)
	push(t, s.host+"/app:1", testImage(t, amd64))
	cut := func(times int, what string) func(w http.ResponseWriter, r *http.Request) bool {
		var mu sync.Mutex
		return func(w http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, what) || times == 0 {
				return false
			}
			times--
			w.Header().Set("Content-Length", "400")
			_, _ = io.WriteString(w, `{"schemaVersion`)
			return true
		}
	}
	for _, what := range []string{"/manifests/", "/blobs/"} {
		s.be(cut(1, what))
		if _, err := newClient(t, Options{}).Resolve(ctx(t), s.host+"/app:1", amd64); err != nil {
			t.Errorf("%s cut once: %v", what, err)
		}
		s.be(cut(100, what))
		_, err := newClient(t, Options{}).Resolve(ctx(t), s.host+"/app:1", amd64)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s cut always: %v", what, err)
		}
	}
}

// TestConfusingDocuments: what can be read in two ways is refused.
func TestConfusingDocuments(t *testing.T) {
	desc := func(mediaType, body string) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digest.FromString(body), len(body))
	}
	config := desc(ocispecs.MediaTypeImageConfig, "x")
	many := strings.Repeat("{},", 1001) + "{}"
	for name, body := range map[string]string{
		"image and index":    `{"schemaVersion":2,"config":` + config + `,"layers":[],"manifests":[]}`,
		"index with config":  `{"schemaVersion":2,"mediaType":"` + ocispecs.MediaTypeImageIndex + `","config":` + config + `,"manifests":[]}`,
		"lying type":         `{"schemaVersion":2,"mediaType":"` + ocispecs.MediaTypeImageIndex + `","config":` + config + `,"layers":[]}`,
		"other case":         `{"schemaVersion":2,"config":` + config + `,"layers":[],"Layers":[]}`,
		"schema 1":           `{"schemaVersion":1,"fsLayers":[],"history":[]}`,
		"not JSON":           `<html>`,
		"an array":           `[]`,
		"null":               `null`,
		"nothing":            `{}`,
		"too many entries":   `{"schemaVersion":2,"manifests":[` + many + `]}`,
		"too many layers":    `{"schemaVersion":2,"config":` + config + `,"layers":[` + many + `]}`,
		"no digest":          `{"schemaVersion":2,"config":{"mediaType":"x","size":1},"layers":[]}`,
		"negative size":      `{"schemaVersion":2,"config":{"digest":"` + digest.FromString("x").String() + `","size":-1},"layers":[]}`,
		"path as digest":     `{"schemaVersion":2,"config":{"digest":"sha256:../../../etc/passwd","size":1},"layers":[]}`,
		"not an image":       `{"schemaVersion":2,"config":` + desc("application/vnd.helm.config", "x") + `,"layers":[]}`,
		"large config":       `{"schemaVersion":2,"config":` + strings.Replace(config, `"size":1`, `"size":99999999`, 1) + `,"layers":[]}`,
		"nested index":       `{"schemaVersion":2,"manifests":[{"mediaType":"` + ocispecs.MediaTypeImageIndex + `","digest":"` + digest.FromString("x").String() + `","size":1,"platform":{"os":"linux","architecture":"amd64"}}]}`,
		"index without any":  `{"schemaVersion":2,"manifests":[]}`,
		"control characters": `{"schemaVersion":2,"mediaType":"` + `\u001b[31mred` + `","config":` + config + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.be(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/manifests/") {
					return false
				}
				w.Header().Set("Content-Type", ocispecs.MediaTypeImageManifest)
				w.Header().Set("Docker-Content-Digest", digest.FromString(body).String())
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				_, _ = io.WriteString(w, body)
				return true
			})
			_, err := newClient(t, Options{}).Resolve(ctx(t), s.host+"/app:1", amd64)
			var missing *PlatformError
			if !errors.Is(err, ErrBadAnswer) && !errors.As(err, &missing) {
				t.Errorf("got %v", err)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("control characters in %q", err)
			}
		})
	}
}

// TestIndexLiesAboutPlatform: the config decides what an image is for.
func TestIndexLiesAboutPlatform(t *testing.T) {
	s := newServer(t)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add:        testImage(t, arm64),
		Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}},
	})
	push(t, s.host+"/app:1", index)
	_, err := newClient(t, Options{}).Resolve(ctx(t), s.host+"/app:1", amd64)
	if !errors.Is(err, ErrBadAnswer) {
		t.Errorf("got %v", err)
	}
}

func TestIndexLiesAboutSize(t *testing.T) {
	s := newServer(t)
	img := testImage(t, amd64)
	push(t, s.host+"/app:img", img)
	var doc map[string]any
	if err := json.Unmarshal(rawManifestOf(t, testIndex(t, amd64)), &doc); err != nil {
		t.Fatal(err)
	}
	entry := doc["manifests"].([]any)[0].(map[string]any)
	entry["digest"], entry["size"] = digestOf(t, img), 3
	body, _ := json.Marshal(doc)
	c := newClient(t, Options{})
	desc := ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageIndex, Digest: digest.FromBytes(body), Size: int64(len(body))}
	if err := c.PutManifest(ctx(t), s.host+"/app", desc, body); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Resolve(ctx(t), s.host+"/app@"+desc.Digest.String(), amd64); !errors.Is(err, ErrBadAnswer) {
		t.Errorf("got %v", err)
	}
}
