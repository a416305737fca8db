package registry

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestTry(t *testing.T) {
	no := false
	refuse := func(method string, status int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != method {
				return false
			}
			w.WriteHeader(status)
			return true
		}
	}
	for name, c := range map[string]struct {
		before  func(http.ResponseWriter, *http.Request) bool
		least   string
		change  map[string]ProfileChange // by "" for the server's host
		want    Trial
		chunks  string
		at      int // bytes that the registry took
		refused string
	}{
		"all of it":               {want: Trial{Asks: true, Mounts: true, Resumes: true, Gone: true}, at: 2 * trialChunk},
		"large chunks":            {least: "1000000", want: Trial{Asks: true, Mounts: true, Resumes: true, Gone: true, Least: 1e6}, at: 2e6},
		"too large chunks":        {least: "100000000", want: Trial{Asks: true, Mounts: true, Gone: true, Least: 1e8}, chunks: "too large for a trial"},
		"no chunks":               {before: refuse(http.MethodPatch, http.StatusMethodNotAllowed), want: Trial{Asks: true, Mounts: true, Gone: true}, chunks: "405"},
		"no questions for blobs":  {before: refuse(http.MethodHead, http.StatusMethodNotAllowed), want: Trial{Mounts: true, Resumes: true, Gone: true}, at: 2 * trialChunk},
		"no state of an upload":   {before: refuse(http.MethodGet, http.StatusMethodNotAllowed), want: Trial{Asks: true, Mounts: true}, at: 2 * trialChunk},
		"no goodbye":              {before: refuse(http.MethodDelete, http.StatusMethodNotAllowed), want: Trial{Asks: true, Mounts: true, Resumes: true}, at: 2 * trialChunk},
		"a profile of the user's": {change: map[string]ProfileChange{"": {Resume: &no}}, want: Trial{Asks: true, Mounts: true, Resumes: true, Gone: true, Why: "from the settings, else as for every host"}, at: 2 * trialChunk},
		"mounts are refused": {before: func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Has("mount") {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			return false
		}, want: Trial{Asks: true, Resumes: true, Gone: true}, at: 2 * trialChunk},
		"a blob that nobody has": {before: func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusCreated)
			}
			return r.Method == http.MethodPost
		}, refused: "a blob that nobody has"},
		"no pushes": {before: refuse(http.MethodPost, http.StatusForbidden), refused: "403"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeeper(t)
			k.before = func(w http.ResponseWriter, r *http.Request) bool {
				return c.before != nil && strings.Contains(r.URL.Path, "/blobs/") && c.before(w, r)
			}
			if c.least != "" {
				k.header.Set("OCI-Chunk-Min-Length", c.least)
			}
			opts := Options{}
			if change, ok := c.change[""]; ok {
				opts.Profiles = map[string]ProfileChange{k.host: change}
			}
			client := newClient(t, opts)
			got, err := client.Try(ctx(t), k.host+"/app")
			if c.refused != "" {
				var e *Error
				if !errors.As(err, &e) || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("%v", err)
				}
				return
			}
			c.want.Host, c.want.Profile = k.host, client.Profile(k.host)
			if c.want.Why == "" {
				c.want.Why = "as for every host"
			}
			if d := cmp.Diff(c.want, got, cmpopts.IgnoreFields(Trial{}, "Chunks")); d != "" || err != nil {
				t.Error(err, d)
			}
			if (got.Chunks == nil) != (c.chunks == "") || c.chunks != "" && !strings.Contains(got.Chunks.Error(), c.chunks) {
				t.Errorf("chunks: %v", got.Chunks)
			}
			if k.took != int64(c.at) || len(k.blobs) != 0 {
				t.Errorf("%d bytes were taken, and %d blobs are left", k.took, len(k.blobs))
			}
		})
	}
}

// TestTryWithoutCredentials: who is not let in is told what to do.
func TestTryWithoutCredentials(t *testing.T) {
	s := newServer(t)
	s.be(bearer(s.URL + "/token"))
	guarded := s.mood
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return guarded(w, r)
	})
	got, err := newClient(t, Options{}).Try(ctx(t), s.host+"/app")
	var e *Error
	if !errors.Is(err, ErrDenied) || !errors.As(err, &e) || e.Hint == "" || got.Credentials || got.Host != s.host {
		t.Errorf("%v, %+v", err, got)
	}
	if _, err := newClient(t, Options{}).Try(ctx(t), "UPPER"); err == nil {
		t.Error("not a repository")
	}
}
