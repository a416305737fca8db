//go:build integration

package runs

import (
	"context"
	"os"
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
	o := testenv.Options{Sites: true, Log: os.Stderr, Bases: []string{busybox, python, "ghcr.io/astral-sh/uv:0.13.9"}}
	os.Exit(testenv.Tests(m, o, func(ctx context.Context, env *testenv.Env) (func() error, error) {
		program, err := env.Ibuild(ctx)
		if err != nil {
			return nil, err
		}
		nodes, err := kube.GKENodes() // all pools: eight nodes take a second more than one
		if err != nil {
			return nil, err
		}
		reachable := []string{env.Registry.Addr, strings.TrimPrefix(env.Sites.Open.URL, "http://")}
		cluster, err := kube.Start(ctx, kube.Options{Nodes: nodes, Loopback: reachable, Log: os.Stderr})
		if err != nil {
			return nil, err
		}
		shared = house{env, cluster, program}
		return cluster.Close, nil
	}))
}

const (
	busybox = "busybox"
	python  = "python:3.11-slim-bookworm"
)
