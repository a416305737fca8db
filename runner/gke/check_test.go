package gke

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// poolNode is a node of a pool with devices, tainted as GKE taints it.
func poolNode(name string, labels map[string]string, device string, count int64, taints ...string) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/arch": "amd64", "cloud.google.com/gke-nodepool": name}}}
	for key, value := range labels {
		n.Labels[key] = value
	}
	if device != "" {
		n.Status.Allocatable = corev1.ResourceList{corev1.ResourceName(device): *resource.NewQuantity(count, resource.DecimalSI)}
		taints = append(taints, device)
	}
	for _, key := range taints {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Value: "present", Effect: corev1.TaintEffectNoSchedule})
	}
	return n
}

// TestFitting: a node fits by labels, devices and taints; what it is busy with does not count.
func TestFitting(t *testing.T) {
	gpu := func(kind string) map[string]string {
		return map[string]string{"cloud.google.com/gke-accelerator": kind}
	}
	all := []corev1.Node{
		poolNode("cpu", nil, "", 0),
		poolNode("own", nil, "", 0, "team"),
		poolNode("new", nil, "", 0, "node.kubernetes.io/not-ready"),
		poolNode("l4", gpu("nvidia-l4"), "nvidia.com/gpu", 1),
		poolNode("l4-2", gpu("nvidia-l4"), "nvidia.com/gpu", 2),
		poolNode("spot", map[string]string{"cloud.google.com/gke-accelerator": "nvidia-l4", "cloud.google.com/gke-spot": "true"}, "nvidia.com/gpu", 1, "cloud.google.com/gke-spot"),
		poolNode("arm", map[string]string{"kubernetes.io/arch": "arm64"}, "", 0, "kubernetes.io/arch"),
	}
	for _, c := range []struct {
		accelerator string
		spot        bool
		want        []string
	}{
		{"cpu", false, []string{"cpu", "new"}},
		{"l4", false, []string{"l4", "l4-2"}},
		{"l4x2", false, []string{"l4-2"}},
		{"l4x4", false, nil},
		{"l4", true, []string{"spot"}},
		{"a100", false, nil},
		{"v5e-4", false, nil},
	} {
		a, err := Resolve(c.accelerator, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := fitting(all, Job{Accelerator: a, Spot: c.spot}).Nodes; !slices.Equal(got, c.want) {
			t.Errorf("%s (spot %v): %v, want %v", c.accelerator, c.spot, got, c.want)
		}
	}
}
