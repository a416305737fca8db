package registry

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

// keeper is the part of a registry that takes blobs, and keeps what has arrived of an upload that was cut, as
// distribution 3 does. It stands before the server's own, which keeps nothing.
type keeper struct {
	*server

	mu       sync.Mutex
	sessions map[string][]byte
	blobs    map[digest.Digest][]byte
	took     int64   // bytes of blobs, with those that were thrown away
	sizes    []int64 // of the requests with bytes that were taken to their end

	// before may answer a request in the keeper's place, or cut it.
	before func(w http.ResponseWriter, r *http.Request) (done bool)
	// header is added to the answers to POST.
	header http.Header
}

func newKeeper(t testing.TB) *keeper {
	k := &keeper{server: newServer(t), sessions: map[string][]byte{}, blobs: map[digest.Digest][]byte{}, header: http.Header{}}
	k.be(k.serve)
	return k
}

func (k *keeper) serve(w http.ResponseWriter, r *http.Request) bool {
	if k.before != nil && k.before(w, r) {
		return true
	}
	_, id, ok := strings.Cut(r.URL.Path, "/blobs/")
	if !ok {
		return false
	}
	if id, ok = strings.CutPrefix(id, "uploads/"); !ok {
		return k.blob(w, r, digest.Digest(id))
	}
	if r.Method == http.MethodPost {
		k.mu.Lock()
		defer k.mu.Unlock()
		id = fmt.Sprint(len(k.sessions))
		k.sessions[id] = []byte{}
		for name := range k.header {
			w.Header().Set(name, k.header.Get(name))
		}
		k.state(w, r, id, http.StatusAccepted)
		return true
	}
	k.upload(w, r, id)
	return true
}

func (k *keeper) blob(w http.ResponseWriter, r *http.Request, d digest.Digest) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	data, ok := k.blobs[d]
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodHead:
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	default:
		_, _ = w.Write(data)
	}
	return true
}

// state is what distribution says of a session.
func (k *keeper) state(w http.ResponseWriter, r *http.Request, id string, status int) {
	w.Header().Set("Location", r.URL.Path[:strings.LastIndexByte(r.URL.Path, '/')+1]+id+"?state="+fmt.Sprint(len(k.sessions[id])))
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, len(k.sessions[id])-1)))
	w.WriteHeader(status)
}

func (k *keeper) upload(w http.ResponseWriter, r *http.Request, id string) {
	k.mu.Lock()
	data, ok := k.sessions[id]
	k.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if r.Method == http.MethodPatch || r.Method == http.MethodPut {
		var start, end int64
		if n, _ := fmt.Sscanf(r.Header.Get("Content-Range"), "%d-%d", &start, &end); n == 2 && (start != int64(len(data)) || end-start+1 != r.ContentLength) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		more, err := io.ReadAll(r.Body)
		k.mu.Lock()
		data = append(data, more...)
		k.sessions[id] = data
		k.took += int64(len(more))
		if err == nil && len(more) > 0 {
			k.sizes = append(k.sizes, int64(len(more)))
		}
		k.mu.Unlock()
		if err != nil {
			return
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch r.Method {
	case http.MethodPatch:
		k.state(w, r, id, http.StatusAccepted)
	case http.MethodGet:
		k.state(w, r, id, http.StatusNoContent)
	case http.MethodDelete:
		delete(k.sessions, id)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPut:
		d := digest.Digest(r.URL.Query().Get("digest"))
		delete(k.sessions, id)
		if d != digest.FromBytes(data) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"errors":[{"code":"DIGEST_INVALID"}]}`)
			return
		}
		k.blobs[d] = data
		w.WriteHeader(http.StatusCreated)
	}
}

// holds fails unless the registry has the blob, and no session is left.
func (k *keeper) holds(t *testing.T, b Blob) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if data, ok := k.blobs[b.Digest]; !ok || digest.FromBytes(data) != b.Digest {
		t.Errorf("the blob is not there")
	}
	if len(k.sessions) > 0 {
		t.Errorf("%d sessions are left", len(k.sessions))
	}
}

// times lets f answer the first n requests that are meant.
func times(n int, meant func(*http.Request) bool, f func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter, *http.Request) bool {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		hit := n > 0 && meant(r)
		if hit {
			n--
		}
		mu.Unlock()
		if hit {
			f(w, r)
		}
		return hit
	}
}

func isPut(r *http.Request) bool { return r.Method == http.MethodPut && isUpload(r) }

func isState(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/uploads/")
}

func answering(status int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// sessionOf is the session that a request of an upload is about.
func sessionOf(u *url.URL) string { return u.Path[strings.LastIndexByte(u.Path, '/')+1:] }
