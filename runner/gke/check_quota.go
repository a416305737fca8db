package gke

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
)

// quota reads the namespace's quotas, and compares them with what the job takes.
func (k *check) quota(ctx context.Context) error {
	var quotas corev1.ResourceQuotaList
	err := k.r.read(ctx, &quotas, "/api/v1/namespaces/"+k.j.Namespace+"/resourcequotas", "limit", nodePage)
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		return nil // submitting says it
	}
	if err != nil {
		return k.c.explain(err, "read the quotas of the namespace "+k.j.Namespace)
	}
	refused, notes := overQuota(quotas.Items, takes(k.j))
	for _, text := range notes {
		k.note(text)
	}
	if len(refused) == 0 {
		return nil
	}
	return &Error{Refusal: Refused, Doing: "run the job in the namespace " + k.j.Namespace, Server: k.c.Server, Err: fmt.Errorf("%s", strings.Join(refused, "; ")),
		Hint: "ask whoever runs the cluster for more, take less, or clean up with ibuild jobs cleanup; kubectl describe resourcequota --namespace " + k.j.Namespace + " shows the quotas"}
}

// takes is what a job takes of each resource that quotas know, by their names.
func takes(j Job) map[corev1.ResourceName]resource.Quantity {
	n := needOf(j)
	pods := int64(n.hosts) * int64(n.slices)
	counts := map[corev1.ResourceName]int64{"pods": pods, "count/pods": pods, "count/jobs.batch": int64(n.slices)}
	if n.slices > 1 {
		counts["count/jobsets.jobset.x-k8s.io"] = 1
	}
	if n := int64(len(jobSecrets(j))); n > 0 {
		counts["secrets"], counts["count/secrets"] = n, n
	}
	if n.hosts > 1 || n.slices > 1 {
		counts["services"], counts["count/services"] = 1, 1
	}
	out := map[corev1.ResourceName]resource.Quantity{}
	for name, n := range counts {
		out[name] = *resource.NewQuantity(n, resource.DecimalSI)
	}
	limits := podSpec(j).Containers[0].Resources.Limits
	for name, q := range n.requests {
		out["requests."+name] = times(q, pods)
		if name == corev1.ResourceCPU || name == corev1.ResourceMemory {
			out[name] = times(q, pods) // an older name of the same
		}
	}
	for name, q := range limits {
		out["limits."+name] = times(q, pods)
	}
	return out
}

func times(q resource.Quantity, n int64) resource.Quantity {
	out := q.DeepCopy()
	out.Mul(n)
	return out
}

// overQuota says which quotas a job can never pass, and which have no room now. What
// the API server counts when a thing is made refuses the job at once; pods are made
// when there is room again. Quotas for some pods only are left to the API server.
func overQuota(quotas []corev1.ResourceQuota, takes map[corev1.ResourceName]resource.Quantity) (refused, notes []string) {
	for _, q := range quotas {
		if len(q.Spec.Scopes) > 0 || q.Spec.ScopeSelector != nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(q.Spec.Hard)) {
			want, counted := takes[name]
			if !counted {
				continue
			}
			hard, used := q.Spec.Hard[name], q.Status.Used[name]
			left := hard.DeepCopy()
			left.Sub(used)
			text := fmt.Sprintf("the quota %s allows %s of %s, of which %s are in use, and the job takes %s", q.Name, hard.String(), name, used.String(), want.String())
			switch {
			case want.Cmp(hard) > 0, want.Cmp(left) > 0 && !waits(name):
				refused = append(refused, text)
			case want.Cmp(left) > 0:
				notes = append(notes, text+": it waits for room, as long as --wait allows")
			}
		}
	}
	return refused, notes
}

// waits says that a resource is of pods, which Kubernetes makes when there is room.
func waits(name corev1.ResourceName) bool {
	return !strings.HasPrefix(string(name), "count/") && name != "secrets" && name != "services" || name == "count/pods"
}
