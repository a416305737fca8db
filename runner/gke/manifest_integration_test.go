//go:build integration

package gke

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/integration/kube"
	"github.com/ibuild/ibuild/integration/testenv"
)

// TestManifestsOnKubernetes gives manifests to a real Kubernetes.
func TestManifestsOnKubernetes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute) // the first on a machine builds Kubernetes
	defer cancel()
	env, err := testenv.Start(ctx, testenv.Options{Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = env.Close() })
	base, err := env.Base(ctx, "busybox")
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := kube.GKENodes()
	if err != nil {
		t.Fatal(err)
	}
	c, err := kube.Start(ctx, kube.Options{Nodes: nodes, Loopback: []string{env.Registry.Addr}, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.ApplyCRD(ctx, kube.JobSetCRD); err != nil {
		t.Fatal(err)
	}
	if base.Digest.Hex == "" {
		t.Fatal("these nodes reach no real registry: a stand-in is needed")
	}
	name, _, _ := strings.Cut(base.Ref, ":latest")
	m := onKubernetes{c, name + "@" + base.Digest.String()}
	m.kubectl(t, "create", "namespace", "research")
	t.Run("validation", m.testValidation)
	t.Run("texts", m.testTexts)
	t.Run("timeout", m.testTimeout)
	t.Run("devices", m.testDevices)
}

type onKubernetes struct {
	cluster *kube.Cluster
	image   string // busybox, by digest
}

func (m onKubernetes) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := m.cluster.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// testValidation: the API server takes all that is kept as golden files, with no
// field that it does not know; and the YAML without secret values as well.
func (m onKubernetes) testValidation(t *testing.T) {
	full, shown := t.TempDir(), t.TempDir()
	jobs := goldenJobs(t)
	want := 0
	for name, j := range jobs {
		objects, err := Manifests(j)
		if err != nil {
			t.Fatal(err)
		}
		want += len(objects)
		for dir, write := range map[string]func() ([]byte, error){
			full:  func() ([]byte, error) { return SecretYAML(objects) },
			shown: func() ([]byte, error) { return YAML(objects) },
		} {
			data, err := write()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name+".yaml"), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, dir := range []string{full, shown} {
		out := m.kubectl(t, "create", "--dry-run=server", "--validate=strict", "--output=name", "--filename", dir)
		if got := len(strings.Fields(out)); got != want {
			t.Errorf("%d objects of %d:\n%s", got, want, out)
		}
	}
}

// run submits a job, waits for its end and returns its output.
func (m onKubernetes) run(t *testing.T, j Job, condition string) string {
	t.Helper()
	objects, err := Manifests(j)
	if err != nil {
		t.Fatal(err)
	}
	data, err := SecretYAML(objects)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "job.yaml")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	m.kubectl(t, "apply", "--filename", file)
	m.kubectl(t, "--namespace", j.Namespace, "wait", "--for=condition="+condition, "--timeout=90s", "job/"+j.Name)
	return m.kubectl(t, "--namespace", j.Namespace, "logs", "--selector", JobLabel+"="+j.Name, "--tail=-1")
}

// testTexts: a program sees the arguments and variables as they were given, to the byte.
func (m onKubernetes) testTexts(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	j := testJob(t, "cpu")
	j.Name, j.Image = "texts", m.image
	j.Command = []string{"sh", "-c", `for text; do printf %s "$text" | base64 | tr -d '\n'; echo .; done; printf %s "$A" | base64 | tr -d '\n'; echo .; printf %s "$B" | base64 | tr -d '\n'; echo .`, "sh"}
	want := []string{"$(A)", "$$(A)", "$$$(A)$", "$(", "$", "$$", "\x01\x1b\x7f\u0085\u2028\ufeff", "a\tb\n\n", " "}
	want = append(want, hostile...)
	for range 100 {
		want = append(want, hostileText(r))
	}
	j.Args = want
	plain, secret := "$(A)"+strings.Join(hostile, ""), strings.Join(hostile, "$")
	j.Env, j.SecretEnv = []Variable{{"A", plain}}, []Variable{{"B", secret}}
	want = append(want, plain, secret)
	lines := strings.Split(strings.TrimSpace(m.run(t, j, "complete")), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines, not %d", len(lines), len(want))
	}
	for i, line := range lines {
		got, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(line, "."))
		if err != nil || string(got) != want[i] {
			t.Errorf("text %d is %q, not %q: %v", i, got, want[i], err)
		}
	}
}

// testTimeout: when the time is over the program gets its signal, and its output is still there.
func (m onKubernetes) testTimeout(t *testing.T) {
	j := testJob(t, "cpu")
	j.Name, j.Image = "timeout", m.image
	j.Timeout, j.Grace = 5*time.Second, 10*time.Second
	j.Command, j.Args = []string{"sh", "-c"}, []string{`trap 'echo ended; exit 3' TERM; echo began; while :; do sleep 0.1; done`}
	if out := m.run(t, j, "failed"); out != "began\nended\n" {
		t.Errorf("%q", out)
	}
	reason := m.kubectl(t, "--namespace", j.Namespace, "get", "pods", "--selector", JobLabel+"="+j.Name, "--output",
		"jsonpath={.items[*].status.reason} {.items[*].status.containerStatuses[0].state.terminated.exitCode}")
	if reason != "DeadlineExceeded 3" {
		t.Errorf("%q", reason)
	}
}

// testDevices: jobs find the nodes that the harness labels and taints as GKE does,
// and each host gets its devices.
func (m onKubernetes) testDevices(t *testing.T) {
	for accelerator, want := range map[string]string{
		"l4":                                "gke-ibuild-l4-0",
		"a100x4":                            "gke-ibuild-a100x4-0",
		"v5e-4":                             "gke-ibuild-v5e-0",
		"tpu:v5e:4x4":                       "gke-ibuild-v5e-4x4-0 gke-ibuild-v5e-4x4-1 gke-ibuild-v5e-4x4-2 gke-ibuild-v5e-4x4-3",
		"nvidia-tesla-a100:4:a2-highgpu-4g": "gke-ibuild-a100x4-0",
	} {
		j := testJob(t, accelerator)
		j.Name, j.Image = NewName(accelerator, "1"), m.image
		j.Command, j.Args = []string{"sh", "-c"}, []string{`hostname`}
		out := strings.Fields(m.run(t, j, "complete"))
		slices.Sort(out)
		nodes := strings.Fields(m.kubectl(t, "--namespace", j.Namespace, "get", "pods", "--selector", JobLabel+"="+j.Name, "--output", "jsonpath={.items[*].spec.nodeName}"))
		slices.Sort(nodes)
		if got := strings.Join(nodes, " "); got != want {
			t.Errorf("%s ran on %s", accelerator, got)
		}
		for i, name := range out {
			if hosts := j.Accelerator.Hosts; hosts > 1 && name != fmt.Sprintf("%s-%d", j.Name, i) || len(out) != hosts {
				t.Errorf("%s: the hosts are %q", accelerator, out)
			}
		}
	}
}
