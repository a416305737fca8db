//go:build integration

package runs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// outcome is what one command of ibuild did.
type outcome struct {
	code     int
	out, err string
}

// ibuild runs the command with the cluster's kubeconfig.
func ibuild(t *testing.T, args ...string) outcome {
	t.Helper()
	return command(t, shared.cluster.Admin, args...)
}

func command(t *testing.T, kubeconfig string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute) // cleaning up comes after the test
	defer cancel()
	cmd := shared.env.Command(ctx, shared.env.Self, shared.ibuild, args...)
	cmd.Env = append(cmd.Env, "KUBECONFIG="+kubeconfig, "IBUILD_RUN_REPO="+repo(t), "IBUILD_BASE_IMAGE_REPO="+shared.env.Registry.Addr+"/bases")
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

// repo is a repository of the test's own.
func repo(t *testing.T) string {
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	return shared.env.Registry.Addr + "/runs/" + name
}

// write makes a file of a source in a folder of the test's own.
func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
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

// start starts the command with a kubeconfig, and collects what it says to people and what the program prints.
func start(t *testing.T, kubeconfig string, args ...string) (*exec.Cmd, *said) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := shared.env.Command(ctx, shared.env.Self, shared.ibuild, args...)
	cmd.Env = append(cmd.Env, "KUBECONFIG="+kubeconfig, "IBUILD_RUN_REPO="+repo(t))
	all := &said{}
	cmd.Stdout, cmd.Stderr = all, all
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, all
}

// ended waits for a command that was started.
func ended(t *testing.T, cmd *exec.Cmd, all *said) outcome {
	t.Helper()
	_ = cmd.Wait() // its exit code says it
	t.Logf("exit code %d\n%s", cmd.ProcessState.ExitCode(), all)
	return outcome{cmd.ProcessState.ExitCode(), all.String(), ""}
}

// said is a text that grows while it is read.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// within waits until something is so.
func within(t *testing.T, limit time.Duration, is func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !is(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it is not so after %s", limit)
		}
	}
}
