package gke

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// watching is a call of Watch in the background.
type watching struct {
	told chan State
	end  chan watchEnd
}

type watchEnd struct {
	state State
	err   error
}

func startWatch(t *testing.T, r *Run, d Deadlines) *watching {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	w := &watching{told: make(chan State, 100), end: make(chan watchEnd, 1)}
	go func() {
		s, err := r.Watch(ctx, d, func(s State) { w.told <- s })
		w.end <- watchEnd{s, err}
	}()
	t.Cleanup(cancel)
	return w
}

// until waits for a state that was asked for.
func (w *watching) until(t *testing.T, what string, is func(State) bool) State {
	t.Helper()
	for late := time.After(20 * time.Second); ; {
		select {
		case s := <-w.told:
			if is(s) {
				return s
			}
		case e := <-w.end:
			t.Fatalf("%s: Watch ended with %+v, %v", what, e.state, e.err)
		case <-late:
			t.Fatalf("%s was never told", what)
		}
	}
}

func (w *watching) ended(t *testing.T) (State, error) {
	t.Helper()
	select {
	case e := <-w.end:
		return e.state, e.err
	case <-time.After(25 * time.Second):
		t.Fatal("Watch does not end")
	}
	return State{}, nil
}

func phase(p Phase) func(State) bool { return func(s State) bool { return s.Phase == p && !s.Lost } }

func TestWatchToTheEnd(t *testing.T) {
	server := newAPIServer(t)
	server.put("jobs", "ADDED", jobObject())
	w := startWatch(t, server.run(t), Deadlines{})
	w.until(t, "pending", phase(Pending))
	server.put("pods", "ADDED", runningPod("train-x"))
	s := w.until(t, "running", phase(Running))
	if len(s.Hosts) != 1 || s.Hosts[0].Pod != "train-x" || s.Hosts[0].Node != "node-1" {
		t.Errorf("hosts: %+v", s.Hosts)
	}
	server.put("pods", "MODIFIED", endedPod("train-x", 3))
	server.put("jobs", "MODIFIED", jobObject(conditionObject("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")))
	s, err := w.ended(t)
	if err != nil || s.Phase != Failed || s.ExitCode != 3 || !strings.Contains(s.Message, "exit code 3") {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestWatchSettles sees the end of the job before that of its pod, and has the
// pod's exit code all the same.
func TestWatchSettles(t *testing.T) {
	server := newAPIServer(t)
	server.put("jobs", "ADDED", jobObject())
	server.put("pods", "ADDED", runningPod("train-x"))
	w := startWatch(t, server.run(t), Deadlines{})
	w.until(t, "running", phase(Running))
	server.mu.Lock()
	server.objects["pods"]["train-x"] = jsonCopy(endedPod("train-x", 9)) // no watch tells it
	server.mu.Unlock()
	server.put("jobs", "MODIFIED", jobObject(conditionObject("Failed", "BackoffLimitExceeded", "")))
	if s, err := w.ended(t); err != nil || s.ExitCode != 9 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestWatchListsAgain goes on after the server has forgotten the versions that
// the watch knows, and after a pod was deleted meanwhile.
func TestWatchListsAgain(t *testing.T) {
	server := newAPIServer(t)
	server.put("jobs", "ADDED", jobObject())
	server.put("pods", "ADDED", runningPod("train-x"))
	w := startWatch(t, server.run(t), Deadlines{})
	w.until(t, "running", phase(Running))
	server.mu.Lock()
	before := server.lists["pods"]
	delete(server.objects["pods"], "train-x")
	server.mu.Unlock()
	server.forget()
	s := w.until(t, "the deleted pod", phase(Preempted))
	if s.Reason != "PodDeleted" {
		t.Errorf("%+v", s)
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	if server.lists["pods"] <= before {
		t.Error("the pods were not listed again")
	}
}

func TestWatchOverAnOutage(t *testing.T) {
	server := newAPIServer(t)
	server.put("jobs", "ADDED", jobObject())
	server.put("pods", "ADDED", runningPod("train-x"))
	w := startWatch(t, server.run(t), Deadlines{})
	w.until(t, "running", phase(Running))
	server.setDown(true)
	s := w.until(t, "the outage", func(s State) bool { return s.Lost })
	if s.Phase != Running || !strings.Contains(s.Message, "out of reach since") || !strings.Contains(s.Message, "the job goes on") {
		t.Errorf("%+v", s)
	}
	server.setDown(false)
	w.until(t, "the end of the outage", phase(Running))
	server.put("pods", "MODIFIED", endedPod("train-x", 0))
	server.put("jobs", "MODIFIED", jobObject(conditionObject("Complete", "", "")))
	if s, err := w.ended(t); err != nil || s.Phase != Succeeded {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestWatchGivesAnOutageUp(t *testing.T) {
	server := newAPIServer(t)
	server.put("jobs", "ADDED", jobObject())
	server.put("pods", "ADDED", runningPod("train-x"))
	w := startWatch(t, server.run(t), Deadlines{Unreachable: time.Second})
	w.until(t, "running", phase(Running))
	server.setDown(true)
	_, err := w.ended(t)
	var away *UnreachableError
	if !errors.As(err, &away) || !strings.Contains(away.Hint(), "ibuild jobs logs --follow train") {
		t.Errorf("%v", err)
	}
}

func TestWatchGivesUpAtOnce(t *testing.T) {
	server := newAPIServer(t)
	server.put("jobs", "ADDED", jobObject())
	server.put("pods", "ADDED", podObject("train-x", "Pending", map[string]any{"waiting": map[string]any{"reason": "ErrImagePull",
		"message": `rpc error: code = NotFound desc = failed to pull and unpack image "reg/train@sha256:1": failed to resolve image: reg/train@sha256:1: not found`}}))
	s, err := startWatch(t, server.run(t), Deadlines{}).ended(t)
	if err != nil || s.Phase != Failed || !s.Abandoned || !strings.Contains(s.Message, "not in its registry") {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestWatchGivesUpInTime(t *testing.T) {
	server := newAPIServer(t)
	server.put("jobs", "ADDED", jobObject())
	pod := podObject("train-x", "Pending", map[string]any{})
	pod["spec"].(map[string]any)["nodeName"] = ""
	pod["status"] = map[string]any{"phase": "Pending", "conditions": []any{map[string]any{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
		"message": "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."}}}
	server.put("pods", "ADDED", pod)
	began := time.Now()
	s, err := startWatch(t, server.run(t), Deadlines{NoNode: 700 * time.Millisecond}).ended(t)
	if took := time.Since(began); err != nil || !s.Abandoned || took < 600*time.Millisecond || took > 5*time.Second {
		t.Errorf("%+v, %v after %v", s, err, took)
	}
	if !strings.Contains(s.Hint, "no node is of this accelerator") || strings.Contains(s.Message, "preemption") {
		t.Errorf("%+v", s)
	}
}

func TestWatchOfACancelledJob(t *testing.T) {
	server := newAPIServer(t)
	server.put("jobs", "ADDED", jobObject())
	server.put("pods", "ADDED", runningPod("train-x"))
	w := startWatch(t, server.run(t), Deadlines{})
	w.until(t, "running", phase(Running))
	server.put("jobs", "DELETED", jobObject())
	if s, err := w.ended(t); err != nil || s.Phase != Cancelled {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestWatchWithoutRights cannot do without pods, and can do without events and nodes.
func TestWatchWithoutRights(t *testing.T) {
	for _, resource := range []string{"pods", "jobs", "events"} {
		server := newAPIServer(t)
		server.denied = resource
		server.put("jobs", "ADDED", jobObject(conditionObject("Complete", "", "")))
		server.put("pods", "ADDED", endedPod("train-x", 0))
		s, err := startWatch(t, server.run(t), Deadlines{}).ended(t)
		if resource == "events" {
			if err != nil || s.Phase != Succeeded {
				t.Errorf("events: %+v, %v", s, err)
			}
		} else if !apierrors.IsForbidden(errors.Unwrap(err)) && !strings.Contains(fmt.Sprint(err), "forbidden") {
			t.Errorf("%s: %v", resource, err)
		}
	}
}

// TestEventsOfOthers keeps the events of other jobs out.
func TestEventsOfOthers(t *testing.T) {
	server := newAPIServer(t)
	server.put("jobs", "ADDED", jobObject())
	for n, about := range []string{"train", "train-x", "trainer", "other", "job-train-abc12"} {
		server.put("events", "ADDED", map[string]any{"kind": "Event", "apiVersion": "v1",
			"metadata": map[string]any{"name": fmt.Sprint("e", n), "namespace": "ml", "uid": fmt.Sprint("e", n)}, "involvedObject": map[string]any{"name": about, "kind": "Job"}})
	}
	s, err := server.run(t).observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range s.events {
		got = append(got, e.InvolvedObject.Name)
	}
	slices.Sort(got)
	if want := []string{"job-train-abc12", "train", "train-x"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestOutageRenewsPatience: while the cluster is away, what a job waits for may have come.
func TestOutageRenewsPatience(t *testing.T) {
	o := newObserver(&Run{Name: "train", Namespace: "ml", Kind: "Job"})
	o.reach.note(errors.New("connection refused"), time.Now())
	w := &watcher{o: o, tell: func(State) {}, patience: patience{cause: noNode, since: time.Now().Add(-time.Hour)}}
	if _, err := w.look(t.Context()); err != nil || w.patience != (patience{}) {
		t.Errorf("%+v, %v", w.patience, err)
	}
}

// TestOptionalIsNoOutage: what the state can do without may fail as it likes.
func TestOptionalIsNoOutage(t *testing.T) {
	o := newObserver(&Run{Name: "train", Namespace: "ml", Kind: "Job"})
	down := apierrors.NewInternalError(errors.New("conversion webhook is down"))
	o.heard(t.Context(), o.kueue("uid"), down)
	if since, _ := o.reach.lost(); !since.IsZero() {
		t.Error("Kueue's failure is taken for the cluster's")
	}
	jobs := o.subjects()[0]
	o.heard(t.Context(), jobs, down)
	if since, _ := o.reach.lost(); since.IsZero() {
		t.Error("that of jobs is not")
	}
	o.heard(t.Context(), jobs, nil)
	if since, _ := o.reach.lost(); !since.IsZero() {
		t.Error("it does not end")
	}
}
