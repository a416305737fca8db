//go:build integration

package kube

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// victimVariable makes TestVictim the process that is killed; its value is the
// image that it runs.
const victimVariable = "IBUILD_TEST_VICTIM"

func victim() bool { return os.Getenv(victimVariable) != "" }

// traces finds what there is of a cluster: processes by their commands and
// control groups, and mounts, control groups and files by their names.
func traces(t *testing.T, dir string) []string {
	t.Helper()
	name := filepath.Base(dir)
	var found []string
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range commands {
		command, _ := os.ReadFile(file) // gone meanwhile
		groups, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cgroup"))
		if strings.Contains(string(command)+string(groups), name) {
			found = append(found, "process "+strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, name) {
			found = append(found, "mount "+line)
		}
	}
	for _, pattern := range []string{filepath.Join(cgroupRoot, name), filepath.Join(cgroupRoot, "*", name), dir + "*"} {
		files, _ := filepath.Glob(pattern)
		found = append(found, files...)
	}
	return found
}

// machineState is what the whole machine has and a cluster must not add to.
func machineState(t *testing.T) []string {
	t.Helper()
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var state []string
	for _, link := range links {
		state = append(state, "link "+link.Name)
	}
	for _, file := range []string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/all/route_localnet"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		state = append(state, file+": "+string(content))
	}
	for _, dir := range []string{"/var/lib", "/var/log", "/run", "/opt", "/usr/libexec", "/etc/cni"} {
		entries, _ := os.ReadDir(dir)
		for _, entry := range entries {
			state = append(state, filepath.Join(dir, entry.Name()))
		}
	}
	return state
}

// sleeping starts a cluster with a node on which a pod sleeps.
func sleeping(t *testing.T, image, registry string) *Cluster {
	t.Helper()
	nodes, err := GKENodes(L4)
	if err != nil {
		t.Fatal(err)
	}
	nodes[0].Taints = nil
	c, err := Start(t.Context(), Options{Nodes: nodes, Loopback: []string{registry}, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.create(t.Context(), jobs, "default", script("sleeps", image, "sleep 86397")); err != nil {
		t.Fatal(err)
	}
	waitPod(t, c, "sleeps", "it to run", func(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodRunning })
	return c
}

func TestCloseLeavesNothing(t *testing.T) {
	s := surround(t)
	before := machineState(t)
	c := sleeping(t, s.image, s.env.Registry.Addr)
	if found := traces(t, c.Dir); len(found) < 10 || !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, "sleep 86397") }) {
		t.Errorf("a running cluster has traces only in %q", found)
	}
	begin := time.Now()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("closed in %s", since(begin))
	if found := traces(t, c.Dir); len(found) > 0 {
		t.Errorf("left behind: %q", found)
	}
	for _, thing := range machineState(t) {
		if !slices.Contains(before, thing) {
			t.Errorf("the machine has %s, which it had not", thing)
		}
	}
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// TestVictim is the process that TestKilledClusterIsCleanedUp kills.
func TestVictim(t *testing.T) {
	if !victim() {
		t.Skip("only when another test starts it")
	}
	image := os.Getenv(victimVariable)
	registry, _, _ := strings.Cut(image, "/")
	c := sleeping(t, image, registry)
	fmt.Printf("victim %s\n", c.Dir)
	time.Sleep(time.Hour)
}

func TestKilledClusterIsCleanedUp(t *testing.T) {
	s := surround(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestVictim$")
	cmd.Env = append(os.Environ(), victimVariable+"="+s.image)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var dir string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "victim "); ok {
			dir = name
			break
		}
		t.Log(lines.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if dir == "" {
		t.Fatal("the other process has not started a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := until(ctx, "the processes to die with the one that started them", func(context.Context) (bool, error) {
		return !slices.ContainsFunc(traces(t, dir), func(f string) bool { return strings.HasPrefix(f, "process ") }), nil
	}); err != nil {
		t.Fatal(err, traces(t, dir))
	}
	if len(traces(t, dir)) == 0 {
		t.Error("there is nothing to clean up: the test shows nothing")
	}
	next, err := Start(t.Context(), Options{Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	if found := traces(t, dir); len(found) > 0 {
		t.Errorf("left behind: %q", found)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}
