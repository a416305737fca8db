package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	resolverconfig "github.com/moby/buildkit/util/resolver/config"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// spool serves one blob, as its mood says.
type spool struct {
	data []byte
	desc ocispecs.Descriptor

	mu     sync.Mutex
	asked  []string // the Range headers of the requests
	served int64    // bytes
}

func newSpool(size int) *spool {
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(data)
	return &spool{data: data, desc: ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageLayerGzip, Digest: digest.FromBytes(data), Size: int64(size)}}
}

// ask notes a request and returns which one it is, from 1 on, and where it begins.
func (s *spool) ask(r *http.Request) (n int, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	header := r.Header.Get("Range")
	s.asked = append(s.asked, header)
	if rest, ok := strings.CutPrefix(header, "bytes="); ok {
		from, _, _ := strings.Cut(rest, "-")
		at, _ = strconv.ParseInt(from, 10, 64)
	}
	return len(s.asked), at
}

// send answers as registries do, but ends the connection after most bytes; below zero is never.
func (s *spool) send(w http.ResponseWriter, at, most int64) {
	total := int64(len(s.data))
	w.Header().Set("Content-Length", fmt.Sprint(total-at))
	if at > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", at, total-1, total))
		w.WriteHeader(http.StatusPartialContent)
	}
	end := total
	if most >= 0 {
		end = min(total, at+most)
	}
	s.mu.Lock()
	s.served += end - at // before whoever asked has them
	s.mu.Unlock()
	_, _ = w.Write(s.data[at:end])
	if end < total {
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		panic(http.ErrAbortHandler)
	}
}

// seen are the Range headers of the requests, and how many bytes were sent.
func (s *spool) seen() (asked []string, served int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked), s.served
}

// on lets a server have the blob: only GETs of it get the mood.
func (s *spool) on(server *server, mood func(w http.ResponseWriter, r *http.Request, n int, at int64)) {
	server.be(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/blobs/"+s.desc.Digest.String()) {
			return false
		}
		n, at := s.ask(r)
		mood(w, r, n, at)
		return true
	})
}

func (s *spool) read(t *testing.T, c *Client, repo string) ([]byte, error) {
	t.Helper()
	rc, err := c.OpenBlob(ctx(t), repo, s.desc)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(rc)
}

func TestDownloadsGoOn(t *testing.T) {
	const size = 1 << 20
	whole := func(s *spool, w http.ResponseWriter) { s.send(w, 0, -1) }
	for name, c := range map[string]struct {
		mood     func(s *spool, w http.ResponseWriter, r *http.Request, n int, at int64)
		requests int   // at most
		served   int64 // bytes at most
	}{
		"cut three times": {func(s *spool, w http.ResponseWriter, _ *http.Request, n int, at int64) {
			if n <= 3 {
				s.send(w, at, 200<<10)
			}
			s.send(w, at, -1)
		}, 4, size},
		"cut again and again, but getting on": {func(s *spool, w http.ResponseWriter, _ *http.Request, _ int, at int64) {
			s.send(w, at, 65<<10)
		}, 17, size},
		"no ranges": {func(s *spool, w http.ResponseWriter, _ *http.Request, n int, _ int64) {
			if n == 1 {
				s.send(w, 0, 200<<10)
			}
			whole(s, w)
		}, 2, size + 200<<10},
		"416 for ranges": {func(s *spool, w http.ResponseWriter, r *http.Request, n int, at int64) {
			switch {
			case n == 1:
				s.send(w, 0, 200<<10)
			case at > 0:
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			default:
				whole(s, w)
			}
		}, 3, size + 200<<10},
		"another range than asked for": {func(s *spool, w http.ResponseWriter, r *http.Request, n int, at int64) {
			switch {
			case n == 1:
				s.send(w, 0, 200<<10)
			case at > 0:
				s.send(w, at-1, -1)
			default:
				whole(s, w)
			}
		}, 3, 3 * size},
		"stalls": {func(s *spool, w http.ResponseWriter, r *http.Request, n int, at int64) {
			if n > 2 {
				s.send(w, at, -1)
				return
			}
			w.Header().Set("Content-Length", fmt.Sprint(size-at))
			if at > 0 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", at, size-1, size))
				w.WriteHeader(http.StatusPartialContent)
			}
			_, _ = w.Write(s.data[at : at+100<<10])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, 3, size},
		"server errors in the middle": {func(s *spool, w http.ResponseWriter, _ *http.Request, n int, at int64) {
			switch n {
			case 1, 4:
				s.send(w, at, 200<<10)
			case 2, 3, 5:
				w.Header().Set("Retry-After", "0")
				w.WriteHeader([]int{503, 429, 500}[n%3])
			default:
				s.send(w, at, -1)
			}
		}, 6, size},
		"a shorter body than the blob": {func(s *spool, w http.ResponseWriter, _ *http.Request, n int, at int64) {
			if n == 1 {
				_, _ = w.Write(s.data[:300<<10]) // whole, as far as HTTP knows
				return
			}
			s.send(w, at, -1)
		}, 2, size},
	} {
		t.Run(name, func(t *testing.T) {
			s, server := newSpool(size), newServer(t)
			s.on(server, func(w http.ResponseWriter, r *http.Request, n int, at int64) { c.mood(s, w, r, n, at) })
			client := newClient(t, Options{})
			client.pull.stall = 100 * time.Millisecond
			data, err := s.read(t, client, server.host+"/app")
			if err != nil || !bytes.Equal(data, s.data) {
				t.Fatalf("%d bytes: %v", len(data), err)
			}
			if asked, served := s.seen(); len(asked) > c.requests || served > c.served {
				t.Errorf("%d requests %q, %d bytes", len(asked), asked, served)
			}
		})
	}
}

func TestDownloadsEnd(t *testing.T) {
	const size = 256 << 10
	for name, c := range map[string]struct {
		mood     func(s *spool, w http.ResponseWriter, n int, at int64)
		kind     error
		text     string
		requests int // at most
	}{
		"a byte at a time": {func(s *spool, w http.ResponseWriter, _ int, at int64) { s.send(w, at, 1) }, ErrUnreachable, "EOF", 5},
		"always too short": {func(s *spool, w http.ResponseWriter, _ int, _ int64) { _, _ = w.Write(s.data[:100]) }, ErrBadAnswer, "has only 100 of its", 9},
		"too long": {func(s *spool, w http.ResponseWriter, _ int, _ int64) {
			_, _ = w.Write(append(bytes.Clone(s.data), 'x'))
		}, ErrBadAnswer, "larger than", 1},
		"too long, and no length": {func(s *spool, w http.ResponseWriter, _ int, _ int64) {
			_, _ = w.Write(s.data)
			w.(http.Flusher).Flush()
			_, _ = w.Write([]byte("x"))
		}, ErrBadAnswer, "larger than", 1},
		"other bytes": {func(s *spool, w http.ResponseWriter, _ int, _ int64) { _, _ = w.Write(make([]byte, size)) }, ErrBadAnswer, "other content", 1},
		"other bytes after a cut": {func(s *spool, w http.ResponseWriter, n int, at int64) {
			if n == 1 {
				s.send(w, 0, 100<<10)
			}
			clear(s.data)
			s.send(w, at, -1)
		}, ErrBadAnswer, "other content", 2},
		"gone after a cut": {func(s *spool, w http.ResponseWriter, n int, at int64) {
			if n == 1 {
				s.send(w, 0, 100<<10)
			}
			w.WriteHeader(http.StatusNotFound)
		}, ErrNotFound, "404", 2},
		"refused": {func(s *spool, w http.ResponseWriter, n int, at int64) { w.WriteHeader(http.StatusForbidden) }, ErrDenied, "403", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, server := newSpool(size), newServer(t)
			s.on(server, func(w http.ResponseWriter, _ *http.Request, n int, at int64) { c.mood(s, w, n, at) })
			data, err := s.read(t, newClient(t, Options{}), server.host+"/app")
			var e *Error
			if !errors.As(err, &e) || e.Kind != c.kind || e.Host != server.host || !strings.Contains(err.Error(), c.text) || e.Hint == "" {
				t.Errorf("got %v (%+v)", err, e)
			}
			if asked, _ := s.seen(); len(data) == size || len(asked) > c.requests {
				t.Errorf("%d bytes, requests %q", len(data), asked)
			}
		})
	}
}

// A signed address is good for one request; the registry is asked for another one after a cut.
func TestDownloadFromBuckets(t *testing.T) {
	s, server := newSpool(1<<20), newServer(t)
	var used sync.Map
	bucket := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the bucket got credentials")
		}
		if _, twice := used.LoadOrStore(r.URL.Query().Get("signature"), true); twice {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		n, at := s.ask(r)
		if n == 2 {
			w.WriteHeader(http.StatusForbidden) // as if it had expired
			return
		}
		s.send(w, at, 300<<10)
	}))
	defer bucket.Close()
	var signed atomic.Int64
	server.be(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		http.Redirect(w, r, fmt.Sprintf("%s/data?signature=%d", bucket.URL, signed.Add(1)), http.StatusTemporaryRedirect)
		return true
	})
	data, err := s.read(t, newClient(t, Options{Keychain: withCanary(server.host)}), server.host+"/app")
	if _, served := s.seen(); err != nil || !bytes.Equal(data, s.data) || signed.Load() != 5 || served != s.desc.Size {
		t.Errorf("%d bytes, %d addresses, %d served: %v", len(data), signed.Load(), served, err)
	}
}

// A token that expires while a blob comes is replaced when the next request needs it.
func TestDownloadRenewsToken(t *testing.T) {
	s, server := newSpool(1<<20), newServer(t)
	var tokens atomic.Int64
	server.be(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			fmt.Fprintf(w, `{"token":"t%d"}`, tokens.Add(1))
			return true
		}
		n := 0
		if strings.Contains(r.URL.Path, "/blobs/") {
			asked, _ := s.seen()
			n = len(asked) + 1
		}
		if want := fmt.Sprintf("Bearer t%d", max(1, n)); r.Header.Get("Authorization") != want {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="registry"`, r.Host))
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		if n > 0 {
			n, at := s.ask(r)
			s.send(w, at, []int64{300 << 10, 300 << 10, -1}[n-1])
		}
		return n > 0
	})
	data, err := s.read(t, newClient(t, Options{}), server.host+"/app")
	if _, served := s.seen(); err != nil || !bytes.Equal(data, s.data) || tokens.Load() != 3 || served != s.desc.Size {
		t.Errorf("%d bytes, %d tokens, %d served: %v", len(data), tokens.Load(), served, err)
	}
}

// After a mirror that fails in the middle, the next one goes on at the same byte.
func TestDownloadFromMirrors(t *testing.T) {
	s, up, m1, m2 := newSpool(1<<20), newServer(t), newServer(t), newServer(t)
	s.on(m1, func(w http.ResponseWriter, _ *http.Request, _ int, at int64) { s.send(w, at, 300<<10) })
	s.on(m2, func(w http.ResponseWriter, _ *http.Request, _ int, at int64) { s.send(w, at, 300<<10) })
	s.on(up, func(w http.ResponseWriter, _ *http.Request, _ int, at int64) { s.send(w, at, -1) })
	c := newClient(t, Options{Hosts: map[string]resolverconfig.RegistryConfig{up.host: {Mirrors: []string{m1.host, m2.host}}}})
	var traffic Traffic
	rc, err := c.openBlob(ctx(t), up.host+"/app", s.desc, 0, &traffic)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	data, err := io.ReadAll(rc)
	if err != nil || !bytes.Equal(data, s.data) {
		t.Fatalf("%d bytes: %v", len(data), err)
	}
	want := fmt.Sprintf(`["" "bytes=%d-1048575" "bytes=%d-1048575"]`, 300<<10, 600<<10)
	asked, served := s.seen()
	if got := fmt.Sprintf("%q", asked); got != want || served != s.desc.Size || traffic.Now().Fetched != s.desc.Size {
		t.Errorf("%s, served %d, fetched %d", got, served, traffic.Now().Fetched)
	}
}

func TestOpenBlobAt(t *testing.T) {
	s, server := newSpool(1000), newServer(t)
	s.on(server, func(w http.ResponseWriter, _ *http.Request, _ int, at int64) { s.send(w, at, -1) })
	c := newClient(t, Options{})
	for _, at := range []int64{0, 1, 999, 1000} {
		rc, err := c.OpenBlobAt(ctx(t), server.host+"/app", s.desc, at)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(rc)
		if rc.Close(); err != nil || !bytes.Equal(data, s.data[at:]) {
			t.Errorf("from %d: %d bytes, %v", at, len(data), err)
		}
	}
	if asked, served := s.seen(); len(asked) != 3 || served != 1000+999+1 {
		t.Errorf("%q, %d bytes", asked, served)
	}
	for _, at := range []int64{-1, 1001} {
		if _, err := c.OpenBlobAt(ctx(t), server.host+"/app", s.desc, at); !errors.Is(err, ErrBadAnswer) {
			t.Errorf("from %d: %v", at, err)
		}
	}
}
