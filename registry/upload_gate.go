package registry

import (
	"context"
	"sync"
	"time"
)

const (
	// largeBlob is the size in bytes from which on a blob counts as large.
	largeBlob = 64 << 20
	// parallelLarge is how many large blobs go up at a time: they fill a line as well as many small ones, and more of
	// them only have more to lose when the line is cut.
	parallelLarge = 4
)

// gate bounds what goes to one endpoint at a time: it has as many places as small blobs may go up at a time, of which
// a large blob takes several.
type gate struct {
	large int // places of a large blob

	mu      sync.Mutex
	changed chan struct{} // closed when there may be room
	limit   int           // places
	used    int
	slowed  time.Time
}

func newGate(parallel int) *gate {
	return &gate{large: max(1, parallel/parallelLarge), limit: parallel, changed: make(chan struct{})}
}

// places is how many places a blob takes; a size of -1 is not known, and large.
func (g *gate) places(size int64) int {
	switch {
	case size < 0 || size >= largeBlob:
		return g.large
	case size >= largeBlob/2:
		return max(1, g.large/2)
	}
	return 1
}

// enter waits for places. The caller calls the function that it returns when it is done. Error: the context's.
func (g *gate) enter(ctx context.Context, places int) (leave func(), err error) {
	for {
		g.mu.Lock()
		want := min(places, g.limit) // alone, anything goes
		if g.used == 0 || g.used+want <= g.limit {
			g.used += want
			g.mu.Unlock()
			return func() { g.change(func() { g.used -= want }) }, nil
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (g *gate) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	close(g.changed)
	g.changed = make(chan struct{})
}

// slowDown halves what goes at a time, for as long as the process lives: the registry has said that it is too much.
// All that is on its way hears that at the same time, so it counts once in a second.
func (g *gate) slowDown() {
	g.change(func() {
		if time.Since(g.slowed) > time.Second {
			g.limit, g.slowed = max(1, g.limit/2), time.Now()
		}
	})
}
