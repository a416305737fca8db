//go:build integration

package runs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/integration/kube"
	"github.com/ibuild/ibuild/integration/testenv"
)

// house is what all tests of the package share; TestMain makes it.
type house struct {
	env     *testenv.Env
	cluster *kube.Cluster
	ibuild  string // the program
}

var shared house

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "runs:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("these tests need root: they start a Kubernetes")
	}
	ctx := context.Background()
	env, err := testenv.Start(ctx, testenv.Options{Sites: true, Log: os.Stderr, Bases: []string{busybox, python, "ghcr.io/astral-sh/uv:0.13.9"}})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, env.Close()) }()
	shared.env = env
	if shared.ibuild, err = buildProgram(ctx, env); err != nil {
		return 1, err
	}
	nodes, err := kube.GKENodes() // all pools: eight nodes take a second more than one
	if err != nil {
		return 1, err
	}
	if shared.cluster, err = kube.Start(ctx, kube.Options{Nodes: nodes, Loopback: []string{env.Registry.Addr, strings.TrimPrefix(env.Sites.Open.URL, "http://")}, Log: os.Stderr}); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, shared.cluster.Close()) }()
	return m.Run(), nil
}

const (
	busybox = "busybox"
	python  = "python:3.11-slim-bookworm"
)

// buildProgram builds the command as it is in this checkout, with the bootstrap in it.
func buildProgram(ctx context.Context, env *testenv.Env) (string, error) {
	program := filepath.Join(env.Dir, "ibuild")
	for _, args := range [][]string{
		{"generate", "github.com/ibuild/ibuild/runner/bootstrap"},
		{"build", "-o", program, "github.com/ibuild/ibuild/cmd/ibuild"},
	} {
		if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("go %s: %w\n%s", args[0], err, out)
		}
	}
	return env.Install(program)
}
