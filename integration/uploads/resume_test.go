//go:build integration

package uploads

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ibuild/ibuild/integration/testenv"
	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

const size = 64 << 20

// mostSent is what an upload may send that is cut twice at 60 %, in parts of its size.
const mostSent = 1.15

func content(seed byte) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

// TestCutUploads: what the registry has is not sent again, in whatever way the blob goes up.
func TestCutUploads(t *testing.T) {
	env, err := testenv.Start(t.Context(), testenv.Options{Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := env.Close(); err != nil {
			t.Error(err)
		}
	}()
	const first = size * 6 / 10
	chunk := int64(8 << 20)
	for i, c := range []struct {
		name    string
		hard    bool
		growing bool
		change  registry.ProfileChange
	}{
		{name: "closed"},
		{name: "reset", hard: true},
		{name: "in chunks", change: registry.ProfileChange{Chunk: &chunk}},
		{name: "growing", growing: true},
		{name: "growing, in chunks", growing: true, change: registry.ProfileChange{Chunk: &chunk}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cuts := newCutter(t, env.Registry.Addr, c.hard, first, first+(size-first)*6/10)
			mark := env.Registry.Mark()
			client := registry.New(registry.Options{Keychain: registry.StaticKeychain(nil), Log: func(msg string) { t.Log(msg) },
				Profiles: map[string]registry.ProfileChange{cuts.addr: c.change}})
			data := content(byte(i))
			blob := registry.Blob{Descriptor: ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageLayer, Digest: digest.FromBytes(data), Size: size},
				Open: func(offset int64) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data[offset:])), nil }}
			var traffic registry.Traffic
			if c.growing {
				_, err = client.PushGrowing(t.Context(), cuts.addr+"/cut", newGrown(data, blob.Descriptor), &traffic)
			} else {
				err = client.PushBlob(t.Context(), cuts.addr+"/cut", blob, &traffic)
			}
			if err != nil {
				t.Fatal(err)
			}
			now := traffic.Now()
			left, passed := cuts.left()
			t.Logf("sent %.3f, passed on %.3f of the size; %d requests", float64(now.Sent)/size, float64(passed)/size, len(env.Registry.Requests(mark)))
			if left != 0 {
				t.Errorf("%d cuts have not happened", left)
			}
			if float64(now.Sent) > mostSent*size || float64(passed) > mostSent*size {
				t.Errorf("%d bytes were sent and %d passed on, of a blob of %d", now.Sent, passed, size)
			}
			if now.Total != size || now.Settled != size || now.Growing || now.Moved != (registry.Tally{Blobs: 1, Bytes: size}) {
				t.Errorf("counted %+v", now)
			}
			same(t, env.Registry.Ref("cut"), blob.Descriptor)
		})
	}
}

// same fails unless the registry has the blob, whole.
func same(t *testing.T, repo string, desc ocispecs.Descriptor) {
	t.Helper()
	rc, err := registry.New(registry.Options{Keychain: registry.StaticKeychain(nil)}).OpenBlob(t.Context(), repo, desc)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if n, err := io.Copy(io.Discard, rc); err != nil || n != desc.Size {
		t.Errorf("the registry has %d bytes: %v", n, err)
	}
}

// grown is a blob that takes about a second to be made.
type grown struct {
	data []byte
	desc ocispecs.Descriptor

	mu    sync.Mutex
	moved *sync.Cond
	n     int
}

func newGrown(data []byte, desc ocispecs.Descriptor) *grown {
	g := &grown{data: data, desc: desc}
	g.moved = sync.NewCond(&g.mu)
	go func() {
		for n := 0; n < len(data); n += len(data) / 100 {
			g.reach(n)
			time.Sleep(10 * time.Millisecond)
		}
		g.reach(len(data))
	}()
	return g
}

func (g *grown) reach(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n = n
	g.moved.Broadcast()
}

// wait returns how much there is when that is more than n, or all.
func (g *grown) wait(ctx context.Context, n int) (int, error) {
	defer context.AfterFunc(ctx, func() { g.mu.Lock(); defer g.mu.Unlock(); g.moved.Broadcast() })()
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.n <= n && g.n < len(g.data) && ctx.Err() == nil {
		g.moved.Wait()
	}
	return g.n, ctx.Err()
}

func (g *grown) Reached(ctx context.Context, size int64) (bool, error) {
	n, err := g.wait(ctx, int(size))
	return int64(n) > size, err
}

func (g *grown) Done(ctx context.Context) (ocispecs.Descriptor, error) {
	_, err := g.wait(ctx, len(g.data))
	return g.desc, err
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
