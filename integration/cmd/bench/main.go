// Command bench measures ibuild against buildctl of the same BuildKit version with a warm buildkitd: the
// same Dockerfile, the same machine, the same run, one after the other in turns. It prints a table with
// medians and ratios; docs/benchmarks.md keeps such tables together with the machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/ibuild/ibuild/integration/testenv"
	"golang.org/x/sys/unix"
)

func main() {
	ibuild := flag.String("ibuild", "bin/ibuild", "the program to measure")
	runs := flag.Int("runs", 9, "how often each side runs")
	dir := flag.String("dir", memory(), "where registry, builders and contexts live; a file system in memory keeps the disk out of it")
	only := flag.String("only", ".", "a regular expression: which measurements to make, by their names below")
	flag.Parse()
	if *dir != "" {
		os.Setenv("TMPDIR", *dir)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *ibuild, *runs, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// memory is a file system in memory, if there is one.
func memory() string {
	var st unix.Statfs_t
	if unix.Statfs("/dev/shm", &st) == nil && st.Type == unix.TMPFS_MAGIC && st.Bavail*uint64(st.Bsize) > 4<<30 {
		return "/dev/shm"
	}
	return ""
}

func run(ctx context.Context, ibuild string, runs int, only string) (err error) {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("the peer is a buildkitd that runs as root; run this as root too")
	}
	env, err := testenv.Start(ctx, testenv.Options{Bases: []string{"busybox", "debian:bookworm-slim", "python:3.11-slim-bookworm", "ghcr.io/astral-sh/uv:0.13.9"}, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := env.Close(); err == nil {
			err = closeErr
		}
	}()
	b := &bench{ctx: ctx, env: env, runs: runs, dir: filepath.Join(env.Dir, "bench")}
	if b.ibuild, err = env.Install(ibuild); err != nil {
		return err
	}
	if err := b.prepare(); err != nil {
		return err
	}
	defer b.stop()
	fmt.Printf("ibuild against buildctl on %d cores (%s), files in %s, %d runs each, medians\n\n", runtime.NumCPU(), cpu(), os.TempDir(), runs)
	fmt.Println("| work | ibuild | buildctl | ratio | to reach |\n| --- | --- | --- | --- | --- |")
	for _, m := range []struct {
		name    string
		measure func() error
	}{
		{"cold", b.cold}, {"rebuild", b.rebuild}, {"output", b.firstOutput}, {"ready", b.ready}, {"memory", b.memory}, {"native", b.natively},
	} {
		if !wanted.MatchString(m.name) {
			continue
		}
		if err := m.measure(); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

func cpu() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "model name\t: "); ok {
			return strings.TrimSpace(name)
		}
	}
	return runtime.GOARCH
}

// bench is one run of all measurements.
type bench struct {
	ctx    context.Context
	env    *testenv.Env
	runs   int
	dir    string
	ibuild string

	buildctl string
	daemon   *exec.Cmd
	addr     string
}

const dockerfile = `FROM debian:bookworm-slim AS build
RUN mkdir /out && for i in $(seq 200); do echo "file $i" > /out/$i; done && dd if=/dev/zero of=/out/big bs=1M count=32 2>/dev/null
COPY data /data
RUN cat /data/* | sha256sum > /out/sum
FROM busybox
COPY --from=build /out /out
RUN ls /out | wc -l
`

// prepare writes the context and starts the peer's daemon, as root, with the same registry settings.
func (b *bench) prepare() (err error) {
	if b.buildctl, err = b.env.Tool(b.ctx, "buildctl"); err != nil {
		return err
	}
	buildkitd, err := b.env.Tool(b.ctx, "buildkitd")
	if err != nil {
		return err
	}
	data := filepath.Join(b.dir, "context", "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	for i := range 300 {
		if err := os.WriteFile(filepath.Join(data, fmt.Sprint(i)), []byte(strings.Repeat(fmt.Sprint(i), 2000)), 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(b.dir, "context", "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		return err
	}
	b.addr = "unix://" + filepath.Join(b.dir, "buildkitd.sock")
	b.daemon = exec.Command(buildkitd, "--config", b.env.IbuildConfig(), "--root", filepath.Join(b.dir, "buildkitd"), "--addr", b.addr, "--oci-worker-binary", "runc")
	b.daemon.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	runtime.LockOSThread() // the death signal comes when the thread that started the daemon ends
	b.daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	log, err := os.Create(filepath.Join(b.dir, "buildkitd.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	b.daemon.Stdout, b.daemon.Stderr = log, log
	if err := b.daemon.Start(); err != nil {
		return err
	}
	for range 100 {
		if exec.Command(b.buildctl, "--addr", b.addr, "debug", "workers").Run() == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("the peer's buildkitd does not answer, see %s", log.Name())
}

func (b *bench) stop() {
	_ = b.daemon.Process.Signal(syscall.SIGTERM)
	_ = b.daemon.Wait()
}
