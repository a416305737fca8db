package gke

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// observer keeps what the cluster says about one job up to date. It may be used
// from several goroutines; changed gets a value after every change.
type observer struct {
	run     *Run
	changed chan struct{}
	nudge   chan struct{} // a pod has changed: look at the nodes
	reach   *reach

	mu       sync.Mutex
	main     *unstructured.Unstructured
	gone     bool
	pods     map[string]*corev1.Pod // by uid
	deleted  map[string]bool
	events   map[string]*corev1.Event
	workload *unstructured.Unstructured
	nodes    map[string]*corev1.Node
	lost     map[string]bool
	blind    map[string]error // resources that may not be read, and why: the state is told without them
	synced   map[string]bool  // resources that were listed once
}

// workloads are Kueue's view of jobs.
func workloads() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "kueue.x-k8s.io", Version: "v1beta1", Resource: "workloads"}
}

func newObserver(r *Run) *observer {
	return &observer{run: r, changed: make(chan struct{}, 1), nudge: make(chan struct{}, 1), reach: &reach{},
		pods: map[string]*corev1.Pod{}, deleted: map[string]bool{}, events: map[string]*corev1.Event{},
		nodes: map[string]*corev1.Node{}, lost: map[string]bool{}, blind: map[string]error{}, synced: map[string]bool{}}
}

// tell wakes whoever waits for a change; one waiting change stands for many.
func (o *observer) tell() {
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// main is the resource of the job's own object.
func (r *Run) resource() schema.GroupVersionResource {
	if r.Kind == "JobSet" {
		return jobSets
	}
	return jobs
}

// subject is what a reflector follows, and where it puts it.
type subject struct {
	resource schema.GroupVersionResource
	fields   string // field selector
	labels   string // label selector
	needed   bool   // without the right to read it the job cannot be watched
	keep     func(*unstructured.Unstructured) bool

	// the observer's mutex is held during these
	put   func(*unstructured.Unstructured)
	drop  func(uid string)
	known func() []string // uids of what was put
}

// subjects are what a watch reads. The events of a namespace are read as a
// whole, because one request cannot ask for those of a job and its pods; what
// is not about them is dropped page by page.
func (o *observer) subjects() []subject {
	r := o.run
	return []subject{
		{resource: r.resource(), fields: "metadata.name=" + r.Name, needed: true,
			put: o.putMain, drop: o.dropMain, known: func() []string { return uidOf(o.main) }},
		{resource: pods, labels: JobLabel + "=" + r.Name, needed: true,
			put: o.putPod, drop: func(uid string) { o.deleted[uid] = o.pods[uid] != nil }, known: func() []string { return slices.Collect(maps.Keys(o.pods)) }},
		{resource: events, keep: o.aboutJob,
			put: o.putEvent, drop: func(uid string) { delete(o.events, uid) }, known: func() []string { return slices.Collect(maps.Keys(o.events)) }},
	}
}

// kueue is the subject of a job in a queue.
func (o *observer) kueue(uid string) subject {
	return subject{resource: workloads(), labels: jobUIDLabel + "=" + uid,
		put:   func(u *unstructured.Unstructured) { o.workload = u },
		drop:  func(string) { o.workload = nil },
		known: func() []string { return uidOf(o.workload) }}
}

func uidOf(u *unstructured.Unstructured) []string {
	if u == nil {
		return nil
	}
	return []string{string(u.GetUID())}
}

func (o *observer) putMain(u *unstructured.Unstructured) {
	if o.main != nil && o.main.GetUID() != u.GetUID() {
		return // a new job of the same name: ours is gone
	}
	o.main = u
}

func (o *observer) dropMain(uid string) {
	if o.main != nil && string(o.main.GetUID()) == uid {
		o.gone = true
	}
}

func (o *observer) putPod(u *unstructured.Unstructured) {
	p := &corev1.Pod{}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, p) == nil {
		o.pods[string(p.UID)] = p
		delete(o.deleted, string(p.UID))
		select {
		case o.nudge <- struct{}{}:
		default:
		}
	}
}

func (o *observer) putEvent(u *unstructured.Unstructured) {
	e := &corev1.Event{}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, e) == nil {
		o.events[string(e.UID)] = e
	}
}

// aboutJob says whether an event may be about the job: about its object, its
// Service, its pods or the Jobs of a JobSet, which are named NAME-…, or about
// Kueue's Workload, which is named KIND-NAME-….
func (o *observer) aboutJob(u *unstructured.Unstructured) bool {
	name, _, _ := unstructured.NestedString(u.Object, "involvedObject", "name")
	name = strings.TrimPrefix(strings.TrimPrefix(name, "jobset-"), "job-")
	own := strings.TrimPrefix(strings.TrimPrefix(o.run.Name, "jobset-"), "job-")
	return name == own || strings.HasPrefix(name, own+"-")
}

// snapshot is what is known now. Its objects are shared and never changed.
func (o *observer) snapshot() *observed {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &observed{name: o.run.Name, main: o.main, gone: o.gone, workload: o.workload, blind: maps.Clone(o.blind),
		deleted: map[string]bool{}, nodes: map[string]*corev1.Node{}, lost: map[string]bool{}}
	for uid, p := range o.pods {
		if !o.strangers(p) {
			s.pods = append(s.pods, p)
			s.deleted[uid] = o.deleted[uid]
		}
	}
	for name, n := range o.nodes {
		s.nodes[name] = n
	}
	for name := range o.lost {
		s.lost[name] = true
	}
	for _, e := range o.events {
		s.events = append(s.events, e)
	}
	s.sortEvents()
	return s
}

// strangers says that a pod belongs to an earlier job of the same name.
func (o *observer) strangers(p *corev1.Pod) bool {
	owner := metav1.GetControllerOf(p)
	return o.main != nil && o.main.GetKind() == "Job" && owner != nil && owner.UID != o.main.GetUID()
}

// ready says that the job and its pods were listed once.
func (o *observer) ready() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.synced[o.run.resource().Resource] && o.synced[pods.Resource]
}

// denied is why the job cannot be watched at all; nil if it can.
func (o *observer) denied() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return errors.Join(o.blind[o.run.resource().Resource], o.blind[pods.Resource])
}

// start follows all subjects until the context ends. The function that it
// returns waits for that.
func (o *observer) start(ctx context.Context) (wait func()) {
	var group sync.WaitGroup
	for _, s := range o.subjects() {
		group.Go(func() { o.follow(ctx, s) })
	}
	group.Go(func() { o.lookAtQueue(ctx) })
	group.Go(func() { o.lookAtNodes(ctx) })
	return group.Wait
}

// lookAtQueue follows Kueue's Workload once it is known that there is a queue.
func (o *observer) lookAtQueue(ctx context.Context) {
	for every(ctx, time.Second) {
		o.mu.Lock()
		main := o.main
		o.mu.Unlock()
		if main == nil {
			continue
		}
		if main.GetLabels()[queueLabel] != "" {
			o.follow(ctx, o.kueue(string(main.GetUID())))
		}
		return
	}
}

// How often the nodes of pods in trouble are looked at, if nothing changes and if much does.
const (
	nodeInterval = 5 * time.Second
	nodePause    = time.Second
)

// lookAtNodes asks for the nodes of pods that are not as they should be: the
// kubelet of a lost node cannot say so itself.
func (o *observer) lookAtNodes(ctx context.Context) {
	timer := time.NewTimer(nodeInterval)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-timer.C:
		case <-o.nudge:
		case <-ctx.Done():
			return
		}
		for _, name := range o.nodesInDoubt() {
			u, err := o.run.Cluster.dynamic.Resource(nodes).Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsForbidden(err) {
				o.mu.Lock()
				o.blind[nodes.Resource] = err
				o.mu.Unlock()
				return
			}
			o.putNode(name, u, err)
		}
		every(ctx, nodePause)
		timer.Reset(nodeInterval)
	}
}

// putNode takes what the cluster answered about one node.
func (o *observer) putNode(name string, u *unstructured.Unstructured, err error) {
	n := &corev1.Node{}
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, n)
	}
	o.mu.Lock()
	switch {
	case err == nil:
		o.nodes[name] = n
		delete(o.lost, name)
	case apierrors.IsNotFound(err):
		o.lost[name] = true
	}
	o.mu.Unlock()
	o.tell()
}

// nodesInDoubt names the nodes of pods that run and are not ready, or cannot be
// ended; and forgets the others.
func (o *observer) nodesInDoubt() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	doubt := map[string]bool{}
	for uid, p := range o.pods {
		if p.Spec.NodeName == "" || o.deleted[uid] || ended(p) == 1 {
			continue
		}
		c := program(p)
		running := c != nil && c.State.Running != nil
		ready := podCondition(p, corev1.PodReady)
		if running && ready != nil && ready.Status != corev1.ConditionTrue || p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodUnknown {
			doubt[p.Spec.NodeName] = true
		}
	}
	for name := range o.nodes {
		if !doubt[name] {
			delete(o.nodes, name)
		}
	}
	var names []string
	for name := range doubt {
		names = append(names, name)
	}
	return names
}

// every waits, and is false when the context has ended.
func every(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
