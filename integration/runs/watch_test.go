//go:build integration

package runs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ibuild/ibuild/integration/kube"
	"github.com/ibuild/ibuild/runner/gke"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ending is how long a job of these tests may take to end, on a busy machine.
const ending = 2 * time.Minute

// shell is a job that runs a line of shell in busybox.
func shell(t *testing.T, line string) gke.Job {
	t.Helper()
	base, err := shared.env.Base(t.Context(), busybox)
	if err != nil {
		t.Fatal(err)
	}
	accelerator, err := gke.Resolve("cpu", false)
	if err != nil {
		t.Fatal(err)
	}
	name := base.Ref
	if n := strings.LastIndex(name, ":"); n > strings.LastIndex(name, "/") {
		name = name[:n]
	}
	return gke.Job{Name: gke.NewName(t.Name(), fmt.Sprint(time.Now().UnixNano()%1e6)), Namespace: metav1.NamespaceDefault,
		Image: name + "@" + base.Digest.String(), Command: []string{"sh", "-c", line}, Accelerator: accelerator, Grace: time.Second}
}

// as opens the cluster with a kubeconfig.
func as(t *testing.T, kubeconfig string) *gke.Cluster {
	t.Helper()
	c, err := gke.Open(gke.Access{Kubeconfig: kubeconfig, Namespace: metav1.NamespaceDefault})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// submit submits a job, and cancels it when the test has ended.
func submit(t *testing.T, c *gke.Cluster, j gke.Job) *gke.Run {
	t.Helper()
	run, err := c.Submit(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = run.Cancel(ctx) // most have ended
	})
	return run
}

// watcher is a Watch in the background.
type watcher struct {
	mu   sync.Mutex
	told []gke.State
	end  chan struct{}
	last gke.State
	err  error
}

func watch(t *testing.T, run *gke.Run, d gke.Deadlines) *watcher {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ending)
	w := &watcher{end: make(chan struct{})}
	go func() {
		defer close(w.end)
		defer cancel()
		w.last, w.err = run.Watch(ctx, d, func(s gke.State) {
			w.mu.Lock()
			w.told = append(w.told, s)
			w.mu.Unlock()
			t.Logf("%s %s: %s (%s)", s.Phase, s.Reason, s.Message, s.Hint)
		})
	}()
	return w
}

// until waits for a state to be told.
func (w *watcher) until(t *testing.T, what string, is func(gke.State) bool) gke.State {
	t.Helper()
	for late := time.After(ending); ; {
		w.mu.Lock()
		for _, s := range w.told {
			if is(s) {
				w.mu.Unlock()
				return s
			}
		}
		w.mu.Unlock()
		select {
		case <-late:
			t.Fatalf("%s was never told", what)
		case <-w.end:
			t.Fatalf("%s was not told before the end: %+v, %v", what, w.last, w.err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (w *watcher) wait(t *testing.T) gke.State {
	t.Helper()
	<-w.end
	if w.err != nil {
		t.Fatalf("Watch: %v", w.err)
	}
	return w.last
}

// TestEnds runs jobs that end in all the ways that need no fault of the cluster.
func TestEnds(t *testing.T) {
	cluster := as(t, shared.cluster.Admin)
	for _, c := range []struct {
		name      string
		line      string
		change    func(*gke.Job)
		phase     gke.Phase
		reason    string
		code      int
		message   string
		hint      string
		abandoned bool
		within    time.Duration // after the start of Watch
	}{
		{name: "succeeds", line: "echo hello", phase: gke.Succeeded, within: time.Minute},
		{name: "fails", line: "exit 7", phase: gke.Failed, reason: "Error", code: 7, message: "the program ended with exit code 7", within: time.Minute},
		{name: "memory", line: "tail /dev/zero", change: func(j *gke.Job) { j.Memory = "32Mi" }, phase: gke.Failed, reason: "OOMKilled", code: 137, message: "more memory than it may (32Mi)", hint: "--memory", within: time.Minute},
		{name: "deadline", line: "sleep 600", change: func(j *gke.Job) { j.Timeout = 4 * time.Second }, phase: gke.Failed, reason: "DeadlineExceeded", code: 137, message: "longer than its --timeout of 4s", hint: "--timeout", within: time.Minute},
		{name: "no-command", change: func(j *gke.Job) { j.Command = []string{"/nowhere"} }, phase: gke.Failed, reason: "StartError", code: 128, message: "could not be started", hint: "not in the image", within: time.Minute},
		{name: "no-image", change: func(j *gke.Job) { j.Image = j.Image[:len(j.Image)-64] + strings.Repeat("0", 64) }, phase: gke.Failed, reason: "ErrImagePull", message: "is not in its registry", abandoned: true, within: 30 * time.Second},
		{name: "no-registry", change: func(j *gke.Job) { j.Image = "registry.invalid/x@sha256:" + strings.Repeat("0", 64) }, phase: gke.Failed, message: "does not answer the nodes", abandoned: true, within: 45 * time.Second},
		{name: "no-secret", change: func(j *gke.Job) { j.Secrets = []gke.SecretMount{{Secret: "nowhere"}} }, phase: gke.Failed, reason: "CreateContainerConfigError", message: `secret "nowhere" not found`, hint: "--mount-secret", abandoned: true, within: 30 * time.Second},
		{name: "no-node", change: func(j *gke.Job) { j.Selector = map[string]string{"pool": "none"} }, phase: gke.Failed, reason: "Unschedulable", message: "no node fits", hint: "ibuild accelerators --live", abandoned: true, within: 45 * time.Second},
		{name: "too-much", change: func(j *gke.Job) { j.CPU = "4000" }, phase: gke.Failed, reason: "Unschedulable", message: "Insufficient cpu", hint: "too small", abandoned: true, within: 45 * time.Second},
		{name: "no-account", change: func(j *gke.Job) { j.ServiceAccount = "nobody" }, phase: gke.Failed, reason: "NoServiceAccount", message: "nobody", hint: "--service-account", abandoned: true, within: 30 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			j := shell(t, c.line)
			if c.change != nil {
				c.change(&j)
			}
			run := submit(t, cluster, j)
			began := time.Now()
			s := watch(t, run, gke.Deadlines{NoNode: 5 * time.Second, PullError: 5 * time.Second}).wait(t)
			if s.Phase != c.phase || c.reason != "" && s.Reason != c.reason || s.Abandoned != c.abandoned {
				t.Errorf("%+v", s)
			}
			if !strings.Contains(s.Message, c.message) || !strings.Contains(s.Hint, c.hint) {
				t.Errorf("%q, hint %q", s.Message, s.Hint)
			}
			if s.ExitCode != c.code {
				t.Errorf("exit code %d", s.ExitCode)
			}
			if took := time.Since(began); took > c.within {
				t.Errorf("it took %v", took)
			}
		})
	}
}

var (
	namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	quotas     = schema.GroupVersionResource{Version: "v1", Resource: "resourcequotas"}
)

// namespace makes a namespace with labels and, if it is not empty, a quota of pods.
func namespace(t *testing.T, name string, labels map[string]any, pods string) {
	t.Helper()
	client := shared.cluster.Client
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name, "labels": labels}}}
	if _, err := client.Resource(namespaces).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Resource(namespaces).Delete(context.Background(), name, metav1.DeleteOptions{}) // with the cluster at the latest
	})
	if pods == "" {
		return
	}
	quota := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ResourceQuota", "metadata": map[string]any{"name": "few"}, "spec": map[string]any{"hard": map[string]any{"pods": pods}}}}
	if _, err := client.Resource(quotas).Namespace(name).Create(t.Context(), quota, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // the quota is counted once before it holds
}

func TestForbiddenPods(t *testing.T) {
	namespace(t, "few-pods", nil, "0")
	namespace(t, "strict", map[string]any{"pod-security.kubernetes.io/enforce": "restricted"}, "")
	for _, c := range []struct{ namespace, reason, message, hint string }{
		{"few-pods", "QuotaExceeded", "exceeded quota: few", "ResourceQuota"},
		{"strict", "PodSecurity", "restricted", "less strict"},
	} {
		j := shell(t, "true")
		j.Namespace = c.namespace
		s := watch(t, submit(t, as(t, shared.cluster.Admin), j), gke.Deadlines{NoPods: 5 * time.Second}).wait(t)
		if !s.Abandoned || s.Reason != c.reason || !strings.Contains(s.Message, c.message) || !strings.Contains(s.Hint, c.hint) {
			t.Errorf("%s: %+v", c.namespace, s)
		}
	}
}

// TestForbiddenToWatch ends at once for somebody who may not read pods.
func TestForbiddenToWatch(t *testing.T) {
	run := submit(t, as(t, shared.cluster.Admin), shell(t, "sleep 600"))
	file, err := shared.cluster.Kubeconfig("eve")
	if err != nil {
		t.Fatal(err)
	}
	eve := *run
	eve.Cluster = as(t, file)
	_, err = eve.Watch(t.Context(), gke.Deadlines{}, func(s gke.State) { t.Errorf("told %+v", s) })
	if err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("%v", err)
	}
}

// TestAutoscalerWords has the autoscaler's events in the state. There is none in
// this cluster: the test writes them as it does.
func TestAutoscalerWords(t *testing.T) {
	j := shell(t, "true")
	j.Selector = map[string]string{"pool": "later"}
	run := submit(t, as(t, shared.cluster.Admin), j)
	w := watch(t, run, gke.Deadlines{})
	s := w.until(t, "unschedulable", func(s gke.State) bool { return s.Reason == "Unschedulable" })
	pod := s.Hosts[0].Pod
	if s.GiveUp.IsZero() {
		t.Error("there is no deadline before the autoscaler has spoken")
	}
	if err := shared.cluster.TriggeredScaleUp(t.Context(), j.Namespace, pod, "l4", 0, 1, 4); err != nil {
		t.Fatal(err)
	}
	s = w.until(t, "the scale-up", func(s gke.State) bool { return s.Reason == "TriggeredScaleUp" })
	if !strings.Contains(s.Message, "0->1 (max: 4)") || !s.GiveUp.IsZero() {
		t.Errorf("%+v", s)
	}
	time.Sleep(1100 * time.Millisecond) // the times of events have seconds
	if err := shared.cluster.FailedScaleUp(t.Context(), j.Namespace, pod, "GCE_QUOTA_EXCEEDED"); err != nil {
		t.Fatal(err)
	}
	w.until(t, "the quota", func(s gke.State) bool { return s.Reason == "ProjectQuota" && strings.Contains(s.Hint, "more quota") })
	if err := run.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := w.wait(t); s.Phase != gke.Cancelled {
		t.Errorf("%+v", s)
	}
}

// TestClusterOutOfReach refuses all connections while a job runs, and lets it
// end while nobody sees it.
func TestClusterOutOfReach(t *testing.T) {
	cutter, err := shared.cluster.Cutter()
	if err != nil {
		t.Fatal(err)
	}
	file, err := cutter.Kubeconfig("reach", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	run := submit(t, as(t, file), shell(t, "sleep 8; exit 5"))
	w := watch(t, run, gke.Deadlines{})
	w.until(t, "running", func(s gke.State) bool { return s.Phase == gke.Running })
	if err := cutter.Refuse(); err != nil {
		t.Fatal(err)
	}
	s := w.until(t, "the outage", func(s gke.State) bool { return s.Lost })
	if !strings.Contains(s.Message, "the job goes on") || s.Phase != gke.Running {
		t.Errorf("%+v", s)
	}
	time.Sleep(10 * time.Second)
	if err := cutter.Heal(); err != nil {
		t.Fatal(err)
	}
	if s := w.wait(t); s.Phase != gke.Failed || s.ExitCode != 5 {
		t.Errorf("%+v", s)
	}

	run = submit(t, as(t, file), shell(t, "sleep 600"))
	w = watch(t, run, gke.Deadlines{Unreachable: 3 * time.Second})
	w.until(t, "running", func(s gke.State) bool { return s.Phase == gke.Running })
	if err := cutter.Refuse(); err != nil {
		t.Fatal(err)
	}
	<-w.end
	var away *gke.UnreachableError
	if !errors.As(w.err, &away) || !strings.Contains(away.Hint(), run.Name) {
		t.Errorf("%v", w.err)
	}
	if err := cutter.Heal(); err != nil {
		t.Fatal(err)
	}
}

// lostNode makes a node that the test may lose, and a job that runs there only.
func lostNode(t *testing.T, name string, retries int) (gke.Job, *watcher) {
	t.Helper()
	nodes, err := kube.GKENodes(kube.CPU)
	if err != nil {
		t.Fatal(err)
	}
	node := nodes[0]
	node.Name = name
	node.Labels["ibuild-test"] = name
	if err := shared.cluster.AddNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	j := shell(t, "sleep 600")
	j.Selector = map[string]string{"ibuild-test": name}
	j.Retries = retries
	w := watch(t, submit(t, as(t, shared.cluster.Admin), j), gke.Deadlines{})
	w.until(t, "running", func(s gke.State) bool { return s.Phase == gke.Running })
	if err := shared.cluster.StopKubelet(name); err != nil {
		t.Fatal(err)
	}
	s := w.until(t, "the lost node", func(s gke.State) bool { return s.Reason == "NodeLost" })
	if !strings.Contains(s.Message, name) || s.Hint == "" || s.GiveUp.IsZero() {
		t.Errorf("%+v", s)
	}
	return j, w
}

// TestNodeLost stops the kubelet of a node under a running job without retries.
// The pod cannot be ended any more, and the Job with it: ibuild says the end.
func TestNodeLost(t *testing.T) {
	const name = "gke-ibuild-cpu-lost"
	_, w := lostNode(t, name, 0)
	s := w.wait(t)
	if s.Phase != gke.Failed || s.Abandoned || !strings.Contains(s.Message, "not reachable") || !strings.Contains(s.Hint, "--retries") {
		t.Errorf("%+v", s)
	}
	if err := shared.cluster.RemoveNode(t.Context(), name); err != nil {
		t.Error(err)
	}
}

// TestNodeLostWithRetries has another pod made, when the node is gone for good.
func TestNodeLostWithRetries(t *testing.T) {
	const name = "gke-ibuild-cpu-gone"
	_, w := lostNode(t, name, 1)
	s := w.until(t, "the pod's end", func(s gke.State) bool { return s.Phase == gke.Preempted })
	if !strings.Contains(s.Message, "another pod is made as soon as") || !strings.Contains(s.Hint, "kubectl delete node "+name) {
		t.Errorf("%+v", s)
	}
	if err := shared.cluster.RemoveNode(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	w.until(t, "the second attempt", func(s gke.State) bool { return s.Phase == gke.Pending && s.Attempt == 2 })
}
