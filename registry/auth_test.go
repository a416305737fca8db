package registry

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	resolverconfig "github.com/moby/buildkit/util/resolver/config"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// canary is a secret that must not turn up anywhere but at its own registry.
const canary = "s3cr3t-c4n4ry"

// leaks collects what a client says, and tells whether a secret is in it.
type leaks struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *leaks) add(msg string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(&l.text, msg)
}

func (l *leaks) check(t *testing.T, err error) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	said := l.text.String()
	if err != nil {
		said += fmt.Sprintf("%v %+v %#v", err, err, err)
		var e *Error
		if errors.As(err, &e) {
			said += e.Hint
		}
		for u := err; u != nil; u = errors.Unwrap(u) {
			said += fmt.Sprintf("%v %#v", u, u)
		}
	}
	for _, secret := range []string{canary, base64.StdEncoding.EncodeToString([]byte("user:" + canary)), "s3cr3t-t0k3n"} {
		if strings.Contains(said, secret) {
			t.Errorf("a secret was told:\n%s", said)
		}
	}
}

func withCanary(host string) Keychain {
	return StaticKeychain(map[string]Credentials{host: {Username: "user", Password: canary}})
}

// basic asks for basic authentication.
func basic(w http.ResponseWriter, r *http.Request) bool {
	if _, pass, ok := r.BasicAuth(); ok && pass == canary {
		return false
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
	w.WriteHeader(http.StatusUnauthorized)
	return true
}

// bearer asks for a token from realm.
func bearer(realm string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer s3cr3t-t0k3n" {
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="registry",scope="repository:app:pull"`, realm))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

func TestBasicAuth(t *testing.T) {
	s := newServer(t)
	push(t, s.host+"/app:1", testImage(t, amd64))
	s.be(basic)
	var l leaks
	c := newClient(t, Options{Keychain: withCanary(s.host), Log: l.add})
	_, err := c.Resolve(ctx(t), s.host+"/app:1", amd64)
	if err != nil {
		t.Error(err)
	}
	l.check(t, err)

	_, err = newClient(t, Options{}).Resolve(ctx(t), s.host+"/app:1", amd64)
	var e *Error
	if !errors.Is(err, ErrDenied) || !errors.As(err, &e) || !strings.Contains(e.Hint, "docker login "+s.host) {
		t.Errorf("got %v, %+v", err, e)
	}
	err = newClient(t, Options{Keychain: StaticKeychain(map[string]Credentials{s.host: {Username: "user", Password: "wrong"}})}).
		Tag(ctx(t), s.host+"/app:1", ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageIndex, Digest: digest.FromString("{}"), Size: 2}, []byte("{}"))
	if !errors.Is(err, ErrDenied) || !errors.As(err, &e) || !strings.Contains(e.Hint, "with others: docker login "+s.host) {
		t.Errorf("got %v, %+v", err, e)
	}
}

// TestTokenFromRegistry: the token server at the registry's own address.
func TestTokenFromRegistry(t *testing.T) {
	s := newServer(t)
	push(t, s.host+"/app:1", testImage(t, amd64))
	guarded := bearer(s.URL + "/token")
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			if basic(w, r) {
				return true
			}
			_, _ = io.WriteString(w, `{"token":"s3cr3t-t0k3n"}`)
			return true
		}
		return guarded(w, r)
	})
	var l leaks
	_, err := newClient(t, Options{Keychain: withCanary(s.host), Log: l.add}).Resolve(ctx(t), s.host+"/app:1", amd64)
	if err != nil {
		t.Error(err)
	}
	l.check(t, err)
}

// TestRealmOfSomebodyElse: a registry that names a token server elsewhere does
// not make the client send it the password.
func TestRealmOfSomebodyElse(t *testing.T) {
	thief := newServer(t)
	thief.be(func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.WriteString(w, `{"token":"anonymous"}`)
		return true
	})
	_, port, _ := strings.Cut(thief.host, ":")
	for _, realm := range []string{
		thief.URL + "/token",                  // by address
		"http://localhost:" + port + "/token", // by name
	} {
		s := newServer(t)
		s.be(bearer(realm))
		var l leaks
		_, err := newClient(t, Options{Keychain: withCanary(s.host), Log: l.add}).Resolve(ctx(t), s.host+"/app:1", amd64)
		if !errors.Is(err, ErrDenied) && !errors.Is(err, ErrBadAnswer) {
			t.Errorf("%s: %v", realm, err)
		}
		l.check(t, err)
		t.Log(err, err.(*Error).Hint)
	}
	if got := thief.authorizations(); len(got) != 0 {
		t.Errorf("the other host got %q", got)
	}
}

// TestTokenHostFromSettings: somebody else's token server, if the user says so.
func TestTokenHostFromSettings(t *testing.T) {
	tokens := newServer(t)
	tokens.be(func(w http.ResponseWriter, r *http.Request) bool {
		if !basic(w, r) {
			_, _ = io.WriteString(w, `{"token":"s3cr3t-t0k3n"}`)
		}
		return true
	})
	_, port, _ := strings.Cut(tokens.host, ":")
	s := newServer(t)
	push(t, s.host+"/app:1", testImage(t, amd64))
	s.be(bearer("http://localhost:" + port + "/token"))
	opts := Options{Keychain: withCanary(s.host)}
	if _, err := newClient(t, opts).Resolve(ctx(t), s.host+"/app:1", amd64); err == nil {
		t.Error("no error without the setting")
	}
	opts.TokenHosts = map[string][]string{s.host: {"localhost:" + port}}
	if _, err := newClient(t, opts).Resolve(ctx(t), s.host+"/app:1", amd64); err != nil {
		t.Error(err)
	}
}

func TestTokenServerBelongs(t *testing.T) {
	for _, c := range []struct {
		registry, realm string
		want            bool
	}{
		{"docker.io", "https://auth.docker.io/token", true},
		{"registry.gitlab.com", "https://gitlab.com/jwt/auth", true},
		{"registry.example.co.uk", "https://auth.example.co.uk/token", true},
		{"registry.example.com:5000", "https://auth.example.com:5001/token", true},
		{"registry.example.co.uk", "https://auth.other.co.uk/token", false},
		{"registry.example.com", "https://example.com.evil.org/token", false},
		{"registry.example.com", "http://auth.example.com/token", false}, // in plain text
		{"a.github.io", "https://b.github.io/token", false},              // a suffix shared by strangers
		{"registry", "https://auth/token", false},
		{"10.0.0.1", "https://10.0.0.2/token", false},
	} {
		cl := New(Options{})
		e, err := cl.endpoint(c.registry, "")
		if err != nil {
			t.Fatal(err)
		}
		rt := &hostTransport{endpoint: e, schemes: schemesFor(c.registry, resolverconfig.RegistryConfig{})}
		req, err := http.NewRequest(http.MethodGet, c.realm, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("u", "p")
		if got := rt.isTokenServer(req); got != c.want {
			t.Errorf("%s -> %s: %v", c.registry, c.realm, got)
		}
	}
}

// TestRefreshTokenStays: an identity token is in the body of a POST, which is no
// safer with somebody else.
func TestRefreshTokenStays(t *testing.T) {
	e := &endpoint{host: "registry.example.com"}
	e.registry, _ = name.NewRegistry(e.host)
	e.hasCredentials.Store(true)
	foreign := roundTripper(func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		t.Errorf("sent: %s", body)
		return nil, errors.New("no")
	})
	rt := &hostTransport{endpoint: e, schemes: schemes{https: true}, limits: defaultLimits(), foreign: foreign}
	req, _ := http.NewRequest(http.MethodPost, "https://evil.example.org/token", strings.NewReader("refresh_token="+canary))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if _, err := rt.RoundTrip(req); !errors.Is(err, ErrDenied) {
		t.Errorf("got %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestRedirectsAndLocations: other hosts that a registry points to get requests
// and bytes, but no credentials.
func TestRedirectsAndLocations(t *testing.T) {
	s, other := newServer(t), newServer(t)
	img := testImage(t, amd64)
	push(t, s.host+"/app:1", img)
	push(t, other.host+"/app:1", img)
	other.be(nil)
	var l leaks
	c := newClient(t, Options{Keychain: withCanary(s.host), Log: l.add})

	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if basic(w, r) {
			return true
		}
		if strings.Contains(r.URL.Path, "/blobs/") && r.Method == http.MethodGet {
			http.Redirect(w, r, other.URL+r.URL.Path+"?signature="+canary, http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	_, err := c.Resolve(ctx(t), s.host+"/app:1", amd64)
	if err != nil {
		t.Error(err)
	}
	if n := other.count("GET /v2/app/blobs/"); n != 1 {
		t.Errorf("the redirect was followed %d times", n)
	}

	other.be(func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(403); return true })
	_, err = c.Resolve(ctx(t), s.host+"/app:1", amd64)
	l.check(t, err)

	other.be(nil)
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if basic(w, r) {
			return true
		}
		if r.Method == http.MethodPost {
			// Begin the upload there, and send the client there for the rest.
			resp, err := http.Post(other.URL+r.URL.Path, "", nil)
			if err != nil {
				t.Error(err)
				return false
			}
			w.Header().Set("Location", other.URL+resp.Header.Get("Location"))
			w.WriteHeader(http.StatusAccepted)
			return true
		}
		return false
	})
	desc := ocispecs.Descriptor{MediaType: "text/plain", Digest: digest.FromString("hello"), Size: 5}
	err = c.PushBlob(ctx(t), s.host+"/app", Blob{Descriptor: desc, Open: opener("hello")}, nil)
	if err != nil {
		t.Error(err)
	}
	if other.count("PUT ") != 1 {
		t.Errorf("got %q", other.requests())
	}
	if got := other.authorizations(); len(got) != 0 {
		t.Errorf("the other host got %q", got)
	}
	l.check(t, err)
}

// TestGuardStrips: even if a layer above made a mistake.
func TestGuardStrips(t *testing.T) {
	e := &endpoint{host: "registry.example.com"}
	e.registry, _ = name.NewRegistry(e.host)
	e.hasCredentials.Store(true)
	var got http.Header
	foreign := roundTripper(func(r *http.Request) (*http.Response, error) {
		got = r.Header
		return nil, errors.New("enough")
	})
	rt := &hostTransport{endpoint: e, schemes: schemes{https: true}, limits: defaultLimits(), inner: foreign, foreign: foreign}
	for _, u := range []string{"https://evil.example.org/", "https://cdn.example.com/blob", "https://registry.example.com:8443/v2/"} {
		req, _ := http.NewRequest(http.MethodGet, u, nil)
		req.Header.Set("Authorization", "Bearer "+canary)
		req.Header.Set("Cookie", canary)
		_, _ = rt.RoundTrip(req)
		if got.Get("Authorization")+got.Get("Cookie") != "" {
			t.Errorf("%s got %v", u, got)
		}
		if req.Header.Get("Authorization") == "" {
			t.Error("the caller's request was changed")
		}
	}
	req, _ := http.NewRequest(http.MethodGet, "http://registry.example.com/v2/x", nil)
	got = nil
	if _, err := rt.RoundTrip(req); err == nil || got != nil {
		t.Error("plain HTTP was used")
	}
}

func TestDockerConfigFiles(t *testing.T) {
	s := newServer(t)
	push(t, s.host+"/app:1", testImage(t, amd64))
	auth := base64.StdEncoding.EncodeToString([]byte("user:" + canary))
	content := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, s.host, auth)
	for name, place := range map[string]func(home string) string{
		"docker":        func(home string) string { return filepath.Join(home, ".docker", "config.json") },
		"DOCKER_CONFIG": func(home string) string { return filepath.Join(home, "elsewhere", "config.json") },
		"podman":        func(home string) string { return filepath.Join(home, "run", "containers", "auth.json") },
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("HOME", home)
			t.Setenv("XDG_RUNTIME_DIR", filepath.Join(home, "run"))
			t.Setenv("DOCKER_CONFIG", filepath.Dir(place(home)))
			file := place(home)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			s.be(basic)
			if _, err := newClient(t, Options{Keychain: DefaultKeychain()}).Resolve(ctx(t), s.host+"/app:1", amd64); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBrokenHelper: a helper that fails costs a line in the log, not the pull of
// a public image; and what it printed stays out of it.
func TestBrokenHelper(t *testing.T) {
	home := t.TempDir()
	t.Setenv("DOCKER_CONFIG", home)
	t.Setenv("HOME", home)
	bin := filepath.Join(home, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	helper := filepath.Join(bin, "docker-credential-broken")
	if err := os.WriteFile(helper, []byte("#!/bin/sh\necho "+canary+"\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	if err := os.WriteFile(filepath.Join(home, "config.json"), []byte(`{"credsStore":"broken"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	push(t, s.host+"/app:1", testImage(t, amd64))
	var l leaks
	_, err := newClient(t, Options{Keychain: DefaultKeychain(), Log: l.add}).Resolve(ctx(t), s.host+"/app:1", amd64)
	if err != nil {
		t.Error(err)
	}
	l.check(t, err)
	if !strings.Contains(l.text.String(), "credentials for "+s.host) {
		t.Errorf("log: %s", l.text.String())
	}
}

func TestOnlyTheirHost(t *testing.T) {
	a, b := newServer(t), newServer(t)
	push(t, a.host+"/app:1", testImage(t, amd64))
	a.be(nil)
	b.be(nil)
	c := newClient(t, Options{
		Keychain: withCanary(b.host),
		Hosts:    map[string]resolverconfig.RegistryConfig{b.host: {Mirrors: []string{a.host}}},
	})
	if _, err := c.Resolve(ctx(t), b.host+"/app:1", amd64); err != nil {
		t.Error(err)
	}
	if got := a.authorizations(); len(got) != 0 {
		t.Errorf("a mirror got %q", got)
	}
}
