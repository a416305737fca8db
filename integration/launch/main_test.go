//go:build integration

package launch

import (
	"bytes"
	"context"
	"errors"
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
	o := testenv.Options{Sites: true, Log: os.Stderr, Bases: []string{busybox, python, "ghcr.io/astral-sh/uv:0.13.9"}}
	os.Exit(testenv.Tests(m, o, func(ctx context.Context, env *testenv.Env) (func() error, error) {
		program, err := env.Ibuild(ctx)
		shared = house{env, program}
		return nil, err
	}))
}

const (
	busybox = "busybox"
	python  = "python:3.11-slim-bookworm"
)

// outcome is what one command of ibuild did.
type outcome struct {
	code     int
	out, err string
}

func ibuild(t *testing.T, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := shared.env.Command(ctx, shared.env.Self, shared.ibuild, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("ibuild %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	t.Logf("ibuild %s: exit code %d\n%s%s", strings.Join(args, " "), cmd.ProcessState.ExitCode(), out.String(), errs.String())
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// expect compares an outcome with the exit code and texts that have to be in it.
func (o outcome) expect(t *testing.T, code int, texts ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d", o.code, code)
	}
	for _, text := range texts {
		if !strings.Contains(o.out+o.err, text) {
			t.Errorf("nothing says %q", text)
		}
	}
}

// write makes a file in a folder of the test's own.
func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
