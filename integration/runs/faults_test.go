//go:build integration

package runs

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ibuild/ibuild/integration/kube"
)

// cut is a proxy in front of the API server, and a kubeconfig that goes through it.
func cut(t *testing.T, user string) (*kube.Cutter, string) {
	t.Helper()
	cutter, err := shared.cluster.Cutter()
	if err != nil {
		t.Fatal(err)
	}
	file, err := cutter.Kubeconfig(user, "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	return cutter, file
}

// TestWrongPlatform: an image that is not there for the machines' platform is refused before anything is submitted.
func TestWrongPlatform(t *testing.T) {
	file := write(t, "Dockerfile", "FROM busybox\nCOPY Dockerfile /here\n")
	image := repo(t) + ":arm"
	ibuild(t, "build", "--platform", "linux/arm64", "--push", "--tag", image, file).expect(t, 0)
	ibuild(t, "run", image, "--", "true").expect(t, 2, "linux/amd64", "linux/arm64")
}

// TestQuota: what a quota does not allow is refused before the build, with its name.
func TestQuota(t *testing.T) {
	ns := makeNamespace(t, "poor")
	kubectl(t, "create", "quota", "gpus", "--hard=requests.nvidia.com/gpu=0", "--namespace", ns)
	image := shared.env.Registry.Addr + "/library/busybox"
	within(t, time.Minute, func() bool { // the quota counts from when its controller has seen it
		o := ibuild(t, "run", "-n", ns, "-a", "l4", image, "--", "true")
		return o.code == 1 && strings.Contains(o.err, "the quota gpus allows 0 of requests.nvidia.com/gpu") && strings.Contains(o.err, "hint:")
	})
}

// TestForbidden: who may not make jobs is told what is missing and how to be given it.
func TestForbidden(t *testing.T) {
	ns := makeNamespace(t, "closed")
	kubectl(t, "create", "rolebinding", "vera", "--clusterrole", "view", "--user", "vera", "--namespace", ns)
	config, err := shared.cluster.Kubeconfig("vera")
	if err != nil {
		t.Fatal(err)
	}
	image := shared.env.Registry.Addr + "/library/busybox"
	command(t, config, "run", "-n", ns, image, "--", "true").expect(t, 3, "cannot create jobs.batch in the namespace closed", "kubectl create rolebinding")
}

// TestOutOfReach: the cluster does not answer at all; and it is away while a job runs and ends, whose output and exit
// code come nevertheless.
func TestOutOfReach(t *testing.T) {
	cutter, config := cut(t, "runner")
	image := shared.env.Registry.Addr + "/library/busybox"
	cmd, said := start(t, config, "run", image, "--", "sh", "-c", "echo before; sleep 20; echo after; exit 5")
	within(t, time.Minute, func() bool { return strings.Contains(said.String(), "before") })
	if err := cutter.Refuse(); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, func() bool { return strings.Contains(said.String(), "the job goes on") })
	time.Sleep(20 * time.Second) // until the program has ended
	if err := cutter.Heal(); err != nil {
		t.Fatal(err)
	}
	ended(t, cmd, said).expect(t, 5, "before\n", "after\n", "exit code 5")
	if err := cutter.Refuse(); err != nil {
		t.Fatal(err)
	}
	command(t, config, "run", image, "--", "true").expect(t, 4, "does not answer", "hint:")
}

// TestOutputOverCutConnections: four hosts write while all connections to the API server are reset again and again.
func TestOutputOverCutConnections(t *testing.T) {
	cutter, config := cut(t, "follower")
	const lines = 20_000
	image := shared.env.Registry.Addr + "/library/busybox"
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(1500 * time.Millisecond):
				cutter.Cut()
			}
		}
	}()
	o := command(t, config, "run", "-a", "v5e-16", "--quiet", image, "--", "sh", "-c", fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); echo line $i; done", lines))
	o.expect(t, 0)
	inOrder(t, o.out, 4, lines)
}

// inOrder checks that each of some hosts has written its lines, all of them, each once and in their order.
func inOrder(t *testing.T, out string, hosts, lines int) {
	t.Helper()
	next := map[string]int{}
	for line := range strings.Lines(out) {
		host, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !strings.HasPrefix(text, "line ") {
			continue
		}
		if next[host]++; text != fmt.Sprintf("line %d", next[host]) {
			t.Fatalf("%s: %q in place of line %d", host, text, next[host])
		}
	}
	if len(next) != hosts {
		t.Errorf("output of %d hosts", len(next))
	}
	for host, n := range next {
		if n != lines {
			t.Errorf("%s: %d lines", host, n)
		}
	}
}

// TestNodeOfARunIsLost: a node's kubelet is gone, and with it the program.
func TestNodeOfARunIsLost(t *testing.T) {
	nodes, err := kube.GKENodes(kube.CPU)
	if err != nil {
		t.Fatal(err)
	}
	node := nodes[0]
	node.Name, node.Labels["ibuild-test"] = "gke-ibuild-cpu-away", "away"
	if err := shared.cluster.AddNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	cmd, said := start(t, shared.cluster.Admin, "run", "--node-selector", "ibuild-test=away", shared.env.Registry.Addr+"/library/busybox", "--", "sh", "-c", "echo begun; sleep 600")
	within(t, time.Minute, func() bool { return strings.Contains(said.String(), "begun") })
	if err := shared.cluster.StopKubelet(node.Name); err != nil {
		t.Fatal(err)
	}
	ended(t, cmd, said).expect(t, 1, node.Name, "not reachable", "--retries")
	if err := shared.cluster.RemoveNode(t.Context(), node.Name); err != nil {
		t.Error(err)
	}
}

// TestKilledRun: of an ibuild that is killed, the job goes on, and another process comes back to it.
func TestKilledRun(t *testing.T) {
	cmd, said := start(t, shared.cluster.Admin, "run", "--name", "orphan", shared.env.Registry.Addr+"/library/busybox", "--", "sh", "-c",
		"echo begun; sleep 5; echo kept > $IBUILD_OUTPUT_DIR/file; echo ended; exit 4")
	within(t, time.Minute, func() bool { return strings.Contains(said.String(), "begun") })
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	ibuild(t, "jobs", "logs", "--follow", "orphan").expect(t, 0, "begun\nended\n")
	ibuild(t, "jobs", "status", "orphan").expect(t, 0, "failed", "exit code 4")
	ibuild(t, "jobs", "result", "orphan", t.TempDir()+"/out").expect(t, 0, "files: 1,")
}
