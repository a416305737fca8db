package gke

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// host reads the pods of one place, at least one, the newest first.
func (o *observed) host(list []*corev1.Pod) hostFinding {
	p := list[0]
	h := hostFinding{pod: p, since: p.CreationTimestamp.Time}
	h.Pod, h.Node, h.Restarts = p.Name, p.Spec.NodeName, restarts(p)
	if t := terminated(p); t != nil {
		h.ExitCode = int(t.ExitCode)
		if m, ok := parseTermination(t.Message); ok {
			h.Result = m.Result
		}
	}
	switch {
	case p.Status.Phase == corev1.PodSucceeded:
		h.Phase, h.since = Succeeded, endTime(p)
	case disrupted(p) != nil:
		o.taken(&h)
	case p.Status.Phase == corev1.PodFailed:
		h.Phase, h.since = Failed, endTime(p)
		h.tell(whyFailed(p))
	case o.deleted[string(p.UID)]:
		next := o.withoutPod(p)
		next.Node, next.Pod, next.Restarts = h.Node, h.Pod, h.Restarts
		return next
	case o.nodeGone(p):
		o.silent(&h)
	case p.Spec.NodeName == "":
		o.unscheduled(&h)
	default:
		o.onNode(&h)
	}
	return h
}

// words are what a diagnosis says to people.
type words struct{ reason, message, hint string }

func (h *hostFinding) tell(w words) {
	h.Reason, h.Message, h.hint = w.reason, w.message, w.hint
}

// endTime is when the program ended, or failing that the pod.
func endTime(p *corev1.Pod) time.Time {
	if t := terminated(p); t != nil && !t.FinishedAt.IsZero() {
		return t.FinishedAt.Time
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady || c.Type == corev1.DisruptionTarget {
			return c.LastTransitionTime.Time
		}
	}
	return p.CreationTimestamp.Time
}

// disrupted is the condition of a pod that was taken away, and not by its own doing.
func disrupted(p *corev1.Pod) *corev1.PodCondition {
	if c := podCondition(p, corev1.DisruptionTarget); c != nil && c.Status == corev1.ConditionTrue {
		return c
	}
	return nil
}

// taken describes a pod whose machine, or whose place on it, went to something else.
func (o *observed) taken(h *hostFinding) {
	c := disrupted(h.pod)
	h.Phase, h.since = Preempted, c.LastTransitionTime.Time
	h.tell(o.whyTaken(h.pod, c))
	away := h.pod.Status.Phase == corev1.PodRunning && o.nodeGone(h.pod) // nobody is there to say that it has ended
	if away {
		h.cause = nodeLost
	}
	switch {
	case o.retriesLeft(placeOf(h.pod)) <= 0:
		h.hint = cmp.Or(h.hint, "run it again, or let ibuild do that: --retries")
	case away:
		h.Message += "; another pod is made as soon as the node is back, or gone for good"
		h.hint = "kubectl delete node " + h.pod.Spec.NodeName + " says that it is gone"
	default:
		h.Message += "; another pod is made"
		h.hint = ""
	}
}

// whyTaken reads the reasons that Kubernetes gives a DisruptionTarget. On a spot
// machine each of them most likely is Google's preemption, which the cluster
// sees as a node that shuts down or is no longer there.
func (o *observed) whyTaken(p *corev1.Pod, c *corev1.PodCondition) words {
	spot := p.Spec.NodeSelector["cloud.google.com/gke-spot"] == "true"
	what := "the pod was taken away (" + oneLine(c.Message) + ")"
	switch c.Reason {
	case "PreemptionByScheduler":
		what = "a pod of higher priority took its place on node " + p.Spec.NodeName
	case "DeletionByTaintManager":
		what = "node " + p.Spec.NodeName + " was not reachable or was drained"
	case "EvictionByEvictionAPI":
		what = "the pod was evicted from node " + p.Spec.NodeName + " (maintenance, an upgrade or the autoscaler)"
	case "DeletionByPodGC":
		what = "node " + p.Spec.NodeName + " is no longer there"
	case "TerminationByKubelet":
		what = "node " + p.Spec.NodeName + " stopped the pod: " + oneLine(cmp.Or(p.Status.Message, c.Message))
	}
	if spot && c.Reason != "PreemptionByScheduler" {
		what = "the spot machine was taken back: " + what
	}
	return words{reason: cmp.Or(c.Reason, "DisruptionTarget"), message: what}
}

// nodeGone says that a pod's node does not answer. The kubelet of such a node
// cannot say that anything has ended, so the pod seems to run.
func (o *observed) nodeGone(p *corev1.Pod) bool {
	if p.Spec.NodeName == "" {
		return false
	}
	if o.lost[p.Spec.NodeName] || p.Status.Reason == "NodeLost" || p.Status.Phase == corev1.PodUnknown {
		return true
	}
	n := o.nodes[p.Spec.NodeName]
	return n != nil && !nodeReady(n)
}

func nodeReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// silent describes a pod on a node that does not answer.
func (o *observed) silent(h *hostFinding) {
	h.cause, h.Phase = nodeLost, Running
	if t := podCondition(h.pod, corev1.PodReady); t != nil {
		h.since = t.LastTransitionTime.Time
	}
	name := h.pod.Spec.NodeName
	w := words{reason: "NodeLost", message: "node " + name + " does not answer; what its pod does is not known",
		hint: "Kubernetes gives the node five minutes; --retries lets the job start again elsewhere"}
	if o.lost[name] {
		w.message = "node " + name + " is no longer there"
	} else if n := o.nodes[name]; n != nil {
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Message != "" {
				w.message += " (" + oneLine(c.Message) + ")"
			}
		}
	}
	h.tell(w)
}

// onNode describes a pod that has a node and whose program has not ended.
func (o *observed) onNode(h *hostFinding) {
	c := program(h.pod)
	if h.pod.DeletionTimestamp != nil {
		h.Phase, h.Reason, h.Message = Running, "Terminating", "the pod is being deleted"
		return
	}
	if c != nil && (c.State.Running != nil || c.State.Terminated != nil) {
		h.Phase = Running
		if r := c.State.Running; r != nil {
			h.since = r.StartedAt.Time
		}
		return
	}
	h.Phase, h.since = Pulling, scheduledTime(h.pod)
	for _, s := range waiting(h.pod) {
		if w, why, ok := whyWaiting(h.pod, s); ok {
			h.cause = why
			h.tell(w)
			return
		}
	}
	o.preparing(h)
}

func scheduledTime(p *corev1.Pod) time.Time {
	if c := podCondition(p, corev1.PodScheduled); c != nil && c.Status == corev1.ConditionTrue {
		return c.LastTransitionTime.Time
	}
	return p.CreationTimestamp.Time
}

// waiting lists the containers that are not started, those that run first first.
func waiting(p *corev1.Pod) []corev1.ContainerStatus {
	var list []corev1.ContainerStatus
	for _, group := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, s := range group {
			if s.State.Waiting != nil {
				list = append(list, s)
			}
		}
	}
	return list
}

// preparing describes a pod on a node whose container is being made, by the
// events of its kubelet.
func (o *observed) preparing(h *hostFinding) {
	h.cause = starting
	h.Reason, h.Message = "ContainerCreating", "node "+h.Node+" prepares the container"
	for _, e := range o.eventsOf(h.pod) {
		switch e.Reason {
		case "Pulling":
			h.cause, h.Reason = pullingImage, "Pulling"
			h.since = eventTime(e)
			h.Message = fmt.Sprintf("node %s pulls %s", h.Node, pulledImage(h.pod, e))
		case "Pulled":
			h.cause, h.Reason = starting, "Pulled"
			h.Message = fmt.Sprintf("node %s has the image%s and prepares the container", h.Node, pullFigures(e.Message))
			h.hint = ""
		case "FailedMount", "FailedAttachVolume", "FailedMapVolume":
			h.cause = starting
			h.tell(words{e.Reason, "node " + h.Node + " cannot mount a volume: " + oneLine(e.Message), mountHint(e.Message)})
		case "FailedCreatePodSandBox", "NetworkNotReady":
			h.cause = starting
			h.tell(words{e.Reason, "node " + h.Node + " cannot prepare the pod: " + oneLine(e.Message), ""})
		}
	}
}

// mountHint names the remedies of volumes that cannot be mounted.
func mountHint(text string) string {
	switch {
	case has(text, "secret", "not found"):
		return "create the Secret in the job's namespace, or leave its --mount-secret out"
	case has(text, "gcsfuse") || has(text, "gcs fuse"):
		return "the pod's service account needs storage.objectUser on the bucket, and the cluster the Cloud Storage FUSE driver"
	case has(text, "multi-attach"):
		return "the disk is in use on another node: wait for that job, or take a volume that several nodes can mount (ReadWriteMany, a bucket)"
	}
	return ""
}

// has says that a text holds all parts, without regard to case.
func has(text string, parts ...string) bool {
	text = strings.ToLower(text)
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}
