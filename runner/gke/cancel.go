package gke

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Cancel ends a job: it is deleted, with its pods, which get SIGTERM and their grace, in which the bootstrap pushes
// what results there are. Suspending it instead would keep its object for `jobs list`, but a suspended job is one that
// waits: Kueue or anybody may resume it, and its Secrets would stay. One that is gone is no error.
func (r *Run) Cancel(ctx context.Context) error { return r.Cluster.remove(ctx, r.object) }

// Cleanup removes what jobs have left: those that have ended, and Secrets and Services whose job is gone (it was never
// made, or somebody has taken it from its parts). With running, jobs that go on are cancelled, too. Nothing is touched
// that has not both of ibuild's labels. It says what it has removed, or would remove if dry: "job default/train-x1".
// Errors are joined; what could be removed is.
func (c *Cluster) Cleanup(ctx context.Context, s Selection, running, dry bool) (removed []string, err error) {
	all, err := c.List(ctx, s)
	if err != nil {
		return nil, err
	}
	remove := func(o *unstructured.Unstructured) error {
		if !dry {
			if err := c.remove(ctx, o); err != nil {
				return err
			}
		}
		removed = append(removed, fmt.Sprintf("%s %s/%s", strings.ToLower(o.GetKind()), o.GetNamespace(), o.GetName()))
		return nil
	}
	for _, job := range all {
		if running || job.State.Phase.Ended() {
			if err := remove(job.Run.object); err != nil {
				return removed, err
			}
		}
	}
	for _, resource := range []schema.GroupVersionResource{secrets, services} {
		list, err := c.list(ctx, listing{resource, s.AllNamespaces})
		if err != nil {
			return removed, c.explain(err, "list "+resource.Resource)
		}
		for i := range list {
			orphan, err := c.orphan(ctx, &list[i], s)
			if err == nil && orphan {
				err = remove(&list[i])
			}
			if err != nil {
				return removed, err
			}
		}
	}
	return removed, nil
}

// orphanAge is how old a part without a job has to be: another ibuild may be about to make the job.
const orphanAge = 10 * time.Minute

// orphan says that an object belongs to a job that is not there. One that has an owner goes with it.
func (c *Cluster) orphan(ctx context.Context, o *unstructured.Unstructured, s Selection) (bool, error) {
	name := o.GetLabels()[JobLabel]
	if len(o.GetOwnerReferences()) > 0 || !s.has(o) || time.Since(o.GetCreationTimestamp().Time) < orphanAge {
		return false, nil
	}
	for _, resource := range []schema.GroupVersionResource{jobs, jobSets} {
		_, err := c.dynamic.Resource(resource).Namespace(o.GetNamespace()).Get(ctx, name, metav1.GetOptions{})
		switch {
		case err == nil, apierrors.IsForbidden(err): // who may not look leaves it
			return false, nil
		case !apierrors.IsNotFound(err):
			return false, c.explain(err, "look whether the job "+name+" is there")
		}
	}
	return true, nil
}
