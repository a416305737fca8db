package gke

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"golang.org/x/sync/errgroup"
)

// Placement is what the cluster says about a job before anything is built.
type Placement struct {
	Nodes []string // that it fits, sorted; empty when a node has to be made, or nodes may not be read
	Note  string   // in words for people
}

// PlaceError says that no node of the cluster can ever hold a job.
type PlaceError struct {
	Wants string   // what the job asks of a node
	There []string // what there is instead: pools with their devices
}

// Error says what is asked for.
func (e *PlaceError) Error() string {
	return "no node of the cluster can hold the job, which asks for " + e.Wants
}

// Hint lists the pools that there are.
func (e *PlaceError) Hint() string {
	if len(e.There) == 0 {
		return "the cluster has no nodes, and no autoscaler that could make any"
	}
	return "there are the node pools " + strings.Join(e.There, "; ") + ". Take an --accelerator of theirs, or have a pool made"
}

// Check asks the cluster, side by side, all that can be known before a job's image is made: does the cluster answer, is
// the namespace there, may the caller do what submitting and watching takes, is there JobSet where it is needed, and do
// nodes fit. Only what cannot be is refused: where an autoscaler is at work, or nodes may not be read, the job may be
// placed, and watching says if it is not. The job needs neither image nor command yet.
//
// Errors: *Error, *PlaceError.
func (c *Cluster) Check(ctx context.Context, j Job) (Placement, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	main := jobs
	if slicesOf(j) > 1 {
		main = jobSets
		group.Go(func() error { return c.hasJobSet(ctx) })
	}
	for _, need := range []access{{"create", main, ""}, {"watch", main, ""}, {"create", secrets, ""}, {"list", pods, ""}, {"watch", pods, ""}, {"get", pods, "log"}} {
		group.Go(func() error { return c.may(ctx, need) })
	}
	group.Go(func() error {
		_, err := c.dynamic.Resource(namespaces).Get(ctx, c.Namespace, metav1.GetOptions{})
		if apierrors.IsForbidden(err) { // not everybody may look; submitting says it then
			return nil
		}
		return c.explain(err, "use the namespace "+c.Namespace)
	})
	var place Placement
	group.Go(func() (err error) {
		place, err = c.place(ctx, j)
		return err
	})
	return place, group.Wait()
}

// Resources that only Check reads.
var (
	namespaces    = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	configMaps    = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	accessReviews = schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews"}
)

// access is something that the caller has to be allowed to do.
type access struct {
	verb string
	in   schema.GroupVersionResource
	sub  string
}

func (a access) String() string {
	if a.sub != "" {
		return a.verb + " " + a.in.Resource + "/" + a.sub
	}
	return a.verb + " " + a.in.Resource
}

// may asks the API server whether the caller may do something, as `kubectl auth can-i` does.
func (c *Cluster) may(ctx context.Context, a access) error {
	review := &authorizationv1.SelfSubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"},
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: c.Namespace, Verb: a.verb, Group: a.in.Group, Resource: a.in.Resource, Subresource: a.sub,
		}},
	}
	object, err := untyped(review)
	if err != nil {
		return err
	}
	got, err := c.dynamic.Resource(accessReviews).Create(ctx, object, metav1.CreateOptions{})
	if err != nil {
		return c.explain(err, "ask whether you may "+a.String())
	}
	allowed, _, _ := unstructured.NestedBool(got.Object, "status", "allowed")
	if allowed {
		return nil
	}
	return &Error{Refusal: NoRights, Doing: a.String() + " in the namespace " + c.Namespace, Server: c.Server, Err: errors.New("the cluster does not let you"),
		Hint: rightsHint(c.Namespace)}
}

// hasJobSet says whether JobSet is installed.
func (c *Cluster) hasJobSet(ctx context.Context) error {
	_, err := c.dynamic.Resource(jobSets).Namespace(c.Namespace).List(ctx, metav1.ListOptions{Limit: 1})
	if apierrors.IsNotFound(err) {
		return &Error{Refusal: NotThere, Doing: "run several slices", Server: c.Server, Err: errors.New("JobSet is not installed in the cluster"),
			Hint: "whoever runs the cluster can install it: https://jobset.sigs.k8s.io/docs/installation"}
	}
	if apierrors.IsForbidden(err) {
		return nil // what may not be listed may be made
	}
	return c.explain(err, "look for JobSet")
}

// place looks for nodes that a job fits.
func (c *Cluster) place(ctx context.Context, j Job) (Placement, error) {
	list, err := c.dynamic.Resource(nodes).List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		return Placement{Note: "you may not list nodes, so it is not known whether one fits"}, nil
	}
	if err != nil {
		return Placement{}, c.explain(err, "list nodes")
	}
	all := make([]corev1.Node, len(list.Items))
	for i := range list.Items {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &all[i]); err != nil {
			return Placement{}, fmt.Errorf("node %s: %w", list.Items[i].GetName(), err)
		}
	}
	p := fitting(all, j)
	if need := hostsOf(j) * slicesOf(j); len(p.Nodes) >= need {
		return p, nil
	}
	if c.autoscales(ctx, j) {
		p.Note = "no node of the cluster fits now; an autoscaler may make one"
		return p, nil
	}
	return p, &PlaceError{Wants: wants(j), There: poolsOf(all)}
}

// autoscales says that nodes may be made, or that it cannot be told. The cluster autoscaler, GKE's too, says what it
// does in a ConfigMap; flex-start, Kueue and Autopilot make nodes when they are asked for.
func (c *Cluster) autoscales(ctx context.Context, j Job) bool {
	if j.FlexStart || j.Queue != "" || strings.HasPrefix(j.Reservation, "projects/") {
		return true
	}
	_, err := c.dynamic.Resource(configMaps).Namespace("kube-system").Get(ctx, "cluster-autoscaler-status", metav1.GetOptions{})
	return !apierrors.IsNotFound(err)
}

// fitting are the nodes that have a job's labels and its devices, whoever uses them now. What a node has no room for at
// the moment it may have later.
func fitting(all []corev1.Node, j Job) Placement {
	labels := nodeSelector(j)
	device := corev1.ResourceName(j.Accelerator.Resource())
	var p Placement
	for i := range all {
		n := &all[i]
		has := true
		for name, value := range labels {
			has = has && n.Labels[name] == value
		}
		devices := n.Status.Allocatable[device]
		if !has || device != "" && devices.Value() < int64(j.Accelerator.PerHost) || !tolerated(n, j) {
			continue
		}
		p.Nodes = append(p.Nodes, n.Name)
	}
	slices.Sort(p.Nodes)
	p.Note = fmt.Sprintf("%d nodes fit", len(p.Nodes))
	return p
}

// passing are taints that nodes have for a time: they say nothing of what a node is for.
var passing = []string{"node.kubernetes.io/", "node.cloudprovider.kubernetes.io/", "ToBeDeletedByClusterAutoscaler", "DeletionCandidateOfClusterAutoscaler"}

// tolerated says whether the job's pods may go to a node.
func tolerated(n *corev1.Node, j Job) bool {
	for _, taint := range n.Spec.Taints {
		if taint.Effect == corev1.TaintEffectPreferNoSchedule || slices.ContainsFunc(passing, func(p string) bool { return strings.HasPrefix(taint.Key, p) }) {
			continue
		}
		if !slices.ContainsFunc(tolerations(j), func(t corev1.Toleration) bool { return t.Key == taint.Key }) && !givenDevice(taint.Key, j) {
			return false
		}
	}
	return true
}

// givenDevice says that the API server adds a toleration by itself: a taint of the name of a resource that is asked for.
func givenDevice(key string, j Job) bool { return key != "" && key == j.Accelerator.Resource() }

// wants is what a job asks of a node, in words.
func wants(j Job) string {
	labels := nodeSelector(j)
	var list []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		list = append(list, name+"="+labels[name])
	}
	if a := j.Accelerator; a.Kind != CPU {
		list = append([]string{fmt.Sprintf("%d %s on each of %d nodes", a.PerHost, a.Resource(), hostsOf(j)*slicesOf(j))}, list...)
	}
	return strings.Join(list, ", ")
}

// poolsOf names the pools with what they have: "l4 (1 node, nvidia-l4)".
func poolsOf(all []corev1.Node) []string {
	count, what := map[string]int{}, map[string]string{}
	for i := range all {
		labels := all[i].Labels
		pool := labels["cloud.google.com/gke-nodepool"]
		if pool == "" {
			pool = all[i].Name
		}
		count[pool]++
		what[pool] = strings.TrimSpace(labels["cloud.google.com/gke-accelerator"] + labels["cloud.google.com/gke-tpu-accelerator"] + " " + labels["cloud.google.com/gke-tpu-topology"])
	}
	var list []string
	for _, pool := range slices.Sorted(maps.Keys(count)) {
		text := fmt.Sprintf("%s (%d nodes", pool, count[pool])
		if what[pool] != "" {
			text += ", " + what[pool]
		}
		list = append(list, text+")")
	}
	return list
}
