package gke

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// observed is all that was read of one job: what decide decides from. Objects in
// it are not changed once they are there.
type observed struct {
	name     string
	main     *unstructured.Unstructured // the Job or JobSet, as last seen; nil when there is none
	gone     bool                       // main was there and was deleted since
	pods     []*corev1.Pod              // of all attempts, those that were deleted while we watched as well
	deleted  map[string]bool            // uid of the pods that are no longer there
	nodes    map[string]*corev1.Node    // of pods in trouble, by name
	lost     map[string]bool            // nodes that are no longer there
	about    map[string][]*corev1.Event // the events, by the uid of their object
	events   []*corev1.Event            // about the job, its pods and its Workload, the oldest first
	workload *unstructured.Unstructured // Kueue's view of the job; nil without Kueue
	blind    map[string]error           // resources that may not be read, or are not there
}

// Labels and annotations that Kubernetes' own controllers write.
const (
	indexAnnotation = batchv1.JobCompletionIndexAnnotation // of an indexed Job's pods
	sliceLabel      = "jobset.sigs.k8s.io/job-index"       // of a JobSet's pods: which of its Jobs
	restartLabel    = "jobset.sigs.k8s.io/restart-attempt" // of a JobSet's pods: 0 for the first
	queueLabel      = "kueue.x-k8s.io/queue-name"
	jobUIDLabel     = "kueue.x-k8s.io/job-uid" // of a Workload: the job that it stands for
)

// shape is how many pods a job is made of.
type shape struct{ slices, hosts int }

// isJobSet says which of the two kinds the job is.
func (o *observed) isJobSet() bool { return o.main != nil && o.main.GetKind() == "JobSet" }

// job is main as a Job; it is empty for a JobSet and for none.
func (o *observed) job() *batchv1.Job {
	j := &batchv1.Job{}
	if o.main != nil && !o.isJobSet() {
		// what does not fit the type is left out: the rest still says most
		_ = runtime.DefaultUnstructuredConverter.FromUnstructured(o.main.Object, j)
	}
	return j
}

// maxHosts is the most pods that ibuild shows of one job, far above the largest
// slice there is (v5p has 1,536 hosts of 4 chips).
const maxHosts = 16384

// shape reads how many pods the job is made of.
func (o *observed) shape() shape {
	s := shape{slices: 1, hosts: 1}
	if o.main == nil {
		return s
	}
	spec := o.main.Object
	if o.isJobSet() {
		groups, _, _ := unstructured.NestedSlice(spec, "spec", "replicatedJobs")
		if len(groups) == 0 {
			return s
		}
		group, _ := groups[0].(map[string]any)
		s.slices = number(group, 1, "replicas")
		s.hosts = number(group, 1, "template", "spec", "completions")
	} else {
		s.hosts = number(spec, 1, "spec", "completions")
	}
	s.slices = min(max(s.slices, 1), maxHosts)
	s.hosts = min(max(s.hosts, 1), maxHosts/s.slices)
	return s
}

// Hosts is of how many slices the job is made, and of how many hosts each.
func (r *Run) Hosts() (slices, each int) {
	s := (&observed{main: r.object}).shape()
	return s.slices, s.hosts
}

// number reads an integer of an object, or fallback where there is none.
func number(object map[string]any, fallback int, path ...string) int {
	n, found, err := unstructured.NestedInt64(object, path...)
	if !found || err != nil {
		return fallback
	}
	return int(n)
}

// Place is where a host stands in its job: its slice, and its number within it, from 0.
type Place struct{ Slice, Index int }

// placeOf reads a pod's place: 0 for what has none, such as the pod of a job with one host.
func placeOf(p *corev1.Pod) Place {
	var at Place
	at.Slice = small(p.Labels[sliceLabel])
	at.Index = small(cmp.Or(p.Annotations[indexAnnotation], p.Labels[indexAnnotation]))
	return at
}

// small is a number from 0 to maxHosts, and 0 for every other text.
func small(text string) int {
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n < maxHosts {
		return n
	}
	return 0
}

// byPlace lists the pods of each place, the newest first.
func (o *observed) byPlace() map[Place][]*corev1.Pod {
	m := map[Place][]*corev1.Pod{}
	for _, p := range o.pods {
		m[placeOf(p)] = append(m[placeOf(p)], p)
	}
	for _, list := range m {
		slices.SortFunc(list, newestFirst)
	}
	return m
}

// newestFirst orders the pods of one place. A JobSet's attempt counts more than
// the time, which has a granularity of seconds only.
func newestFirst(a, b *corev1.Pod) int {
	return cmp.Or(
		cmp.Compare(small(b.Labels[restartLabel]), small(a.Labels[restartLabel])),
		b.CreationTimestamp.Compare(a.CreationTimestamp.Time),
		// of two that were made in one second, the one that has ended is the older one
		cmp.Compare(ended(a), ended(b)),
		strings.Compare(a.Name, b.Name))
}

func ended(p *corev1.Pod) int {
	if p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
		return 1
	}
	return 0
}

// eventsOf lists what was said about one pod, the oldest first.
func (o *observed) eventsOf(p *corev1.Pod) []*corev1.Event {
	if list := o.about[string(p.UID)]; len(list) > 0 {
		return list
	}
	return o.about[p.Name] // some writers name no uid
}

// sortEvents puts the events in order, and notes what each is about.
func (o *observed) sortEvents() {
	slices.SortFunc(o.events, func(a, b *corev1.Event) int {
		return cmp.Or(eventTime(a).Compare(eventTime(b)), compareVersions(a.ResourceVersion, b.ResourceVersion))
	})
	o.about = map[string][]*corev1.Event{}
	for _, e := range o.events {
		key := cmp.Or(string(e.InvolvedObject.UID), e.InvolvedObject.Name)
		o.about[key] = append(o.about[key], e)
	}
}

// compareVersions says which object was stored first: most events of a pod's start
// have the same time, which is in seconds. Versions are numbers of any length.
func compareVersions(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// eventTime is when an event happened last. Which of its four times is set
// depends on who wrote it.
func eventTime(e *corev1.Event) time.Time {
	t := e.LastTimestamp.Time
	if s := e.Series; s != nil && s.LastObservedTime.After(t) {
		t = s.LastObservedTime.Time
	}
	if t.IsZero() {
		t = e.EventTime.Time
	}
	if t.IsZero() {
		t = e.FirstTimestamp.Time
	}
	if t.IsZero() {
		t = e.CreationTimestamp.Time
	}
	return t
}

// podCondition finds a condition of a pod, whatever its status; nil when there is none.
func podCondition(p *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for n := range p.Status.Conditions {
		if c := &p.Status.Conditions[n]; c.Type == kind {
			return c
		}
	}
	return nil
}

// conditions reads the conditions of an object of any kind.
func conditions(u *unstructured.Unstructured) []metav1.Condition {
	if u == nil {
		return nil
	}
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	var out []metav1.Condition
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		var c metav1.Condition
		if runtime.DefaultUnstructuredConverter.FromUnstructured(m, &c) == nil {
			out = append(out, c)
		}
	}
	return out
}

// isTrue finds the condition of a kind if it holds.
func isTrue(list []metav1.Condition, kind string) (metav1.Condition, bool) {
	return holds(list, kind, metav1.ConditionTrue)
}

func holds(list []metav1.Condition, kind string, status metav1.ConditionStatus) (metav1.Condition, bool) {
	for _, c := range list {
		if c.Type == kind && c.Status == status {
			return c, true
		}
	}
	return metav1.Condition{}, false
}
