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
	bytes  atomic.Int64 // time when bytes came last, by this machine's clock
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
	g.bytes.Store(time.Now().UnixNano())
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

// guarded notes when bytes come: a line that takes long to end, such as that of a
// progress bar, is no silence.
type guarded struct {
	io.Reader
	guard *idleGuard
}

func (r guarded) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.guard.bytes.Store(time.Now().UnixNano())
	}
	return n, err
}

// quiet says that nothing has come for so long.
func (g *idleGuard) quiet(d time.Duration) bool {
	return time.Since(time.Unix(0, g.bytes.Load())) >= d
}

func (g *idleGuard) stop() { g.timer.Stop() }

// look asks for the newest line, and cuts the connection if it has not come: once
// for each line, as the part of a line that has no end yet has a time, too.
func (g *idleGuard) look() {
	const slack = 3 * time.Second // a line that is just on its way
	missing := func(at int64) bool { return g.quiet(slack) && at > g.newest.Load() && at != g.s.cutFor.Load() }
	if g.quiet(firstLook) {
		if at, ok := g.newestLine(); ok && missing(at) && every(g.ctx, slack) && missing(at) {
			g.s.cutFor.Store(at)
			g.cut()
			return
		}
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
