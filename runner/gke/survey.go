package gke

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// survey is what was read about a cluster's machines at one moment. What follows
// from it is decided without asking anybody.
type survey struct {
	nodes  []corev1.Node
	used   map[string]int64 // devices that pods hold, by node; nil when that is not known
	groups []nodeGroup
	google *googleCluster // nil when GKE's API was not asked, or gave no answer
	makers []string       // compute classes that make pools for this namespace's pods, by name
	unseen []string       // what could not be read, and may hide a pool, in words
}

// classLabel names a compute class, of a pod that asks for it and of its nodes.
const classLabel = "cloud.google.com/compute-class"

// look reads what the API server has: nodes that the selector selects (all when it
// is empty), who uses them if devices is set, the autoscaler's status and compute
// classes. It fails only when the API server is out of reach; what it refuses to
// show is in unseen.
func (r reader) look(ctx context.Context, namespace, selector string, devices bool) (*survey, error) {
	s := &survey{}
	var group sync.WaitGroup
	var failed error
	group.Go(func() {
		var err error
		if s.nodes, err = r.nodes(ctx, selector); apierrors.IsForbidden(err) {
			s.unseen = append(s.unseen, "you may not list nodes")
		} else {
			failed = err
		}
	})
	if devices {
		group.Go(func() {
			if used, ok, err := r.inUse(ctx); ok && err == nil {
				s.used = used
			}
		})
	}
	var status, classes string
	group.Go(func() { s.groups, status = r.groups(ctx) })
	group.Go(func() { s.makers, classes = r.makers(ctx, namespace) })
	group.Wait()
	for _, text := range []string{status, classes} {
		if text != "" {
			s.unseen = append(s.unseen, text)
		}
	}
	return s, failed
}

// groups reads the autoscaler's status. A cluster without has no autoscaler that
// would say so.
func (r reader) groups(ctx context.Context) (groups []nodeGroup, unseen string) {
	var status corev1.ConfigMap
	err := r.read(ctx, &status, autoscalerStatusPath)
	switch {
	case apierrors.IsNotFound(err):
		return nil, ""
	case apierrors.IsForbidden(err):
		return nil, "you may not read the autoscaler's status"
	case err != nil:
		return nil, "the autoscaler's status cannot be read: " + oneLine(err.Error())
	}
	if groups, err = parseAutoscaler(status.Data[autoscalerStatusKey]); err != nil {
		return nil, "the autoscaler's status cannot be read: " + oneLine(err.Error())
	}
	return groups, ""
}

// makers reads which compute classes make pools by themselves, and for whom: "" in
// front is for every pod of the namespace, NAME for those that ask for it.
func (r reader) makers(ctx context.Context, namespace string) (makers []string, unseen string) {
	var classes struct {
		Items []struct {
			Metadata metav1.ObjectMeta `json:"metadata"`
			Spec     struct {
				Pools struct {
					Enabled bool `json:"enabled"`
				} `json:"nodePoolAutoCreation"`
			} `json:"spec"`
		} `json:"items"`
	}
	err := r.read(ctx, &classes, "/apis/cloud.google.com/v1/computeclasses", "limit", nodePage)
	switch {
	case apierrors.IsNotFound(err):
		return nil, ""
	case apierrors.IsForbidden(err):
		return nil, "you may not list compute classes"
	case err != nil:
		return nil, "compute classes cannot be read: " + oneLine(err.Error())
	}
	for _, c := range classes.Items {
		if c.Spec.Pools.Enabled {
			makers = append(makers, c.Metadata.Name)
		}
	}
	if len(makers) > 0 {
		var own struct {
			Metadata metav1.ObjectMeta `json:"metadata"`
		}
		if r.read(ctx, &own, "/api/v1/namespaces/"+namespace) == nil {
			if usual := own.Metadata.Labels["cloud.google.com/default-compute-class"]; slices.Contains(makers, usual) {
				makers = append(makers, "")
			}
		}
	}
	return makers, ""
}

// add takes GKE's answer, or that there is none.
func (s *survey) add(google *googleCluster, err error) {
	s.google = google
	if err != nil {
		s.unseen = append(s.unseen, "GKE's API says nothing of its pools: "+oneLine(err.Error()))
	}
}

// pools puts together what is known of pools, sorted by name.
func (s *survey) pools() []Pool {
	pools := poolsOfNodes(s.nodes, s.used)
	taken := map[string]bool{}
	if s.google != nil {
		for _, g := range s.google.Pools {
			p := pools[g.Name]
			if p == nil {
				p = g.pool()
				pools[g.Name] = p
			} else {
				g.growth(p)
			}
			for _, address := range g.Groups {
				taken[lastPart(address)] = true
				s.trouble(p, lastPart(address))
			}
		}
	}
	byPool := s.nodeNames()
	names := slices.SortedFunc(maps.Keys(pools), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	for _, g := range s.groups {
		if !taken[g.name] {
			s.put(g, pools, names, byPool)
		}
	}
	var list []Pool
	for _, p := range pools {
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b Pool) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// trouble notes what the autoscaler says of a group of a pool that GKE's API knows.
func (s *survey) trouble(p *Pool, group string) {
	for _, g := range s.groups {
		if g.name == group && p.Trouble == "" {
			p.Trouble = g.trouble
		}
	}
}

// nodeNames are the names of the nodes of each pool.
func (s *survey) nodeNames() map[string][]string {
	names := map[string][]string{}
	for i := range s.nodes {
		pool := poolName(&s.nodes[i])
		names[pool] = append(names[pool], s.nodes[i].Name)
	}
	return names
}

// put takes a group of the autoscaler's to the pool that it is of. One of no known
// pool is a pool by itself: it has no nodes, so that nothing tells its machines.
// Longer names come first, as the name of one pool may be the end of another's.
func (s *survey) put(g nodeGroup, pools map[string]*Pool, names []string, nodes map[string][]string) {
	for _, name := range names {
		if p := pools[name]; g.ofPool(name, nodes[name]) && !p.Opaque {
			p.Grows, p.Max = true, p.Max+g.max
			if p.Trouble == "" {
				p.Trouble = g.trouble
			}
			return
		}
	}
	p := pools[g.pool()]
	if p == nil {
		p = &Pool{Name: g.pool(), Idle: -1, Opaque: true, Grows: true}
		pools[g.pool()] = p
	}
	p.Max += g.max
	p.Trouble = cmp.Or(p.Trouble, g.trouble)
}

// Pools are those of the cluster, also empty ones as far as they can be seen. The
// notes say what could not be read, in words for people.
//
// Errors: *Error.
func (c *Cluster) Pools(ctx context.Context) (pools []Pool, notes []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	r, err := c.reader()
	if err != nil {
		return nil, nil, err
	}
	pools, notes, err = c.pools(ctx, r)
	return pools, notes, c.explain(err, "list nodes")
}

// pools is Pools with the client's own errors.
func (c *Cluster) pools(ctx context.Context, r reader) (pools []Pool, notes []string, err error) {
	answer := c.google(ctx)
	s, err := r.look(ctx, c.Namespace, "", true)
	if err != nil {
		return nil, nil, err
	}
	if c.isGoogle() {
		a := <-answer
		s.add(a.cluster, a.err)
	}
	return s.pools(), append(s.unseen, s.making()...), nil
}

// making says who makes pools that are not there yet.
func (s *survey) making() []string {
	var list []string
	if s.google != nil && s.google.Autopilot.Enabled {
		list = append(list, "it is an Autopilot cluster: Google makes nodes as pods ask for them")
	}
	if s.google != nil && s.google.Autoscaling.MakesPools && !s.google.Autopilot.Enabled {
		list = append(list, "node auto-provisioning makes pools as pods ask for them")
	}
	for _, name := range s.makers {
		if name != "" {
			list = append(list, fmt.Sprintf("the compute class %s makes pools", name))
		}
	}
	return list
}

// googleAnswer is what GKE's API said.
type googleAnswer struct {
	cluster *googleCluster
	err     error
}

// google asks GKE's API beside other questions. Nobody has to take the answer.
func (c *Cluster) google(ctx context.Context) <-chan googleAnswer {
	answer := make(chan googleAnswer, 1)
	if c.isGoogle() {
		go func() {
			cluster, err := c.askGoogle(ctx)
			answer <- googleAnswer{cluster, err}
		}()
	}
	return answer
}
