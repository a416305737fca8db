package gke

import (
	"maps"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// pool is the pool as its nodes will be: with the labels and taints that GKE puts
// on them. Nodes are not counted here.
func (g googlePool) pool() *Pool {
	labels := maps.Clone(g.Config.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[nodePoolLabel], labels[corev1.LabelInstanceTypeStable], labels[corev1.LabelArchStable] = g.Name, g.Config.Machine, archOf(g.Config.Machine)
	kind, devices := g.accelerator(labels)
	if g.Config.Spot {
		labels[spotLabel] = "true"
	}
	if g.Config.FlexStart {
		labels[flexStartLabel] = "true"
	}
	if g.Queued.Enabled {
		labels[queuedLabel] = "true"
	}
	if list := g.Config.Reservation.Values; len(list) > 0 {
		labels[reservationLabel] = path.Base(list[0])
	}
	p := newPool(g.Name, labels)
	p.Devices = devices
	p.taints = g.taints(kind)
	p.Idle = -1
	p.know(map[string]string{corev1.LabelOSStable: "linux"})
	g.growth(p)
	return p
}

// growth says how far GKE makes nodes for a pool.
func (g googlePool) growth(p *Pool) {
	p.Grows, p.Max = g.Autoscaling.Enabled, 0
	for _, zone := range g.Locations {
		region := zone[:max(0, strings.LastIndex(zone, "-"))]
		p.know(map[string]string{corev1.LabelTopologyZone: zone, corev1.LabelTopologyRegion: region})
	}
	if p.Grows {
		p.Max = max(g.Autoscaling.TotalMax, g.Autoscaling.Max*max(1, len(g.Locations)))
	}
	switch g.Status {
	case "ERROR", "STOPPING", "RUNNING_WITH_ERROR":
		p.Trouble = "GKE says that it is " + strings.ToLower(strings.ReplaceAll(g.Status, "_", " "))
		if len(g.Conditions) > 0 {
			p.Trouble += ": " + oneLine(g.Conditions[0].Message)
		}
	}
}

// accelerator finds the devices of each node, and sets their labels. A machine type
// tells what belongs to it; GPUs can be put into others.
func (g googlePool) accelerator(labels map[string]string) (kind Kind, devices int) {
	for _, e := range Catalogue() {
		for _, o := range e.Options {
			if !slices.Contains(o.Machines, g.Config.Machine) || e.Kind == TPU && kind == TPU {
				continue
			}
			kind, devices = e.Kind, o.PerHost()
			labels[e.deviceLabel()] = e.Label
			if e.Kind == TPU {
				labels[topologyLabel] = o.Topology
			}
		}
	}
	if g.Placement.Topology != "" && kind == TPU {
		labels[topologyLabel] = g.Placement.Topology
	}
	if list := g.Config.Accelerators; len(list) > 0 && list[0].Type != "" {
		kind, devices = GPU, int(list[0].Count)
		labels[gpuLabel] = list[0].Type
		if list[0].Partition != "" {
			devices = 0 // a GPU makes several: how many is not known here
		}
	}
	return kind, devices
}

// deviceLabel is the label of nodes that names the accelerator.
func (e Entry) deviceLabel() string {
	if e.Kind == TPU {
		return tpuLabel
	}
	return gpuLabel
}

// taints are those of the pool's configuration, and the one that GKE puts on nodes with devices.
func (g googlePool) taints(kind Kind) []corev1.Taint {
	var list []corev1.Taint
	if name := (Accelerator{Kind: kind}).Resource(); name != "" {
		list = append(list, corev1.Taint{Key: name, Value: "present", Effect: corev1.TaintEffectNoSchedule})
	}
	for _, t := range g.Config.Taints {
		effect := map[string]corev1.TaintEffect{"NO_SCHEDULE": corev1.TaintEffectNoSchedule, "NO_EXECUTE": corev1.TaintEffectNoExecute}[t.Effect]
		if effect != "" {
			list = append(list, corev1.Taint{Key: t.Key, Value: t.Value, Effect: effect})
		}
	}
	return list
}

// archOf is the architecture of a machine type: Google's own Arm processors, and
// those of Grace.
func archOf(machine string) string {
	family, _, _ := strings.Cut(machine, "-")
	if slices.Contains([]string{"t2a", "c4a", "n4a", "a4x"}, family) {
		return "arm64"
	}
	return "amd64"
}
