package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/ibuild/ibuild/integration/kube"
)

// started prints when the program runs: its clock is this machine's.
const started = "import time\nprint('started', time.time_ns(), flush=True)\n"

// Goals of the rows of ibuild run.
const (
	ownShare   = 300 * time.Millisecond
	codeChange = 3 * time.Second
	dryRun     = 50 * time.Millisecond
)

// runner is a cluster on this machine, and a folder with a program.
type runner struct {
	*bench
	cluster *kube.Cluster
	program string
}

// runsOnCluster are the rows r1 to r3: from the command line to a running process, on a Kubernetes with one node for CPUs.
func (b *bench) runsOnCluster() (err error) {
	nodes, err := kube.GKENodes(kube.CPU)
	if err != nil {
		return err
	}
	r := &runner{bench: b, program: filepath.Join(b.dir, "program", "train.py")}
	if r.cluster, err = kube.Start(b.ctx, kube.Options{Nodes: nodes, Loopback: []string{b.env.Registry.Addr}, Log: os.Stderr}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.cluster.Close()) }()
	if err := r.write(0); err != nil {
		return err
	}
	return errors.Join(r.unchangedImage(), r.changedCode(), r.dry())
}

// write makes a state of the program that differs from all others.
func (r *runner) write(state int) error {
	if err := os.MkdirAll(filepath.Dir(r.program), 0o755); err != nil {
		return err
	}
	return os.WriteFile(r.program, fmt.Appendf(nil, "%s# state %d\n", started, state), 0o644)
}

// run runs `ibuild run` on the program, and returns what the program printed.
func (r *runner) run(args ...string) (string, error) {
	cmd := r.env.Command(r.ctx, r.env.Self, r.ibuild, append(append([]string{"run"}, args...), r.program)...)
	cmd.Env = append(cmd.Env, "KUBECONFIG="+r.cluster.Admin, "IBUILD_RUN_REPO="+r.env.Registry.Ref("bench/runs"), "IBUILD_BASE_IMAGE_REPO="+r.env.Registry.Ref("bench/bases"))
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("ibuild run: %w\n%s", err, exit.Stderr)
	}
	return string(out), err
}

// took is the time from a moment to when the program that printed this began.
func took(since time.Time, printed string) (time.Duration, error) {
	_, text, _ := strings.Cut(printed, "started ")
	nanos, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the program printed %q: %w", printed, err)
	}
	return time.Unix(0, nanos).Sub(since), nil
}

// unchangedImage is row r1: ibuild run of what was built before, and beside it the same Job when only the API server
// is asked to make it. The difference is ibuild's own share.
func (r *runner) unchangedImage() error {
	args := []string{"--quiet", "--python", "3.11"}
	if _, err := r.run(append([]string{"--name", "first"}, args...)...); err != nil {
		return err
	}
	job, err := r.cluster.Client.Resource(jobs).Namespace(metav1.NamespaceDefault).Get(r.ctx, "first", metav1.GetOptions{})
	if err != nil {
		return err
	}
	var ours, bare []time.Duration
	for i := range r.runs + 1 {
		settle(time.Second)
		begin := time.Now()
		out, err := r.run(args...)
		if err != nil {
			return err
		}
		own, err := took(begin, out)
		if err != nil {
			return err
		}
		settle(time.Second)
		alone, err := r.bare(job, fmt.Sprintf("bare-%d", i))
		if err != nil {
			return err
		}
		if i > 0 { // the first pair warms up
			ours, bare = append(ours, own), append(bare, alone)
		}
	}
	share := median(ours) - median(bare)
	fmt.Printf("| r1 unchanged image to running process | %d ms | the cluster alone: %d ms | ibuild's share: %d ms | ≤ %d ms%s |\n",
		median(ours).Milliseconds(), median(bare).Milliseconds(), share.Milliseconds(), ownShare.Milliseconds(), met(share, ownShare))
	return nil
}

var jobs = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}

// bare makes a Job like another one, and returns how long it takes until its program runs.
func (r *runner) bare(like *unstructured.Unstructured, name string) (time.Duration, error) {
	job := like.DeepCopy()
	for _, path := range [][]string{{"status"}, {"metadata"}, {"spec", "selector"}, {"spec", "template", "metadata"}} {
		unstructured.RemoveNestedField(job.Object, path...)
	}
	job.SetName(name)
	begin := time.Now()
	if _, err := r.cluster.Client.Resource(jobs).Namespace(metav1.NamespaceDefault).Create(r.ctx, job, metav1.CreateOptions{}); err != nil {
		return 0, err
	}
	if out, err := r.cluster.Kubectl(r.ctx, "wait", "--for=condition=complete", "--timeout=60s", "job/"+name); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, out)
	}
	out, err := r.cluster.Kubectl(r.ctx, "logs", "job/"+name)
	if err != nil {
		return 0, err
	}
	return took(begin, lastLine(out))
}

// lastLine is that of a text.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// changedCode is row r2: the program is another one each time, and its packages are installed by the pod.
func (r *runner) changedCode() error {
	file := filepath.Join(r.dir, "base.Dockerfile")
	if err := os.WriteFile(file, []byte("FROM python:3.11-slim-bookworm\nCOPY --from=ghcr.io/astral-sh/uv:0.13.9 /uv /usr/local/bin/uv\n"), 0o644); err != nil {
		return err
	}
	cmd := r.env.Command(r.ctx, r.env.Self, r.ibuild, "build-image", "--repo", r.env.Registry.Ref("bench/bases"), "--category", "cpu", "--dockerfile", file, "--tag", "t1", "--yes")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build-image: %w\n%s", err, out)
	}
	var list []time.Duration
	for i := range r.runs + 1 {
		if err := r.write(i + 1); err != nil {
			return err
		}
		settle(time.Second)
		begin := time.Now()
		out, err := r.run("--quiet", "--mode", "prebuilt", "--base-image-tag", "t1")
		if err != nil {
			return err
		}
		t, err := took(begin, out)
		if err != nil {
			return err
		}
		if i > 0 {
			list = append(list, t)
		}
	}
	fmt.Printf("| r2 code change to running process, prebuilt mode | %d ms | | | ≤ %d ms%s |\n", median(list).Milliseconds(), codeChange.Milliseconds(), met(median(list), codeChange))
	return nil
}

// dry is row r3.
func (r *runner) dry() error {
	var list []time.Duration
	for range r.runs + 1 {
		begin := time.Now()
		out, err := r.run("--dry-run", "--python", "3.11")
		if err != nil {
			return err
		}
		list = append(list, time.Since(begin))
		if !strings.Contains(out, "kind: Job") {
			return fmt.Errorf("a dry run without a Job:\n%s", out)
		}
	}
	fmt.Printf("| r3 `--dry-run` | %d ms | | | ≤ %d ms%s |\n", median(list[1:]).Milliseconds(), dryRun.Milliseconds(), met(median(list[1:]), dryRun))
	return nil
}

// met says whether a time is within its goal.
func met(is, goal time.Duration) string {
	if is <= goal {
		return ", met"
	}
	return ", missed"
}
