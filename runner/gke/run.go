package gke

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Run is a job that is in the cluster. It may be used from several goroutines.
type Run struct {
	Cluster   *Cluster
	Namespace string
	Name      string
	Kind      string // "Job" or "JobSet"

	object *unstructured.Unstructured // as it was read or made
}

// Fact is what ibuild noted of the job under a name of Job.Facts, empty when there is nothing.
func (r *Run) Fact(name string) string { return r.object.GetAnnotations()[Domain+name] }

// Created is when the job was submitted, by the cluster's clock.
func (r *Run) Created() time.Time { return r.object.GetCreationTimestamp().Time }
