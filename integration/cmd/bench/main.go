// Command bench measures ibuild against other programs: the same work, the same machine, the same run, one after
// the other in turns. It prints tables with medians and ratios; docs/benchmarks.md keeps such tables together with
// the machine. The peers are buildctl of the same BuildKit version and buildx, with a warm buildkitd, and for some
// rows buildah and crane.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/ibuild/ibuild/integration/imagetest"
	"github.com/ibuild/ibuild/integration/testenv"
	"golang.org/x/sys/unix"
)

func main() {
	ibuild := flag.String("ibuild", "bin/ibuild", "the program to measure")
	runs := flag.Int("runs", 9, "how often each side runs")
	dir := flag.String("dir", memory(), "where registry, builders and contexts live; a file system in memory keeps the disk out of it")
	only := flag.String("only", ".", "a regular expression: which measurements to make, by their names below; ^[1-7]- is the table of the peers, ^p that of pushes and copies, ^runs that of ibuild run")
	size := flag.Int64("bytes", defaultBytes(), "how large the large layers of the rows p1 to p5 are")
	flag.Parse()
	if *dir != "" {
		os.Setenv("TMPDIR", *dir)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *ibuild, *runs, *size, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// defaultBytes is what the issue asks for, or what the environment says for a try.
func defaultBytes() int64 {
	if n, err := strconv.ParseInt(os.Getenv("IBUILD_BENCH_BYTES"), 10, 64); err == nil && n > 0 {
		return n
	}
	return 2_000_000_000
}

// memory is a file system in memory, if there is one.
func memory() string {
	var st unix.Statfs_t
	if unix.Statfs("/dev/shm", &st) == nil && st.Type == unix.TMPFS_MAGIC && st.Bavail*uint64(st.Bsize) > 4<<30 {
		return "/dev/shm"
	}
	return ""
}

func run(ctx context.Context, ibuild string, runs int, size int64, only string) (err error) {
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
	b := &bench{ctx: ctx, env: env, runs: runs, bytes: size, dir: filepath.Join(env.Dir, "bench")}
	if b.ibuild, err = env.Install(ibuild); err != nil {
		return err
	}
	if err := b.prepare(); err != nil {
		return err
	}
	defer b.daemon.stop()
	fmt.Printf("%d cores (%s), files in %s, %d runs each, medians\n", runtime.NumCPU(), cpu(), os.TempDir(), runs)
	engines := []measurement{
		{"cold", b.cold}, {"rebuild", b.rebuild}, {"output", b.firstOutput}, {"ready", b.ready}, {"memory", b.memory}, {"native", b.natively},
	}
	if err := measure(wanted, "\n| work | ibuild | buildctl | ratio | to reach |\n| --- | --- | --- | --- | --- |", engines); err != nil {
		return err
	}
	rows := []measurement{
		{"1-unchanged", b.unchanged}, {"2-files", b.files}, {"3-change", b.change}, {"4-code", b.code}, {"5-layers", b.layers}, {"6-clients", b.clients}, {"7-second", b.second},
	}
	if slices.ContainsFunc(rows, func(m measurement) bool { return wanted.MatchString(m.name) }) {
		if err := b.findPeers(); err != nil {
			return err
		}
	}
	const heading = "\n| work | ibuild | peer | its time | ibuild is faster by | to reach |\n| --- | --- | --- | --- | --- | --- |"
	if err := measure(wanted, heading, rows); err != nil {
		return err
	}
	if err := measure(wanted, heading, []measurement{
		{"p1-push", b.pushBig}, {"p2-gzip", b.pushGzip}, {"p3-cut", b.pushCut}, {"p4-copy", b.copyWithin}, {"p5-far", b.pushFar},
	}); err != nil {
		return err
	}
	return measure(wanted, "\n| work | time | beside it | difference | to reach |\n| --- | --- | --- | --- | --- |", []measurement{{"runs", b.runsOnCluster}})
}

// measurement prints rows of a table.
type measurement struct {
	name    string // for -only
	measure func() error
}

// measure makes the measurements that are wanted, below one heading.
func measure(wanted *regexp.Regexp, heading string, list []measurement) error {
	list = slices.DeleteFunc(list, func(m measurement) bool { return !wanted.MatchString(m.name) })
	if len(list) == 0 {
		return nil
	}
	fmt.Println(heading)
	for _, m := range list {
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
	daemon   *daemon // warm: it keeps what it has built
	peers    peers
	images   *imagetest.Store // what was pushed
	bytes    int64            // size of the large layers
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
	b.daemon, err = b.startDaemon("buildkitd")
	if err != nil {
		return err
	}
	b.images, err = imagetest.Open(filepath.Join(b.dir, "images"))
	return err
}
