package registry

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestPlaces: what one process has put into a repository, another one mounts into the next repository of the same
// registry, and sends where that cannot be done.
func TestPlaces(t *testing.T) {
	s, other := newServer(t), newServer(t)
	store := newCache(t)
	big, small := textBlob(strings.Repeat("x", smallBlob+1)), textBlob("small")
	absent := func(r *http.Request) bool { return r.Method == http.MethodHead } // the server has one folder for all repositories
	mood := func(mount func(w http.ResponseWriter, r *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case absent(r):
				w.WriteHeader(http.StatusNotFound)
			case r.URL.Query().Has("mount"):
				return mount(w, r)
			default:
				return false
			}
			return true
		}
	}
	mounts := func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Location", "/v2/"+strings.TrimSuffix(r.URL.Path, "uploads/")+r.URL.Query().Get("mount"))
		w.WriteHeader(http.StatusCreated)
		return true
	}
	ignores := func(http.ResponseWriter, *http.Request) bool { return false } // ggcr's begins an upload
	refuses := func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusForbidden); return true }
	for _, c := range []struct {
		name, repo string
		blob       Blob
		mood       func(http.ResponseWriter, *http.Request) bool
		from       string // of the mount that is asked for
		sent       bool
	}{
		{"new", s.host + "/one", big, mounts, "", true},
		{"known in another repository", s.host + "/two", big, mounts, "one", false},
		{"known in two, the newest first", s.host + "/three", big, ignores, "two", true},
		{"a mount that is refused", s.host + "/four", big, refuses, "three", true},
		{"in the repository itself, but no longer", s.host + "/four", big, mounts, "three", false},
		{"another registry", other.host + "/five", big, mounts, "", true},
		{"a small blob", s.host + "/one", small, mounts, "", true},
		{"a small blob again", s.host + "/two", small, mounts, "", true},
	} {
		server := s
		if strings.HasPrefix(c.repo, other.host) {
			server = other
		}
		server.be(mood(c.mood))
		if err := newClient(t, Options{Cache: store}).PushBlob(ctx(t), c.repo, c.blob, nil); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		from := ""
		for _, r := range server.requests() {
			if _, query, ok := strings.Cut(r, "?from="); ok {
				from, _, _ = strings.Cut(query, "&mount=")
			}
		}
		if from != c.from || (server.count("PUT ") > 0) != c.sent {
			t.Errorf("%s: asked %q", c.name, server.requests())
		}
	}
	known, ok := placeRecords(store).Get(placeKey(s.host, big.Digest))
	if want := []string{"one", "two", "three", "four"}; !ok || !slices.Equal(known.Repositories, want) {
		t.Errorf("remembered %q, want %q", known.Repositories, want)
	}
}

// TestPlaceOfOthers: a token server that gives nothing to who asks for a repository that is not his to read gets
// asked again without it, and the bytes are sent.
func TestPlaceOfOthers(t *testing.T) {
	s := newServer(t)
	store := newCache(t)
	big := textBlob(strings.Repeat("x", smallBlob+1))
	if err := newClient(t, Options{Cache: store}).PushBlob(ctx(t), s.host+"/theirs", big, nil); err != nil {
		t.Fatal(err)
	}
	refused := 0
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/token" && strings.Contains(fmt.Sprint(r.URL.Query()["scope"], r.PostFormValue("scope")), "theirs"):
			refused++
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path == "/token":
			fmt.Fprint(w, `{"token":"t"}`)
		case r.Header.Get("Authorization") != "Bearer t":
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="s"`, s.URL))
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		default:
			return false
		}
		return true
	})
	if err := newClient(t, Options{Cache: store}).PushBlob(ctx(t), s.host+"/mine", big, nil); err != nil {
		t.Fatal(err)
	}
	if refused == 0 || s.count("PUT ") == 0 {
		t.Errorf("%d refusals, asked %q", refused, s.requests())
	}
}
