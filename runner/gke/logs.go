package gke

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// LogOptions says which lines Run.Logs reads.
type LogOptions struct {
	Follow      bool          // go on until the job has ended; else what is there
	Tail        int           // the last lines of each host's newest pod; 0 is all
	Since       time.Duration // only lines that are not older; 0 is all
	Hosts       []Place       // empty is all of them
	Unreachable time.Duration // as Deadlines.Unreachable
}

// maxStreams is of how many hosts the output is read at once: each may hold up
// to 4 MB that were sent and not yet written.
const maxStreams = 64

// Logs hands the output of all hosts on, line by line: in order for each host,
// and as they come from several. Without Follow one host comes after the other.
// All pods of a host are read, those of earlier attempts first.
//
// A line is handed on once, however often connections break. Where lines may be
// lost all the same, because the node has thrown them away or the pod was
// deleted, a Line with Note says so in their place.
//
// write is called by one goroutine at a time and owns its Line. As long as it
// does not return nothing more is read, and the node has to keep what comes
// meanwhile: it keeps at least 10 MB. Logs ends with write's error if there is one,
// and with an UnreachableError when the API server did not answer for too long.
func (r *Run) Logs(ctx context.Context, options LogOptions, write func(Line) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	client, err := r.Cluster.logClient()
	if err != nil {
		return err
	}
	l := &logs{run: r, client: client, options: options, write: write, stop: cancel, started: map[string]bool{}}
	if options.Follow {
		return l.follow(ctx)
	}
	return l.once(ctx)
}

// logs is one call of Run.Logs.
type logs struct {
	run     *Run
	client  logClient
	options LogOptions
	write   func(Line) error
	stop    context.CancelCauseFunc

	one     sync.Mutex // held while write runs
	group   sync.WaitGroup
	started map[string]bool // uids of pods that are read or were
	spared  bool            // it was said that not all hosts are read
}

// emit hands a line on. Its error stops all hosts.
func (l *logs) emit(ctx context.Context, line Line) error {
	l.one.Lock()
	defer l.one.Unlock()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	err := l.write(line)
	if err != nil {
		l.stop(err)
	}
	return err
}

// wanted says whether a host's lines are asked for.
func (l *logs) wanted(p *corev1.Pod) bool {
	return len(l.options.Hosts) == 0 || slices.Contains(l.options.Hosts, placeOf(p))
}

// hasOutput says that a pod's program was started.
func hasOutput(p *corev1.Pod) bool {
	c := program(p)
	return c != nil && (c.State.Running != nil || c.State.Terminated != nil && c.ContainerID != "")
}

// once reads what is there, host by host.
func (l *logs) once(ctx context.Context) error {
	s, err := l.run.observe(ctx)
	if err != nil {
		return err
	}
	for _, list := range inOrder(s) {
		if l.options.Tail > 0 {
			list = list[len(list)-1:]
		}
		for _, p := range list {
			if !l.wanted(p) || !hasOutput(p) {
				continue
			}
			if err := l.stream(p, nil).run(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// inOrder lists each host's pods, the oldest first.
func inOrder(s *observed) [][]*corev1.Pod {
	byPlace := s.byPlace()
	var places []Place
	for at := range byPlace {
		places = append(places, at)
	}
	slices.SortFunc(places, func(a, b Place) int {
		if a.Slice != b.Slice {
			return a.Slice - b.Slice
		}
		return a.Index - b.Index
	})
	var lists [][]*corev1.Pod
	for _, at := range places {
		slices.Reverse(byPlace[at])
		lists = append(lists, byPlace[at])
	}
	return lists
}

// follow starts reading a pod as soon as its program is started, until the job
// has ended and all that its pods wrote was read.
func (l *logs) follow(ctx context.Context) error {
	o := newObserver(l.run)
	watching, stop := context.WithCancel(ctx)
	wait := o.start(watching)
	defer wait()
	defer stop()
	defer l.group.Wait()
	limit := Deadlines{Unreachable: l.options.Unreachable}
	for {
		if since, err := o.reach.lost(); !since.IsZero() && time.Since(since) > limit.unreachable() {
			err = &UnreachableError{Job: l.run.Name, Since: since, Err: err}
			l.stop(err)
			return err
		}
		if err := o.denied(); err != nil {
			err = fmt.Errorf("logs of job %s: %w", l.run.Name, err)
			l.stop(err)
			return err
		}
		if o.ready() {
			s := o.snapshot()
			if s.main == nil {
				return l.run.missing()
			}
			over := decide(s).Phase.Ended()
			if over {
				o.settle(ctx)
				s = o.snapshot()
			}
			l.start(ctx, s, o)
			if over {
				l.group.Wait()
				return context.Cause(ctx)
			}
		}
		select {
		case <-o.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Second): // an outage has a deadline
		}
	}
}

// start begins to read the pods that have something to read.
func (l *logs) start(ctx context.Context, s *observed, o *observer) {
	for _, list := range inOrder(s) {
		for n, p := range list {
			uid := string(p.UID)
			old := n < len(list)-1
			if l.started[uid] || !l.wanted(p) || !hasOutput(p) || old && (l.options.Tail > 0 || s.deleted[uid]) {
				continue
			}
			if len(l.started) >= maxStreams && placeOf(p).Index+placeOf(p).Slice > 0 && !l.known(list) {
				l.sayMany(ctx, p)
				continue
			}
			l.started[uid] = true
			stream := l.stream(p, o)
			l.group.Go(func() {
				if err := stream.run(ctx); err != nil {
					l.stop(err)
				}
			})
		}
	}
}

// known says that another pod of the same host is or was read.
func (l *logs) known(list []*corev1.Pod) bool {
	return slices.ContainsFunc(list, func(p *corev1.Pod) bool { return l.started[string(p.UID)] })
}

// sayMany says once that there are more hosts than are read.
func (l *logs) sayMany(ctx context.Context, p *corev1.Pod) {
	if l.spared {
		return
	}
	l.spared = true
	at := placeOf(p)
	_ = l.emit(ctx, Line{Slice: at.Slice, Index: at.Index, Pod: p.Name, Time: time.Now(), Note: true,
		Text: fmt.Sprintf("only the first %d hosts are followed; --host chooses others", maxStreams)}) // its error has stopped all
}
