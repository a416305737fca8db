//go:build integration && linux

package embed

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
		t.Fatal("busybox-static is not installed: run integration/deps.sh")
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
