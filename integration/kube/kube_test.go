package kube

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"
)

func TestGKENodes(t *testing.T) {
	for name, test := range map[string]struct {
		hosts, devices int
		labels         map[string]string
	}{
		CPU: {1, 0, map[string]string{"cloud.google.com/machine-family": "e2"}},
		L4: {1, 1, map[string]string{
			"cloud.google.com/gke-accelerator": "nvidia-l4", "cloud.google.com/gke-accelerator-count": "1", corev1.LabelInstanceTypeStable: "g2-standard-4",
		}},
		A100x4: {1, 4, map[string]string{
			"cloud.google.com/gke-accelerator": "nvidia-tesla-a100", "cloud.google.com/gke-accelerator-count": "4", corev1.LabelInstanceTypeStable: "a2-highgpu-4g",
		}},
		V5E: {1, 4, map[string]string{
			"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice", "cloud.google.com/gke-tpu-topology": "2x2", corev1.LabelInstanceTypeStable: "ct5lp-hightpu-4t",
		}},
		V5ESlice: {4, 4, map[string]string{
			"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice", "cloud.google.com/gke-tpu-topology": "4x4", "cloud.google.com/gke-accelerator-count": "4",
		}},
	} {
		nodes, err := GKENodes(name)
		if err != nil || len(nodes) != test.hosts {
			t.Errorf("%s: %d nodes, %v", name, len(nodes), err)
		}
		for _, n := range nodes {
			if n.Devices != test.devices || (len(n.Taints) > 0) != (test.devices > 0) || n.Labels["cloud.google.com/gke-nodepool"] != name {
				t.Errorf("%s: %+v", name, n)
			}
			for key, want := range test.labels {
				if n.Labels[key] != want {
					t.Errorf("%s: %s=%s, want %s", n.Name, key, n.Labels[key], want)
				}
			}
		}
	}
	if all, err := GKENodes(); err != nil || len(all) != 8 {
		t.Errorf("all: %d nodes, %v", len(all), err)
	}
	if _, err := GKENodes("v6e"); err == nil || !strings.Contains(err.Error(), "l4") {
		t.Errorf("an unknown pool: %v", err)
	}
}

func TestFlagsOfANode(t *testing.T) {
	n := Node{Labels: map[string]string{"b": "2", "a": "1"}, Taints: []corev1.Taint{{Key: "k", Value: "v", Effect: "NoSchedule"}, {Key: "only-key", Effect: "NoExecute"}}}
	if got := n.labelFlag(); got != "a=1,b=2" {
		t.Errorf("labels: %s", got)
	}
	if got := n.taintFlag(); got != "k=v:NoSchedule,only-key:NoExecute" {
		t.Errorf("taints: %s", got)
	}
}

func TestUsable(t *testing.T) {
	l4 := Node{Resource: gpuResource, Devices: 1}
	ready := func(change func(*corev1.Node)) *corev1.Node {
		node := &corev1.Node{}
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
		node.Status.Allocatable = corev1.ResourceList{gpuResource: resource.MustParse("1")}
		change(node)
		return node
	}
	for what, test := range map[string]struct {
		change func(*corev1.Node)
		want   bool
	}{
		"ready":      {func(*corev1.Node) {}, true},
		"tainted":    {func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: notReady}} }, false},
		"its own":    {func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "nvidia.com/gpu"}} }, true},
		"no devices": {func(n *corev1.Node) { n.Status.Allocatable = nil }, false},
		"not ready":  {func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionUnknown }, false},
	} {
		if got := l4.usable(ready(test.change)); got != test.want {
			t.Errorf("%s: %t", what, got)
		}
	}
}

func TestVersionIsThatOfTheModule(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join("..", "kubernetes", "go.mod"))
	if err != nil || !strings.Contains(string(mod), "k8s.io/kubernetes "+kubernetesVersion+"\n") {
		t.Errorf("go.mod does not have %s: %v", kubernetesVersion, err)
	}
}

func TestAutoscalerStatus(t *testing.T) {
	text, err := yaml.Marshal(autoscalerStatus(time.Unix(0, 0), []PoolStatus{
		{Name: "h100", Size: 2, Max: 4}, {Name: "v6e", Max: 1, Backoff: "QUOTA_EXCEEDED", BackoffCause: "no more"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	var status struct {
		ClusterWide struct {
			Health struct {
				NodeCounts struct{ Registered struct{ Ready int } }
			}
		}
		NodeGroups []struct {
			Name    string
			Health  struct{ CloudProviderTarget, MinSize, MaxSize int }
			ScaleUp struct {
				Status      string
				BackoffInfo struct{ ErrorCode, ErrorMessage string }
			}
		}
	}
	if err := yaml.Unmarshal(text, &status); err != nil {
		t.Fatal(err)
	}
	if status.ClusterWide.Health.NodeCounts.Registered.Ready != 2 || len(status.NodeGroups) != 2 {
		t.Fatalf("%+v", status)
	}
	if g := status.NodeGroups[0]; g.Health.CloudProviderTarget != 2 || g.Health.MaxSize != 4 || g.ScaleUp.Status != "NoActivity" || !strings.HasSuffix(g.Name, "/gke-ibuild-h100-0123abcd-grp") {
		t.Errorf("%+v", g)
	}
	if g := status.NodeGroups[1]; g.ScaleUp.Status != "Backoff" || g.ScaleUp.BackoffInfo.ErrorCode != "QUOTA_EXCEEDED" || g.ScaleUp.BackoffInfo.ErrorMessage != "no more" {
		t.Errorf("%+v", g)
	}
}

func TestGroupsAreRemovedFromTheInside(t *testing.T) {
	top := t.TempDir()
	if err := os.MkdirAll(filepath.Join(top, "a", "b", "c"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing
		if err := removeGroups(filepath.Join(top, "a")); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := os.ReadDir(top); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestReachWantsLoopback(t *testing.T) {
	c := &Cluster{}
	for _, address := range []string{"localhost:80", "127.0.0.1", "10.0.0.1:80", "http://127.0.0.1:80", pauseAddress} {
		if err := c.Reach(address); err == nil {
			t.Errorf("%s was taken", address)
		}
	}
}
