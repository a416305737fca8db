package gke

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// finding is a state together with what Watch has to know of it: why it does
// not get on.
type finding struct {
	State
	cause cause
}

// decide turns what Kubernetes says into a state for people. It is the whole
// state machine: the same objects always give the same state, and nothing is
// asked or remembered here. The ways between the phases are Kubernetes' own.
func decide(o *observed) finding {
	if f, ok := decideEnd(o); ok {
		return f
	}
	if o.main == nil {
		return finding{State: State{Phase: Pending, Reason: "Submitted", Message: "the job is not in the cluster yet", Attempt: 1}, cause: noPods}
	}
	hosts := o.hosts()
	f := worst(o, hosts)
	f.Hosts = states(hosts)
	f.Attempt = o.attempt()
	return f
}

// hostFinding is what is known of one host.
type hostFinding struct {
	Host
	cause cause
	hint  string
	since time.Time
	pod   *corev1.Pod // nil as long as there is none
}

// hosts looks at the newest pod of every place, in order.
func (o *observed) hosts() []hostFinding {
	places, s := o.byPlace(), o.shape()
	missing := o.withoutPod(nil)
	var list []hostFinding
	for slice := range s.slices {
		for index := range s.hosts {
			at := Place{slice, index}
			h := missing
			if len(places[at]) > 0 {
				h = o.host(places[at])
			}
			h.Slice, h.Index = slice, index
			for _, older := range places[at][min(1, len(places[at])):] {
				h.Restarts += restarts(older) + 1
			}
			list = append(list, h)
		}
	}
	return list
}

func restarts(p *corev1.Pod) int {
	if c := program(p); c != nil {
		return int(c.RestartCount)
	}
	return 0
}

func states(list []hostFinding) []Host {
	hosts := make([]Host, len(list))
	for n, h := range list {
		hosts[n] = h.Host
	}
	return hosts
}

// order is how far a host is: the job is as far as its last host.
func (h *hostFinding) order() int {
	return slices.Index([]Phase{Preempted, Pending, Pulling, Running, Succeeded, Failed, Cancelled}, h.Phase)
}

// worst finds the host that speaks for the job: one that nothing can heal, else
// the one that is least far. Hosts that have ended speak only when all have.
func worst(o *observed, list []hostFinding) finding {
	top := slices.MinFunc(list, func(a, b hostFinding) int {
		return cmp.Or(cmp.Compare(severity(&a), severity(&b)), cmp.Compare(a.order(), b.order()), cmp.Compare(b.cause, a.cause))
	})
	f := finding{cause: top.cause, State: State{Phase: top.Phase, Reason: top.Reason, Message: top.Message, Hint: top.hint, Since: top.since}}
	if top.Phase.Ended() {
		return ending(o, list, f)
	}
	if f.Phase == Running { // the job runs since its last host does
		for _, h := range list {
			if h.Phase == Running && h.since.After(f.Since) {
				f.Since = h.since
			}
		}
	}
	if len(list) > 1 {
		f.Message = ofHosts(list, top, f.Message)
	}
	return f
}

// severity is 0 for what ends the job, 1 for a node that is lost, 2 for the rest.
func severity(h *hostFinding) int {
	switch h.cause {
	case hopeless:
		return 0
	case nodeLost:
		return 1
	}
	return 2
}

// ofHosts says how many hosts a sentence is about.
func ofHosts(list []hostFinding, top hostFinding, message string) string {
	same := 0
	for _, h := range list {
		if h.Phase == top.Phase {
			same++
		}
	}
	if message == "" || same == len(list) && top.Phase == Running {
		return message
	}
	return fmt.Sprintf("%d of %d hosts: %s", same, len(list), message)
}

// ending is the state of a job whose pods have all ended, though the job's
// controller has not said so yet: it may make new ones.
func ending(o *observed, list []hostFinding, f finding) finding {
	f.cause, f.Phase = noCause, Running
	failed := culprit(list)
	if failed == nil {
		f.Reason, f.Message, f.Hint = "", "the program has ended", ""
		return f
	}
	f.Reason, f.Message, f.Hint, f.ExitCode = failed.Reason, failed.Message, failed.hint, failed.ExitCode
	if left := o.retriesLeft(Place{failed.Slice, failed.Index}); left > 0 {
		f.Phase = Pending
		f.Message = fmt.Sprintf("attempt %d failed: %s; another one is made (%d left)", o.attempt(), failed.Message, left)
	}
	return f
}

// culprit is the host that failed first: what the others did after it is a
// consequence. It is nil if none failed.
func culprit(list []hostFinding) *hostFinding {
	var first *hostFinding
	for n := range list {
		h := &list[n]
		if h.Phase == Failed && (first == nil || h.since.Before(first.since)) {
			first = h
		}
	}
	return first
}

// attempt counts from 1. Pods of earlier attempts may be gone with their nodes,
// so the controller's own count is asked, too.
func (o *observed) attempt() int {
	n := 1
	for _, list := range o.byPlace() {
		n = max(n, len(list))
	}
	if o.isJobSet() {
		return max(n, number(o.main.Object, 0, "status", "restarts")+1)
	}
	if s := o.shape(); s.hosts == 1 {
		j := o.job()
		n = max(n, int(j.Status.Failed)+min(1, int(j.Status.Active)))
	}
	return n
}

// retriesLeft is how many pods of a place may still fail. Pods that were taken
// away do not count where the job says so.
func (o *observed) retriesLeft(at Place) int {
	if o.isJobSet() {
		return number(o.main.Object, 0, "spec", "failurePolicy", "maxRestarts") - number(o.main.Object, 0, "status", "restartsCountTowardsMax")
	}
	j := o.job()
	for _, c := range j.Status.Conditions {
		if (c.Type == batchv1.JobFailureTarget || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return 0
		}
	}
	limit, perHost := 6, j.Spec.BackoffLimitPerIndex != nil // 6 is what Kubernetes takes when a Job says nothing
	switch {
	case perHost:
		limit = int(*j.Spec.BackoffLimitPerIndex)
	case j.Spec.BackoffLimit != nil:
		limit = int(*j.Spec.BackoffLimit)
	}
	failed := 0
	for _, p := range o.pods {
		isFailed := p.Status.Phase == corev1.PodFailed || (p.DeletionTimestamp != nil || disrupted(p) != nil) && p.Status.Phase != corev1.PodSucceeded
		ignored := disrupted(p) != nil && j.Spec.PodFailurePolicy != nil
		if isFailed && !ignored && (!perHost || placeOf(p) == at) {
			failed++
		}
	}
	return limit + 1 - failed
}

// oneLine makes one line of at most 600 bytes of what a cluster wrote: events
// and conditions quote images, users and webhooks.
func oneLine(text string) string {
	const most = 600
	text = strings.Join(strings.Fields(text[:min(len(text), 16*most)]), " ")
	text = strings.ToValidUTF8(text, "\ufffd")
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
