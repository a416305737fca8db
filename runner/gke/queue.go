package gke

import (
	"context"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Queue is one of Kueue's local queues.
type Queue struct {
	Name     string `json:"name"`
	Cluster  string `json:"clusterQueue"`      // that it hands jobs to
	Pending  int    `json:"pending"`           // workloads that wait in it
	Admitted int    `json:"admitted"`          // workloads that run
	Stopped  string `json:"stopped,omitempty"` // why it takes no jobs now, in words
}

// queues reads Kueue's queues of a namespace.
func (r reader) queues(ctx context.Context, version, namespace string) ([]Queue, error) {
	var page struct {
		Items []struct {
			Metadata metav1.ObjectMeta `json:"metadata"`
			Spec     struct {
				Cluster string `json:"clusterQueue"`
				Stop    string `json:"stopPolicy"`
			} `json:"spec"`
			Status struct {
				Pending    int                `json:"pendingWorkloads"`
				Admitted   int                `json:"admittedWorkloads"`
				Conditions []metav1.Condition `json:"conditions"`
			} `json:"status"`
		} `json:"items"`
	}
	if err := r.read(ctx, &page, "/apis/"+kueueGroup+"/"+version+"/namespaces/"+namespace+"/localqueues", "limit", nodePage); err != nil {
		return nil, err
	}
	var list []Queue
	for _, i := range page.Items {
		q := Queue{Name: i.Metadata.Name, Cluster: i.Spec.Cluster, Pending: i.Status.Pending, Admitted: i.Status.Admitted}
		if i.Spec.Stop != "" && i.Spec.Stop != "None" {
			q.Stopped = "its stop policy is " + oneLine(i.Spec.Stop)
		}
		for _, c := range i.Status.Conditions {
			if c.Type == "Active" && c.Status == metav1.ConditionFalse {
				q.Stopped = oneLine(c.Reason + ": " + c.Message)
			}
		}
		list = append(list, q)
	}
	return list, nil
}

func queueNames(list []Queue) string {
	if len(list) == 0 {
		return "no queues in the namespace"
	}
	var names []string
	for _, q := range list {
		names = append(names, q.Name)
	}
	return strings.Join(names, ", ")
}
