package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// grown is a blob whose maker does what the test says.
type grown struct {
	blob Blob
	data string

	mu    sync.Mutex
	moved *sync.Cond
	n     int
	err   error
}

func newGrown(text string) *grown {
	g := &grown{blob: textBlob(text), data: text}
	g.moved = sync.NewCond(&g.mu)
	return g
}

// grow makes the blob n bytes large; fail ends making it.
func (g *grown) grow(n int)     { g.set(func() { g.n = n }) }
func (g *grown) fail(err error) { g.set(func() { g.err = err }) }

func (g *grown) set(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	g.moved.Broadcast()
}

// wait returns how much there is when that is more than n, or all.
func (g *grown) wait(ctx context.Context, n int) (int, error) {
	defer context.AfterFunc(ctx, func() { g.set(func() {}) })()
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.n <= n && g.n < len(g.data) && g.err == nil && ctx.Err() == nil {
		g.moved.Wait()
	}
	if g.err != nil {
		return g.n, g.err
	}
	return g.n, ctx.Err()
}

func (g *grown) Reached(ctx context.Context, size int64) (bool, error) {
	n, err := g.wait(ctx, int(size))
	return int64(n) > size, err
}

func (g *grown) Done(ctx context.Context) (ocispecs.Descriptor, error) {
	_, err := g.wait(ctx, len(g.data))
	return g.blob.Descriptor, err
}

func (g *grown) Open(offset int64) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(context.Background())
	return &grownReader{g: g, at: int(offset), ctx: ctx, cancel: cancel}, nil
}

type grownReader struct {
	g      *grown
	at     int
	ctx    context.Context
	cancel context.CancelFunc
}

func (r *grownReader) Read(p []byte) (int, error) {
	n, err := r.g.wait(r.ctx, r.at)
	if err != nil {
		return 0, err
	}
	if r.at >= n {
		return 0, io.EOF
	}
	n = copy(p, r.g.data[r.at:n])
	r.at += n
	return n, nil
}

func (r *grownReader) Close() error { r.cancel(); return nil }

// grownText is the text of a blob that is sent while it grows.
func grownText(name string) string { return strings.Repeat(name, 3*worthwhile/len(name)) }

// TestPushGrowing: bytes go up before the blob is whole, and go on where they were cut.
func TestPushGrowing(t *testing.T) {
	chunk, stall := int64(5<<20), time.Second
	isPatch := func(r *http.Request) bool { return r.Method == http.MethodPatch }
	for _, c := range []struct {
		name    string
		before  func(k *keeper) func(http.ResponseWriter, *http.Request) bool
		change  ProfileChange
		want    []string // methods
		streams bool     // all bytes go up as they come
		until   string   // a request that is seen before the blob is whole
	}{
		{"streamed", nil, ProfileChange{}, []string{"POST", "PATCH", "PUT"}, true, "PATCH "},
		{"cut", func(k *keeper) func(http.ResponseWriter, *http.Request) bool {
			return times(2, isPatch, func(w http.ResponseWriter, r *http.Request) { k.takeSome(r, 5<<20); panic(http.ErrAbortHandler) })
		}, ProfileChange{}, []string{"POST", "PATCH", "GET", "PATCH", "GET", "PATCH", "PUT"}, true, "PATCH "},
		{"the session is gone", func(k *keeper) func(http.ResponseWriter, *http.Request) bool {
			return times(1, isPatch, func(w http.ResponseWriter, _ *http.Request) { clear(k.sessions); w.WriteHeader(404) })
		}, ProfileChange{}, []string{"POST", "PATCH", "POST", "PATCH", "PUT"}, true, "PATCH "},
		{"in chunks", nil, ProfileChange{Chunk: &chunk}, []string{"POST", "PATCH", "PATCH", "PATCH", "PATCH", "PATCH", "PUT"}, false, "PATCH "},
		{"a length is wanted", func(*keeper) func(http.ResponseWriter, *http.Request) bool {
			return times(1, isPatch, answering(411))
		}, ProfileChange{}, []string{"POST", "PATCH", "DELETE", "HEAD", "POST", "PUT"}, false, "DELETE "},
		{"made slower than the host may be", nil, ProfileChange{Stall: &stall}, []string{"POST", "PATCH", "PUT"}, true, "PATCH "},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKeeper(t)
			if c.before != nil {
				k.before = c.before(k)
			}
			g := newGrown(grownText(c.name))
			var traffic Traffic
			made := make(chan struct{})
			go func() {
				defer close(made)
				g.grow(worthwhile + 1)
				for k.count(c.until) == 0 {
					time.Sleep(time.Millisecond)
				}
				for _, n := range []int{2 * worthwhile, len(g.data) - 1000} {
					g.grow(n)
					for c.streams && traffic.Now().Total < int64(n) {
						time.Sleep(time.Millisecond)
					}
					if now := traffic.Now(); c.streams && (!now.Growing || now.Settled > now.Total || now.Total > int64(len(g.data))) {
						t.Errorf("meanwhile: %+v", now)
					}
				}
				if c.change.Stall != nil {
					time.Sleep(stall + stall/5)
				}
				g.grow(len(g.data))
			}()
			desc, err := newClient(t, Options{Profiles: map[string]ProfileChange{k.host: c.change}}).PushGrowing(ctx(t), k.host+"/app", g, &traffic)
			<-made
			if err != nil || desc.Digest != g.blob.Digest {
				t.Fatal(desc, err)
			}
			k.holds(t, g.blob)
			var asked []string
			for _, r := range k.requests() {
				method, _, _ := strings.Cut(r, " ")
				asked = append(asked, method)
			}
			if !slices.Equal(asked, c.want) {
				t.Errorf("asked %q", k.requests())
			}
			now := traffic.Now()
			if now.Total != desc.Size || now.Settled != desc.Size || now.Growing || now.Moved != (Tally{1, desc.Size}) {
				t.Errorf("counted %+v", now)
			}
		})
	}
}

// TestGrownBefore: what is whole before it is large, or before it is its turn, goes the usual way.
func TestGrownBefore(t *testing.T) {
	for text, want := range map[string]int{"small": 2, grownText("large"): 3} {
		k := newKeeper(t)
		g := newGrown(text)
		g.grow(len(g.data))
		if _, err := newClient(t, Options{}).PushGrowing(ctx(t), k.host+"/app", g, nil); err != nil {
			t.Fatal(err)
		}
		k.holds(t, g.blob)
		if len(k.requests()) != want || k.count("PATCH ") != 0 {
			t.Errorf("asked %q", k.requests())
		}
	}
}

// TestGrowingIsThere: when it turns out that the repository has the blob, what is left of it is not sent.
func TestGrowingIsThere(t *testing.T) {
	k := newKeeper(t)
	g := newGrown(grownText("there") + strings.Repeat("more", 16<<20/4))
	k.blobs[g.blob.Digest] = []byte(g.data)
	slow := make(chan struct{})
	k.before = times(1, isUpload, func(w http.ResponseWriter, r *http.Request) {
		k.takeSome(r, 1<<20)
		g.grow(len(g.data))
		<-slow // as a slow line: nothing more is taken
	})
	g.grow(worthwhile + 1)
	var traffic Traffic
	c := newClient(t, Options{})
	_, err := c.PushGrowing(ctx(t), k.host+"/app", g, &traffic)
	close(slow)
	if err != nil {
		t.Fatal(err)
	}
	k.holds(t, g.blob)
	now := traffic.Now()
	if now.There != (Tally{1, g.blob.Size}) || now.Moved.Blobs != 0 || now.Settled != g.blob.Size || now.Sent >= g.blob.Size {
		t.Errorf("counted %+v", now)
	}
	if k.count("DELETE ") != 1 || k.count("PUT ") != 0 {
		t.Errorf("asked %q", k.requests())
	}
}

// TestGrowingFails: an error of making is returned as it is, and the session is given up.
func TestGrowingFails(t *testing.T) {
	broken := errors.New("no space left")
	for name, change := range map[string]ProfileChange{"streamed": {}, "in chunks": {Chunk: new(int64(20 << 20))}} {
		k := newKeeper(t)
		g := newGrown(grownText("fails"))
		g.grow(worthwhile + 1)
		time.AfterFunc(50*time.Millisecond, func() { g.fail(broken) })
		var traffic Traffic
		_, err := newClient(t, Options{Profiles: map[string]ProfileChange{k.host: change}}).PushGrowing(ctx(t), k.host+"/app", g, &traffic)
		if err != broken {
			t.Errorf("%s: %v", name, err)
		}
		if len(k.sessions) > 0 || k.count("POST ") != 1 {
			t.Errorf("%s: asked %q", name, k.requests())
		}
		if now := traffic.Now(); now.Growing || now.Total != 0 || now.Settled != 0 {
			t.Errorf("%s: counted %+v", name, now)
		}
	}
}

// TestGrowingCancelled: who cancels gets the context's error at once, and no session is left.
func TestGrowingCancelled(t *testing.T) {
	k := newKeeper(t)
	g := newGrown(grownText("cancel"))
	g.grow(worthwhile + 1)
	cctx, cancel := context.WithCancel(ctx(t))
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := newClient(t, Options{}).PushGrowing(cctx, k.host+"/app", g, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if len(k.sessions) > 0 {
		t.Errorf("asked %q", k.requests())
	}
}

// TestGrowingAfterStalePing: a registry that wants credentials since the last build gets the blob, and it is counted.
func TestGrowingAfterStalePing(t *testing.T) {
	k := newKeeper(t)
	store := newCache(t)
	if err := newClient(t, Options{Cache: store}).PushBlob(ctx(t), k.host+"/app", newBlob("first"), nil); err != nil {
		t.Fatal(err)
	}
	k.before = basic
	g := newGrown(grownText("stale"))
	g.grow(worthwhile + 1)
	time.AfterFunc(100*time.Millisecond, func() { g.grow(len(g.data)) })
	var traffic Traffic
	if _, err := newClient(t, Options{Cache: store, Keychain: withCanary(k.host)}).PushGrowing(ctx(t), k.host+"/app", g, &traffic); err != nil {
		t.Fatal(err)
	}
	k.holds(t, g.blob)
	if now := traffic.Now(); now.Total != g.blob.Size || now.Settled != g.blob.Size || now.Growing || now.Moved.Blobs != 1 {
		t.Errorf("counted %+v", now)
	}
}
