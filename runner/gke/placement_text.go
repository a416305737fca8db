package gke

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// ready is the placement in words when the job can start now; empty when it cannot.
func (n need) ready(fit []Pool) string {
	soon := slices.DeleteFunc(slices.Clone(fit), func(p Pool) bool { return n.free(p) < n.hosts })
	if len(soon) < n.slices || len(soon) == 0 {
		return ""
	}
	if n.slices > 1 {
		return fmt.Sprintf("pools %s, a slice each", namesOf(soon[:n.slices]))
	}
	p := soon[0]
	if p.room == nil {
		return fmt.Sprintf("pool %s, %s", p.Name, nodesText(p.Ready))
	}
	return fmt.Sprintf("pool %s, %d of %s free", p.Name, n.free(p), nodesText(p.Nodes))
}

// later is the placement in words when the job has to wait for nodes.
func (n need) later(fit []Pool) string {
	if n.slices > 1 {
		return fmt.Sprintf("pools %s, a slice each; not all of them have free nodes now", namesOf(fit[:n.slices]))
	}
	p := fit[0]
	free := n.free(p)
	text := fmt.Sprintf("pool %s, %d of %s free, of %d that the job needs", p.Name, free, nodesText(p.Nodes), n.hosts)
	if p.Nodes == 0 {
		text = "pool " + p.Name + ", which is empty"
	}
	missing := n.hosts - free
	switch {
	case p.Grows && (p.Max == 0 || p.Nodes+missing <= p.Max):
		text += ": the autoscaler has to make " + nodesText(missing)
	case p.Nodes < n.hosts:
		text += ": nobody makes its nodes by itself (gcloud container clusters resize CLUSTER --node-pool " + p.Name + fmt.Sprintf(" --num-nodes %d)", n.hosts)
	default:
		text += ": the job waits for others to end, as long as --wait allows"
	}
	if p.Trouble != "" {
		text += "; " + p.Trouble
	}
	return text
}

func namesOf(pools []Pool) string {
	var names []string
	for _, p := range pools {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// lacks says what of a job a pool cannot hold, ever; nothing for one that fits.
func (n need) lacks(p Pool) []string {
	if p.Opaque {
		return nil
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(n.labels)) {
		has := p.labels[name]
		if _, asked := n.job.Selector[name]; asked && len(has) == 0 && p.Nodes == 0 && ofTheSystem(name) {
			continue // nodes may have it when they are made
		}
		if !slices.Contains(has, n.labels[name]) {
			list = append(list, lackText(name, n.labels[name], strings.Join(has, " or ")))
		}
	}
	for _, t := range p.taints {
		if !n.tolerates(t) {
			list = append(list, "it is kept for others by the taint "+t.Key+optional("=", t.Value))
		}
	}
	a := n.job.Accelerator
	switch {
	case a.Resource() != "" && p.Resource != a.Resource():
		list = append(list, "it has no "+a.Resource())
	case p.Devices > 0 && p.Devices < a.PerHost:
		list = append(list, fmt.Sprintf("its nodes have %s each, not %d", counted(p.Devices, "device"), a.PerHost))
	}
	if most := max(p.Max, p.Nodes); p.Grows && p.Max > 0 && most < n.hosts {
		list = append(list, fmt.Sprintf("it has at most %s, and the job needs %d", nodesText(most), n.hosts))
	} else if !p.Grows && p.Nodes > 0 && p.Nodes < n.hosts {
		list = append(list, fmt.Sprintf("it has %s, and the job needs %d", nodesText(p.Nodes), n.hosts))
	}
	if want := n.requests[corev1.ResourceCPU]; !p.cpu.IsZero() && want.Cmp(p.cpu) > 0 {
		list = append(list, fmt.Sprintf("its nodes have %s CPUs for pods, not %s", p.cpu.String(), want.String()))
	}
	if want := n.requests[corev1.ResourceMemory]; !p.memory.IsZero() && want.Cmp(p.memory) > 0 {
		list = append(list, fmt.Sprintf("its nodes have %s of memory for pods, not %s", p.memory.String(), want.String()))
	}
	return list
}

// ofTheSystem says that Kubernetes or GKE put a label on nodes, and not the pool's owner.
func ofTheSystem(label string) bool {
	domain, _, _ := strings.Cut(label, "/")
	return domain == "kubernetes.io" || domain == "cloud.google.com" || strings.HasSuffix(domain, ".kubernetes.io") || strings.HasSuffix(domain, ".gke.io")
}

func optional(what, text string) string {
	if text == "" {
		return ""
	}
	return what + text
}

// lackText says which label is missing, or other than it has to be.
func lackText(label, want, has string) string {
	short := label[strings.LastIndex(label, "/")+1:]
	if has == "" {
		return "it has no " + short + " " + want
	}
	return "its " + short + " is " + has + ", not " + want
}

// tolerates says whether the job's pods may go to nodes with a taint. GKE adds
// tolerations by itself for the devices and the compute class that a pod asks for.
func (n need) tolerates(t corev1.Taint) bool {
	if t.Key == n.job.Accelerator.Resource() && t.Key != "" || t.Key == classLabel && n.labels[classLabel] == t.Value {
		return true
	}
	return slices.ContainsFunc(n.tolerations, func(have corev1.Toleration) bool {
		return have.Key == t.Key && (have.Operator == corev1.TolerationOpExists || have.Value == t.Value)
	})
}

// distance is how far a pool is from holding the job: another sort of accelerator is
// further than another kind of it, and that further than anything else. What the
// job's owner chose by name comes in between; of equals the one with more devices is nearer.
func (n need) distance(c candidate) int {
	d := 100 * len(c.lacks)
	for name, value := range n.job.Selector {
		if !slices.Contains(c.pool.labels[name], value) {
			d += 1_000
		}
	}
	if c.pool.Accelerator != n.job.Accelerator.Label {
		d += 10_000
	}
	if c.pool.Resource != n.job.Accelerator.Resource() {
		d += 100_000
	}
	return d - min(c.pool.Devices, 99)
}

// wants is what a job asks of a node, in words.
func (n need) wants() string {
	a := n.job.Accelerator
	var list []string
	for _, name := range slices.Sorted(maps.Keys(n.labels)) {
		list = append(list, name+"="+n.labels[name])
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		if q, ok := n.requests[name]; ok {
			list = append(list, string(name)+" "+q.String())
		}
	}
	text := strings.Join(list, ", ")
	if a.Kind == CPU {
		return text
	}
	return fmt.Sprintf("%d %s on each of %s, %s", a.PerHost, a.Resource(), nodesText(n.hosts*n.slices), text)
}
