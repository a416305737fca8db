//go:build integration

package runs

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/integration/kube"
	"github.com/ibuild/ibuild/runner/gke"
)

// things are the names of all that there is of the kinds that ibuild makes, but for pods of Jobs, which come and go.
func things(t *testing.T) []string {
	t.Helper()
	list := strings.Fields(kubectl(t, "get", "jobs,secrets,services,configmaps,serviceaccounts,pods", "-A", "-o", `jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}{"\n"}{end}`))
	slices.Sort(list)
	return list
}

// TestCleanupTouchesNothingElse: what others have made stays, also under the labels of ibuild and under its names, and
// of what ibuild has made nothing does.
func TestCleanupTouchesNothingElse(t *testing.T) {
	image := shared.env.Registry.Addr + "/library/busybox"
	ibuild(t, "jobs", "cleanup", "--running", "--yes").expect(t, 0)
	kubectl(t, "create", "job", "not-ibuilds", "--image", image, "--", "true")
	kubectl(t, "create", "secret", "generic", "other-env", "--from-literal=A=b")
	t.Cleanup(func() {
		kubectl(t, "delete", "job/not-ibuilds", "secret/other-env")
		ibuild(t, "jobs", "cleanup", "--owner", "all", "--yes")
	})
	other := shell(t, "true") // another person's, which has ended too
	other.Name, other.Owner = "theirs", "somebody@elsewhere"
	theirs := submit(t, as(t, shared.cluster.Admin), other)
	ended := func(name string) {
		within(t, time.Minute, func() bool {
			return strings.Contains(ibuild(t, "jobs", "status", name).out, "succeeded")
		})
	}
	ended(theirs.Name)
	within(t, time.Minute, func() bool {
		return strings.Contains(kubectl(t, "get", "job", "not-ibuilds", "-o", "jsonpath={.status.succeeded}"), "1")
	})
	before := things(t)

	ibuild(t, "run", "--name", "mine", "--env", "API_TOKEN=x", image, "--", "true").expect(t, 0)
	ibuild(t, "run", "--name", "not-ibuilds", image, "--", "true").expect(t, 2, "hint:")
	ibuild(t, "jobs", "cleanup", "--dry-run").expect(t, 0, "default/mine")
	ibuild(t, "jobs", "cleanup").expect(t, 0, "default/mine")
	var after []string
	defer func() {
		if !slices.Equal(before, after) {
			t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
		}
	}()
	within(t, time.Minute, func() bool {
		after = things(t)
		return slices.Equal(before, after)
	})
}

// TestSlices: a JobSet is stored as it was meant, listed, and cancelled. Its controller is not here, so nothing runs.
func TestSlices(t *testing.T) {
	if err := shared.cluster.ApplyCRD(t.Context(), kube.JobSetCRD); err != nil {
		t.Fatal(err)
	}
	if err := shared.cluster.EmptyPools(t.Context(), 8, "v6e-a", "v6e-b"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kubectl(t, "delete", "configmap", "cluster-autoscaler-status", "--namespace", "kube-system") })
	image := shared.env.Registry.Addr + "/library/busybox"
	ibuild(t, "run", "-a", "v6e-16", "--slices", "2", "--retries", "1", "--detach", "--name", "slices", image, "--", "true").expect(t, 0)
	for path, want := range map[string]string{
		"{.spec.replicatedJobs[0].replicas}":                  "2",
		"{.spec.replicatedJobs[0].template.spec.completions}": "4",
		"{.spec.failurePolicy.maxRestarts}":                   "1",
		"{.spec.replicatedJobs[0].template.spec.template.spec.nodeSelector.cloud\\.google\\.com/gke-tpu-topology}": "4x4",
		"{.metadata.annotations.alpha\\.jobset\\.sigs\\.k8s\\.io/exclusive-topology}":                              "cloud.google.com/gke-nodepool",
		"{.spec.replicatedJobs[0].template.spec.template.spec.containers[0].resources.limits.google\\.com/tpu}":    "4",
		"{.metadata.labels." + strings.ReplaceAll(strings.ReplaceAll(gke.JobLabel, ".", "\\."), "/", "/") + "}":    "slices",
	} {
		if got := kubectl(t, "get", "jobset", "slices", "-o", "jsonpath="+path); strings.TrimSpace(got) != want {
			t.Errorf("%s is %q, not %q", path, got, want)
		}
	}
	ibuild(t, "jobs", "list").expect(t, 0, "slices")
	ibuild(t, "jobs", "status", "slices").expect(t, 0, "pending")
	ibuild(t, "jobs", "cancel", "slices").expect(t, 0, "is cancelled")
	if left := kubectl(t, "get", "jobset", "slices", "--ignore-not-found", "-o", "name"); strings.TrimSpace(left) != "" {
		t.Errorf("after cancel: %s", left)
	}
}

// TestQueued: a job of a queue waits, suspended, and its status says for what.
func TestQueued(t *testing.T) {
	ns := makeNamespace(t, "queued")
	if err := shared.cluster.ApplyCRD(t.Context(), kube.KueueCRD); err != nil {
		t.Fatal(err)
	}
	localQueue(t, ns, "team")
	image := shared.env.Registry.Addr + "/library/busybox"
	ibuild(t, "run", "-n", ns, "--queue", "teem", "--detach", image, "--", "true").expect(t, 2, "no queue of that name", "team")
	ibuild(t, "run", "-n", ns, "--queue", "team", "--priority", "high", "--detach", "--name", "waits", image, "--", "true").expect(t, 0)
	got := kubectl(t, "get", "job", "waits", "-n", ns, "-o", `jsonpath={.spec.suspend} {.metadata.labels.kueue\.x-k8s\.io/queue-name} {.metadata.labels.kueue\.x-k8s\.io/priority-class}`)
	if strings.TrimSpace(got) != "true team high" {
		t.Errorf("stored: %q", got)
	}
	ibuild(t, "jobs", "status", "-n", ns, "waits").expect(t, 0, "pending", "queue")
	ibuild(t, "jobs", "cancel", "-n", ns, "waits").expect(t, 0, "is cancelled")
}

// TestDryRun: what a dry run prints is what kubectl apply takes, and what the API server finds valid.
func TestDryRun(t *testing.T) {
	if err := shared.cluster.ApplyCRD(t.Context(), kube.JobSetCRD); err != nil {
		t.Fatal(err)
	}
	script := write(t, "train.py", greeting)
	for _, args := range [][]string{
		{"-a", "cpu", "--env", "API_TOKEN=x", "--mount-secret", "hf:/secrets", "--volume", "data:/data:ro"},
		{"-a", "v5e-16", "--queue", "team", "--spot"},
		{"-a", "v5p-32", "--slices", "2", "--reservation", "ours"},
	} {
		o := ibuild(t, append(append([]string{"run", "--dry-run", "--name", "dry"}, args...), script, "--", "a\nb: {{")...)
		o.expect(t, 0)
		applied := kubectl(t, "apply", "--dry-run=server", "--validate=strict", "-f", write(t, "dry.yaml", o.out))
		if strings.Count(applied, "(server dry run)") != strings.Count(o.out, "\nkind: ") {
			t.Errorf("%q: not all were taken:\n%s", args, applied)
		}
	}
}
