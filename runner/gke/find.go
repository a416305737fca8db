package gke

import (
	"cmp"
	"context"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ours selects what ibuild has submitted, whoever ran it.
const ours = ManagedByLabel + "=" + ManagedBy + "," + JobLabel

// Find looks a job of the cluster's namespace up by its name. The error is an *Error; NotThere when there is none.
func (c *Cluster) Find(ctx context.Context, name string) (*Run, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	var missing error
	for _, resource := range []schema.GroupVersionResource{jobs, jobSets} {
		o, err := c.dynamic.Resource(resource).Namespace(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		switch {
		case err == nil && o.GetLabels()[ManagedByLabel] == ManagedBy && o.GetLabels()[JobLabel] == name:
			return c.run(o), nil
		case err == nil:
			return nil, &Error{Refusal: NotThere, Doing: "find the job " + name, Server: c.Server,
				Err: errors.New("the one of that name in the namespace " + c.Namespace + " is not ibuild's"), Hint: "ibuild jobs list has those that are"}
		case !apierrors.IsNotFound(err) && (resource == jobs || !apierrors.IsForbidden(err)): // the role edit knows nothing of JobSets
			return nil, c.explain(err, "find the job "+name)
		case resource == jobs:
			missing = err
		}
	}
	e := c.explain(missing, "find the job "+name+" in the namespace "+c.Namespace)
	var known *Error
	if errors.As(e, &known) {
		known.Hint = "ibuild jobs list has those that there are, with --all-namespaces those of others, too"
	}
	return nil, e
}

// Selection says which jobs are meant. The zero value is all of the cluster's namespace.
type Selection struct {
	AllNamespaces bool
	Owner         string // as Job.Owner; empty is anybody
	Names         []string
}

// Summary is one job with its state.
type Summary struct {
	Run   *Run
	State State
}

// List reads the jobs of a selection, the newest first. Without the right to read pods the states say less.
func (c *Cluster) List(ctx context.Context, s Selection) ([]Summary, error) {
	runs, err := c.runs(ctx, s)
	if err != nil {
		return nil, err
	}
	pods := map[string][]*unstructured.Unstructured{}
	if list, err := c.list(ctx, podsOf(s)); err == nil {
		for i := range list {
			key := list[i].GetNamespace() + "/" + list[i].GetLabels()[JobLabel]
			pods[key] = append(pods[key], &list[i])
		}
	}
	var out []Summary
	for _, r := range runs {
		out = append(out, Summary{r, r.summary(pods[r.Namespace+"/"+r.Name])})
	}
	return out, nil
}

// summary is what a job and its pods say without nodes and events.
func (r *Run) summary(own []*unstructured.Unstructured) State {
	o := newObserver(r)
	o.putMain(r.object)
	for _, p := range own {
		o.putPod(p)
	}
	return decide(o.snapshot()).State
}

// runs reads the jobs of a selection, the newest first.
func (c *Cluster) runs(ctx context.Context, s Selection) ([]*Run, error) {
	var out []*Run
	for _, resource := range []schema.GroupVersionResource{jobs, jobSets} {
		list, err := c.list(ctx, listing{resource, s.AllNamespaces})
		switch {
		case resource == jobSets && (apierrors.IsNotFound(err) || apierrors.IsForbidden(err)):
			continue // JobSet is not installed, or not for the caller: the role edit knows nothing of it
		case err != nil:
			return nil, c.explain(err, "list jobs")
		}
		for i := range list {
			if o := &list[i]; metav1.GetControllerOf(o) == nil && s.has(o) {
				out = append(out, c.run(o))
			}
		}
	}
	slices.SortFunc(out, func(a, b *Run) int {
		ta, tb := a.object.GetCreationTimestamp(), b.object.GetCreationTimestamp()
		return cmp.Or(tb.Compare(ta.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// has says that an object belongs to one of the jobs.
func (s Selection) has(o *unstructured.Unstructured) bool {
	return (s.Owner == "" || o.GetAnnotations()[ownerAnnotation] == s.Owner) && (len(s.Names) == 0 || slices.Contains(s.Names, o.GetLabels()[JobLabel]))
}

// listing is what a list reads.
type listing struct {
	resource schema.GroupVersionResource
	all      bool // namespaces
}

func podsOf(s Selection) listing { return listing{pods, s.AllNamespaces} }

// list reads all objects with ibuild's labels.
func (c *Cluster) list(ctx context.Context, l listing) (out []unstructured.Unstructured, err error) {
	namespace := c.Namespace
	if l.all {
		namespace = corev1.NamespaceAll
	}
	options := metav1.ListOptions{LabelSelector: ours, Limit: pageSize}
	for {
		page, err := func() (*unstructured.UnstructuredList, error) {
			ctx, cancel := context.WithTimeout(ctx, requestTime)
			defer cancel()
			return c.dynamic.Resource(l.resource).Namespace(namespace).List(ctx, options)
		}()
		if err != nil {
			return nil, err
		}
		out = append(out, page.Items...)
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return out, nil
		}
	}
}
