//go:build integration && linux

package embed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/tonistiigi/fsutil"
	"golang.org/x/sync/errgroup"
)

// The tests named TestEngine… start a real engine with the rights of whoever
// runs them: root, or, through TestAsUser, an ordinary user.

func startEngine(t testing.TB, cfg Config) *Engine {
	t.Helper()
	if cfg.Root == "" {
		cfg.Root = stateFolder(t)
	}
	e, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

// stateFolder is a folder whose content an ordinary user may not be able to
// remove, since it belongs to subordinate ids; TestAsUser removes it as root.
func stateFolder(t testing.TB) string {
	if os.Geteuid() == 0 {
		return filepath.Join(t.TempDir(), "state")
	}
	dir, err := os.MkdirTemp(os.Getenv(userScratchEnv), "state-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// busybox is a root file system with a shell, made from the machine's own.
func busybox(t testing.TB) (llb.State, map[string]fsutil.FS) {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("busybox-static is not installed")
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "busybox"), b, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("busybox", filepath.Join(dir, "bin", "sh")); err != nil {
		t.Fatal(err)
	}
	fs, err := fsutil.NewFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	src := llb.Local("busybox", llb.SharedKeyHint("busybox"))
	return llb.Scratch().File(llb.Copy(src, "/", "/")), map[string]fsutil.FS{"busybox": fs}
}

type buildResult struct {
	log    string
	cached map[string]bool // by vertex name
}

// build solves st and returns what its steps printed.
func build(ctx context.Context, c *client.Client, st llb.State, opt client.SolveOpt) (buildResult, error) {
	def, err := st.Marshal(ctx)
	if err != nil {
		return buildResult{}, err
	}
	status := make(chan *client.SolveStatus)
	res := buildResult{cached: map[string]bool{}}
	var log bytes.Buffer
	var mu sync.Mutex
	var eg errgroup.Group
	eg.Go(func() error {
		_, err := c.Solve(ctx, def, opt, status)
		return err
	})
	eg.Go(func() error {
		for s := range status {
			mu.Lock()
			for _, l := range s.Logs {
				log.Write(l.Data)
			}
			for _, v := range s.Vertexes {
				res.cached[v.Name] = v.Cached
			}
			mu.Unlock()
		}
		return nil
	})
	err = eg.Wait()
	res.log = log.String()
	return res, err
}

func newClient(t testing.TB, e *Engine) *client.Client {
	t.Helper()
	c, err := e.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestEngineBuilds(t *testing.T) {
	root := stateFolder(t)
	base, mounts := busybox(t)
	st := base.Run(llb.Args([]string{"/bin/busybox", "sh", "-c",
		"id -u; busybox cat /proc/self/uid_map; busybox chown 1000:1000 /bin/sh; busybox ps | busybox wc -l; echo built"})).Root()
	out := t.TempDir()
	opt := client.SolveOpt{LocalMounts: mounts, Exports: []client.ExportEntry{{Type: client.ExporterLocal, OutputDir: out}}}

	e := startEngine(t, Config{Root: root})
	res, err := build(t.Context(), newClient(t, e), st, opt)
	if err != nil {
		t.Fatalf("build: %v\n%s", err, res.log)
	}
	if !strings.HasPrefix(res.log, "0\n") || !strings.HasSuffix(res.log, "built\n") {
		t.Errorf("unexpected output:\n%s", res.log)
	}
	if _, err := os.Stat(filepath.Join(out, "bin", "busybox")); err != nil {
		t.Error(err)
	}
	a := e.About()
	t.Logf("about: %+v", a)
	if a.Rootless != (os.Geteuid() != 0) || a.Runtime.Version == "" || a.ProcessSandbox == procMasked() {
		t.Errorf("about: %+v", a)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}

	// Again in a new engine on the same folder: nothing runs.
	e = startEngine(t, Config{Root: root})
	res, err = build(t.Context(), newClient(t, e), st, client.SolveOpt{LocalMounts: mounts})
	if err != nil {
		t.Fatal(err)
	}
	if res.log != "" {
		t.Errorf("a step ran again:\n%s", res.log)
	}
}

func TestEngineDockerfileFrontend(t *testing.T) {
	_, mounts := busybox(t)
	dir := t.TempDir()
	dockerfile := "FROM scratch\nCOPY . /\nRUN [\"/bin/busybox\", \"sh\", \"-c\", \"echo hello from $0\"]\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		t.Fatal(err)
	}
	dfs, err := fsutil.NewFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	e := startEngine(t, Config{})
	c := newClient(t, e)
	var tar bytes.Buffer
	_, err = c.Solve(t.Context(), nil, client.SolveOpt{
		Frontend:    "dockerfile.v0",
		LocalMounts: map[string]fsutil.FS{"context": mounts["busybox"], "dockerfile": dfs},
		Exports: []client.ExportEntry{{Type: client.ExporterOCI,
			Output: func(map[string]string) (io.WriteCloser, error) { return nopCloser{&tar}, nil }}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if tar.Len() < 1<<19 {
		t.Errorf("the image has %d bytes", tar.Len())
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func TestEngineIsExclusive(t *testing.T) {
	root := stateFolder(t)
	e := startEngine(t, Config{Root: root})
	start := time.Now()
	_, err := Start(t.Context(), Config{Root: root})
	var locked *LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("got %v", err)
	}
	if locked.PID != os.Getpid() || locked.Root != root || locked.Command == "" || locked.Hint == "" {
		t.Errorf("got %+v", locked)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("it took %v to say so", d)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	startEngine(t, Config{Root: root})
}

func TestEngineServesAnotherListener(t *testing.T) {
	e := startEngine(t, Config{})
	addr := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- e.Serve(l) }()
	c, err := client.New(t.Context(), "unix://"+addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	workers, err := c.ListWorkers(t.Context())
	if err != nil || len(workers) != 1 {
		t.Fatalf("got %v, %v", workers, err)
	}
	base, mounts := busybox(t)
	if res, err := build(t.Context(), c, base.Run(llb.Args([]string{"/bin/sh", "-c", "echo x"})).Root(), client.SolveOpt{LocalMounts: mounts}); err != nil {
		t.Fatalf("%v\n%s", err, res.log)
	}
	c.Close()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-served:
	case <-time.After(5 * time.Second):
		t.Error("Serve did not return after Close")
	}
}

func TestEnginePlatforms(t *testing.T) {
	e := startEngine(t, Config{})
	start := time.Now()
	ps, err := e.Platforms(t.Context())
	if err != nil || len(ps) == 0 {
		t.Fatalf("got %v, %v", ps, err)
	}
	t.Logf("%v after %v", ps, time.Since(start))
}

func TestEngineRefusesHostNetworkUnlessAllowed(t *testing.T) {
	base, mounts := busybox(t)
	st := base.Run(llb.Args([]string{"/bin/sh", "-c", "true"}), llb.Network(llb.NetModeHost)).Root()
	opt := client.SolveOpt{LocalMounts: mounts, AllowedEntitlements: []string{"network.host"}}
	e := startEngine(t, Config{})
	if _, err := build(t.Context(), newClient(t, e), st, opt); err == nil || !strings.Contains(err.Error(), "network.host") {
		t.Errorf("got %v", err)
	}
	e = startEngine(t, Config{AllowHostNetwork: true})
	if _, err := build(t.Context(), newClient(t, e), st, opt); err != nil {
		t.Error(err)
	}
}

func TestEngineSnapshotters(t *testing.T) {
	base, mounts := busybox(t)
	st := base.Run(llb.Args([]string{"/bin/sh", "-c", "echo x > /f; echo ran"})).
		Run(llb.Args([]string{"/bin/sh", "-c", "busybox rm /f; busybox ls -l /"})).Root()
	root := stateFolder(t)
	for _, name := range []string{overlayFS, fuseOverlayFS, nativeFS} {
		t.Run(name, func(t *testing.T) {
			choice, err := ChooseSnapshotter(t.Context(), root, name)
			if err != nil {
				t.Skip(err)
			}
			if choice.Name != name {
				t.Errorf("got %+v", choice)
			}
			e := startEngine(t, Config{Root: root, Snapshotter: name})
			res, err := build(t.Context(), newClient(t, e), st, client.SolveOpt{LocalMounts: mounts})
			if err != nil {
				t.Fatalf("%v\n%s", err, res.log)
			}
			if !strings.HasPrefix(res.log, "ran\n") {
				t.Errorf("a result of another snapshotter was used:\n%s", res.log)
			}
		})
	}
	choice, err := ChooseSnapshotter(t.Context(), root, "")
	if err != nil || choice.Name == "" || choice.Reason == "" {
		t.Errorf("got %+v, %v", choice, err)
	}
	t.Logf("auto: %+v", choice)
}

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
