package registry

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// largeText is the text of a blob of 1 MB, which is asked for before it is sent.
func largeText(name string) string { return strings.Repeat(name+"\n", 1<<20/(len(name)+1)) }

// TestCutUpload: an upload that is cut goes on where it was cut, whatever the place and the way.
func TestCutUpload(t *testing.T) {
	for _, way := range []struct {
		name string
		cut  func(w http.ResponseWriter)
	}{
		{"cut", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }},
		{"500", func(w http.ResponseWriter) { w.WriteHeader(500) }},
		{"502", func(w http.ResponseWriter) { w.WriteHeader(502) }},
		{"503", func(w http.ResponseWriter) { w.WriteHeader(503) }},
		{"504", func(w http.ResponseWriter) { w.WriteHeader(504) }},
		{"408", func(w http.ResponseWriter) { w.WriteHeader(408) }},
		{"429", func(w http.ResponseWriter) { w.Header().Set("Retry-After", "0"); w.WriteHeader(429) }},
		{"half an answer", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(400)
			_, _ = w.Write([]byte(`{"errors":[`))
			panic(http.ErrAbortHandler)
		}},
		{"stall", func(http.ResponseWriter) { time.Sleep(150 * time.Millisecond); panic(http.ErrAbortHandler) }},
	} {
		b := textBlob(largeText(way.name))
		for _, at := range []int64{0, 1, 1000, b.Size / 2, b.Size - 1, b.Size} {
			t.Run(fmt.Sprint(way.name, " at ", at), func(t *testing.T) {
				t.Parallel()
				k := newKeeper(t)
				k.before = times(2, isUpload, func(w http.ResponseWriter, r *http.Request) {
					k.takeSome(r, at)
					way.cut(w)
				})
				short := 100 * time.Millisecond
				c := newClient(t, Options{Profiles: map[string]ProfileChange{k.host: {Stall: &short, Answer: &short}}})
				var traffic Traffic
				if err := c.PushBlob(ctx(t), k.host+"/app", b, &traffic); err != nil {
					t.Fatal(err)
				}
				k.holds(t, b)
				if most := b.Size + 2; at > 1 && k.took > most {
					t.Errorf("the registry took %d bytes for %d", k.took, b.Size)
				}
				now := traffic.Now()
				if now.Total != b.Size || now.Settled != b.Size || now.Moved != (Tally{1, b.Size}) || now.Sent < b.Size {
					t.Errorf("counted %+v", now)
				}
			})
		}
	}
}

// takeSome keeps n bytes of a request, as if it were cut after them.
func (k *keeper) takeSome(r *http.Request, n int64) {
	data, _ := io.ReadAll(io.LimitReader(r.Body, n))
	k.mu.Lock()
	defer k.mu.Unlock()
	id := sessionOf(r.URL)
	k.sessions[id] = append(k.sessions[id], data...)
	k.took += int64(len(data))
}

// TestLostSession: whatever a registry says of a session that was cut, the blob arrives.
func TestLostSession(t *testing.T) {
	b := textBlob(largeText("lost"))
	said := func(header string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Range", header)
			w.WriteHeader(http.StatusNoContent)
		}
	}
	for name, state := range map[string]func(http.ResponseWriter, *http.Request){
		"404": answering(404), "405": answering(405), "400": answering(400), "401": answering(401), "416": answering(416),
		"no range": answering(204), "nonsense": said("here"), "nothing": said("0--1"), "one or nothing": said("0-0"),
		"more than was sent": said("0-99999999999"), "less than there is": said("0-99"), "quay's": said("bytes=0-1000"),
		"huge": said("0-99999999999999999999999"),
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeeper(t)
			cut := times(1, isPut, func(w http.ResponseWriter, r *http.Request) {
				k.takeSome(r, 1000)
				panic(http.ErrAbortHandler)
			})
			lost := times(1, isState, state)
			k.before = func(w http.ResponseWriter, r *http.Request) bool { return cut(w, r) || lost(w, r) }
			if err := newClient(t, Options{}).PushBlob(ctx(t), k.host+"/app", b, nil); err != nil {
				t.Fatal(err)
			}
			k.holds(t, b)
			goesOn := name == "quay's" || name == "less than there is" // which its 416 tells
			if (k.count("POST ") == 1) != goesOn {
				t.Errorf("asked %q", k.requests())
			}
		})
	}
}

// TestAttemptsWithoutProgress: an upload that gets on is never given up, and one that does not is.
func TestAttemptsWithoutProgress(t *testing.T) {
	b := textBlob(largeText("slow"))
	k := newKeeper(t)
	cut := func(n int64) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) { k.takeSome(r, n); panic(http.ErrAbortHandler) }
	}
	k.before = times(3*uploadAttempts, isUpload, cut(50_000))
	if err := newClient(t, Options{}).PushBlob(ctx(t), k.host+"/app", b, nil); err != nil {
		t.Fatal(err)
	}
	k.holds(t, b)

	k = newKeeper(t)
	k.before = times(1000, isUpload, cut(0))
	var traffic Traffic
	err := newClient(t, Options{}).PushBlob(ctx(t), k.host+"/app", b, &traffic)
	if !errors.Is(err, ErrUnreachable) || k.count("PUT ") != uploadAttempts {
		t.Errorf("%v after %d attempts", err, k.count("PUT "))
	}
	if now := traffic.Now(); now.Total != 0 || now.Settled != 0 || now.Sent == 0 {
		t.Errorf("counted %+v", now)
	}
	if len(k.sessions) > 0 {
		t.Errorf("%d sessions are left", len(k.sessions))
	}
}

// TestNoResume: a host that is known not to keep what was cut is not asked.
func TestNoResume(t *testing.T) {
	b, no := textBlob(largeText("no")), false
	k := newKeeper(t)
	k.before = times(1, isPut, func(w http.ResponseWriter, r *http.Request) { k.takeSome(r, 1000); panic(http.ErrAbortHandler) })
	if err := newClient(t, Options{Profiles: map[string]ProfileChange{k.host: {Resume: &no}}}).PushBlob(ctx(t), k.host+"/app", b, nil); err != nil {
		t.Fatal(err)
	}
	k.holds(t, b)
	if k.count("POST ") != 2 || k.count("GET ") != 0 || k.count("PATCH ") != 0 {
		t.Errorf("asked %q", k.requests())
	}
}

// TestRefusedContent: what a registry calls wrong may be another push's, or is sent once more.
func TestRefusedContent(t *testing.T) {
	b := textBlob(largeText("refused"))
	for _, status := range []int{400, 409, 416} {
		for _, c := range []struct {
			name  string
			times int
			won   bool // another push
			sent  int
			ok    bool
		}{
			{"once", 1, false, 2, true}, {"always", 100, false, 2, false}, {"another push has won", 1, true, 1, true},
		} {
			k := newKeeper(t)
			k.before = times(c.times, isPut, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if c.won {
					k.mu.Lock()
					k.blobs[b.Digest] = []byte(largeText("refused"))
					k.mu.Unlock()
				}
				w.WriteHeader(status)
			})
			err := newClient(t, Options{}).PushBlob(ctx(t), k.host+"/app", b, nil)
			if (err == nil) != c.ok || k.count("PUT ") != c.sent {
				t.Errorf("%d, %s: %v, asked %q", status, c.name, err, k.requests())
			}
		}
	}
	k := newKeeper(t)
	k.before = times(1, isPut, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Content-Digest", textBlob("other").Digest.String())
		w.WriteHeader(http.StatusCreated)
	})
	if err := newClient(t, Options{}).PushBlob(ctx(t), k.host+"/app", b, nil); !errors.Is(err, ErrBadAnswer) {
		t.Errorf("stored as another: %v", err)
	}
}

// TestHeadOfBlob: only a clear yes is one.
func TestHeadOfBlob(t *testing.T) {
	b := textBlob(largeText("head"))
	isHead := func(r *http.Request) bool { return r.Method == http.MethodHead }
	for name, head := range map[string]func(http.ResponseWriter, *http.Request){
		"400": answering(400), "401": answering(401), "403": answering(403), "405": answering(405), "501": answering(501),
		"another size": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "7") },
	} {
		k := newKeeper(t)
		k.before = times(1, isHead, head)
		if err := newClient(t, Options{}).PushBlob(ctx(t), k.host+"/app", b, nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		k.holds(t, b)
	}
}

// TestTooLargeRequests: a proxy's limit leads to chunks of equal size, of which later blobs are told.
func TestTooLargeRequests(t *testing.T) {
	limit := int64(minChunk + 1)
	k := newKeeper(t)
	k.before = func(w http.ResponseWriter, r *http.Request) bool {
		if isUpload(r) && r.ContentLength > limit {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return true
		}
		return false
	}
	c := newClient(t, Options{})
	for i, name := range []string{"first", "second"} {
		b := textBlob(strings.Repeat(name, 10<<20/len(name)))
		k.sizes = nil
		k.be(k.serve)
		if err := c.PushBlob(ctx(t), k.host+"/app", b, nil); err != nil {
			t.Fatal(err)
		}
		k.holds(t, b)
		if last := len(k.sizes) - 1; last < 1 || k.sizes[0] < minChunk || slices.ContainsFunc(k.sizes[:last], func(n int64) bool { return n != k.sizes[0] }) {
			t.Errorf("chunks of %d", k.sizes)
		}
		if i == 1 && k.count("POST ") != 1 {
			t.Errorf("asked %q", k.requests())
		}
	}
	limit = 1 << 20
	var e *Error
	err := newClient(t, Options{}).PushBlob(ctx(t), k.host+"/app", textBlob(strings.Repeat("third", 2<<20)), nil)
	if !errors.As(err, &e) || !strings.Contains(e.Hint, "client_max_body_size") {
		t.Errorf("got %v", err)
	}
}

// TestLeastChunk: who asks for a least size of chunks gets it.
func TestLeastChunk(t *testing.T) {
	b, chunk := textBlob(largeText("least")), int64(1000)
	k := newKeeper(t)
	k.header.Set("OCI-Chunk-Min-Length", "300000")
	if err := newClient(t, Options{Profiles: map[string]ProfileChange{k.host: {Chunk: &chunk}}}).PushBlob(ctx(t), k.host+"/app", b, nil); err != nil {
		t.Fatal(err)
	}
	k.holds(t, b)
	if !slices.Equal(k.sizes, []int64{300000, 300000, 300000, b.Size - 900000}) {
		t.Errorf("chunks of %d", k.sizes)
	}
}

// TestMountRefusedOnce: a repository that nothing can be mounted from is not named again.
func TestMountRefusedOnce(t *testing.T) {
	k := newKeeper(t)
	k.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("mount") {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	}
	c := newClient(t, Options{})
	for _, name := range []string{"one", "two"} {
		b := textBlob(name)
		b.From = k.host + "/theirs"
		if err := c.PushBlob(ctx(t), k.host+"/app", b, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := k.count("POST "); n != 3 {
		t.Errorf("asked %q", k.requests())
	}
}

// TestCutWithoutAnswer: a proxy that cuts what is too large or takes too long, and says nothing, gets chunks, too.
func TestCutWithoutAnswer(t *testing.T) {
	b := textBlob(strings.Repeat("silent", firstChunk/6+1))
	k := newKeeper(t)
	k.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if isUpload(r) && r.ContentLength > firstChunk {
			panic(http.ErrAbortHandler)
		}
		return false
	}
	b.Trusted = true
	if err := newClient(t, Options{}).PushBlob(ctx(t), k.host+"/app", b, nil); err != nil {
		t.Fatal(err)
	}
	k.holds(t, b)
	if !slices.Equal(k.sizes, []int64{firstChunk, b.Size - firstChunk}) {
		t.Errorf("chunks of %d", k.sizes)
	}
}
