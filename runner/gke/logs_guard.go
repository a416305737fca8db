package gke

import (
	"context"
	"io"
	"sync/atomic"
	"time"
)

// idleGuard ends a connection on which nothing comes though there is something:
// one that a firewall forgot without a word, or a node that lost sight of the
// file that it follows. Without it the output would stand still for ever.
type idleGuard struct {
	s      *stream
	newest atomic.Int64 // time of the newest line that came
	timer  *time.Timer
	cut    context.CancelFunc
	ctx    context.Context
	wait   time.Duration // used by look only, which never runs twice at a time
}

// How long nothing may come before the guard looks, at first and at most.
const (
	firstLook = 30 * time.Second
	mostLook  = 2 * time.Minute
)

func newIdleGuard(ctx context.Context, s *stream, cut context.CancelFunc) *idleGuard {
	g := &idleGuard{s: s, cut: cut, ctx: ctx, wait: firstLook}
	g.newest.Store(s.window.newest)
	g.timer = time.AfterFunc(firstLook, g.look)
	return g
}

// alive notes that a line came. It may be called on nil.
func (g *idleGuard) alive(at int64) {
	if g == nil {
		return
	}
	g.newest.Store(max(g.newest.Load(), at))
	g.timer.Reset(firstLook)
}

func (g *idleGuard) stop() { g.timer.Stop() }

// look asks for the newest line, and cuts the connection if it has not come.
func (g *idleGuard) look() {
	const slack = 3 * time.Second // a line that is just on its way
	if at, ok := g.newestLine(); ok && at > g.newest.Load() && every(g.ctx, slack) && at > g.newest.Load() {
		g.cut()
		return
	}
	g.wait = min(2*g.wait, mostLook)
	if g.ctx.Err() == nil {
		g.timer.Reset(g.wait)
	}
}

// newestLine is the time of the last line that the node has.
func (g *idleGuard) newestLine() (int64, bool) {
	ctx, cancel := context.WithTimeout(g.ctx, 10*time.Second)
	defer cancel()
	body, err := g.s.logs.client.open(ctx, g.s.pod, map[string]string{"tailLines": "1"})
	if err != nil {
		return 0, false
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, int64(stampSize)))
	if err != nil {
		return 0, false
	}
	at, _, ok := cutStamp(text)
	return at.UnixNano(), ok
}
