package gke

import corev1 "k8s.io/api/core/v1"

// Kind is what does a job's work.
type Kind string

// The kinds of accelerators. They name the base images of prebuilt mode, too.
const (
	CPU Kind = "cpu"
	GPU Kind = "gpu"
	TPU Kind = "tpu"
)

// Accelerator is what a job asks for, resolved: nothing in it is ambiguous.
// Resolve makes it of a text such as "a100x4" or "tpu:v5p:2x2x1".
type Accelerator struct {
	Kind     Kind
	Name     string   // "cpu", "l4", "v5e": ibuild's own name, without a count
	Label    string   // value of cloud.google.com/gke-accelerator or gke-tpu-accelerator; empty for a CPU, and for a GPU of any kind
	Topology string   // of a TPU slice, "2x2x1"; else empty
	Chips    int      // GPUs of the pod, or chips of one TPU slice; 0 for a CPU
	Hosts    int      // pods that one slice needs; 1 but for a TPU slice of several hosts
	PerHost  int      // devices that each pod asks for: Chips / Hosts
	Arch     string   // "amd64" or "arm64": the platform of the image follows from it
	Machines []string // machine types that have it, for people; may hold patterns such as "n1-*"
	Machine  string   // the one machine type that the text insists on; empty for any that fits
	Spot     bool     // the text ended in ":spot"
	Note     string   // how an ambiguous number was read, for people; empty if nothing was
}

// Resource is the name under which a node offers the devices, empty for a CPU.
func (a Accelerator) Resource() string {
	switch a.Kind {
	case GPU:
		return "nvidia.com/gpu"
	case TPU:
		return "google.com/tpu"
	}
	return ""
}

// NodeLabels are those of the nodes that have the accelerator, as GKE sets them.
func (a Accelerator) NodeLabels() map[string]string {
	labels := map[string]string{corev1.LabelArchStable: a.Arch}
	set := func(label, value string) {
		if value != "" {
			labels[label] = value
		}
	}
	switch a.Kind {
	case GPU:
		set(gpuLabel, a.Label)
	case TPU:
		set(tpuLabel, a.Label)
		set(topologyLabel, a.Topology)
	}
	set(corev1.LabelInstanceTypeStable, a.Machine)
	if a.Spot {
		labels[spotLabel] = "true"
	}
	return labels
}
