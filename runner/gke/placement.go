package gke

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
)

// Placement is what the cluster says about a job before anything is built.
type Placement struct {
	Pools []Pool   // that can hold the job, those where it starts soonest first; empty when a pool has to be made, or that is not known
	Note  string   // where the job will run, in words
	Notes []string // what else there is to know: what could not be read, what the job may wait for
}

// need is what a job asks of nodes.
type need struct {
	job         Job
	labels      map[string]string
	tolerations []corev1.Toleration
	requests    corev1.ResourceList // of each pod
	hosts       int                 // nodes of each slice
	slices      int
}

func needOf(j Job) need {
	spec := podSpec(j)
	return need{job: j, labels: spec.NodeSelector, tolerations: spec.Tolerations, requests: spec.Containers[0].Resources.Requests,
		hosts: hostsOf(j), slices: slicesOf(j)}
}

// place finds out where a job can run. Nodes that fit are asked for first; all the
// others are read only when that is not enough, to name them. GKE's API is asked
// from the start, and waited for when nothing else has settled it.
func (c *Cluster) place(ctx context.Context, r reader, j Job) (Placement, error) {
	n := needOf(j)
	answer := c.google(ctx)
	devices := j.Accelerator.Kind != CPU
	s, err := r.look(ctx, c.Namespace, labels.SelectorFromSet(n.labels).String(), devices)
	if err != nil {
		return Placement{}, c.explain(err, "list nodes")
	}
	if p, ok := s.now(n); ok {
		return p, nil
	}
	if c.isGoogle() {
		a := <-answer
		s.add(a.cluster, a.err)
	}
	if s.nodes, err = r.nodes(ctx, ""); err != nil && !apierrors.IsForbidden(err) {
		return Placement{}, c.explain(err, "list nodes")
	}
	return s.place(n, c.name)
}

// now is the placement when nodes that are there take the job at once.
func (s *survey) now(n need) (Placement, bool) {
	fit, _ := n.sort(s.pools())
	if ready := n.ready(fit); ready != "" {
		return Placement{Pools: fit, Note: ready}, true
	}
	return Placement{}, false
}

// place decides where a job can run. Only what cannot be is an error, a
// *PlaceError: where something may hide a pool, or make one, the job may be placed.
func (s *survey) place(n need, name gkeName) (Placement, error) {
	fit, others := n.sort(s.pools())
	if n.enough(fit) {
		text := n.ready(fit)
		if text == "" {
			text = n.later(fit)
		}
		return Placement{Pools: fit, Note: text}, nil
	}
	if text := s.maybe(n, others); text != "" {
		return Placement{Pools: fit, Note: text, Notes: s.unseen}, nil
	}
	return Placement{}, newPlaceError(n, fit, others, name)
}

// maybe says who may make nodes for a job that no known pool can hold; empty for nobody.
func (s *survey) maybe(n need, others []candidate) string {
	class := n.labels[classLabel]
	google := s.google
	var opaque []string
	for _, o := range others {
		if o.pool.Opaque {
			opaque = append(opaque, o.pool.Name)
		}
	}
	switch {
	case google != nil && google.Autopilot.Enabled:
		return "Autopilot makes the nodes for it"
	case slices.Contains(s.makers, class) || class == "" && google != nil && google.Autoscaling.DefaultClass.Enabled && slices.Contains(s.makers, "default"):
		return "no node fits now; the compute class " + cmp.Or(class, "of the namespace") + " may make some"
	case google != nil && google.Autoscaling.MakesPools:
		return "no node fits now; node auto-provisioning may make some" + google.limit(n)
	case len(opaque) > 0:
		return "no node fits now; the autoscaler may fill what is empty, of which the machines cannot be seen from here: " + strings.Join(opaque, ", ")
	case len(s.unseen) > 0:
		return "whether a pool fits cannot be seen: " + strings.Join(s.unseen, "; ")
	}
	return ""
}

// limit notes that auto-provisioning has no leave to make such nodes, or not as many.
// It is a note: compute classes and newer versions of GKE go by other limits.
func (g *googleCluster) limit(n need) string {
	a := n.job.Accelerator
	want := int64(a.Chips) * int64(n.slices)
	for _, l := range g.Autoscaling.Limits {
		if l.Type == a.Label && l.Maximum < want {
			return fmt.Sprintf(" (its limit for %s is %d, and the job asks for %d)", a.Label, l.Maximum, want)
		}
		if l.Type == a.Label {
			return ""
		}
	}
	if a.Label == "" {
		return ""
	}
	return " (its limits do not name " + a.Label + ")"
}

// candidate is a pool that does not fit, with what it lacks.
type candidate struct {
	pool  Pool
	lacks []string
}

// sort tells pools that fit from the others. Those where the job starts soonest, and
// those that come nearest, are in front.
func (n need) sort(pools []Pool) (fit []Pool, others []candidate) {
	for _, p := range pools {
		if lacks := n.lacks(p); len(lacks) > 0 || p.Opaque {
			others = append(others, candidate{p, lacks})
		} else {
			fit = append(fit, p)
		}
	}
	slices.SortStableFunc(fit, func(a, b Pool) int { return n.rank(a) - n.rank(b) })
	slices.SortStableFunc(others, func(a, b candidate) int { return n.distance(a) - n.distance(b) })
	return fit, others
}

// rank orders pools by how soon a slice can start there.
func (n need) rank(p Pool) int {
	switch {
	case n.free(p) >= n.hosts:
		return 0
	case p.Grows && p.Trouble == "":
		return 1
	case p.Nodes > 0:
		return 2
	}
	return 3
}

// free is how many nodes of a pool could take a pod of the job now. Where that is
// not known it is those that are ready.
func (n need) free(p Pool) int {
	if p.room == nil {
		return p.Ready
	}
	free := 0
	for _, devices := range p.room {
		if devices >= int64(n.job.Accelerator.PerHost) {
			free++
		}
	}
	return free
}

// enough says that there is a place for each slice: JobSet gives each a pool of its own.
func (n need) enough(fit []Pool) bool { return len(fit) > 0 && (n.slices == 1 || len(fit) >= n.slices) }
