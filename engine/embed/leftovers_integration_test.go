//go:build integration && linux

package embed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
)

// sleeping starts a build that sleeps in a RUN step and returns when it does.
// The marker is in the sleeping process's arguments.
func sleeping(ctx context.Context, t testing.TB, c *client.Client, marker string) <-chan error {
	t.Helper()
	base, mounts := busybox(t)
	st := base.Run(llb.Args([]string{"/bin/sh", "-c", "busybox sleep " + marker}), llb.AddMount("/cache", llb.Scratch(), llb.AsPersistentCacheDir("c", llb.CacheMountShared))).Root()
	done := make(chan error, 1)
	go func() {
		_, err := build(ctx, c, st, client.SolveOpt{LocalMounts: mounts})
		done <- err
	}()
	eventually(t, "the step runs", func() bool { return len(processesWith(marker)) > 0 })
	return done
}

func processesWith(arg string) []string {
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		b, _ := os.ReadFile(d + "/cmdline")
		args := strings.ReplaceAll(string(b), "\x00", " ")
		if strings.Contains(args, "sleep "+arg) {
			found = append(found, filepath.Base(d)+": "+args)
		}
	}
	return found
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain until %s", what)
}

// ownTemp makes BuildKit's temporary files tell from those of other engines.
func ownTemp(t *testing.T) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
}

// containers lists the ids of the containers that run.
func containers(root string) []string {
	var ids []string
	dirs, _ := filepath.Glob(root + "/*/executor/*/rootfs")
	for _, d := range dirs {
		ids = append(ids, filepath.Base(filepath.Dir(d)))
	}
	return ids
}

// traces lists what an engine at root, which ran these containers, may have left
// on the machine.
func traces(root, marker string, ids []string) []string {
	found := processesWith(marker)
	tmp := os.TempDir()
	if b, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if strings.Contains(line, root) || strings.Contains(line, tmp+"/buildkit-mount") {
				found = append(found, line)
			}
		}
	}
	patterns := []string{tmp + "/buildkit-mount*", tmp + "/containerd-mount*", tmp + "/runc*",
		root + "/socket-*", root + "/probe-*", root + "/tmp/*", root + "/run/*", root + "/*/executor/*/rootfs"}
	for _, id := range ids {
		patterns = append(patterns, "/sys/fs/cgroup/*/buildkit/"+id, "/sys/fs/cgroup/buildkit/"+id, "/run/runc/"+id)
	}
	for _, pattern := range patterns {
		m, _ := filepath.Glob(pattern)
		found = append(found, m...)
	}
	return found
}

func expectNoTraces(t *testing.T, root, marker string, ids []string) {
	t.Helper()
	if len(ids) == 0 {
		t.Error("no container was seen")
	}
	for _, s := range traces(root, marker, ids) {
		t.Errorf("left behind: %s", s)
	}
}

func TestEngineCancelLeavesNothing(t *testing.T) {
	const marker = "98765.1"
	ownTemp(t)
	root := stateFolder(t)
	e := startEngine(t, Config{Root: root})
	ctx, cancel := context.WithCancel(t.Context())
	done := sleeping(ctx, t, newClient(t, e), marker)
	ids := containers(root)
	cancel()
	if err := <-done; err == nil {
		t.Error("the cancelled build succeeded")
	}
	start := time.Now()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("closed in %v", time.Since(start))
	expectNoTraces(t, root, marker, ids)
}

func TestEngineCloseDuringBuildLeavesNothing(t *testing.T) {
	const marker = "98765.2"
	ownTemp(t)
	root := stateFolder(t)
	e := startEngine(t, Config{Root: root})
	done := sleeping(t.Context(), t, newClient(t, e), marker)
	ids := containers(root)
	start := time.Now()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("closed in %v", time.Since(start))
	if err := <-done; err == nil {
		t.Error("the build succeeded")
	}
	expectNoTraces(t, root, marker, ids)
	startEngine(t, Config{Root: root})
}

// The process that holds an engine is killed; victimEnv makes a test binary that
// process.
const victimEnv = "IBUILD_TEST_VICTIM_ROOT"

const victimMarker = "98765.3"

func TestVictim(t *testing.T) {
	root := os.Getenv(victimEnv)
	if root == "" {
		t.Skip("runs for TestEngineKilled only")
	}
	e := startEngine(t, Config{Root: root})
	_ = json.NewEncoder(os.Stdout).Encode(e.About())
	done := sleeping(t.Context(), t, newClient(t, e), victimMarker)
	fmt.Println("sleeping")
	<-done
}

func TestEngineKilled(t *testing.T) {
	ownTemp(t)
	root := stateFolder(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestVictim$", "-test.v=false")
	cmd.Env = append(os.Environ(), victimEnv+"="+root)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen := &tail{}
	go func() { _, _ = io.Copy(seen, out) }()
	eventually(t, "the victim sleeps", func() bool { return strings.Contains(seen.String(), "sleeping") })
	var about About
	if err := json.Unmarshal([]byte(strings.SplitN(seen.String(), "\n", 2)[0]), &about); err != nil {
		t.Fatal(err)
	}
	ids := containers(root)
	killed := time.Now()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	t.Logf("the victim is dead after %v", time.Since(killed))

	if os.Geteuid() != 0 {
		// Everything dies at once, with the namespaces.
		eventually(t, "the child and its steps are dead", func() bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", about.Pid))
			// Init buries it in its own time.
			return (err != nil || bytes.Contains(stat, []byte(") Z "))) && len(processesWith(victimMarker)) == 0
		})
		t.Logf("all is dead after %v", time.Since(killed))
	}
	// A new engine can start at once, and clears what is left.
	e := startEngine(t, Config{Root: root})
	base, mounts := busybox(t)
	if _, err := build(t.Context(), newClient(t, e), base.Run(llb.Args([]string{"/bin/sh", "-c", "true"})).Root(), client.SolveOpt{LocalMounts: mounts}); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	expectNoTraces(t, root, victimMarker, ids)
}

func TestEngineChildDies(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root has no child")
	}
	const marker = "98765.4"
	ownTemp(t)
	root := stateFolder(t)
	e, err := Start(t.Context(), Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	done := sleeping(t.Context(), t, newClient(t, e), marker)
	ids := containers(root)
	if err := syscall.Kill(e.About().Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("the build succeeded")
	}
	var child *ChildError
	if err := e.Close(); !errors.As(err, &child) || !strings.Contains(child.Message, "killed") {
		t.Errorf("got %v", err)
	}
	if left := processesWith(marker); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	// The container's folder waits for the next engine.
	if err := startEngine(t, Config{Root: root}).Close(); err != nil {
		t.Fatal(err)
	}
	expectNoTraces(t, root, marker, ids)
}

func TestEngineIsQuiet(t *testing.T) {
	var log bytes.Buffer
	e := startEngine(t, Config{Log: &log, Debug: true})
	if _, err := e.Platforms(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of log", log.Len())
	time.Sleep(1500 * time.Millisecond) // BuildKit's first garbage collection, on closed databases
}

func TestEngineStartCancelled(t *testing.T) {
	root := stateFolder(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if e, err := Start(ctx, Config{Root: root}); err == nil {
		e.Close()
		t.Error("started with a cancelled context")
	}
	startEngine(t, Config{Root: root})
}

func BenchmarkStart(b *testing.B) {
	root := stateFolder(b)
	for b.Loop() {
		e, err := Start(b.Context(), Config{Root: root})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
