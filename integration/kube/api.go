package kube

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resources that the harness itself reads and writes, by the dynamic client as
// runner/gke does.
var (
	nodes           = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	serviceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	configMaps      = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	events          = schema.GroupVersionResource{Version: "v1", Resource: "events"}
	pods            = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	crds            = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

// node is a Node object as it is now.
func (c *Cluster) node(ctx context.Context, name string) (*corev1.Node, error) {
	object, err := c.Client.Resource(nodes).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	node := &corev1.Node{}
	return node, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, node)
}
