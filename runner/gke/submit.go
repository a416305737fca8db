package gke

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
	var made []*unstructured.Unstructured
	for _, o := range objects {
		got, err := c.create(ctx, o)
		if err != nil {
			return nil, errors.Join(err, c.takeBack(ctx, made))
		}
		made = append(made, got)
	}
	main := made[len(made)-1]
	for _, o := range made[:len(made)-1] {
		if err := c.give(ctx, o, main); err != nil {
			return nil, errors.Join(err, c.takeBack(ctx, made))
		}
	}
	return c.run(main), nil
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
			taken.Owner = there.GetAnnotations()[Domain+"owner"]
		}
		return nil, taken
	case err != nil:
		return nil, c.explain(err, "make the "+strings.ToLower(o.GetKind())+" "+o.GetName())
	}
	return got, nil
}

// give makes an object go when its owner goes.
func (c *Cluster) give(ctx context.Context, o, owner *unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	reference := metav1.NewControllerRef(owner, owner.GroupVersionKind())
	reference.Controller, reference.BlockOwnerDeletion = nil, nil // nothing more than that it goes with it
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		there, err := c.objects(o).Get(ctx, o.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		there.SetOwnerReferences(append(there.GetOwnerReferences(), *reference))
		_, err = c.objects(o).Update(ctx, there, metav1.UpdateOptions{FieldManager: ManagedBy})
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
		errs = append(errs, c.remove(context.WithoutCancel(ctx), made[i]))
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
