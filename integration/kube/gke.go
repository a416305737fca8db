package kube

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// Resources of devices.
const (
	gpuResource corev1.ResourceName = "nvidia.com/gpu"
	tpuResource corev1.ResourceName = "google.com/tpu"
)

// Where the nodes say that they are.
const (
	region = "us-central1"
	zone   = "us-central1-a"
)

// Names of the node pools of GKENodes.
const (
	CPU      = "cpu"     // one node without devices
	L4       = "l4"      // one node with 1 nvidia-l4
	A100x4   = "a100x4"  // one node with 4 nvidia-tesla-a100
	V5E      = "v5e"     // one TPU v5e host, 2x2, with 4 chips
	V5ESlice = "v5e-4x4" // a slice of four TPU v5e hosts, 4x4, with 4 chips each
)

// machine is a machine type of Google Cloud as far as GKE's labels tell.
type machine struct {
	kind, family string
	count        int // of nodes in the pool
	labels       map[string]string
	resource     corev1.ResourceName
	devices      int
}

// pools is what GKENodes has, by the names of the pools.
func pools() map[string]machine {
	tpu := func(topology string) map[string]string {
		return map[string]string{
			"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
			"cloud.google.com/gke-tpu-topology":    topology,
		}
	}
	gpu := func(kind string) map[string]string {
		return map[string]string{"cloud.google.com/gke-accelerator": kind}
	}
	return map[string]machine{
		CPU:      {kind: "e2-standard-4", family: "e2", count: 1},
		L4:       {kind: "g2-standard-4", family: "g2", count: 1, labels: gpu("nvidia-l4"), resource: gpuResource, devices: 1},
		A100x4:   {kind: "a2-highgpu-4g", family: "a2", count: 1, labels: gpu("nvidia-tesla-a100"), resource: gpuResource, devices: 4},
		V5E:      {kind: "ct5lp-hightpu-4t", family: "ct5lp", count: 1, labels: tpu("2x2"), resource: tpuResource, devices: 4},
		V5ESlice: {kind: "ct5lp-hightpu-4t", family: "ct5lp", count: 4, labels: tpu("4x4"), resource: tpuResource, devices: 4},
	}
}

// GKENodes are the nodes of the named pools, or of all, with the labels and
// taints that GKE gives to nodes of their kinds. The names are of the kind of
// gke-ibuild-l4-0.
func GKENodes(names ...string) ([]Node, error) {
	known := pools()
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(known))
	}
	var nodes []Node
	for _, name := range names {
		m, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("no node pool %q; there are %q", name, slices.Sorted(maps.Keys(known)))
		}
		for i := range m.count {
			nodes = append(nodes, m.node(name, i))
		}
	}
	return nodes, nil
}

func (m machine) node(pool string, index int) Node {
	n := Node{
		Name:     fmt.Sprintf("gke-ibuild-%s-%d", pool, index),
		Resource: m.resource,
		Devices:  m.devices,
		Labels: map[string]string{
			"cloud.google.com/gke-nodepool":          pool,
			"cloud.google.com/gke-os-distribution":   "cos",
			"cloud.google.com/gke-container-runtime": "containerd",
			"cloud.google.com/gke-provisioning":      "standard",
			"cloud.google.com/machine-family":        m.family,
			corev1.LabelInstanceTypeStable:           m.kind,
			corev1.LabelTopologyRegion:               region,
			corev1.LabelTopologyZone:                 zone,
		},
	}
	maps.Copy(n.Labels, m.labels)
	if m.resource != "" {
		n.Labels["cloud.google.com/gke-accelerator-count"] = strconv.Itoa(m.devices)
		n.Taints = []corev1.Taint{{Key: string(m.resource), Value: "present", Effect: corev1.TaintEffectNoSchedule}}
	}
	return n
}
