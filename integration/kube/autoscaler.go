package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// No autoscaler runs in a cluster here. What follows writes what one writes on
// GKE, so that tests see how ibuild reads it: data of tests, in the format of
// the cluster autoscaler since 1.30.

// PoolStatus is what the autoscaler says of a node pool.
type PoolStatus struct {
	Name         string // of the pool
	Size         int    // of nodes now
	Min, Max     int
	Backoff      string // error code that it backs off for, such as QUOTA_EXCEEDED; empty for none
	BackoffCause string // what the cloud said
}

// groupURL is the name of a pool's node group, as GKE builds it.
func groupURL(pool string) string {
	return "https://www.googleapis.com/compute/v1/projects/ibuild-test/zones/" + zone + "/instanceGroups/gke-ibuild-" + pool + "-0123abcd-grp"
}

// EmptyPools writes the autoscaler's status with pools of size zero that can
// grow up to max nodes each.
func (c *Cluster) EmptyPools(ctx context.Context, maxNodes int, names ...string) error {
	var pools []PoolStatus
	for _, name := range names {
		pools = append(pools, PoolStatus{Name: name, Max: maxNodes})
	}
	return c.AutoscalerStatus(ctx, pools...)
}

// AutoscalerStatus writes the ConfigMap kube-system/cluster-autoscaler-status
// in place of the one that is there.
func (c *Cluster) AutoscalerStatus(ctx context.Context, pools ...PoolStatus) error {
	status, err := yaml.Marshal(autoscalerStatus(time.Now(), pools))
	if err != nil {
		return err
	}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "ConfigMap",
		"metadata": map[string]any{
			"name": "cluster-autoscaler-status", "namespace": metav1.NamespaceSystem,
			"annotations": map[string]any{"cluster-autoscaler.kubernetes.io/last-updated": time.Now().UTC().String()},
		},
		"data": map[string]any{"status": string(status)},
	}}
	maps := c.Client.Resource(configMaps).Namespace(metav1.NamespaceSystem)
	err = maps.Delete(ctx, object.GetName(), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	_, err = maps.Create(ctx, object, metav1.CreateOptions{})
	return err
}

// autoscalerStatus is the content of that ConfigMap.
func autoscalerStatus(now time.Time, pools []PoolStatus) map[string]any {
	probed := now.UTC().Format(time.RFC3339)
	counts := func(n int) map[string]any {
		return map[string]any{
			"registered":       map[string]any{"total": n, "ready": n, "notStarted": 0},
			"longUnregistered": 0, "unregistered": 0,
		}
	}
	all := 0
	groups := []any{}
	for _, p := range pools {
		all += p.Size
		scaleUp := map[string]any{"status": "NoActivity", "lastProbeTime": probed}
		if p.Backoff != "" {
			scaleUp["status"] = "Backoff"
			scaleUp["backoffInfo"] = map[string]any{"errorCode": p.Backoff, "errorMessage": p.BackoffCause}
		}
		groups = append(groups, map[string]any{
			"name": groupURL(p.Name),
			"health": map[string]any{
				"status": "Healthy", "nodeCounts": counts(p.Size), "cloudProviderTarget": p.Size,
				"minSize": p.Min, "maxSize": p.Max, "lastProbeTime": probed,
			},
			"scaleUp":   scaleUp,
			"scaleDown": map[string]any{"status": "NoCandidates", "lastProbeTime": probed},
		})
	}
	return map[string]any{
		"time":             now.UTC().String(),
		"autoscalerStatus": "Running",
		"clusterWide": map[string]any{
			"health":    map[string]any{"status": "Healthy", "nodeCounts": counts(all), "lastProbeTime": probed},
			"scaleUp":   map[string]any{"status": "NoActivity", "lastProbeTime": probed},
			"scaleDown": map[string]any{"status": "NoCandidates", "lastProbeTime": probed},
		},
		"nodeGroups": groups,
	}
}

// TriggeredScaleUp writes the event by which the autoscaler says that it makes
// nodes for a pod.
func (c *Cluster) TriggeredScaleUp(ctx context.Context, namespace, pod, pool string, from, to, maxNodes int) error {
	return c.autoscalerEvent(ctx, namespace, pod, corev1.EventTypeNormal, "TriggeredScaleUp",
		fmt.Sprintf("pod triggered scale-up: [{%s %d->%d (max: %d)}]", groupURL(pool), from, to, maxNodes))
}

// NotTriggerScaleUp writes the event by which the autoscaler says why no pool
// can grow for a pod, such as "1 max node group size reached".
func (c *Cluster) NotTriggerScaleUp(ctx context.Context, namespace, pod string, reasons ...string) error {
	return c.autoscalerEvent(ctx, namespace, pod, corev1.EventTypeNormal, "NotTriggerScaleUp",
		"pod didn't trigger scale-up: "+strings.Join(reasons, ", "))
}

// FailedScaleUp writes the event by which the autoscaler says that the cloud
// has no nodes for a pod, with the cloud's code, such as
// GCE_STOCKOUT or GCE_QUOTA_EXCEEDED.
func (c *Cluster) FailedScaleUp(ctx context.Context, namespace, pod, code string) error {
	return c.autoscalerEvent(ctx, namespace, pod, corev1.EventTypeWarning, "FailedScaleUp",
		fmt.Sprintf("Node scale up in zones %s associated with this pod failed: %s. Pod is at risk of not being scheduled.", zone, code))
}

func (c *Cluster) autoscalerEvent(ctx context.Context, namespace, name, kind, reason, message string) error {
	pod, err := c.Client.Resource(pods).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return errors.Join(fmt.Errorf("an event needs its pod"), err)
	}
	now := metav1.Now()
	event := &corev1.Event{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta: metav1.ObjectMeta{GenerateName: name + ".", Namespace: namespace},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: name, UID: pod.GetUID(), ResourceVersion: pod.GetResourceVersion(),
		},
		Type: kind, Reason: reason, Message: message, Count: 1, FirstTimestamp: now, LastTimestamp: now,
		Source: corev1.EventSource{Component: "cluster-autoscaler"}, ReportingController: "cluster-autoscaler",
	}
	return c.create(ctx, events, namespace, event)
}

// create stores an object of Kubernetes' own types.
func (c *Cluster) create(ctx context.Context, resource schema.GroupVersionResource, namespace string, object any) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return err
	}
	_, err = c.Client.Resource(resource).Namespace(namespace).Create(ctx, &unstructured.Unstructured{Object: content}, metav1.CreateOptions{})
	return err
}
