package gke

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Refusal is why a cluster did not do what it was asked.
type Refusal int

// The refusals. Callers turn them into exit codes.
const (
	Refused   Refusal = iota // it said no: a field is wrong, a policy or a quota is against it
	NoAnswer                 // it is out of reach, or too busy: try again
	NoRights                 // it knows who asks, and does not let them
	NoAccount                // it does not know who asks
	NotThere                 // what was asked for does not exist
)

// Error is what went wrong between ibuild and a cluster.
type Error struct {
	Refusal Refusal
	Doing   string // what was to be done: "list jobs"
	Server  string // address of the API server
	Err     error
	Hint    string // what to do about it; may be empty
}

// Error says what was to be done and what the cluster said.
func (e *Error) Error() string {
	if e.Refusal == NoAnswer {
		return fmt.Sprintf("cannot %s: the cluster at %s does not answer: %s", e.Doing, e.Server, oneLine(e.Err.Error()))
	}
	return fmt.Sprintf("cannot %s: %s", e.Doing, oneLine(e.Err.Error()))
}

// Unwrap returns client-go's error.
func (e *Error) Unwrap() error { return e.Err }

// explain finds out what kind of error one of client-go's is; nil stays nil.
func (c *Cluster) explain(err error, doing string) error {
	if err == nil {
		return nil
	}
	e := &Error{Doing: doing, Server: c.Server, Err: err}
	var missing *exec.Error
	switch {
	case errors.As(err, &missing) || strings.Contains(err.Error(), "executable") && strings.Contains(err.Error(), "not found"):
		e.Refusal = NoAccount
		e.Hint = "the kubeconfig asks a program for credentials that is not installed; for GKE: gcloud components install gke-gcloud-auth-plugin, or the package google-cloud-cli-gke-gcloud-auth-plugin"
	case apierrors.IsUnauthorized(err), strings.Contains(err.Error(), "getting credentials:"):
		e.Refusal, e.Hint = NoAccount, "log in again, e.g. gcloud auth login; gcloud container clusters get-credentials CLUSTER writes a new kubeconfig"
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota"):
		e.Hint = "kubectl describe resourcequota shows what is used; ibuild jobs list, what of it is yours"
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "is being terminated"):
		e.Hint = "the namespace is being deleted: wait, or take another --namespace"
	case apierrors.IsForbidden(err) && (strings.Contains(err.Error(), "denied the request") || strings.Contains(err.Error(), "ValidatingAdmissionPolicy")):
		e.Hint = "a policy of the cluster forbids it: ask who runs the cluster"
	case apierrors.IsForbidden(err):
		e.Refusal, e.Hint = NoRights, rightsHint(c.Namespace)
	case apierrors.IsNotFound(err):
		e.Refusal = NotThere
		if strings.Contains(err.Error(), "namespaces") {
			e.Hint = "kubectl get namespaces lists those that there are; take another --namespace, or have it made"
		}
	case outage(err):
		e.Refusal, e.Hint = NoAnswer, "is it the right --context, and is this machine allowed to reach it (VPN, authorized networks)? kubectl cluster-info asks the same"
	}
	return e
}

// rightsHint says who can give the rights that jobs take.
func rightsHint(namespace string) string {
	return "whoever runs the cluster can give you the role edit in the namespace: kubectl create rolebinding NAME --clusterrole edit --user YOU --namespace " + namespace
}
