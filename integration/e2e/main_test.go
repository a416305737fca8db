//go:build integration

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/ibuild/ibuild/integration/imagetest"
	"github.com/ibuild/ibuild/integration/testenv"
)

// house is what all tests of the package share; TestMain makes it.
type house struct {
	env      *testenv.Env
	ibuild   string // the program
	buildctl string
	examples string // a copy of the examples that all users can read
	images   *imagetest.Store
}

var shared house

func TestMain(m *testing.M) {
	o := testenv.Options{Buildkitd: true, Sites: true, Log: os.Stderr, Bases: []string{busybox, debian, python, "ghcr.io/astral-sh/uv:0.13.9"}}
	os.Exit(testenv.Tests(m, o, func(ctx context.Context, env *testenv.Env) (func() error, error) {
		return nil, shared.prepare(ctx, env)
	}))
}

const (
	busybox = "busybox"
	debian  = "debian:bookworm-slim"
	python  = "python:3.11-slim-bookworm"
)

func (h *house) prepare(ctx context.Context, env *testenv.Env) (err error) {
	h.env = env
	if h.ibuild, err = env.Ibuild(ctx); err != nil {
		return err
	}
	if h.buildctl, err = env.Tool(ctx, "buildctl"); err != nil {
		return err
	}
	if h.images, err = imagetest.Open(h.imagesDir()); err != nil {
		return err
	}
	h.examples = filepath.Join(env.Dir, "examples")
	return copyTree("../../examples", h.examples)
}

// imagesDir has what the tests themselves know of images; no program writes there.
func (h *house) imagesDir() string { return filepath.Join(h.env.Dir, "images") }
