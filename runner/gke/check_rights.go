package gke

import (
	"context"
	"errors"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// right is something that the caller has to be allowed to do.
type right struct {
	verb string
	in   schema.GroupVersionResource
	sub  string // subresource
}

// String writes it as `kubectl auth can-i` takes it.
func (r right) String() string {
	resource := r.in.Resource
	if r.in.Group != "" {
		resource += "." + r.in.Group
	}
	if r.sub != "" {
		resource += "/" + r.sub
	}
	return r.verb + " " + resource
}

// rightsFor are those that submitting and watching a job takes. What a job has
// beside it is made first and then tied to it, which is a read and an update.
func rightsFor(j Job) []right {
	main := jobs
	if slicesOf(j) > 1 {
		main = jobSets
	}
	list := []right{{"create", main, ""}, {"get", main, ""}, {"watch", main, ""}, {"list", pods, ""}, {"watch", pods, ""}, {"get", pods, "log"}}
	tied := func(in schema.GroupVersionResource) {
		list = append(list, right{"create", in, ""}, right{"get", in, ""}, right{"update", in, ""})
	}
	if len(jobSecrets(j)) > 0 {
		tied(secrets)
	}
	if hostsOf(j) > 1 && slicesOf(j) == 1 {
		tied(services)
	}
	return list
}

// accessReviews answer whether the caller may do something. Every user may make them.
func accessReviews() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews"}
}

// may asks the API server, as `kubectl auth can-i` does. One question each: the
// list of all rights leaves out what Google's IAM gives.
func (c *Cluster) may(ctx context.Context, namespace string, r right) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"},
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: r.verb, Group: r.in.Group, Resource: r.in.Resource, Subresource: r.sub,
		}},
	}
	object, err := untyped(review)
	if err != nil {
		return false, err
	}
	got, err := c.dynamic.Resource(accessReviews()).Create(ctx, object, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	allowed, _, _ := unstructured.NestedBool(got.Object, "status", "allowed") // what is not there is a no
	return allowed, nil
}

// credentials asks whether a job that has no Secret yet could get one: what pulls its
// image and pushes its results is known only when the image is made.
func (k *check) credentials(ctx context.Context) error {
	allowed, err := k.c.may(ctx, k.j.Namespace, right{"create", secrets, ""})
	if err == nil && !allowed {
		k.note("you may not create secrets: no credentials can go with the job")
	}
	return k.c.explain(err, "ask whether you may create secrets")
}

// allowed asks for one right.
func (k *check) allowed(ctx context.Context, r right) error {
	allowed, err := k.c.may(ctx, k.j.Namespace, r)
	switch {
	case err != nil:
		return k.c.explain(err, "ask whether you may "+r.String())
	case allowed:
		return nil
	}
	return &Error{Refusal: NoRights, Doing: fmt.Sprintf("%s in the namespace %s", r, k.j.Namespace), Server: k.c.Server,
		Err: errors.New("the cluster does not let you"), Hint: rightsHint(k.j.Namespace)}
}
