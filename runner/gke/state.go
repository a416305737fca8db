package gke

import (
	"fmt"
	"time"
)

// Phase is where a job is. docs/run.md has a picture of the ways between them.
type Phase string

// The phases. The last three are ends.
const (
	Pending   Phase = "pending"   // no node yet: State.Reason says why
	Pulling   Phase = "pulling"   // on nodes, whose containers are not started yet
	Running   Phase = "running"   // every host's program runs, or some end while others run
	Preempted Phase = "preempted" // a node was taken away; another pod is made if retries are left
	Succeeded Phase = "succeeded"
	Failed    Phase = "failed"
	Cancelled Phase = "cancelled" // the job was deleted, or stopped on purpose
)

// Ended says that nothing will change any more.
func (p Phase) Ended() bool { return p == Succeeded || p == Failed || p == Cancelled }

// State is what is known of a job at one moment, in words for people.
type State struct {
	Phase    Phase
	Reason   string // Kubernetes' or ibuild's own short word, "ImagePullBackOff", "OOMKilled"; empty when there is nothing to say
	Message  string // one sentence: what is the matter
	Hint     string // what to do about it; empty when there is nothing to do
	ExitCode int    // of the program, when Ended: the first host's that failed
	Hosts    []Host
	Attempt  int       // 1 for the first, more after retries
	Since    time.Time // when the phase began, by the cluster's clock

	GiveUp    time.Time // when Watch gives the job up if nothing changes, by this machine's clock; zero is never
	Abandoned bool      // Watch gave up: the job is Failed for the user, but still in the cluster. Cancel it
	Lost      bool      // the cluster is out of reach: the rest is what was known before
}

// Host is one pod of a job, the last one that was made for its place.
type Host struct {
	Slice, Index int    // place in the job, from 0
	Pod          string // name of the pod; empty as long as there is none
	Node         string // name of the node; empty as long as there is none
	Phase        Phase
	Reason       string // as State.Reason, of this host
	Message      string
	ExitCode     int // once it has ended
	Restarts     int
	Result       string // digest of the results that this host has pushed, by its termination message
}

// Line is one line of a host's output.
type Line struct {
	Slice, Index int
	Pod          string
	Time         time.Time // when the container wrote it, by its node's clock
	Text         string    // without the line's end; may hold any bytes
	More         bool      // the line is longer than MaxLine: the host's next Line goes on with it
	Note         bool      // ibuild says this about the host's output; it is no part of it
}

// FailedError is returned for a job that did not succeed.
type FailedError struct {
	Job   string
	State State
}

// Error says what failed and why.
func (e *FailedError) Error() string {
	if e.State.Message != "" {
		return fmt.Sprintf("job %s %s: %s", e.Job, e.State.Phase, e.State.Message)
	}
	return fmt.Sprintf("job %s %s with exit code %d", e.Job, e.State.Phase, e.State.ExitCode)
}
