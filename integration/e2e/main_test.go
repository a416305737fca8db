//go:build integration

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
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
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("these tests need root: they build as several users and run what they built")
	}
	ctx := context.Background()
	env, err := testenv.Start(ctx, testenv.Options{
		Buildkitd: true, Sites: true, Log: os.Stderr,
		Bases: []string{busybox, debian, python, "ghcr.io/astral-sh/uv:0.13.9"},
	})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, env.Close()) }()
	if err := shared.prepare(ctx, env); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

const (
	busybox = "busybox"
	debian  = "debian:bookworm-slim"
	python  = "python:3.11-slim-bookworm"
)

func (h *house) prepare(ctx context.Context, env *testenv.Env) (err error) {
	h.env = env
	if h.ibuild, err = buildProgram(ctx, env); err != nil {
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

// buildProgram builds the command as it is in this checkout, where all users can run it.
func buildProgram(ctx context.Context, env *testenv.Env) (string, error) {
	dir := filepath.Join(env.Dir, "built")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	program := filepath.Join(dir, "ibuild")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/ibuild/ibuild/cmd/ibuild").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build ibuild: %w\n%s", err, out)
	}
	return env.Install(program)
}
