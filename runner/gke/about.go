package gke

import (
	"context"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/version"
)

// About is what a cluster is and has, as far as jobs need it.
type About struct {
	Context   string   `json:"context,omitempty"`
	Server    string   `json:"server"`
	Version   string   `json:"version"` // of Kubernetes
	Namespace string   `json:"namespace"`
	There     bool     `json:"namespaceExists"` // also when the caller may not look
	Forbidden []string `json:"forbidden"`       // what the caller may not do there, of what jobs take: "create jobs.batch"
	JobSet    bool     `json:"jobSet"`          // is installed
	Kueue     string   `json:"kueue,omitempty"` // version of its API; empty when it is not installed
	Queues    []Queue  `json:"queues"`          // of the namespace
	Pools     []Pool   `json:"pools"`
	Notes     []string `json:"notes"` // what else there is to know: who makes pools, what could not be read
	Warnings  []string `json:"warnings,omitempty"`
}

// About asks the cluster, side by side. What only some may read is a note when it is refused.
//
// Errors: *Error, when the cluster does not answer or does not know the caller.
func (c *Cluster) About(ctx context.Context) (*About, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	r, err := c.reader()
	if err != nil {
		return nil, err
	}
	i := &inquiry{c: c, r: r, a: &About{Context: c.Context, Server: c.Server, Namespace: c.Namespace,
		Forbidden: []string{}, Queues: []Queue{}, Pools: []Pool{}, Notes: []string{}}}
	questions := map[string]func(context.Context) error{
		"ask for the version":        i.version,
		doingNamespace + c.Namespace: i.namespace,
		"look for JobSet":            i.jobSet,
		"look for Kueue":             i.kueue,
		"list nodes":                 i.pools,
	}
	for _, right := range allRights() {
		questions["ask whether you may "+right.String()] = func(ctx context.Context) error { return i.right(ctx, right) }
	}
	var group sync.WaitGroup
	for doing, question := range questions {
		group.Go(func() { i.fail(c.explain(question(ctx), doing)) })
	}
	group.Wait()
	if i.failed != nil {
		return nil, inGeneral(i.failed)
	}
	i.a.sort()
	i.a.Warnings = c.Warnings()
	return i.a, nil
}

// inquiry is one About.
type inquiry struct {
	c      *Cluster
	r      reader
	mu     sync.Mutex
	a      *About // its lists are guarded by mu
	failed error  // the gravest
}

func (i *inquiry) fail(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil && (i.failed == nil || gravity(err) < gravity(i.failed)) {
		i.failed = err
	}
}

func (i *inquiry) note(list ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.a.Notes = append(i.a.Notes, list...)
}

func (i *inquiry) version(ctx context.Context) error {
	var v version.Info
	err := i.r.read(ctx, &v, "/version")
	i.a.Version = v.GitVersion
	return err
}

// namespace says whether it is there; it counts as there for who may not look.
func (i *inquiry) namespace(ctx context.Context) error {
	var ignored struct{}
	err := i.r.read(ctx, &ignored, "/api/v1/namespaces/"+i.a.Namespace)
	if apierrors.IsNotFound(err) {
		return nil
	}
	i.a.There = err == nil || apierrors.IsForbidden(err)
	if i.a.There {
		return nil
	}
	return err
}

func (i *inquiry) jobSet(ctx context.Context) (err error) {
	i.a.JobSet, err = i.r.serves(ctx, jobSets.Group, jobSets.Version)
	return err
}

func (i *inquiry) kueue(ctx context.Context) (err error) {
	if i.a.Kueue, err = i.r.preferred(ctx, kueueGroup); err != nil || i.a.Kueue == "" {
		return err
	}
	list, err := i.r.queues(ctx, i.a.Kueue, i.a.Namespace)
	if apierrors.IsForbidden(err) {
		i.note("you may not list Kueue's queues")
		return nil
	}
	i.a.Queues = append(i.a.Queues, list...)
	return err
}

func (i *inquiry) right(ctx context.Context, r right) error {
	allowed, err := i.c.may(ctx, i.a.Namespace, r)
	if err == nil && !allowed {
		i.mu.Lock()
		i.a.Forbidden = append(i.a.Forbidden, r.String())
		i.mu.Unlock()
	}
	return err
}

func (i *inquiry) pools(ctx context.Context) error {
	pools, notes, err := i.c.pools(ctx, i.r)
	i.a.Pools = append(i.a.Pools, pools...)
	i.note(notes...)
	return err
}

// sort makes equal answers equal: they come in any order.
func (a *About) sort() {
	slices.Sort(a.Forbidden)
	slices.Sort(a.Notes)
	slices.SortFunc(a.Queues, func(x, y Queue) int { return strings.Compare(x.Name, y.Name) })
}

// allRights are those that any job may take, also one of several hosts with Secrets,
// and cancelling it.
func allRights() []right {
	list := rightsFor(Job{Accelerator: Accelerator{Hosts: 2}, SecretEnv: []Variable{{}}})
	return append(list, right{"list", jobs, ""}, right{"delete", jobs, ""}, right{"list", events, ""})
}

// RightsHint says who can give what is in Forbidden.
func (a *About) RightsHint() string { return rightsHint(a.Namespace) }
