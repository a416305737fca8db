package gke

import (
	"cmp"
	"fmt"
	"path"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// withoutPod describes a place for which there is no pod; last is the one that
// was there, nil for none.
func (o *observed) withoutPod(last *corev1.Pod) hostFinding {
	h := hostFinding{cause: noPods, since: o.main.GetCreationTimestamp().Time}
	h.Phase, h.Reason, h.Message = Pending, "NoPod", "the cluster has not made a pod yet"
	if last != nil {
		h.Message = "pod " + last.Name + " was deleted; another one is not made yet"
		h.Phase, h.Reason = Preempted, "PodDeleted"
	}
	if o.suspended() {
		o.inQueue(&h)
		return h
	}
	for _, e := range o.events {
		switch {
		case !o.controls(e):
		case e.Reason == "FailedCreate":
			w, why := whyNotCreated(e.Message)
			h.tell(w)
			h.cause = why
		case e.Reason == "SuccessfulCreate" && h.Reason != "PodDeleted": // it healed: a webhook was down, say
			h.cause = noPods
			h.tell(words{"NoPod", "the cluster has not made all pods yet", ""})
		}
	}
	return h
}

// controls says that an event is about what makes the job's pods: its Job, or
// the Jobs of its JobSet, which are named NAME-GROUP-NUMBER.
func (o *observed) controls(e *corev1.Event) bool {
	about := e.InvolvedObject
	if about.UID == o.main.GetUID() && about.UID != "" {
		return true
	}
	return o.isJobSet() && about.Kind == "Job" && strings.HasPrefix(about.Name, o.name+"-")
}

// whyNotCreated reads why a controller may not create the job's pods.
func whyNotCreated(text string) (words, cause) {
	said := oneLine(withoutPodName(text))
	switch {
	case has(text, "leader pod"), has(text, "follower pod"): // JobSet's webhook, for slices on node pools of their own
		return words{"WaitsForLeader", "the other pods of a slice are made when its first one has a node: " + said, ""}, noPods
	case has(text, "exceeded quota"):
		return words{"QuotaExceeded", "the namespace's quota does not allow the pod: " + said,
			"wait for other jobs of the namespace (ibuild run --wait), ask for less (--cpu, --memory, a smaller accelerator), or have the ResourceQuota raised"}, noPods
	case has(text, "must specify limits"), has(text, "failed quota"):
		return words{"QuotaExceeded", "the namespace's quota asks for more settings: " + said, "--memory sets a limit; one for CPUs, which ibuild does not set, can come from a LimitRange of the namespace"}, hopeless
	case has(text, "violates podsecurity"):
		return words{"PodSecurity", "the namespace's Pod Security Standard forbids the pod: " + said,
			"use a namespace with a less strict standard, or an image and volumes that meet it"}, hopeless
	case has(text, "serviceaccount", "not found"):
		return words{"NoServiceAccount", "the service account is not there: " + said, "create it in the job's namespace, or name another with --service-account"}, hopeless
	case has(text, "admission webhook", "denied the request"), has(text, "validatingadmissionpolicy"):
		return words{"AdmissionDenied", "a policy of the cluster forbids the pod: " + said, "ask who runs the cluster; on Autopilot, see its limits for pods"}, hopeless
	case has(text, "failed calling webhook"):
		return words{"WebhookFailed", "a webhook of the cluster does not answer: " + said, "the cluster tries again; ask who runs it"}, noPods
	case has(text, "priorityclass"):
		return words{"NoPriorityClass", "the priority class is not there: " + said, ""}, hopeless
	case has(text, "is invalid"):
		return words{"InvalidPod", "the API server does not take the pod: " + said, ""}, hopeless
	case has(text, "forbidden"):
		return words{"Forbidden", "the cluster forbids the pod: " + said, ""}, hopeless
	}
	return words{"FailedCreate", "the pod cannot be created: " + said, "the cluster tries again"}, noPods
}

// withoutPodName drops the pod's name from what the API server says, which is
// another one with every try: `Error creating: pods "train-abc" is forbidden: `.
func withoutPodName(text string) string {
	text = strings.TrimPrefix(text, "Error creating: ")
	if _, rest, ok := strings.Cut(text, `" is forbidden: `); ok && strings.HasPrefix(text, `pods "`) {
		return rest
	}
	return text
}

// suspended says that the job waits for somebody to let it go.
func (o *observed) suspended() bool {
	suspend, _, _ := unstructured.NestedBool(o.main.Object, "spec", "suspend")
	return suspend
}

// inQueue describes a job that is suspended: with Kueue, what its Workload says.
func (o *observed) inQueue(h *hostFinding) {
	h.cause = queued
	queue := o.main.GetLabels()[queueLabel]
	if queue == "" {
		h.tell(words{"Suspended", "the job is suspended", "let it go on: kubectl patch with spec.suspend=false"})
		return
	}
	list := conditions(o.workload)
	evicted, isEvicted := isTrue(list, "Evicted")
	if active, found, err := unstructured.NestedBool(workloadObject(o), "spec", "active"); found && err == nil && !active {
		h.cause = hopeless
		h.tell(words{"Deactivated", strings.TrimSuffix("Kueue does not run the job any more: "+oneLine(evicted.Message), ": "), "see kubectl describe workload"})
		return
	}
	if isEvicted {
		h.Phase = Preempted
		what := "Kueue took the job back into its queue: "
		if evicted.Reason == "Preempted" {
			what = "Kueue gave the job's place to another one: "
		}
		h.tell(words{cmp.Or(evicted.Reason, "Evicted"), what + oneLine(evicted.Message), ""})
		return
	}
	c, ok := holds(list, "QuotaReserved", "False")
	switch {
	case !ok && o.workload == nil:
		h.tell(words{"Queued", "the job waits for Kueue, queue " + queue, ""})
	case !ok:
		h.tell(words{"Queued", "Kueue has a place for the job, queue " + queue + ", and prepares it", ""})
	case c.Reason == "ExceedsMaxQuota", has(c.Message, "maximum capacity") && !has(c.Message, "insufficient unused quota"): // of any flavor
		h.cause = hopeless
		h.tell(words{"ExceedsQueue", "queue " + queue + " can never hold the job: " + oneLine(c.Message), "take a smaller accelerator or another --queue"})
	case has(c.Message, "doesn't exist"), has(c.Message, "does not exist"):
		h.cause = hopeless
		h.tell(words{"NoQueue", "Kueue's queue " + queue + " is not there: " + oneLine(c.Message), "see kubectl get localqueues"})
	default:
		h.tell(words{"Queued", "the job waits in Kueue's queue " + queue + ": " + oneLine(c.Message), ""})
	}
}

func workloadObject(o *observed) map[string]any {
	if o.workload == nil {
		return nil
	}
	return o.workload.Object
}

// unscheduled describes a pod without a node: what the scheduler says, and what
// the autoscaler does about it.
func (o *observed) unscheduled(h *hostFinding) {
	h.Phase, h.cause = Pending, starting
	h.Reason, h.Message = "Pending", "the scheduler has not looked at the pod yet"
	c := podCondition(h.pod, corev1.PodScheduled)
	if c != nil && c.Reason == corev1.PodReasonSchedulingGated {
		h.cause = queued
		h.tell(words{c.Reason, "a scheduling gate keeps the pod back: " + oneLine(c.Message), ""})
		return
	}
	said := ""
	if c != nil && c.Status == corev1.ConditionFalse {
		h.since, said = c.LastTransitionTime.Time, c.Message
		h.cause = noNode
		h.tell(whyUnschedulable(said))
		if o.blind[events.Resource] != nil { // an autoscaler may be at work
			h.cause = scalingUp
			h.Message += "; whether an autoscaler makes one is not known, as you may not read events"
		}
	}
	for _, e := range o.eventsOf(h.pod) {
		if w, why, ok := autoscalerSays(e); ok {
			if h.Reason == outOfMachinesReason && why == scaleUpFailed && e.Reason == "NotTriggerScaleUp" {
				continue // it pauses before it asks Google again
			}
			h.cause = why
			h.tell(w)
			if why != scalingUp && said != "" {
				h.Message += "; " + whyUnschedulable(said).message
			}
		}
	}
	if h.pod.Spec.NodeSelector["cloud.google.com/gke-flex-start"] == "true" && h.cause != hopeless {
		h.cause = queued
		if h.Reason == "Unschedulable" {
			h.tell(words{"FlexStart", "the job waits for flex-start machines; it starts when Google has all of them", ""})
		}
	}
}

// whyUnschedulable makes a sentence of the scheduler's
// "0/5 nodes are available: 1 Insufficient nvidia.com/gpu, 4 node(s) didn't match …. preemption: …".
func whyUnschedulable(text string) words {
	text, _, _ = strings.Cut(text[:min(len(text), 8<<10)], " preemption: ")
	text, _, _ = strings.Cut(text, " no new claims to deallocate") // of 1.34 and later, with every pod
	w := words{reason: corev1.PodReasonUnschedulable, message: "no node fits: " + oneLine(strings.TrimSuffix(text, "."))}
	switch {
	case has(text, "persistentvolumeclaim", "not found"):
		w.hint = "create the claim in the job's namespace, or correct --volume"
	case has(text, "unbound immediate persistentvolumeclaims"):
		w.hint = "the claim has no volume yet: see kubectl describe pvc"
	case has(text, "insufficient"):
		w.hint = "nodes of the kind are there, but in use or too small: wait for other jobs (ibuild run --wait), or ask for less"
	case has(text, "untolerated taint"):
		w.hint = "no node is of this accelerator's kind, or those that are are kept for others or not ready yet (taints); ibuild accelerators --live lists the pools that the cluster has"
	case has(text, "affinity/selector"), strings.HasPrefix(text, "no nodes available"):
		w.hint = "no node is of this accelerator's kind; ibuild accelerators --live lists the pools that the cluster has"
	}
	return w
}

// autoscalerSays reads an event of the cluster autoscaler about a pod. It is
// false for all other events.
func autoscalerSays(e *corev1.Event) (words, cause, bool) {
	text := e.Message[:min(len(e.Message), 8<<10)]
	switch e.Reason {
	case "TriggeredScaleUp":
		return words{e.Reason, "the autoscaler makes a node: " + scaledGroups(text), ""}, scalingUp, true
	case "NotTriggerScaleUp":
		w := words{e.Reason, "the autoscaler makes no node (" + oneLine(strings.TrimPrefix(text, "pod didn't trigger scale-up: ")) + ")", ""}
		switch {
		case has(text, "backoff"): // of one pool, whatever the others say
			w.hint = "making a node failed a short while ago; the autoscaler tries again"
			return w, scaleUpFailed, true
		case has(text, "max node group size"), has(text, "max cluster"), has(text, "max limit"):
			w.hint = "the pool has reached its largest size: wait for other jobs (ibuild run --wait), or raise its --max-nodes"
		default:
			w.hint = "no pool of the cluster can hold the pod; ibuild accelerators --live lists them"
		}
		return w, noNode, true
	case "FailedScaleUp":
		return whyNotScaled(text), scaleUpCause(text), true
	}
	return words{}, noCause, false
}

func scaleUpCause(text string) cause {
	if outOfMachines(text) {
		return scalingUp
	}
	return scaleUpFailed
}

const outOfMachinesReason = "OutOfMachines"

func outOfMachines(text string) bool {
	return has(text, "out of resources") || has(text, "stockout") || has(text, "resource_pool_exhausted") || has(text, "resource pool exhausted")
}

// whyNotScaled reads an event FailedScaleUp, as GKE's autoscaler writes it.
func whyNotScaled(text string) words {
	said := oneLine(text)
	switch {
	case outOfMachines(text):
		return words{outOfMachinesReason, "Google has no such machines in the pool's zones just now: " + said, "the autoscaler goes on trying; other zones, --spot, --flex-start or a --reservation may be faster"}
	case has(text, "quota"):
		return words{"ProjectQuota", "the project's quota does not allow another machine: " + said, "ask for more quota for this accelerator and region in the Google Cloud console (IAM, Quotas)"}
	case has(text, "ip space"), has(text, "ip_space"):
		return words{"NoAddresses", "the cluster's network has no addresses left for another node: " + said, "ask who runs the cluster to add an address range"}
	}
	return words{"FailedScaleUp", "making a node failed: " + said, "the autoscaler tries again"}
}

// scaledGroups shortens "pod triggered scale-up: [{https://…/instanceGroups/NAME 0->1 (max: 4)}]"
// to "NAME 0->1 (max: 4)".
func scaledGroups(text string) string {
	_, list, ok := strings.Cut(text, "[{")
	if !ok {
		return oneLine(text)
	}
	var out []string
	for _, group := range strings.Split(strings.TrimSuffix(list, "}]"), "} {") {
		address, rest, _ := strings.Cut(group, " ")
		out = append(out, strings.TrimSpace(path.Base(address)+" "+rest))
	}
	return oneLine(strings.Join(out, ", "))
}

// atoi reads the digits that a text begins with; 0 for none.
func atoi(text string) int64 {
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(text)
	}
	n, err := strconv.ParseInt(text[:end], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
