package gke

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"
)

// requestTime is how long one request to the API server may take.
const requestTime = 30 * time.Second

// TakenError says that there is an object of the job's name already.
type TakenError struct {
	Kind, Namespace, Name string
	Owner                 string // who submitted it; empty when it is not ibuild's
}

// Error says whose it is.
func (e *TakenError) Error() string {
	if e.Owner == "" {
		return fmt.Sprintf("there is a %s %s in the namespace %s already, and it is not ibuild's", e.Kind, e.Name, e.Namespace)
	}
	return fmt.Sprintf("there is a job %s in the namespace %s already, submitted by %s", e.Name, e.Namespace, e.Owner)
}

// Hint says what to do.
func (e *TakenError) Hint() string {
	return "take another --name, or leave it out: ibuild finds one that is free"
}

// Submit makes the job's objects. What the job needs is made first, so that no
// pod waits for it, and belongs to the job when that is there: it goes with it.
// When something fails, or ctx ends, what was made is taken back.
//
// Errors: *TakenError; those of the API server, which name the field that it does
// not take; those of Manifests.
func (c *Cluster) Submit(ctx context.Context, j Job) (*Run, error) {
	objects, err := Manifests(j)
	if err != nil {
		return nil, err
	}
	mark := rand.Text()
	for _, o := range objects {
		annotations := o.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[submissionAnnotation] = mark
		o.SetAnnotations(annotations)
	}
	last := len(objects) - 1
	made := make([]*unstructured.Unstructured, len(objects))
	err = atOnce(last, func(i int) (err error) {
		made[i], err = c.create(ctx, objects[i])
		return err
	})
	if err == nil {
		made[last], err = c.create(ctx, objects[last])
	}
	if err == nil {
		err = atOnce(last, func(i int) error { return c.give(ctx, made[i], made[last]) })
	}
	if err != nil {
		if ctx.Err() != nil || outage(err) {
			c.findMade(context.WithoutCancel(ctx), objects, made, mark)
		}
		return nil, errors.Join(err, c.takeBack(ctx, made))
	}
	return c.run(made[last]), nil
}

// submissionAnnotation tells one Submit from another of the same job.
const submissionAnnotation = Domain + "submission"

// findMade finds what the API server has made without that its answer arrived.
func (c *Cluster) findMade(ctx context.Context, objects, made []*unstructured.Unstructured, mark string) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	_ = atOnce(len(objects), func(i int) error {
		if made[i] == nil {
			there, err := c.objects(objects[i]).Get(ctx, objects[i].GetName(), metav1.GetOptions{})
			if err == nil && there.GetAnnotations()[submissionAnnotation] == mark {
				made[i] = there
			}
		}
		return nil // what cannot be found cannot be removed either
	})
}

// atOnce does something n times side by side, and returns the first error by number.
func atOnce(n int, do func(int) error) error {
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { errs[i] = do(i) })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// run is the job that an object stands for.
func (c *Cluster) run(main *unstructured.Unstructured) *Run {
	return &Run{Cluster: c, Namespace: main.GetNamespace(), Name: main.GetName(), Kind: main.GetKind(), object: main}
}

// objects is where an object is kept.
func (c *Cluster) objects(o *unstructured.Unstructured) dynamic.ResourceInterface {
	return c.dynamic.Resource(resourceOf(o.GetKind())).Namespace(o.GetNamespace())
}

// resourceOf is the resource of a kind that ibuild makes.
func resourceOf(kind string) schema.GroupVersionResource {
	return map[string]schema.GroupVersionResource{"Job": jobs, "JobSet": jobSets, "Secret": secrets, "Service": services}[kind]
}

func (c *Cluster) create(ctx context.Context, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	got, err := c.objects(o).Create(ctx, o, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict, FieldManager: ManagedBy})
	switch {
	case apierrors.IsAlreadyExists(err):
		taken := &TakenError{Kind: strings.ToLower(o.GetKind()), Namespace: o.GetNamespace(), Name: o.GetName()}
		if there, err := c.objects(o).Get(ctx, o.GetName(), metav1.GetOptions{}); err == nil && there.GetLabels()[ManagedByLabel] == ManagedBy {
			taken.Owner = c.ownerOf(ctx, there)
		}
		return nil, taken
	case err != nil:
		return nil, c.explain(err, "make the "+strings.ToLower(o.GetKind())+" "+o.GetName())
	}
	return got, nil
}

// ownerOf says who submitted the job of one of ibuild's objects. What is made beside
// a job does not name them.
func (c *Cluster) ownerOf(ctx context.Context, o *unstructured.Unstructured) string {
	if owner := o.GetAnnotations()[ownerAnnotation]; owner != "" {
		return owner
	}
	for _, resource := range []schema.GroupVersionResource{jobs, jobSets} {
		main, err := c.dynamic.Resource(resource).Namespace(o.GetNamespace()).Get(ctx, o.GetLabels()[JobLabel], metav1.GetOptions{})
		if err == nil && main.GetAnnotations()[ownerAnnotation] != "" {
			return main.GetAnnotations()[ownerAnnotation]
		}
	}
	return "somebody whom it does not name"
}

// give makes an object go when its owner goes.
func (c *Cluster) give(ctx context.Context, o, owner *unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	reference := metav1.NewControllerRef(owner, owner.GroupVersionKind())
	reference.Controller, reference.BlockOwnerDeletion = nil, nil // nothing more than that it goes with it
	there := o.DeepCopy()                                         // as it was made a moment ago: mostly nobody has changed it since
	err := retry.OnError(retry.DefaultRetry, apierrors.IsConflict, func() error {
		there.SetOwnerReferences(append(there.GetOwnerReferences(), *reference))
		_, err := c.objects(o).Update(ctx, there, metav1.UpdateOptions{FieldManager: ManagedBy})
		if !apierrors.IsConflict(err) {
			return err
		}
		newer, unread := c.objects(o).Get(ctx, o.GetName(), metav1.GetOptions{})
		if unread != nil {
			return unread
		}
		there = newer
		return err
	})
	if err != nil {
		return c.explain(err, "tie the "+strings.ToLower(o.GetKind())+" "+o.GetName()+" to the job")
	}
	return nil
}

// takeBack removes what was made of a job that could not be submitted, also after Ctrl-C.
func (c *Cluster) takeBack(ctx context.Context, made []*unstructured.Unstructured) error {
	var errs []error
	for i := len(made) - 1; i >= 0; i-- {
		if made[i] != nil {
			errs = append(errs, c.remove(context.WithoutCancel(ctx), made[i]))
		}
	}
	return errors.Join(errs...)
}

// remove deletes one object, with what it owns, if it is still the one that was read. One that is gone is no error.
func (c *Cluster) remove(ctx context.Context, o *unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	background, uid := metav1.DeletePropagationBackground, types.UID(o.GetUID())
	err := c.objects(o).Delete(ctx, o.GetName(), metav1.DeleteOptions{PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &uid}})
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return c.explain(err, "delete the "+strings.ToLower(o.GetKind())+" "+o.GetName())
}
