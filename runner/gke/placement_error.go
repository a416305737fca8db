package gke

import (
	"fmt"
	"strings"
)

// PlaceError says that no node of the cluster can ever hold a job.
type PlaceError struct {
	Wants   string   // what the job asks of a node
	There   []string // what there is instead: pools with what they have, the nearest first
	Nearest string   // what the nearest pool lacks; empty when there is none
	Command string   // by which somebody who may can make such a pool; nothing runs it
}

// Error says what is asked for.
func (e *PlaceError) Error() string {
	text := "no node of the cluster can hold the job, which asks for " + e.Wants
	if e.Nearest != "" {
		text += "\nthe nearest: " + e.Nearest
	}
	return text
}

// Hint lists the pools that there are.
func (e *PlaceError) Hint() string {
	text := "the cluster has no nodes, and no autoscaler that could make any"
	if len(e.There) > 0 {
		text = "there are the node pools " + strings.Join(e.There, "; ") + ". Take an --accelerator of theirs, or have a pool made"
	}
	if e.Command != "" {
		text += ":\n" + e.Command
	}
	return text
}

// maxShown is how many pools an error names.
const maxShown = 12

// newPlaceError says why nothing fits. Pools that fit are too few then: each slice wants one.
func newPlaceError(n need, fit []Pool, others []candidate, name gkeName) *PlaceError {
	e := &PlaceError{Wants: n.wants(), Command: n.command(name)}
	if len(fit) > 0 {
		e.Nearest = fmt.Sprintf("each of %d slices needs a pool of its own, and only %s would do", n.slices, namesOf(fit))
	} else if len(others) > 0 {
		e.Nearest = "pool " + others[0].pool.Name + ": " + strings.Join(others[0].lacks, "; ")
	}
	for _, p := range fit {
		e.There = append(e.There, p.String())
	}
	for _, o := range others {
		e.There = append(e.There, o.pool.String())
	}
	if more := len(e.There) - maxShown; more > 0 {
		e.There = append(e.There[:maxShown], fmt.Sprintf("and %d more", more))
	}
	return e
}

// command is gcloud's for a pool that holds the job, as documented by `gcloud
// container node-pools create`.
func (n need) command(name gkeName) string {
	a := n.job.Accelerator
	if a.Kind == CPU && !onSpot(n.job) {
		return ""
	}
	pool := a.Name
	if a.Topology != "" {
		pool += "-" + a.Topology
	}
	parts := []string{"gcloud container node-pools create " + pool, name.flags()}
	if machine := n.machine(); machine != "" {
		parts = append(parts, "--machine-type "+machine)
	}
	switch {
	case a.Kind == GPU && a.Label != "":
		parts = append(parts, fmt.Sprintf("--accelerator type=%s,count=%d,gpu-driver-version=default", a.Label, a.PerHost))
	case n.hosts > 1:
		parts = append(parts, "--tpu-topology "+a.Topology)
	}
	parts = append(parts, n.ways()...)
	return strings.Join(append(parts, fmt.Sprintf("--num-nodes 0 --enable-autoscaling --total-min-nodes 0 --total-max-nodes %d", n.hosts)), " ")
}

// machine is the type that the job insists on, or the first that has the accelerator.
func (n need) machine() string {
	a := n.job.Accelerator
	switch {
	case a.Machine != "":
		return a.Machine
	case len(a.Machines) > 0:
		return strings.Replace(a.Machines[0], "n1-*", "n1-standard-8", 1)
	}
	return ""
}

// ways are the flags for how the machines are had.
func (n need) ways() []string {
	var list []string
	if onSpot(n.job) {
		list = append(list, "--spot")
	}
	if n.job.FlexStart {
		list = append(list, "--flex-start", "--reservation-affinity=none")
	}
	if n.job.Reservation != "" {
		list = append(list, "--reservation-affinity=specific --reservation="+n.job.Reservation)
	}
	if class := n.labels[classLabel]; class != "" {
		list = append(list, "--node-labels="+classLabel+"="+class)
	}
	return list
}
