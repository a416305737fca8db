//go:build integration

package e2e

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/integration/testenv"
)

// engine is one of the ways in which ibuild builds.
type engine struct {
	name   string
	user   testenv.User
	remote bool
	dir    string // keeps cache and state from test to test
}

// engines are the three ways; each has folders of its own.
func engines(t *testing.T) []engine {
	t.Helper()
	env := shared.env
	list := []engine{
		{name: "root", user: env.Self},
		{name: "user", user: env.User},
		{name: "remote", user: env.User, remote: true},
	}
	for i := range list {
		list[i].dir = filepath.Join(env.Dir, "engines", list[i].name)
		if err := list[i].user.Mkdir(list[i].dir); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func engineNamed(t *testing.T, name string) engine {
	t.Helper()
	for _, e := range engines(t) {
		if e.name == name {
			return e
		}
	}
	t.Fatalf("no engine %q", name)
	return engine{}
}

// eachEngine runs a subtest for every engine.
func eachEngine(t *testing.T, test func(t *testing.T, e engine)) {
	for _, e := range engines(t) {
		t.Run(e.name, func(t *testing.T) { test(t, e) })
	}
}

// enginesAtOnce runs a subtest for each of some engines, which share nothing, as many at a time as there are
// processors. It is for tests that do not count what others are asked. They run when the test that calls it has
// returned, so that is the last thing it does.
func enginesAtOnce(t *testing.T, list []engine, test func(t *testing.T, e engine)) {
	for _, e := range list {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			test(t, e)
		})
	}
}

// rootAndRemote are the engine in ibuild's process, for root, and the rootless daemon.
func rootAndRemote(t *testing.T) []engine {
	t.Helper()
	return []engine{engineNamed(t, "root"), engineNamed(t, "remote")}
}

// fresh is the same engine without a memory: its cache and its state folder are new.
func (e engine) fresh(t *testing.T) engine {
	t.Helper()
	e.dir = filepath.Join(folder(t), e.name)
	if err := e.user.Mkdir(e.dir); err != nil {
		t.Fatal(err)
	}
	return e
}

// root is the state folder of the in-process engine.
func (e engine) root() string { return filepath.Join(e.dir, "state") }

// cache is ibuild's cache folder.
func (e engine) cache() string { return filepath.Join(e.dir, "cache") }

// timeLimit bounds one run of ibuild; nothing here takes nearly that long.
const timeLimit = 5 * time.Minute

// command prepares a run of ibuild. Later settings win, so a test can change what it wants by appending to Env.
func (e engine) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeLimit)
	t.Cleanup(cancel)
	cmd := shared.env.Command(ctx, e.user, shared.ibuild, args...)
	cmd.Env = append(cmd.Env, "XDG_CACHE_HOME="+e.cache(), "IBUILD_ROOT="+e.root())
	if !e.remote {
		cmd.Env = without(cmd.Env, "BUILDKIT_HOST")
	}
	return cmd
}

// without removes a variable from an environment.
func without(env []string, name string) []string {
	var rest []string
	for _, kv := range env {
		if !strings.HasPrefix(kv, name+"=") {
			rest = append(rest, kv)
		}
	}
	return rest
}

// outcome is how a program ended.
type outcome struct {
	code   int
	stdout string
	stderr string
	took   time.Duration
}

// end runs a command to its end.
func end(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	begin := time.Now()
	err := cmd.Run()
	o := outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), time.Since(begin)}
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("%s: %v\n%s", cmd, err, o.stderr)
	}
	return o
}

// ibuild runs ibuild, which has to succeed.
func (e engine) ibuild(t *testing.T, args ...string) outcome {
	t.Helper()
	return mustEnd(t, e.command(t, args...))
}

func mustEnd(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	o := end(t, cmd)
	if o.code != 0 {
		t.Fatalf("%s: exit code %d\n%s", strings.Join(cmd.Args, " "), o.code, o.stderr)
	}
	return o
}

// push builds and pushes an image, and returns its name. Engines that are compared need a repository each: what one has
// put there the next one finds, and makes nothing.
func (e engine) push(t *testing.T, name string, args ...string) string {
	t.Helper()
	ref := shared.env.Registry.Ref(name)
	e.ibuild(t, append([]string{"build", "--progress", "plain", "--push", "-t", ref}, args...)...)
	return ref
}
