package registry

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	resolverconfig "github.com/moby/buildkit/util/resolver/config"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// imageOf is a manifest of the blobs: a config and layers.
func imageOf(t *testing.T, blobs ...Blob) Content {
	t.Helper()
	m := ocispecs.Manifest{MediaType: ocispecs.MediaTypeImageManifest, Config: blobs[0].Descriptor}
	m.SchemaVersion = 2
	for _, b := range blobs[1:] {
		m.Layers = append(m.Layers, b.Descriptor)
	}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return newContent(m.MediaType, data)
}

func newBlob(text string) Blob {
	b := textBlob(text)
	b.New = true
	return b
}

// TestPushInFewRequests: what was just made goes up with no question, and one tag is all that an image needs.
func TestPushInFewRequests(t *testing.T) {
	s := newServer(t)
	c := newClient(t, Options{})
	config, layer := newBlob("config"), newBlob("layer")
	big := newBlob(strings.Repeat("x", smallBlob+1))
	up := Upload{Repository: s.host + "/app", Blobs: []Blob{config, layer, layer}, Manifests: []Content{imageOf(t, config, layer)}, Tags: []string{s.host + "/app:1"}}
	for _, c := range []struct {
		name   string
		client *Client
		up     func(*Upload)
		want   []string // methods, those of blobs in any order
	}{
		{"new", c, func(*Upload) {}, []string{"POST", "POST", "PUT", "PUT", "PUT /v2/app/manifests/1"}},
		{"once more in this process", c, func(*Upload) {}, []string{"PUT /v2/app/manifests/1"}},
		{"another tag", c, func(u *Upload) { u.Tags = []string{s.host + "/app:2", s.host + "/app:3"} }, []string{"PUT /v2/app/manifests/2", "PUT /v2/app/manifests/3"}},
		{"no tag", c, func(u *Upload) { u.Tags = nil }, []string{"PUT /v2/app/manifests/" + up.Manifests[0].Digest.String()}},
		{"a big one", c, func(u *Upload) { u.Blobs = []Blob{big} }, []string{"HEAD", "POST", "PUT", "PUT /v2/app/manifests/1"}},
		{"made before", newClient(t, Options{}), func(u *Upload) { u.Blobs = []Blob{textBlob("layer")} }, []string{"HEAD", "PUT /v2/app/manifests/1"}},
	} {
		one := up
		c.up(&one)
		s.be(nil)
		if err := c.client.Push(ctx(t), one); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var got []string
		for _, r := range s.requests() {
			if strings.Contains(r, "/blobs/") {
				r, _, _ = strings.Cut(r, " ")
			}
			got = append(got, r)
		}
		slices.Sort(got[:len(got)-len(one.Tags)])
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: asked %q, want %q", c.name, got, c.want)
		}
	}
}

// TestPartsBeforeTheIndex: the registry has all that a manifest names before it gets the manifest.
func TestPartsBeforeTheIndex(t *testing.T) {
	s := newServer(t)
	up := Upload{Repository: s.host + "/app", Tags: []string{s.host + "/app:1"}}
	var list []ocispecs.Descriptor
	for _, p := range []ocispecs.Platform{amd64, arm64, s390x} {
		config, layer := newBlob("config of "+p.Architecture), newBlob("layer")
		m := imageOf(t, config, layer)
		m.Platform = &p
		up.Blobs, up.Manifests, list = append(up.Blobs, config, layer), append(up.Manifests, m), append(list, m.Descriptor)
	}
	inner, err := Index(list[:2])
	if err != nil {
		t.Fatal(err)
	}
	root, err := Index(list)
	if err != nil {
		t.Fatal(err)
	}
	up.Manifests = []Content{up.Manifests[0], up.Manifests[1], inner, up.Manifests[2], root}
	var mu sync.Mutex
	stored := map[string]bool{}
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		if d := r.URL.Query().Get("digest"); d != "" {
			stored[d] = true
			return false
		}
		id := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		var needs []digest.Digest
		switch {
		case id == inner.Digest.String():
			needs = []digest.Digest{list[0].Digest, list[1].Digest}
		case id == "1":
			needs = []digest.Digest{list[0].Digest, list[1].Digest, list[2].Digest, inner.Digest}
		default:
			for _, b := range up.Blobs {
				needs = append(needs, b.Digest)
			}
		}
		for _, d := range needs {
			if !stored[d.String()] {
				t.Errorf("%s came before %s", id, d)
			}
		}
		stored[id] = true
		return false
	})
	if err := newClient(t, Options{}).Push(ctx(t), up); err != nil {
		t.Fatal(err)
	}
	if stored[root.Digest.String()] || !stored["1"] {
		t.Error("the index was put by its digest, too, or not by its tag")
	}
}

// TestAnswerOfAnUploadIsLost: what has arrived is not sent again, though it was new.
func TestAnswerOfAnUploadIsLost(t *testing.T) {
	s := newServer(t)
	inner := s.Config.Handler
	var once sync.Once
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if isUpload(r) {
			once.Do(func() {
				s.be(nil)
				inner.ServeHTTP(w, r) // carried out
				panic(http.ErrAbortHandler)
			})
		}
		return false
	})
	if err := newClient(t, Options{}).PushBlob(ctx(t), s.host+"/app", newBlob(strings.Repeat("x", 100_000)), nil); err != nil {
		t.Fatal(err)
	}
	if got := s.requests(); len(got) == 0 || !strings.HasPrefix(got[len(got)-1], "HEAD ") || s.count("PUT ") > 1 {
		t.Errorf("asked %q", got)
	}
}

// TestMountThatFails: a registry that does not mount gets the bytes.
func TestMountThatFails(t *testing.T) {
	s := newServer(t)
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("mount") {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	b := newBlob("layer")
	b.From = s.host + "/other"
	if err := newClient(t, Options{}).PushBlob(ctx(t), s.host+"/app", b, nil); err != nil {
		t.Fatal(err)
	}
	if s.count("HEAD ") != 1 || s.count("POST ") != 2 || s.count("PUT ") != 1 {
		t.Errorf("asked %q", s.requests())
	}
}

// TestUploadInPlainText: who is asked by HTTPS cannot have the bytes by HTTP, neither here nor elsewhere.
func TestUploadInPlainText(t *testing.T) {
	plain := newServer(t)
	srv := httptest.NewUnstartedServer(plain.Config.Handler)
	srv.Config.ErrorLog = plain.Config.ErrorLog
	srv.StartTLS()
	defer srv.Close()
	host, yes, no := strings.TrimPrefix(srv.URL, "https://"), true, false
	for _, to := range []string{plain.URL, "http://" + host} {
		plain.be(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			w.Header().Set("Location", to+"/v2/app/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
			return true
		})
		c := newClient(t, Options{Hosts: map[string]resolverconfig.RegistryConfig{host: {Insecure: &yes, PlainHTTP: &no}}})
		err := c.PushBlob(ctx(t), host+"/app", newBlob("secret"), nil)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Msg, "plain text") || e.Hint == "" || plain.count("PUT ") != 0 {
			t.Errorf("%s: %v, %q", to, err, plain.requests())
		}
	}
}

func TestEmptyBlob(t *testing.T) {
	s := newServer(t)
	c := newClient(t, Options{})
	if err := c.PushBlob(ctx(t), s.host+"/app", newBlob(""), nil); err != nil {
		t.Fatal(err)
	}
	if ok, err := c.Exists(ctx(t), s.host+"/app", textBlob("").Descriptor); !ok || err != nil {
		t.Errorf("it is there: %v, %v", ok, err)
	}
}

// TestStalePingOfParallelUploads: a registry that wants credentials since the last build gets them from each of the
// requests that went out without.
func TestStalePingOfParallelUploads(t *testing.T) {
	s := newServer(t)
	store := newCache(t)
	opts := Options{Cache: store, Keychain: withCanary(s.host)}
	if err := newClient(t, Options{Cache: store}).PushBlob(ctx(t), s.host+"/app", newBlob("first"), nil); err != nil {
		t.Fatal(err)
	}
	s.be(bearer(s.URL + "/token"))
	guarded := s.mood
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			_, _ = w.Write([]byte(`{"token":"s3cr3t-t0k3n"}`))
			return true
		}
		return guarded(w, r)
	})
	up := Upload{Repository: s.host + "/app"}
	for _, text := range []string{"a", "b", "c", "d"} {
		up.Blobs = append(up.Blobs, newBlob(text))
	}
	if err := newClient(t, opts).Push(ctx(t), up); err != nil {
		t.Error(err)
	}
}

func TestPublicHost(t *testing.T) {
	for to, refused := range map[string]bool{
		"https://storage.example.com/x": false, "https://10.0.0.1:5000/same": false, "https://203.0.113.9/x": false,
		"https://169.254.169.254/latest": true, "https://10.0.0.2/x": true, "https://127.0.0.1/x": true, "https://[::1]/x": true,
		"https://[::ffff:127.0.0.1]/x": true, "https://[fe80::1%25eth0]/x": true, "https://0.0.0.0/x": true,
		"https://127.1/x": true, "https://2130706433/x": true, "https://0x7f.0x1/x": true,
	} {
		at, err := url.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		err = publicHost(at, &url.URL{Scheme: "https", Host: "10.0.0.1:443"})
		if got := errors.Is(err, errPrivateHost); got != refused {
			t.Errorf("%s: %v", to, err)
		}
	}
}
