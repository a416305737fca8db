package gke

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Watch tells the job's states until it ends, and returns the last one. tell is
// called from this goroutine, with every state that differs from the one before.
//
// A job that stands still for longer than the deadlines allow is returned as
// Failed and Abandoned: it is still in the cluster, and whoever called should
// cancel it. When the API server is out of reach, Watch says so (State.Lost),
// goes on trying, and ends with an UnreachableError after Deadlines.Unreachable.
// A job that failed is no error; a cancelled context is.
func (r *Run) Watch(ctx context.Context, d Deadlines, tell func(State)) (State, error) {
	ctx, stop := context.WithCancel(ctx)
	o := newObserver(r)
	wait := o.start(ctx)
	defer wait()
	defer stop()
	w := &watcher{o: o, deadlines: d, tell: tell}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		began := time.Now()
		left, err := w.look(ctx)
		if err != nil || w.last.Phase.Ended() && !w.last.Lost {
			return w.last, err
		}
		lookedFor := time.Since(began)
		timer.Reset(left)
		select {
		case <-o.changed:
		case <-timer.C:
		case <-ctx.Done():
			return w.last, context.Cause(ctx)
		}
		// with a thousand hosts, looking takes a while, and changes come in crowds
		every(ctx, min(4*lookedFor, 200*time.Millisecond))
	}
}

// watcher is one call of Watch.
type watcher struct {
	o         *observer
	deadlines Deadlines
	patience  patience
	tell      func(State)
	last      State
	told      bool
}

// look finds the state out, tells it, and returns how long it may stay.
func (w *watcher) look(ctx context.Context) (time.Duration, error) {
	const often = time.Minute // deadlines are far coarser
	now := time.Now()
	if since, err := w.o.reach.lost(); !since.IsZero() {
		left := w.deadlines.unreachable() - now.Sub(since)
		if left <= 0 {
			return 0, &UnreachableError{Job: w.o.run.Name, Since: since, Err: err}
		}
		w.patience = patience{} // what stood still before may have moved unseen
		w.say(w.outOfReach(since, err))
		return min(left, often), nil
	}
	if err := w.o.denied(); err != nil {
		return 0, fmt.Errorf("watch job %s: %w", w.o.run.Name, err)
	}
	if !w.o.ready() {
		return often, nil
	}
	snapshot := w.o.snapshot()
	if snapshot.main == nil {
		return 0, w.o.run.missing()
	}
	f := decide(snapshot)
	if f.Phase.Ended() {
		w.o.settle(ctx)
		f = decide(w.o.snapshot())
	}
	s, left := w.patience.judge(f, w.deadlines, now)
	w.say(s)
	if left == 0 || left > often {
		left = often
	}
	return left, nil
}

// outOfReach is the last known state with the news that it may be old.
func (w *watcher) outOfReach(since time.Time, err error) State {
	s := w.last
	s.Lost = true
	s.Reason, s.GiveUp = "Unreachable", since.Add(w.deadlines.unreachable())
	s.Message = fmt.Sprintf("the cluster is out of reach since %s, the job goes on (%s)", since.Format("15:04:05"), oneLine(err.Error()))
	s.Hint = "ibuild tries again; Ctrl-C leaves the job running"
	if s.Phase == "" {
		s.Phase = Pending
	}
	return s
}

func (w *watcher) say(s State) {
	if w.told && sameState(w.last, s) {
		w.last = s
		return
	}
	// out of reach: the phases that were known stay, the words are not kept
	if s.Lost && w.told {
		keep := w.last
		w.tell(s)
		w.last = keep
		w.last.Lost = true
		return
	}
	w.last, w.told = s, true
	w.tell(s)
}

// sameState says that there is nothing new for people. The time of giving up
// moves with the cause and is no news.
func sameState(a, b State) bool {
	if a.Lost && b.Lost {
		return true
	}
	return a.Phase == b.Phase && a.Reason == b.Reason && a.Message == b.Message && a.Hint == b.Hint && a.Attempt == b.Attempt &&
		a.Lost == b.Lost && a.Abandoned == b.Abandoned && a.ExitCode == b.ExitCode && slices.Equal(a.Hosts, b.Hosts)
}

// settle reads the job and its pods once more: its end and that of its pods
// come through different watches, and the last words of a pod must not be missed.
func (o *observer) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r := o.run
	main, err := r.in(r.resource()).Get(ctx, r.Name, metav1.GetOptions{})
	o.mu.Lock()
	switch {
	case err == nil:
		o.putMain(main)
	case apierrors.IsNotFound(err):
		o.gone = true
	}
	o.mu.Unlock()
	list, err := r.in(pods).List(ctx, metav1.ListOptions{LabelSelector: JobLabel + "=" + r.Name})
	if err != nil {
		return // what the watch has is all there is
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	there := map[string]bool{}
	for n := range list.Items {
		there[string(list.Items[n].GetUID())] = true
		o.putPod(&list.Items[n])
	}
	for uid := range o.pods {
		o.deleted[uid] = !there[uid]
	}
}

// State reads the job's state once.
func (r *Run) State(ctx context.Context) (State, error) {
	s, err := r.observe(ctx)
	if err != nil {
		return State{}, err
	}
	return decide(s).State, nil
}

// observe reads all that is known of the job once. What may not be read is left out.
func (r *Run) observe(ctx context.Context) (*observed, error) {
	o := newObserver(r)
	for _, s := range o.subjects() {
		_, err := o.list(ctx, s)
		if err != nil && s.needed {
			return nil, fmt.Errorf("job %s: %w", r.Name, err)
		}
		if err != nil {
			o.blind[s.resource.Resource] = err
		}
	}
	if o.main == nil {
		return nil, r.missing()
	}
	if o.main.GetLabels()[queueLabel] != "" {
		_, _ = o.list(ctx, o.kueue(string(o.main.GetUID()))) // without it, the state only says less
	}
	for _, p := range o.pods {
		if name := p.Spec.NodeName; name != "" && p.Status.Phase != corev1.PodSucceeded && o.nodes[name] == nil && !o.lost[name] {
			u, err := r.Cluster.dynamic.Resource(nodes).Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsForbidden(err) {
				o.blind[nodes.Resource] = err
				break
			}
			o.putNode(name, u, err)
		}
	}
	return o.snapshot(), nil
}

// missing is the error for a job that is not there.
func (r *Run) missing() error {
	return fmt.Errorf("job %s: %w", r.Name, apierrors.NewNotFound(r.resource().GroupResource(), r.Name))
}
