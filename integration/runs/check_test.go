//go:build integration

package runs

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/integration/kube"
	"github.com/ibuild/ibuild/runner/gke"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kubectl runs it as whoever runs the cluster, also when the test has ended.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	out, err := shared.cluster.Kubectl(ctx, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// makeNamespace makes one for the test, and removes it afterwards.
func makeNamespace(t *testing.T, name string) string {
	t.Helper()
	kubectl(t, "create", "namespace", name)
	t.Cleanup(func() { kubectl(t, "delete", "namespace", name, "--wait=false") })
	return name
}

// localQueue makes a queue of Kueue's.
func localQueue(t *testing.T, namespace, name string) {
	t.Helper()
	group := schema.GroupVersionResource{Group: "kueue.x-k8s.io", Version: "v1beta1", Resource: "localqueues"}
	queue := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "LocalQueue",
		"metadata": map[string]any{"name": name, "namespace": namespace}, "spec": map[string]any{"clusterQueue": "all"}}}
	if _, err := shared.cluster.Client.Resource(group).Namespace(namespace).Create(t.Context(), queue, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// asked is a job for an accelerator in a namespace.
func asked(t *testing.T, accelerator, namespace string) gke.Job {
	t.Helper()
	a, err := gke.Resolve(accelerator, false)
	if err != nil {
		t.Fatal(err)
	}
	return gke.Job{Name: "asks", Namespace: namespace, Accelerator: a}
}

// refusals is everything that an error of Check says to people.
func refusals(err error) string {
	var several *gke.CheckError
	var one *gke.Error
	var place *gke.PlaceError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &several):
		return several.Error() + "\n" + several.Hint()
	case errors.As(err, &one):
		return one.Error() + "\n" + one.Hint
	case errors.As(err, &place):
		return place.Error() + "\n" + place.Hint()
	}
	return err.Error()
}

// TestCheckPlaces: the API server's own answers about its nodes, and what an autoscaler would say.
func TestCheckPlaces(t *testing.T) {
	c := as(t, shared.cluster.Admin)
	for _, p := range []struct {
		accelerator string
		says        string // with ! in front in the refusal
	}{
		{"cpu", "pool cpu, 1 node"},
		{"l4", "pool l4, 1 of 1 node free"},
		{"a100x4", "pool a100x4, 1 of 1 node free"},
		{"v5e-4", "pool v5e, 1 of 1 node free"},
		{"v5e-16", "pool v5e-4x4, 4 of 4 nodes free"},
		{"l4x2", "!pool l4: its nodes have 1 device each, not 2"},
		{"h100x8", "!there are the node pools a100x4 (a2-highgpu-4g, 4 × nvidia-tesla-a100, 1 node); l4"},
		{"v5e:4x8", "!its gke-tpu-topology is 2x2, not 4x8"},
		{"gb200", "!arch=arm64"},
	} {
		place, err := c.Check(t.Context(), asked(t, p.accelerator, metav1.NamespaceDefault))
		text, refused := strings.CutPrefix(p.says, "!")
		if said := place.Note + refusals(err); (err != nil) != refused || !strings.Contains(said, text) {
			t.Errorf("%s: nothing says %q:\n%s", p.accelerator, text, said)
		}
	}
	if err := shared.cluster.EmptyPools(t.Context(), 2, "h100", "l4"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kubectl(t, "delete", "configmap", "cluster-autoscaler-status", "--namespace", "kube-system") })
	place, err := c.Check(t.Context(), asked(t, "h100x8", metav1.NamespaceDefault))
	if err != nil || !strings.Contains(place.Note, "ibuild-h100") || strings.Contains(place.Note, "ibuild-l4") {
		t.Errorf("an empty pool: %+v, %v", place, err)
	}
	if _, err := c.Check(t.Context(), asked(t, "l4x2", metav1.NamespaceDefault)); err != nil {
		t.Errorf("with a pool of unknown machines: %v", err)
	}
	o := ibuild(t, "status")
	o.expect(t, 0, "ok    rights", "nvidia-tesla-a100", "up to 2", "only its name can be seen")
	ibuild(t, "accelerators", "--live").expect(t, 0, "v5e:4x4", "a100:4", "l4:1")
}

// TestCheckBusy: devices that are in use are seen.
func TestCheckBusy(t *testing.T) {
	c := as(t, shared.cluster.Admin)
	j := shell(t, "sleep 300")
	j.Accelerator = asked(t, "l4", "").Accelerator
	run := submit(t, c, j)
	within(t, ending, func() bool {
		s, err := run.State(t.Context())
		return err == nil && s.Phase == gke.Running
	})
	place, err := c.Check(t.Context(), asked(t, "l4", metav1.NamespaceDefault))
	if err != nil || !strings.Contains(place.Note, "0 of 1 node free") {
		t.Errorf("%+v, %v", place, err)
	}
	pools, notes, err := c.Pools(t.Context())
	if err != nil || len(notes) > 0 {
		t.Fatal(notes, err)
	}
	for _, p := range pools {
		if busy := p.Name == "l4"; p.Resource != "" && (p.Idle < p.Nodes) != busy {
			t.Errorf("%s: %d of %d idle", p.Name, p.Idle, p.Nodes)
		}
	}
}

// TestCheckRights: what the API server lets people do, by roles, and what follows for a job.
func TestCheckRights(t *testing.T) {
	namespace := makeNamespace(t, "rights")
	for role, user := range map[string]string{"view": "viola", "edit": "edith"} {
		kubectl(t, "create", "rolebinding", user, "--clusterrole", role, "--user", user, "--namespace", namespace)
	}
	for user, says := range map[string]string{
		"viola": "cannot create jobs.batch in the namespace rights",
		"edith": "",
		"eve":   "cannot create jobs.batch in the namespace rights",
	} {
		config, err := shared.cluster.Kubeconfig(user)
		if err != nil {
			t.Fatal(err)
		}
		c := as(t, config)
		j := asked(t, "h100x8", namespace)
		j.SecretEnv = []gke.Variable{{Name: "A", Value: "b"}}
		place, err := c.Check(t.Context(), j)
		if (err != nil) != (says != "") || !strings.Contains(refusals(err), says) {
			t.Errorf("%s: %v, want %q", user, err, says)
		}
		if user == "edith" && !strings.Contains(place.Note, "you may not list nodes") {
			t.Errorf("who may not list nodes: %+v", place)
		}
		if user == "viola" && !strings.Contains(refusals(err), "kubectl create rolebinding") {
			t.Errorf("no remedy: %s", refusals(err))
		}
	}
}

// TestCheckNamed: things of the namespace that a job names, quotas, and what is installed.
func TestCheckNamed(t *testing.T) {
	namespace := makeNamespace(t, "named")
	c := as(t, shared.cluster.Admin)
	j := asked(t, "l4", namespace)
	j.Secrets, j.ServiceAccount = []gke.SecretMount{{Secret: "hf"}}, "trainer"
	j.Volumes = []gke.Volume{{Path: "/data", Claim: "data"}}
	_, err := c.Check(t.Context(), j)
	for _, want := range []string{"no Secret of that name", "no service account of that name", "no claim of that name"} {
		if !strings.Contains(refusals(err), want) {
			t.Errorf("nothing says %q: %s", want, refusals(err))
		}
	}
	kubectl(t, "create", "secret", "generic", "hf", "--from-literal=TOKEN=x", "--namespace", namespace)
	kubectl(t, "create", "serviceaccount", "trainer", "--namespace", namespace)
	j.Volumes = nil
	if _, err := c.Check(t.Context(), j); err != nil {
		t.Errorf("what is there: %s", refusals(err))
	}

	kubectl(t, "create", "quota", "gpus", "--hard=requests.nvidia.com/gpu=0", "--namespace", namespace)
	within(t, time.Minute, func() bool {
		_, err := c.Check(t.Context(), j)
		return strings.Contains(refusals(err), "the quota gpus allows 0 of requests.nvidia.com/gpu")
	})
	kubectl(t, "delete", "quota", "gpus", "--namespace", namespace)

	if _, err := c.Check(t.Context(), asked(t, "l4", "nowhere")); !strings.Contains(refusals(err), `cannot use the namespace nowhere`) {
		t.Errorf("no namespace: %v", err)
	}
	checkInstalled(t, c, namespace)
}

// checkInstalled looks for JobSet and Kueue before and after they are there.
func checkInstalled(t *testing.T, c *gke.Cluster, namespace string) {
	t.Helper()
	several, queued := asked(t, "v5e-16", namespace), asked(t, "l4", namespace)
	several.Slices, queued.Queue = 2, "team"
	expect := func(j gke.Job, text string) {
		t.Helper()
		within(t, time.Minute, func() bool {
			_, err := c.Check(t.Context(), j)
			return strings.Contains(refusals(err), text) && (text != "" || err == nil)
		})
	}
	for _, crd := range []string{kube.JobSetCRD, kube.KueueCRD} {
		if err := shared.cluster.ApplyCRD(t.Context(), crd); err != nil {
			t.Fatal(err)
		}
	}
	expect(several, "each of 2 slices needs a pool of its own, and only v5e-4x4 would do")
	expect(queued, "no queue of that name")
	localQueue(t, namespace, "team")
	expect(queued, "")
	ibuild(t, "status", "--namespace", namespace).expect(t, 0, "team of all", "ok    JobSet", "ok    Kueue")
}

// TestCheckQuick says how long a check takes on loopback; one that cannot reach the cluster ends.
func TestCheckQuick(t *testing.T) {
	c := as(t, shared.cluster.Admin)
	j := asked(t, "l4", metav1.NamespaceDefault)
	best := time.Hour
	for range 5 {
		start := time.Now()
		if _, err := c.Check(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(start))
	}
	t.Logf("a check takes %s", best)
	cutter, err := shared.cluster.Cutter()
	if err != nil {
		t.Fatal(err)
	}
	config, err := cutter.Kubeconfig("alice", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	if err := cutter.Refuse(); err != nil {
		t.Fatal(err)
	}
	var e *gke.Error
	if _, err := as(t, config).Check(t.Context(), j); !errors.As(err, &e) || e.Refusal != gke.NoAnswer || e.Hint == "" {
		t.Errorf("a cluster out of reach: %v", err)
	}
	o := command(t, config, "status")
	o.expect(t, 4, "does not answer", "hint:")
}

// TestTakenBack: a job that the API server does not take leaves nothing.
func TestTakenBack(t *testing.T) {
	c := as(t, shared.cluster.Admin)
	namespace := makeNamespace(t, "takes")
	kubectl(t, "create", "quota", "none", "--hard=count/jobs.batch=0", "--namespace", namespace)
	j := shell(t, "true")
	j.Namespace, j.SecretEnv = namespace, []gke.Variable{{Name: "A", Value: "b"}}
	within(t, time.Minute, func() bool {
		run, err := c.Submit(t.Context(), j)
		if err == nil {
			_ = run.Cancel(t.Context())
		}
		return err != nil && strings.Contains(err.Error(), "exceeded quota")
	})
	left := func() string {
		return strings.TrimSpace(kubectl(t, "get", "job,pod,secret,service", "--namespace", namespace, "-l", gke.JobLabel, "-o", "name"))
	}
	within(t, time.Minute, func() bool { return left() == "" })
	kubectl(t, "delete", "quota", "none", "--namespace", namespace)

	run, err := c.Submit(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	var taken *gke.TakenError
	if _, err := c.Submit(t.Context(), j); !errors.As(err, &taken) {
		t.Errorf("a second of the name: %v", err)
	}
	if got := left(); !strings.Contains(got, "job.batch/"+j.Name) || !strings.Contains(got, "secret/") {
		t.Errorf("after the second one: %s", got)
	}
	if err := run.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, func() bool { return left() == "" })
	if err := run.Cancel(t.Context()); err != nil {
		t.Errorf("a second cancel: %v", err)
	}
}
