package gke

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// Pauses between two tries to reach the cluster. The first ones are short: an
// API server that restarts, or a load balancer that drops a connection, is back
// soon.
const (
	firstPause = 300 * time.Millisecond
	mostPause  = 5 * time.Second
)

func pauses() *wait.Backoff {
	return &wait.Backoff{Duration: firstPause, Factor: 2, Jitter: 0.3, Steps: 8, Cap: mostPause}
}

// in is a resource within the job's namespace.
func (r *Run) in(resource schema.GroupVersionResource) dynamic.ResourceInterface {
	return r.Cluster.dynamic.Resource(resource).Namespace(r.Namespace)
}

// follow keeps one subject up to date until the context ends or it turns out
// that it may not be read. It lists, watches, goes on where a watch was cut, and
// lists again where the cluster has forgotten that place (410 Gone).
//
// client-go's reflector does the same for caches that live for days. It logs cut
// connections by itself, between the lines of the user's program, and needs a
// module that the dynamic client does without.
func (o *observer) follow(ctx context.Context, s subject) {
	version, pause := "", pauses()
	for {
		began := time.Now()
		var err error
		if version == "" {
			version, err = o.list(ctx, s)
		}
		if err == nil {
			version, err = o.watch(ctx, s, version)
		}
		if ctx.Err() != nil || o.hides(s, err) {
			return
		}
		if time.Since(began) > mostPause {
			pause = pauses()
		}
		if !every(ctx, pause.Step()) {
			return
		}
	}
}

// hides notes a resource that may not be read, or is not there: it is not asked
// for again.
func (o *observer) hides(s subject, err error) bool {
	if !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) && !apierrors.IsMethodNotSupported(err) {
		return false
	}
	o.mu.Lock()
	o.blind[s.resource.Resource] = err
	o.mu.Unlock()
	o.tell()
	return true
}

// heard notes whether the cluster answered. What the state can do without says
// nothing: a webhook of Kueue's that is down is no cluster that is away.
func (o *observer) heard(ctx context.Context, s subject, err error) {
	if s.needed && ctx.Err() == nil && o.reach.note(err, time.Now()) {
		o.tell()
	}
}

// pageSize bounds what one answer of the API server holds.
const pageSize = 500

// list reads a subject as a whole, and returns from where on to watch.
func (o *observer) list(ctx context.Context, s subject) (version string, err error) {
	options := metav1.ListOptions{FieldSelector: s.fields, LabelSelector: s.labels, Limit: pageSize}
	var all []*unstructured.Unstructured
	for {
		list, err := o.page(ctx, s, options)
		o.heard(ctx, s, err)
		if err != nil {
			return "", err
		}
		for n := range list.Items {
			if u := &list.Items[n]; s.keep == nil || s.keep(u) {
				all = append(all, u.DeepCopy()) // a copy lets the rest of the page go
			}
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			o.replace(s, all)
			return list.GetResourceVersion(), nil
		}
	}
}

// answerTime is how long an answer may take. Without it a network that swallows
// packets would be noticed only after the minutes that TCP tries.
const answerTime = 20 * time.Second

func (o *observer) page(ctx context.Context, s subject, options metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return o.run.in(s.resource).List(ctx, options)
}

// replace takes a whole list. What is not in it any more was deleted while
// nobody watched.
func (o *observer) replace(s subject, list []*unstructured.Unstructured) {
	o.mu.Lock()
	there := map[string]bool{}
	for _, u := range list {
		there[string(u.GetUID())] = true
		s.put(u)
	}
	for _, uid := range s.known() {
		if !there[uid] {
			s.drop(uid)
		}
	}
	o.synced[s.resource.Resource] = true
	o.mu.Unlock()
	o.tell()
}

// watch follows the changes since a version until the connection ends. It
// returns from where on to go on: empty means that a new list is needed.
func (o *observer) watch(ctx context.Context, s subject, version string) (string, error) {
	// the server ends a watch after this time, so that one that was cut without
	// a word does not last for ever
	const lasts = int64(5 * time.Minute / time.Second)
	timeout, began, silent := lasts, time.Now(), true
	w, err := o.run.in(s.resource).Watch(ctx, metav1.ListOptions{FieldSelector: s.fields, LabelSelector: s.labels,
		ResourceVersion: version, AllowWatchBookmarks: true, TimeoutSeconds: &timeout})
	o.heard(ctx, s, err)
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return "", nil
	}
	if err != nil {
		return version, err
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		u, ok := e.Object.(*unstructured.Unstructured)
		if e.Type == watch.Error || !ok {
			return "", nil // the usual error is 410; a new list heals all others as well
		}
		version, silent = u.GetResourceVersion(), false
		o.heard(ctx, s, nil)
		if e.Type != watch.Bookmark && (s.keep == nil || s.keep(u)) {
			o.take(s, u, e.Type == watch.Deleted)
		}
	}
	if silent && time.Since(began) < time.Second {
		// client-go makes a watch without events of a connection that breaks at
		// once; only a list shows whether the cluster is there
		return "", nil
	}
	return version, nil
}

// take notes one change. An object that was deleted is given as it was last.
func (o *observer) take(s subject, u *unstructured.Unstructured, deleted bool) {
	o.mu.Lock()
	s.put(u)
	if deleted {
		s.drop(string(u.GetUID()))
	}
	o.mu.Unlock()
	o.tell()
}
