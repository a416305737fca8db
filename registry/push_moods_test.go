package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	resolverconfig "github.com/moby/buildkit/util/resolver/config"
)

// TestMissingBlob: a registry that has lost a blob gets it again, and then the manifest.
func TestMissingBlob(t *testing.T) {
	for _, c := range []struct {
		name    string
		detail  func(b Blob) string
		always  bool // the registry says that it has the blob
		ok      bool
		uploads int
	}{
		{"named", func(b Blob) string { return fmt.Sprintf(`{"digest":%q}`, b.Digest) }, true, true, 2},
		{"not named", func(Blob) string { return `null` }, false, true, 2},
		{"not named, and said to be there", func(Blob) string { return `null` }, true, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKeeper(t)
			b := textBlob(largeText("lost"))
			m := imageOf(t, newBlob("config"), b)
			var mu sync.Mutex
			lost := false
			k.before = func(w http.ResponseWriter, r *http.Request) bool {
				mu.Lock()
				defer mu.Unlock()
				k.mu.Lock()
				_, has := k.blobs[b.Digest]
				k.mu.Unlock()
				switch {
				case r.Method == http.MethodHead && c.always && lost && strings.HasSuffix(r.URL.Path, b.Digest.String()):
					w.Header().Set("Content-Length", fmt.Sprint(b.Size))
					w.WriteHeader(http.StatusOK)
				case strings.Contains(r.URL.Path, "/manifests/") && r.Method == http.MethodPut && !(lost && has):
					lost = true
					k.mu.Lock()
					delete(k.blobs, b.Digest)
					k.mu.Unlock()
					w.WriteHeader(http.StatusNotFound)
					fmt.Fprintf(w, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","detail":%s}]}`, c.detail(b))
				default:
					return false
				}
				return true
			}
			err := newClient(t, Options{Cache: newCache(t)}).Push(ctx(t), Upload{Repository: k.host + "/app",
				Blobs: []Blob{b}, Manifests: []Content{m}, Tags: []string{k.host + "/app:1"}})
			if (err == nil) != c.ok || k.count("PUT /v2/app/blobs") != c.uploads {
				t.Errorf("%v, asked %q", err, k.requests())
			}
		})
	}
}

// TestImmutableTag: a tag that cannot be set is fine if it stands for the manifest.
func TestImmutableTag(t *testing.T) {
	k := newKeeper(t)
	m, other := imageOf(t, newBlob("config")), imageOf(t, newBlob("other"))
	c := newClient(t, Options{})
	if err := c.Tag(ctx(t), k.host+"/app:1", m.Descriptor, m.Bytes); err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{400, 403, 405, 409, 412} {
		k.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				w.WriteHeader(status)
			}
			return r.Method == http.MethodPut
		}
		if err := c.Tag(ctx(t), k.host+"/app:1", m.Descriptor, m.Bytes); err != nil {
			t.Errorf("%d: %v", status, err)
		}
		if err := c.Tag(ctx(t), k.host+"/app:1", other.Descriptor, other.Bytes); err == nil {
			t.Errorf("%d: a tag that stands for another manifest", status)
		}
		if err := c.PutManifest(ctx(t), k.host+"/app", other.Descriptor, other.Bytes); err == nil {
			t.Errorf("%d: a manifest that is not there", status)
		}
	}
}

// tokens is a token server at the registry, of tokens that are good for so many requests, and say a life in seconds.
type tokens struct {
	mu     sync.Mutex
	issued int
	uses   int // left of the newest token
}

// guard answers requests without the newest token.
func (a *tokens) guard(s *server, uses int, life string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		switch {
		case r.URL.Path == "/token":
			a.issued, a.uses = a.issued+1, uses
			fmt.Fprintf(w, `{"token":"t%d"%s}`, a.issued, life)
		case a.uses > 0 && r.Header.Get("Authorization") == fmt.Sprintf("Bearer t%d", a.issued):
			a.uses--
			return false
		default:
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="s"`, s.URL))
			w.WriteHeader(http.StatusUnauthorized)
		}
		return true
	}
}

// TestTokenOfFewRequests: wherever in a push the token ends, the push goes on, and no blob is sent twice.
func TestTokenOfFewRequests(t *testing.T) {
	for uses := 1; uses <= 6; uses++ {
		k := newKeeper(t)
		var a tokens
		k.before = a.guard(k.server, uses, "")
		b, config := textBlob(largeText("token")), newBlob("config")
		m := imageOf(t, config, b)
		one := ProfileChange{Parallel: new(1)} // else one request uses up the token of another
		err := newClient(t, Options{Profiles: map[string]ProfileChange{k.host: one}}).Push(ctx(t), Upload{Repository: k.host + "/app", Blobs: []Blob{b, config}, Manifests: []Content{m}, Tags: []string{k.host + "/app:1"}})
		if err != nil {
			t.Fatalf("%d uses: %v", uses, err)
		}
		k.holds(t, b)
		k.holds(t, config)
		if k.took != b.Size+config.Size {
			t.Errorf("%d uses: %d bytes for %d", uses, k.took, b.Size+config.Size)
		}
		if got := pulled(t, k.host+"/app:1"); uses == 6 && got.Digest.String() != m.Digest.String() {
			t.Errorf("got %s", got.Digest)
		}
		if uses == 1 && a.issued < 5 {
			t.Errorf("%d tokens", a.issued)
		}
	}
}

// TestTokenIsTakenByOthers: who was let in may be refused with a new token, too, and gets in again.
func TestTokenIsTakenByOthers(t *testing.T) {
	for name, meant := range map[string]func(*http.Request) bool{"bytes": isUpload, "the state": isState} {
		k := newKeeper(t)
		var a tokens
		guard := a.guard(k.server, 1000, "")
		cut := times(1, isUpload, func(w http.ResponseWriter, r *http.Request) { k.takeSome(r, 1000); panic(http.ErrAbortHandler) })
		refused := times(3, meant, func(w http.ResponseWriter, r *http.Request) {
			a.mu.Lock()
			a.uses = 0
			a.mu.Unlock()
			guard(w, r)
		})
		k.before = func(w http.ResponseWriter, r *http.Request) bool { return guard(w, r) || cut(w, r) || refused(w, r) }
		b := textBlob(largeText("taken"))
		if err := newClient(t, Options{}).PushBlob(ctx(t), k.host+"/app", b, nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		k.holds(t, b)
		if a.issued < 3 {
			t.Errorf("%s: %d tokens", name, a.issued)
		}
	}
}

// TestTokenIsRenewedInTime: a token that says how long it is good is replaced before.
func TestTokenIsRenewedInTime(t *testing.T) {
	k := newKeeper(t)
	var a tokens
	k.before = a.guard(k.server, 1000, `,"expires_in":1`)
	c := newClient(t, Options{})
	for i, name := range []string{"first", "second", "third"} {
		if i == 2 {
			time.Sleep(800 * time.Millisecond)
			k.be(k.serve)
		}
		if err := c.PushBlob(ctx(t), k.host+"/app", textBlob(name), nil); err != nil {
			t.Fatal(err)
		}
	}
	if a.issued != 2 || k.count("GET /token") != 1 || !strings.HasPrefix(k.requests()[0], "GET /token") {
		t.Errorf("%d tokens; asked %q", a.issued, k.requests())
	}
}

// TestTraffic: each way that a blob comes to its place is counted as that.
func TestTraffic(t *testing.T) {
	k := newKeeper(t)
	b, old := textBlob(largeText("traffic")), textBlob("there")
	mount := textBlob(largeText("mounted"))
	mount.From = k.host + "/other"
	k.blobs[old.Digest] = []byte("there")
	k.before = times(1, func(r *http.Request) bool { return r.URL.Query().Has("mount") }, answering(http.StatusCreated))
	var traffic Traffic
	c := newClient(t, Options{})
	if err := c.Push(ctx(t), Upload{Repository: k.host + "/app", Blobs: []Blob{b, old, mount}, Traffic: &traffic}); err != nil {
		t.Fatal(err)
	}
	all := b.Size + old.Size + mount.Size
	want := Transferred{Total: all, Settled: all, Sent: b.Size, Moved: Tally{1, b.Size}, There: Tally{1, old.Size}, Mounted: Tally{1, mount.Size}}
	if now := traffic.Now(); now != want {
		t.Errorf("counted %+v, want %+v", now, want)
	}
}

// TestOneBlobTwiceAtATime: it goes up once.
func TestOneBlobTwiceAtATime(t *testing.T) {
	k := newKeeper(t)
	b := textBlob(largeText("twice"))
	c := newClient(t, Options{})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if err := c.PushBlob(ctx(t), k.host+"/app", b, nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if k.count("PUT ") != 1 || k.count("HEAD ") != 1 {
		t.Errorf("asked %q", k.requests())
	}
}

// TestTooManyRequests: a registry that gets too much gets half as much at a time from then on.
func TestTooManyRequests(t *testing.T) {
	k := newKeeper(t)
	var mu sync.Mutex
	now, most := 0, 0
	k.before = func(w http.ResponseWriter, r *http.Request) bool {
		if !isPut(r) {
			return false
		}
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		mu.Lock()
		now--
		mu.Unlock()
		return false
	}
	parallel := 8
	c := newClient(t, Options{Profiles: map[string]ProfileChange{k.host: {Parallel: &parallel}}})
	for i, c2 := range []struct{ limited, least, most int }{{0, 5, 8}, {1, 2, 4}} {
		if c2.limited > 0 {
			inner := k.before
			once := times(1, isPut, answering(429))
			k.before = once
			if err := c.PushBlob(ctx(t), k.host+"/app", newBlob("limited"), nil); err != nil {
				t.Fatal(err)
			}
			k.before, most = inner, 0
		}
		up := Upload{Repository: k.host + "/app"}
		for j := range 24 {
			up.Blobs = append(up.Blobs, newBlob(fmt.Sprint("blob ", i, " ", j)))
		}
		if err := c.Push(ctx(t), up); err != nil {
			t.Fatal(err)
		}
		if most < c2.least || most > c2.most {
			t.Errorf("after %d answers 429: %d at a time, want %d to %d", c2.limited, most, c2.least, c2.most)
		}
	}
}

// TestLocations: each answer of an upload may send the rest elsewhere, by the rules for the first.
func TestLocations(t *testing.T) {
	chunk := int64(300_000)
	for _, c := range []struct {
		name string
		to   func(k, other *keeper) string
		ok   bool
	}{
		{"another port of the host", func(_, other *keeper) string { return other.URL }, true},
		{"a private address", func(*keeper, *keeper) string { return "http://169.254.169.254" }, false},
		{"no place", func(*keeper, *keeper) string { return "file://" }, false},
	} {
		k, other := newKeeper(t), newKeeper(t)
		k.before = func(w http.ResponseWriter, r *http.Request) bool {
			if basic(w, r) {
				return true
			}
			if r.Method == http.MethodPatch {
				k.upload(httptest.NewRecorder(), r, sessionOf(r.URL))
				other.sessions["0"] = k.sessions["0"]
				w.Header().Set("Location", c.to(k, other)+r.URL.Path)
				w.WriteHeader(http.StatusAccepted)
				return true
			}
			return false
		}
		b := textBlob(largeText("moves"))
		var l leaks
		client := newClient(t, Options{Keychain: withCanary(k.host), Log: l.add, Profiles: map[string]ProfileChange{k.host: {Chunk: &chunk}}})
		err := client.PushBlob(ctx(t), k.host+"/app", b, nil)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.ok {
			if _, there := other.blobs[b.Digest]; !there {
				t.Errorf("%s: asked %q", c.name, other.requests())
			}
		}
		if got := other.authorizations(); len(got) != 0 {
			t.Errorf("%s: the other host got %q", c.name, got)
		}
		l.check(t, err)
	}
}

// TestOldCertificate: it is said at once.
func TestOldCertificate(t *testing.T) {
	k := newKeeper(t)
	srv := httptest.NewUnstartedServer(k.Config.Handler)
	srv.Config.ErrorLog = k.Config.ErrorLog
	pair, file := oldCertificate(t)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	srv.StartTLS()
	defer srv.Close()
	host, no := strings.TrimPrefix(srv.URL, "https://"), false
	c := newClient(t, Options{Hosts: map[string]resolverconfig.RegistryConfig{host: {PlainHTTP: &no, RootCAs: []string{file}}}})
	err := c.PushBlob(ctx(t), host+"/app", newBlob("x"), nil)
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.Msg, "out of date") || !strings.Contains(e.Hint, "clock") || len(k.requests()) != 0 {
		t.Errorf("got %v", err)
	}
}

// oldCertificate makes a certificate for the loopback interface that was good for an hour, yesterday.
func oldCertificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	yesterday := time.Now().Add(-24 * time.Hour)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: yesterday, NotAfter: yesterday.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// TestDamagedCache: what the cache holds is not hashed before it is sent, but damage is found, and called by its name.
func TestDamagedCache(t *testing.T) {
	k := newKeeper(t)
	store := newCache(t)
	b := textBlob(largeText("damaged"))
	if err := store.WriteBlobFrom(ctx(t), b.Descriptor, strings.NewReader(largeText("damaged"))); err != nil {
		t.Fatal(err)
	}
	corrupt(t, store, b.Digest)
	b.Open = nil
	err := newClient(t, Options{Cache: store}).PushBlob(ctx(t), k.host+"/app", b, nil)
	if !errors.Is(err, ErrBadAnswer) || !strings.Contains(err.Error(), "other content than its digest says") {
		t.Errorf("got %v", err)
	}
	if len(k.sessions) > 0 || len(k.blobs) > 0 {
		t.Errorf("asked %q", k.requests())
	}
}
