//go:build integration

package runs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const greeting = `# /// script
# requires-python = "==3.11.*"
# dependencies = ["six"]
# ///
import os, sys
import six
print("hello", *sys.argv[1:])
print("to stderr", file=sys.stderr)
with open(os.path.join(os.environ["IBUILD_OUTPUT_DIR"], "answer.txt"), "w") as f:
    f.write("42\n")
sys.exit(int(os.environ.get("CODE", "0")))
`

// TestScript: a script's output, exit code, arguments, variables and results, and what a changed script costs.
func TestScript(t *testing.T) {
	script := write(t, "hello.py", greeting)
	results := filepath.Join(t.TempDir(), "out")
	o := ibuild(t, "run", "--output-dir", results, script, "--", "a", "b c", "$(HOME)")
	o.expect(t, 0, "hello a b c $(HOME)\n", "to stderr\n", "results in "+results)
	if data, err := os.ReadFile(filepath.Join(results, "answer.txt")); err != nil || string(data) != "42\n" {
		t.Errorf("the results: %q, %v", data, err)
	}
	ibuild(t, "run", "--output-dir", results, script).expect(t, 2, "is not empty", "hint:")
	ibuild(t, "run", "--env", "CODE=7", script).expect(t, 7, "hello\n", "exit code 7")

	if err := os.WriteFile(script, []byte(strings.Replace(greeting, "hello", "changed", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	o = ibuild(t, "run", script)
	o.expect(t, 0, "changed\n")
	if strings.Contains(o.err, "builder:") {
		t.Error("a change of code asked a builder")
	}
}

// TestNotebook: what the cells print comes in their order.
func TestNotebook(t *testing.T) {
	cells := `{"cells": [
 {"cell_type": "code", "metadata": {}, "execution_count": null, "outputs": [], "source": ["# /// script\n", "# requires-python = \"==3.11.*\"\n", "# ///\n", "print('first')"]},
 {"cell_type": "markdown", "metadata": {}, "source": ["text"]},
 {"cell_type": "code", "metadata": {}, "execution_count": null, "outputs": [], "source": ["import sys\n", "print('second')\n", "print('third')"]}],
 "metadata": {}, "nbformat": 4, "nbformat_minor": 5}`
	ibuild(t, "run", write(t, "cells.ipynb", cells)).expect(t, 0, "first\nsecond\nthird\n")
}

// TestImage: an image runs as it is, with the bootstrap in it and without.
func TestImage(t *testing.T) {
	image := shared.env.Registry.Addr + "/library/busybox"
	ibuild(t, "run", image, "--", "sh", "-c", "echo on $(hostname); exit 3").expect(t, 3, "on busybox-")
	ibuild(t, "run", "--no-bootstrap", image, "--", "sh", "-c", "ls /ibuild/bootstrap || echo none").expect(t, 0, "none\n")
}

// TestSlice: the output of four hosts is complete and in order, and so are their results.
func TestSlice(t *testing.T) {
	image := shared.env.Registry.Addr + "/library/busybox"
	results := filepath.Join(t.TempDir(), "out")
	const lines = 500
	o := ibuild(t, "run", "-a", "v5e-16", "--output-dir", results, image, "--", "sh", "-c",
		fmt.Sprintf("for i in $(seq %d); do echo line $i; done; echo $JOB_COMPLETION_INDEX > $IBUILD_OUTPUT_DIR/index", lines))
	o.expect(t, 0)
	inOrder(t, o.out, 4, lines)
	for i := range 4 {
		data, err := os.ReadFile(filepath.Join(results, fmt.Sprintf("host-%d", i), "index"))
		if err != nil || strings.TrimSpace(string(data)) != fmt.Sprint(i) {
			t.Errorf("results of host %d: %q, %v", i, data, err)
		}
	}
}

// TestDetached: a job is left alone, and found again: its output, its results, its state; then nothing is left.
func TestDetached(t *testing.T) {
	o := ibuild(t, "run", "--detach", "--quiet", "--env", "HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz0123456789", write(t, "later.py", greeting))
	o.expect(t, 0)
	name := strings.TrimSpace(o.out)
	ibuild(t, "jobs", "logs", "--follow", name).expect(t, 0, "hello\n")
	ibuild(t, "jobs", "status", name).expect(t, 0, "succeeded")
	ibuild(t, "jobs", "list").expect(t, 0, name)
	ibuild(t, "jobs", "cancel", name).expect(t, 0, "has succeeded already")
	out := filepath.Join(t.TempDir(), "out")
	ibuild(t, "jobs", "result", name, out).expect(t, 0, "files: 1,")
	pod, err := shared.cluster.Kubectl(t.Context(), "get", "job,pod", "-l", "ibuild.dev/job="+name, "-o", "yaml")
	if err != nil || strings.Contains(pod, "hf_abc") {
		t.Errorf("the credential is in the job's text (%v)", err)
	}
	ibuild(t, "jobs", "cleanup").expect(t, 0, "job default/"+name)
	within(t, time.Minute, func() bool {
		left, err := shared.cluster.Kubectl(t.Context(), "get", "job,pod,secret,service", "-A", "-l", "ibuild.dev/job="+name, "-o", "name")
		return err == nil && strings.TrimSpace(left) == ""
	})
}

// TestInterrupted: Ctrl-C where nobody can be asked cancels the job, or leaves it, as the flag says.
func TestInterrupted(t *testing.T) {
	image := shared.env.Registry.Addr + "/library/busybox"
	for _, what := range []string{"cancel", "detach"} {
		t.Run(what, func(t *testing.T) {
			name := "waits-" + what
			cmd, errs := start(t, shared.cluster.Admin, "run", "--on-interrupt", what, "--name", name, image, "--", "sleep", "300")
			within(t, time.Minute, func() bool { return strings.Contains(errs.String(), "running") })
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			ended(t, cmd, errs).expect(t, 130)
			left, err := shared.cluster.Kubectl(t.Context(), "get", "job", name, "--ignore-not-found", "-o", "name")
			if gone := strings.TrimSpace(left) == ""; err != nil || gone != (what == "cancel") {
				t.Errorf("after %s: %q, %v", what, left, err)
			}
			if what == "detach" {
				ibuild(t, "jobs", "cancel", name).expect(t, 0, "is cancelled")
			}
		})
	}
}

// TestFailsFast: what cannot run ends soon, with the reason and the remedy.
func TestFailsFast(t *testing.T) {
	busybox := shared.env.Registry.Addr + "/library/busybox"
	for _, c := range []struct {
		name string
		code int
		args []string
		says []string
	}{
		{"no such image", 1, []string{"run", shared.env.Registry.Addr + "/nobody/none:1", "--", "true"}, []string{"nobody/none"}},
		{"no such accelerator", 2, []string{"run", "-a", "l5", busybox}, []string{"l4", "hint:"}},
		{"no such namespace", 2, []string{"run", "-n", "nowhere", busybox, "--", "true"}, []string{"nowhere", "hint:"}},
		{"no pool", 2, []string{"run", "-a", "h100x8", busybox, "--", "true"}, []string{"8 nvidia.com/gpu", "a100x4 (a2-highgpu-4g, 4 × nvidia-tesla-a100, 1 node)"}},
		{"not enough chips", 2, []string{"run", "-a", "l4x8", busybox, "--", "true"}, []string{"8 nvidia.com/gpu"}},
		{"out of memory", 137, []string{"run", "--memory", "32Mi", busybox, "--", "tail", "/dev/zero"}, []string{"more memory than it may", "hint:"}},
		{"too late", 124, []string{"run", "--timeout", "2s", busybox, "--", "sleep", "100"}, []string{"2s"}},
		{"taken", 2, []string{"run", "--name", "kept", busybox, "--", "true"}, []string{"there is a job kept", "hint:"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "taken" {
				ibuild(t, "run", "--name", "kept", busybox, "--", "true").expect(t, 0)
			}
			ibuild(t, c.args...).expect(t, c.code, c.says...)
		})
	}
}
