package engine

import (
	"sync"
	"time"

	"github.com/ibuild/ibuild/registry"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/identity"
	"github.com/opencontainers/go-digest"
)

// Look is what a display can make of work that is under way.
type Look int

// The looks.
const (
	LookLines    Look = iota // lines that stay, as in the log of a CI job or the cell of a notebook: few of them
	LookTerminal             // lines that are written over: always the newest figures
	LookNumbers              // for programs: bytes, and no words
)

// pace is when a transfer that is under way is shown first, and how often after that. BuildKit's display of terminals
// draws every 100 ms at most.
func (l Look) pace() (first, every time.Duration) {
	if l == LookLines {
		return 2 * time.Second, 3 * time.Second
	}
	return 200 * time.Millisecond, 200 * time.Millisecond
}

// Transfer is [Progress.Step] for what goes to registries or comes from them: do counts in t, which is shown while do
// runs, and summed up at its end. It returns the last state of t, and do's error. A transfer that is over before anybody
// could read of it is not looked at.
func (p *Progress) Transfer(name string, do func(t *registry.Traffic) error) (registry.Transferred, error) {
	t := &registry.Traffic{}
	return p.transfer(name, t.Now, func() error { return do(t) })
}

// transfer shows what state returns while do runs.
func (p *Progress) transfer(name string, state func() registry.Transferred, do func() error) (registry.Transferred, error) {
	p.wg.Add(1)
	defer p.wg.Done()
	s := &shown{progress: p, state: state, over: make(chan struct{}), ended: make(chan struct{}),
		vertex: client.Vertex{Digest: digest.FromString(identity.NewID()), Name: name, Started: now()}}
	s.speed.see(*s.vertex.Started, registry.Transferred{})
	p.send(s.vertex)
	first, every := p.look.pace()
	timer := time.AfterFunc(first, func() { s.follow(every) })
	err := do()
	if !timer.Stop() {
		close(s.over)
		<-s.ended
	}
	return s.end(err), err
}

// shown is a transfer that is shown.
type shown struct {
	progress *Progress
	state    func() registry.Transferred
	vertex   client.Vertex // as it began

	over, ended chan struct{} // do has returned; nothing is shown any more
	live        bool          // a status of bytes is shown
	speed       speed
}

// follow shows the transfer until it is over.
func (s *shown) follow(every time.Duration) {
	defer close(s.ended)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		s.tell(time.Now())
		select {
		case <-s.over:
			return
		case <-tick.C:
		}
	}
}

// tell shows how far the transfer is.
func (s *shown) tell(at time.Time) {
	t := s.state()
	if t.Total == 0 {
		return // nothing is known yet
	}
	s.speed.see(at, t)
	rate := s.speed.rate()
	switch s.progress.look {
	case LookLines:
		s.log(at, onTheWay(t, rate))
	case LookTerminal:
		s.live = true
		v := s.vertex
		if pace := paceText(t, rate); pace != "" {
			v.Name += ": " + pace // a status has no place for it
		}
		s.progress.pass(&client.SolveStatus{Vertexes: []*client.Vertex{&v}, Statuses: []*client.VertexStatus{s.bytes(t, at)}})
	case LookNumbers:
		s.live = true
		s.progress.pass(&client.SolveStatus{Statuses: []*client.VertexStatus{s.bytes(t, at)}})
	}
}

// bytes is how much has moved of all that has to; all of it is not known while blobs are being made.
func (s *shown) bytes(t registry.Transferred, at time.Time) *client.VertexStatus {
	done, all := way(t)
	if t.Growing {
		all = 0
	}
	return &client.VertexStatus{ID: "bytes", Vertex: s.vertex.Digest, Current: done, Total: all, Timestamp: at, Started: s.vertex.Started}
}

func (s *shown) log(at time.Time, text string) {
	s.progress.pass(&client.SolveStatus{Logs: []*client.VertexLog{{Vertex: s.vertex.Digest, Stream: 1, Data: []byte(text + "\n"), Timestamp: at}}})
}

// end sums the transfer up.
func (s *shown) end(err error) registry.Transferred {
	t, v := s.state(), s.vertex
	v.Completed = now()
	if err != nil {
		v.Error = err.Error()
	}
	last := &client.SolveStatus{Vertexes: []*client.Vertex{&v}}
	if s.live {
		b := s.bytes(t, *v.Completed)
		b.Completed = v.Completed
		last.Statuses = append(last.Statuses, b)
	}
	if text := Summary(t, v.Completed.Sub(*v.Started)); text != "" && err == nil {
		if s.progress.look == LookTerminal { // the logs of what is completed are not on a terminal
			last.Statuses = append(last.Statuses, &client.VertexStatus{ID: text, Vertex: v.Digest, Timestamp: *v.Completed, Started: v.Completed, Completed: v.Completed})
		} else {
			s.log(*v.Completed, text)
		}
	}
	s.progress.pass(last)
	return t
}

// speedOver is the time over which a speed is measured: short enough to follow a line that gets slower, and long enough
// not to jump with each layer.
const speedOver = 5 * time.Second

// speed is how fast bytes have gone of late.
type speed struct{ seen []sighting }

type sighting struct {
	at    time.Time
	bytes int64
}

// see takes note of a state.
func (s *speed) see(at time.Time, t registry.Transferred) {
	s.seen = append(s.seen, sighting{at, max(t.Sent, t.Fetched)})
	for len(s.seen) > 2 && at.Sub(s.seen[1].at) >= speedOver {
		s.seen = s.seen[1:]
	}
}

// rate is in bytes per second, 0 while it is not known.
func (s *speed) rate() int64 {
	if len(s.seen) < 2 {
		return 0
	}
	first, last := s.seen[0], s.seen[len(s.seen)-1]
	return perSecond(last.bytes-first.bytes, last.at.Sub(first.at))
}

// transfers sums up what one build moves. Its zero value is empty; it is safe for concurrent use.
type transfers struct {
	aside registry.Traffic // of what is too small to be shown

	mu  sync.Mutex
	sum registry.Transferred
	// unknown says that a builder has moved blobs by itself, which nobody has counted.
	unknown bool
}

func (s *transfers) add(t registry.Transferred) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum = s.sum.Plus(t)
}

// uncounted takes note that a builder moves blobs by itself.
func (s *transfers) uncounted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unknown = true
}

// counted is what this process has moved.
func (s *transfers) counted() registry.Transferred {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sum.Plus(s.aside.Now())
}

// total is what has moved, nil when that is not known.
func (s *transfers) total() *registry.Transferred {
	all := s.counted()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unknown {
		return nil
	}
	return &all
}

// transfer is a step of the build that moves blobs.
func (b *build) transfer(name string, do func(t *registry.Traffic) error) error {
	t, err := b.Progress.Transfer(name, do)
	b.moved.add(t)
	return err
}
