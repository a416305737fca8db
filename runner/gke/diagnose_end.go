package gke

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// decideEnd describes a job that has ended: its controller says so, or it was
// deleted. It is false for one that goes on.
func decideEnd(o *observed) (finding, bool) {
	if o.main == nil {
		return finding{}, false
	}
	list := conditions(o.main)
	done, complete := isTrue(list, "Complete")  // of a Job
	if c, ok := isTrue(list, "Completed"); ok { // of a JobSet
		done, complete = c, true
	}
	failed, failure := isTrue(list, "Failed")
	if c, ok := isTrue(list, "FailureTarget"); ok && !failure && o.onlyLostLeft() {
		failed, failure = c, true
	}
	if !complete && !failure && !o.gone {
		return finding{}, false
	}
	hosts := o.hosts()
	f := finding{State: State{Hosts: states(hosts), Attempt: o.attempt()}}
	switch {
	case complete:
		f.Phase, f.Since = Succeeded, transition(done)
	case failure:
		o.failure(&f.State, hosts, failed)
	case allSucceeded(hosts): // it was cleaned up before we looked
		f.Phase = Succeeded
	default:
		f.Phase, f.Reason, f.Message = Cancelled, "Deleted", "the job was deleted"
	}
	return f, true
}

// onlyLostLeft says that all pods that have not ended are on nodes that do not
// answer. Kubernetes ends a Job only when its pods have ended, which those may
// never say.
func (o *observed) onlyLostLeft() bool {
	for _, p := range o.pods {
		if ended(p) == 0 && !o.deleted[string(p.UID)] && !o.nodeGone(p) {
			return false
		}
	}
	return true
}

func transition(c metav1.Condition) time.Time { return c.LastTransitionTime.Time }

func allSucceeded(list []hostFinding) bool {
	for _, h := range list {
		if h.Phase != Succeeded {
			return false
		}
	}
	return len(list) > 0
}

// failure explains a job that failed: by the host that failed first where there
// is one, else by the controller's condition.
func (o *observed) failure(s *State, hosts []hostFinding, c metav1.Condition) {
	s.Phase, s.Since = Failed, transition(c)
	s.Reason, s.Message = c.Reason, "the job failed: "+oneLine(c.Message)
	first := culprit(hosts)
	if first == nil {
		first = earliest(hosts)
	}
	for n := range hosts {
		if h := &hosts[n]; h.Phase == Preempted && h.pod != nil && h.since.Before(first.since) {
			first = h // the others fail when they lose this one
		}
	}
	if first != nil {
		s.ExitCode = first.ExitCode
	}
	switch {
	case c.Reason == "DeadlineExceeded":
		s.Message, s.Hint = "it ran longer than it may", "give it more time with --timeout"
	case first != nil && first.Message != "":
		s.Reason, s.Message, s.Hint = first.Reason, first.Message, first.hint
		if len(hosts) > 1 {
			s.Message = fmt.Sprintf("host %s: %s", hostName(o.shape(), first.Slice, first.Index), first.Message)
		}
	}
	if n := o.attempt(); n > 1 {
		s.Message = fmt.Sprintf("%d attempts failed; the last: %s", n, s.Message)
	}
}

// earliest is the host that was disturbed first, for jobs of which no pod failed
// by itself. It is nil if there is none.
func earliest(hosts []hostFinding) *hostFinding {
	var first *hostFinding
	for n := range hosts {
		h := &hosts[n]
		if h.pod != nil && h.Phase != Succeeded && h.Phase != Running && (first == nil || h.since.Before(first.since)) {
			first = h
		}
	}
	return first
}

// hostName is how a host is called where a job has several: "1" or "slice/index".
func hostName(s shape, slice, index int) string {
	if s.slices > 1 {
		return fmt.Sprintf("%d/%d", slice, index)
	}
	return fmt.Sprint(index)
}

// allowedTime is the time that a pod may run, for people.
func allowedTime(p *corev1.Pod) string {
	if n := p.Spec.ActiveDeadlineSeconds; n != nil {
		return " of " + (time.Duration(*n) * time.Second).String()
	}
	return ""
}

// whyFailed describes a pod that failed.
func whyFailed(p *corev1.Pod) words {
	t := terminated(p)
	switch reason := p.Status.Reason; {
	case reason == "Evicted":
		return words{reason, "node " + p.Spec.NodeName + " stopped the pod: " + oneLine(p.Status.Message), evictedHint(p.Status.Message)}
	case reason == "UnexpectedAdmissionError", strings.HasPrefix(reason, "OutOf"), strings.HasPrefix(reason, "Node") && t == nil:
		return words{reason, "node " + p.Spec.NodeName + " refused the pod: " + oneLine(p.Status.Message), "its devices were not ready or just taken; --retries tries again"}
	case reason == "Terminated", reason == "NodeShutdown", reason == "Shutdown":
		return words{reason, "node " + p.Spec.NodeName + " was shut down: " + oneLine(p.Status.Message), "run it again, or let ibuild do that: --retries"}
	case reason == "DeadlineExceeded":
		return words{reason, "it ran longer than its --timeout" + allowedTime(p), "give it more time with --timeout"}
	}
	if t == nil {
		return words{cmp.Or(p.Status.Reason, "Failed"), "the pod failed: " + oneLine(cmp.Or(p.Status.Message, "Kubernetes says no more")), ""}
	}
	return whyEnded(p, t)
}

func evictedHint(text string) string {
	switch {
	case has(text, "ephemeral-storage"), has(text, "ephemeral local storage"), has(text, "disk"):
		return "it wrote more to the node's disk than there is; put large files on a --volume or a bucket"
	case has(text, "memory"):
		return "give it more with --memory"
	}
	return ""
}

// whyEnded describes a program that ended with something else than success.
func whyEnded(p *corev1.Pod, t *corev1.ContainerStateTerminated) words {
	m, told := parseTermination(t.Message)
	switch {
	case t.Reason == "OOMKilled":
		return words{t.Reason, "the program used more memory than it may" + memoryLimit(p), "give it more with --memory, or let it use less"}
	case t.Reason == "StartError", t.Reason == "ContainerCannotRun":
		return words{t.Reason, "the container could not be started: " + oneLine(t.Message), startHint(t.Message)}
	case told && m.Phase == InstallPhase:
		return words{"InstallFailed", "installing the dependencies failed: " + oneLine(m.Message), "the log has all that the installer said"}
	case told && m.Phase == TimeoutPhase:
		return words{"DeadlineExceeded", oneLine(m.Message), "give it more time with --timeout"}
	case told && m.Phase == ResultsPhase:
		return words{"ResultsFailed", fmt.Sprintf("the program ended with exit code %d, but its results could not be pushed: %s", m.ExitCode, oneLine(m.Message)), "the pod's credential must be allowed to push to the results' repository: --results-auth"}
	}
	w := words{t.Reason, fmt.Sprintf("the program ended with exit code %d", t.ExitCode), ""}
	if told && m.Message != "" {
		w.message += ": " + oneLine(m.Message)
	}
	if meaning, hint := exitMeaning(t.ExitCode); meaning != "" {
		w.message += " (" + meaning + ")"
		w.hint = hint
	}
	return w
}

// exitMeaning explains the exit codes that shells and container runtimes give.
func exitMeaning(code int32) (meaning, hint string) {
	switch code {
	case 126:
		return "the command may not be executed", ""
	case 127:
		return "the command was not found", "the command is not in the image"
	case 134:
		return "it aborted itself", ""
	case 137:
		return "it was killed", "the kernel may have run out of memory: give it more with --memory"
	case 139:
		return "a segmentation fault", "native libraries for another accelerator or CPU are a usual reason"
	case 143:
		return "it was told to end", ""
	}
	return "", ""
}

// memoryLimit is the limit of the container, for people.
func memoryLimit(p *corev1.Pod) string {
	if len(p.Spec.Containers) == 0 {
		return ""
	}
	if q, ok := p.Spec.Containers[0].Resources.Limits[corev1.ResourceMemory]; ok {
		return " (" + q.String() + ")"
	}
	return ""
}
