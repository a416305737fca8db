package engine

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

// collect reads a stream to its end.
func collect(t *testing.T, p *Progress) func() []*client.SolveStatus {
	t.Helper()
	var list []*client.SolveStatus
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range p.Statuses() {
			list = append(list, s)
		}
	}()
	return func() []*client.SolveStatus {
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("the stream does not end")
		}
		return list
	}
}

func TestProgressOfSeveralSolves(t *testing.T) {
	p := NewProgress()
	all := collect(t, p)
	const solves, each = 8, 100
	var wg sync.WaitGroup
	for i := range solves {
		ch := p.Solve()
		wg.Go(func() {
			defer close(ch)
			for j := range each {
				ch <- &client.SolveStatus{Vertexes: []*client.Vertex{{Name: fmt.Sprint(i, j)}}}
			}
		})
		wg.Go(func() { p.Known("known") })
		wg.Go(func() { p.Warn(&client.VertexWarning{Short: []byte("w")}) })
	}
	wg.Wait()
	p.Close()
	p.Close() // does nothing
	seen := map[string]int{}
	for _, s := range all() {
		for _, v := range s.Vertexes {
			seen[v.Name]++
		}
	}
	if len(seen) != solves*each+2 || seen["known"] != solves || seen["0 99"] != 1 {
		t.Errorf("%d names, %d known, %d of the last status of the first solve", len(seen), seen["known"], seen["0 99"])
	}
}

// Close waits for solves that still have something to say.
func TestCloseWaits(t *testing.T) {
	p := NewProgress()
	all := collect(t, p)
	ch := p.Solve()
	closed := make(chan struct{})
	go func() { p.Close(); close(closed) }()
	select {
	case <-closed:
		t.Fatal("closed while a solve is running")
	case <-time.After(20 * time.Millisecond):
	}
	ch <- &client.SolveStatus{}
	close(ch)
	<-closed
	if n := len(all()); n != 1 {
		t.Errorf("%d statuses, want 1", n)
	}
}

func TestSteps(t *testing.T) {
	p := NewProgress()
	all := collect(t, p)
	fail := errors.New("no space")
	if err := p.Step("write", func() error { return fail }); !errors.Is(err, fail) {
		t.Errorf("the step's error became %v", err)
	}
	check(t, p.Step("nested", func() error { return p.Step("inner", func() error { return nil }) }))
	p.Known("old")
	p.Warn(&client.VertexWarning{Short: []byte("careful")})
	p.Close()

	type state struct {
		digests        map[digest.Digest]bool
		started, ended bool
		cached         bool
		err            string
	}
	steps := map[string]*state{}
	warnings := 0
	for _, s := range all() {
		for _, v := range s.Vertexes {
			st := steps[v.Name]
			if st == nil {
				st = &state{digests: map[digest.Digest]bool{}}
				steps[v.Name] = st
			}
			st.digests[v.Digest] = true
			st.started = st.started || v.Started != nil
			st.ended = st.ended || v.Completed != nil && !v.Completed.Before(*v.Started)
			st.cached, st.err = v.Cached, v.Error
		}
		for _, w := range s.Warnings {
			warnings++
			if w.Vertex != s.Vertexes[0].Digest {
				t.Error("the warning belongs to no step")
			}
		}
	}
	for name, st := range steps {
		if len(st.digests) != 1 || !st.started || !st.ended {
			t.Errorf("%s: %+v", name, st)
		}
	}
	if len(steps) != 5 || steps["write"].err != "no space" || steps["nested"].err != "" || !steps["old"].cached || steps["write"].cached || warnings != 1 {
		t.Errorf("steps %v, %d warnings", steps, warnings)
	}
}
