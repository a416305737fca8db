package registry

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
)

// A second process asks no more than the HEAD itself.
func TestPingIsRemembered(t *testing.T) {
	s := newServer(t)
	store := newCache(t)
	ref := s.host + "/team/app:1"
	push(t, ref, testImage(t, amd64))
	if _, err := newClient(t, Options{Cache: store}).Head(ctx(t), ref); err != nil {
		t.Fatal(err)
	}
	s.be(nil)
	if _, err := newClient(t, Options{Cache: store}).Head(ctx(t), ref); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.log) != 1 || !strings.HasPrefix(s.log[0], "HEAD ") {
		t.Errorf("the second process asked %q, want one HEAD", s.log)
	}
}

// A registry that wants credentials since the answer was remembered is asked anew, in the same build.
func TestStalePingIsForgotten(t *testing.T) {
	s := newServer(t)
	store := newCache(t)
	ref := s.host + "/team/app:1"
	push(t, ref, testImage(t, amd64))
	if _, err := newClient(t, Options{Cache: store}).Head(ctx(t), ref); err != nil {
		t.Fatal(err)
	}
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if user, pass, ok := r.BasicAuth(); ok && user == "user" && pass == canary {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	if _, err := newClient(t, Options{Cache: store, Keychain: withCanary(s.host)}).Head(ctx(t), ref); err != nil {
		t.Errorf("the new answer was not asked for: %v", err)
	}
	if _, err := newClient(t, Options{Cache: store, Keychain: StaticKeychain(nil)}).Head(ctx(t), ref); !errors.Is(err, ErrDenied) {
		t.Errorf("without credentials: %v, want ErrDenied", err)
	}
}

func TestCheckPush(t *testing.T) {
	s := newServer(t)
	repo := s.host + "/team/app"
	if err := newClient(t, Options{}).CheckPush(ctx(t), repo); err != nil {
		t.Errorf("an open registry: %v", err)
	}
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	err := newClient(t, Options{}).CheckPush(ctx(t), repo)
	var e *Error
	if !errors.Is(err, ErrDenied) || !errors.As(err, &e) || e.Hint == "" {
		t.Errorf("a registry that refuses: %v, want ErrDenied with a hint", err)
	}
	if err := newClient(t, Options{}).CheckPush(ctx(t), name.DefaultRegistry+"/UPPER"); err == nil {
		t.Error("a name that is none is accepted")
	}
}
