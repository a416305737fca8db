package gke

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const doingNamespace = "use the namespace "

// namespace looks for the job's. Not everybody may: submitting says it then.
func (k *check) namespace(ctx context.Context) error {
	var n corev1.Namespace
	err := k.r.read(ctx, &n, "/api/v1/namespaces/"+k.j.Namespace)
	switch {
	case apierrors.IsForbidden(err):
		return nil
	case apierrors.IsNotFound(err):
		return &Error{Refusal: NotThere, Doing: doingNamespace + k.j.Namespace, Server: k.c.Server, Err: errors.New("it does not exist"),
			Hint: "kubectl get namespaces lists those that there are; take another --namespace, or have it made: kubectl create namespace " + k.j.Namespace}
	case err == nil && n.Status.Phase == corev1.NamespaceTerminating:
		return &Error{Refusal: NotThere, Doing: doingNamespace + k.j.Namespace, Server: k.c.Server, Err: errors.New("it is being deleted"),
			Hint: "wait until it is made anew, or take another --namespace"}
	}
	return k.c.explain(err, doingNamespace+k.j.Namespace)
}

// missing is an error about something of the namespace that the job names.
func (k *check) missing(doing, what, hint string) error {
	return &Error{Refusal: NotThere, Doing: doing, Server: k.c.Server, Err: fmt.Errorf("the namespace %s has no %s", k.j.Namespace, what), Hint: hint}
}

// find reads something that the job names in its namespace. What may not be read is
// a note: the job may have it all the same.
func (k *check) find(ctx context.Context, into any, plural, what, name, hint string) (found bool, err error) {
	err = k.r.read(ctx, into, "/api/v1/namespaces/"+k.j.Namespace+"/"+plural+"/"+name)
	switch {
	case apierrors.IsForbidden(err):
		k.note(fmt.Sprintf("whether the %s %s is there cannot be seen: you may not read it", what, name))
		return false, nil
	case apierrors.IsNotFound(err):
		return false, k.missing("use the "+what+" "+name, what+" of that name", hint)
	}
	return err == nil, k.c.explain(err, "look for the "+what+" "+name)
}

func (k *check) secret(ctx context.Context, name string) error {
	var ignored struct{} // what is in it is nobody's business
	_, err := k.find(ctx, &ignored, "secrets", "Secret", name, "kubectl create secret generic "+name+" --namespace "+k.j.Namespace+" makes one; see --mount-secret")
	return err
}

func (k *check) account(ctx context.Context) error {
	if k.j.ServiceAccount == "" {
		return nil
	}
	var ignored struct{}
	_, err := k.find(ctx, &ignored, "serviceaccounts", "service account", k.j.ServiceAccount,
		"kubectl create serviceaccount "+k.j.ServiceAccount+" --namespace "+k.j.Namespace+" makes one")
	return err
}

// claim looks for a volume's claim, and whether as many hosts can mount it.
func (k *check) claim(ctx context.Context, v Volume) error {
	var claim corev1.PersistentVolumeClaim
	found, err := k.find(ctx, &claim, "persistentvolumeclaims", "claim", v.Claim, "kubectl get pvc --namespace "+k.j.Namespace+" lists those that there are")
	if err != nil || !found {
		return err
	}
	if claim.Status.Phase == corev1.ClaimLost {
		return &Error{Refusal: NotThere, Doing: "use the claim " + v.Claim, Server: k.c.Server, Err: errors.New("the volume that it stands for is gone")}
	}
	many := false
	for _, mode := range claim.Spec.AccessModes {
		many = many || mode == corev1.ReadWriteMany || mode == corev1.ReadOnlyMany && v.ReadOnly
	}
	if hosts := hostsOf(k.j) * slicesOf(k.j); hosts > 1 && !many {
		k.note(fmt.Sprintf("the claim %s can be mounted by one node, and the job has %d hosts", v.Claim, hosts))
	}
	return nil
}

// jobSet says whether JobSet is installed, where the job needs it.
func (k *check) jobSet(ctx context.Context) error {
	if slicesOf(k.j) == 1 {
		return nil
	}
	installed, err := k.r.serves(ctx, jobSets.Group, jobSets.Version)
	if err != nil || installed {
		return k.c.explain(err, "look for JobSet")
	}
	return &Error{Refusal: NotThere, Doing: "run several slices", Server: k.c.Server, Err: errors.New("JobSet is not installed in the cluster"),
		Hint: "whoever runs the cluster can install it: https://jobset.sigs.k8s.io/docs/installation"}
}

const kueueGroup = "kueue.x-k8s.io"

// queue looks for Kueue and its queue of the namespace.
func (k *check) queue(ctx context.Context) error {
	if k.j.Queue == "" {
		return nil
	}
	doing := "use the queue " + k.j.Queue
	version, err := k.r.preferred(ctx, kueueGroup)
	switch {
	case err != nil:
		return k.c.explain(err, "look for Kueue")
	case version == "":
		return &Error{Refusal: NotThere, Doing: doing, Server: k.c.Server, Err: errors.New("there is no Kueue in the cluster"),
			Hint: "leave --queue out, or have Kueue installed: https://kueue.sigs.k8s.io/docs/installation"}
	}
	queues, err := k.r.queues(ctx, version, k.j.Namespace)
	if apierrors.IsForbidden(err) {
		k.note("whether the queue " + k.j.Queue + " is there cannot be seen: you may not list queues")
		return nil
	}
	if err != nil {
		return k.c.explain(err, "list queues")
	}
	for _, q := range queues {
		switch {
		case q.Name != k.j.Queue:
		case q.Stopped != "":
			k.note("the queue " + q.Name + " takes no jobs now: " + q.Stopped)
			return nil
		default:
			return nil
		}
	}
	return k.missing(doing, "queue of that name", "there are "+queueNames(queues))
}

// serves says whether the API server has a version of a group.
func (r reader) serves(ctx context.Context, group, version string) (bool, error) {
	var ignored struct{}
	err := r.read(ctx, &ignored, "/apis/"+group+"/"+version)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// preferred is the version of a group that the API server would have used; empty when the group is not there.
func (r reader) preferred(ctx context.Context, group string) (string, error) {
	var g metav1.APIGroup
	err := r.read(ctx, &g, "/apis/"+group)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	return g.PreferredVersion.Version, err
}
