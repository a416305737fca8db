//go:build integration

package traffic

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/integration/testenv"
)

// house is what all tests of the package share; TestMain makes it.
type house struct {
	env    *testenv.Env
	ibuild string // the program
}

var shared house

func TestMain(m *testing.M) {
	o := testenv.Options{Buildkitd: true, Log: os.Stderr, Bases: []string{"busybox", "ghcr.io/astral-sh/uv:0.13.9"}}
	os.Exit(testenv.Tests(m, o, func(ctx context.Context, env *testenv.Env) (func() error, error) {
		program, err := env.Ibuild(ctx)
		shared = house{env, program}
		return nil, err
	}))
}

// machine is an ibuild with a cache and an engine of its own.
type machine struct {
	dir    string
	remote bool // the environment's daemon builds, not the engine in ibuild's process
}

func newMachine(t *testing.T, remote bool) machine {
	t.Helper()
	return machine{folder(t), remote}
}

// folder makes a folder that is gone after the test.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(shared.env.Dir, "traffic-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// visits is what a build asked of others.
type visits struct {
	output   string
	engine   bool // the engine in ibuild's process was started
	daemon   int  // connections to the daemon
	requests []testenv.Request
}

// build pushes a source under a name, and has to succeed.
func (m machine) build(t *testing.T, ref string, args ...string) visits {
	t.Helper()
	registry, daemon := shared.env.Registry.Mark(), shared.env.Buildkitd.Mark()
	root := filepath.Join(m.dir, fmt.Sprintf("engine-%d", time.Now().UnixNano()))
	out, err := m.command(t, root, ref, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("build %s: %v\n%s", ref, err, out)
	}
	v := visits{output: string(out), daemon: len(shared.env.Buildkitd.Connections(daemon)), requests: shared.env.Registry.Requests(registry)}
	_, err = os.Stat(root)
	v.engine = err == nil
	return v
}

// command is a build. root is the state folder of the engine in ibuild's process: it is not there before, and is
// there afterwards if that engine was started.
func (m machine) command(t *testing.T, root, ref string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	cmd := shared.env.Command(ctx, shared.env.Self, shared.ibuild, append([]string{"build", "--progress", "plain", "--push", "-t", ref}, args...)...)
	cmd.Env = append(cmd.Env, "XDG_CACHE_HOME="+filepath.Join(m.dir, "cache"), "IBUILD_ROOT="+root)
	if !m.remote {
		cmd.Env = append(cmd.Env, "BUILDKIT_HOST=")
	}
	return cmd
}

// noBuilder fails unless the build reached neither engine nor daemon.
func (v visits) noBuilder(t *testing.T, what string) {
	t.Helper()
	if v.engine || v.daemon > 0 {
		t.Errorf("%s: engine started: %t, connections to the daemon: %d; want none\n%s", what, v.engine, v.daemon, v.output)
	}
}

// builder fails unless the build reached one: else noBuilder would not mean anything.
func (v visits) builder(t *testing.T, what string) {
	t.Helper()
	if !v.engine && v.daemon == 0 {
		t.Errorf("%s: no builder was reached\n%s", what, v.output)
	}
}

// lines are requests as lines of a log.
func lines(requests []testenv.Request) string {
	var out strings.Builder
	for _, r := range requests {
		fmt.Fprintln(&out, r)
	}
	return out.String()
}

// source makes a folder with files, given as name and text in turn.
func source(t *testing.T, list ...string) string {
	t.Helper()
	dir := folder(t)
	for i := 0; i < len(list); i += 2 {
		write(t, filepath.Join(dir, list[i]), list[i+1])
	}
	return dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
