package gke

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Pool is a group of nodes that are alike: a node pool of GKE, or elsewhere the
// nodes of one machine type and accelerator.
type Pool struct {
	Name        string `json:"name"`
	Machine     string `json:"machine,omitempty"`     // machine type
	Accelerator string `json:"accelerator,omitempty"` // as GKE labels it; see Accelerator.Label
	Topology    string `json:"topology,omitempty"`
	Resource    string `json:"resource,omitempty"` // of its devices, "google.com/tpu"; empty for none
	Devices     int    `json:"devices,omitempty"`  // of each node
	Arch        string `json:"arch,omitempty"`
	Spot        bool   `json:"spot,omitempty"`
	Nodes       int    `json:"nodes"`             // that exist
	Ready       int    `json:"ready"`             // of them, that take pods
	Idle        int    `json:"idle"`              // of Ready, with no device in use; -1 when that is not known
	Grows       bool   `json:"grows"`             // an autoscaler makes and removes its nodes
	Max         int    `json:"max,omitempty"`     // nodes that it may have; 0 when that is not known
	Trouble     string `json:"trouble,omitempty"` // why no nodes are made just now, in words
	Opaque      bool   `json:"opaque,omitempty"`  // it is empty, and only its name is known

	labels      map[string][]string // of its nodes, with each value that one of them has
	taints      []corev1.Taint
	cpu, memory resource.Quantity // that pods can have of its largest node; zero when not known
	room        []int64           // unused devices of each ready node; nil when not known
}

// String says what the pool has, for people: "l4 (g2-standard-4, 1 × nvidia-l4, 1 node)".
func (p Pool) String() string {
	if p.Opaque {
		return p.Name + " (empty, of unknown machines)"
	}
	var about []string
	if p.Machine != "" {
		about = append(about, p.Machine)
	}
	if p.Resource != "" {
		what := p.Accelerator
		if what == "" {
			what = p.Resource
		}
		if p.Topology != "" {
			what += " " + p.Topology
		}
		about = append(about, fmt.Sprintf("%d × %s", p.Devices, what))
	}
	if p.Spot {
		about = append(about, "spot")
	}
	size := nodesText(p.Nodes)
	if p.Nodes == 0 {
		size = "empty"
	}
	if p.Grows && p.Max > 0 {
		size += fmt.Sprintf(" of at most %d", p.Max)
	}
	return p.Name + " (" + strings.Join(append(about, size), ", ") + ")"
}

// Ask is what --accelerator takes for the pool's machines, as Resolve reads it; empty
// for a pool whose machines are not known, or not in the catalogue.
func (p Pool) Ask() string {
	if p.Resource == "" {
		if p.Opaque {
			return ""
		}
		return string(CPU)
	}
	var found string
	for _, e := range Catalogue() {
		if e.Label != p.Accelerator {
			continue
		}
		for _, o := range e.Options {
			size := o.Topology == p.Topology && (p.Devices == 0 || o.PerHost() == p.Devices)
			if size && (found == "" || slices.Contains(o.Machines, p.Machine)) {
				found = e.Name + ":" + o.Size()
				if p.Topology != "" && p.Machine != "" && len(e.Options) > 1 {
					found = e.exact(o, p.Machine)
				}
			}
		}
	}
	if found != "" && p.Spot {
		found += ":spot"
	}
	return found
}

// exact names an option, with the machine type where the size alone would mean another.
func (e Entry) exact(o Option, machine string) string {
	text := e.Name + ":" + o.Size()
	if a, err := Resolve(text, false); err == nil && a.PerHost == o.PerHost() {
		return text
	}
	return text + ":" + machine
}

func nodesText(n int) string { return counted(n, "node") }

// poolsOfNodes groups nodes. used is what pods hold of devices, by node; nil when
// that is not known.
func poolsOfNodes(nodes []corev1.Node, used map[string]int64) map[string]*Pool {
	pools := map[string]*Pool{}
	for i := range nodes {
		n := &nodes[i]
		name := poolName(n)
		p := pools[name]
		if p == nil {
			p = newPool(name, n.Labels)
			pools[name] = p
		}
		p.add(n, used)
	}
	for _, p := range pools {
		if used == nil || p.Resource == "" {
			p.Idle, p.room = -1, nil
		}
	}
	return pools
}

// poolName is GKE's label, or elsewhere what makes nodes alike.
func poolName(n *corev1.Node) string {
	if name := n.Labels[nodePoolLabel]; name != "" {
		return name
	}
	var parts []string
	for _, label := range []string{corev1.LabelInstanceTypeStable, gpuLabel, tpuLabel, topologyLabel} {
		if value := n.Labels[label]; value != "" {
			parts = append(parts, value)
		}
	}
	if len(parts) == 0 {
		return n.Name
	}
	return strings.Join(parts, "/")
}

// newPool is an empty pool whose nodes have labels.
func newPool(name string, labels map[string]string) *Pool {
	p := &Pool{Name: name, labels: map[string][]string{}, Machine: labels[corev1.LabelInstanceTypeStable], Arch: labels[corev1.LabelArchStable],
		Topology: labels[topologyLabel], Spot: labels[spotLabel] == "true"}
	p.know(labels)
	for kind, label := range map[Kind]string{GPU: gpuLabel, TPU: tpuLabel} {
		if labels[label] != "" {
			p.Accelerator, p.Resource = labels[label], Accelerator{Kind: kind}.Resource()
		}
	}
	return p
}

// know takes the labels of a node.
func (p *Pool) know(labels map[string]string) {
	for label, value := range labels {
		if !slices.Contains(p.labels[label], value) {
			p.labels[label] = append(p.labels[label], value)
		}
	}
}

// add takes a node into the pool.
func (p *Pool) add(n *corev1.Node, used map[string]int64) {
	p.Nodes++
	p.know(n.Labels)
	if taints := lasting(n.Spec.Taints); p.Nodes == 1 {
		p.taints = taints
	} else { // what only some nodes have is no trait of the pool
		p.taints = slices.DeleteFunc(p.taints, func(t corev1.Taint) bool { return !slices.Contains(taints, t) })
	}
	for _, kind := range []Kind{GPU, TPU} {
		name := Accelerator{Kind: kind}.Resource()
		if q := n.Status.Allocatable[corev1.ResourceName(name)]; q.Value() > 0 {
			p.Resource, p.Devices = name, max(p.Devices, int(q.Value()))
		}
	}
	p.cpu, p.memory = larger(p.cpu, n.Status.Allocatable[corev1.ResourceCPU]), larger(p.memory, n.Status.Allocatable[corev1.ResourceMemory])
	if !takesPods(n) {
		return
	}
	p.Ready++
	has := n.Status.Allocatable[corev1.ResourceName(p.Resource)]
	if p.Resource != "" {
		p.room = append(p.room, max(0, has.Value()-used[n.Name]))
	}
	if used[n.Name] == 0 && has.Value() > 0 {
		p.Idle++
	}
}

func larger(a, b resource.Quantity) resource.Quantity {
	if b.Cmp(a) > 0 {
		return b
	}
	return a
}

// takesPods says that new pods may go to a node now.
func takesPods(n *corev1.Node) bool {
	if n.Spec.Unschedulable {
		return false
	}
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// lasting leaves out the taints that nodes have for a time: a node that starts, is
// out of reach, or is about to be removed. They say nothing of what it is for.
func lasting(taints []corev1.Taint) []corev1.Taint {
	passing := []string{"node.kubernetes.io/", "node.cloudprovider.kubernetes.io/", "ToBeDeletedByClusterAutoscaler", "DeletionCandidateOfClusterAutoscaler", "cloud.google.com/impending-node-termination"}
	return slices.DeleteFunc(slices.Clone(taints), func(t corev1.Taint) bool {
		return t.Effect == corev1.TaintEffectPreferNoSchedule || slices.ContainsFunc(passing, func(p string) bool { return strings.HasPrefix(t.Key, p) })
	})
}
