package engine

import (
	"sync"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/identity"
	"github.com/opencontainers/go-digest"
)

// Progress joins what several solves and ibuild's own steps have to say into one stream of BuildKit
// statuses, for one display. Its methods may be called from several goroutines.
type Progress struct {
	out  chan *client.SolveStatus
	wg   sync.WaitGroup
	once sync.Once
	see  func(*client.SolveStatus) // is shown each status first; nil for nobody
	look Look
}

// NewProgress returns a stream for a display of lines that stay; somebody has to read Statuses until it is closed.
func NewProgress() *Progress { return NewProgressFor(LookLines) }

// NewProgressFor returns a stream for a display; somebody has to read Statuses until it is closed.
func NewProgressFor(look Look) *Progress {
	return &Progress{out: make(chan *client.SolveStatus, 16), look: look}
}

// watched is a part of the stream that see is shown, too. It is not closed; who has one waits for its end.
func (p *Progress) watched(see func(*client.SolveStatus)) *Progress {
	return &Progress{out: p.out, see: see, look: p.look}
}

// wait returns when everything that was going on is told.
func (p *Progress) wait() { p.wg.Wait() }

// pass tells a status.
func (p *Progress) pass(s *client.SolveStatus) {
	if p.see != nil {
		p.see(s)
	}
	p.out <- s
}

// Statuses is what a display reads. It is closed by Close.
func (p *Progress) Statuses() chan *client.SolveStatus { return p.out }

// Close ends the stream when all solves have closed theirs. Calls after the first do nothing.
func (p *Progress) Close() {
	p.once.Do(func() {
		p.wg.Wait()
		close(p.out)
	})
}

// Solve returns the channel for one solve, which closes it.
func (p *Progress) Solve() chan *client.SolveStatus {
	in := make(chan *client.SolveStatus)
	p.wg.Go(func() {
		for s := range in {
			p.pass(s)
		}
	})
	return in
}

// Step shows a piece of ibuild's own work while do runs.
func (p *Progress) Step(name string, do func() error) error {
	p.wg.Add(1)
	defer p.wg.Done()
	v := client.Vertex{Digest: digest.FromString(identity.NewID()), Name: name, Started: now()}
	p.send(v)
	err := do()
	v.Completed = now()
	if err != nil {
		v.Error = err.Error()
	}
	p.send(v)
	return err
}

// Known shows a step that did not have to run.
func (p *Progress) Known(name string) {
	p.wg.Add(1)
	defer p.wg.Done()
	t := now()
	p.send(client.Vertex{Digest: digest.FromString(identity.NewID()), Name: name, Started: t, Completed: t, Cached: true})
}

// Warn shows a frontend's warning.
func (p *Progress) Warn(w *client.VertexWarning) {
	p.wg.Add(1)
	defer p.wg.Done()
	v := client.Vertex{Digest: digest.FromString(identity.NewID()), Name: "[internal] check the source", Started: now()}
	v.Completed = v.Started
	w.Vertex = v.Digest
	p.pass(&client.SolveStatus{Vertexes: []*client.Vertex{&v}, Warnings: []*client.VertexWarning{w}})
}

func (p *Progress) send(v client.Vertex) {
	p.pass(&client.SolveStatus{Vertexes: []*client.Vertex{&v}})
}

func now() *time.Time {
	t := time.Now()
	return &t
}
