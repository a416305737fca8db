//go:build integration

package e2e

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCancel presses Ctrl-C in the middle of a RUN step: the build ends at once and leaves nothing, and the tag
// stands for what it did before.
func TestCancel(t *testing.T) {
	for name, press := range map[string]func(pid int) error{
		"terminal":     func(pid int) error { return syscall.Kill(-pid, syscall.SIGINT) }, // a terminal tells the whole group
		"process":      func(pid int) error { return syscall.Kill(pid, syscall.SIGINT) },
		"of a cluster": func(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, e engine) { testCancel(t, e, press) })
		})
	}
}

func testCancel(t *testing.T, e engine, press func(pid int) error) {
	s := newScene(t, e)
	dir := dockerfileSubject(t, e).source
	ref := e.push(t, "cancel/"+e.name, dir)
	want := digestOf(t, ref)
	appendTo(t, filepath.Join(dir, "Dockerfile"), "RUN echo "+s.mark+" && sleep 1"+s.mark+"\n")

	out := folder(t)
	cmd := s.command(t, append(append([]string{"build"}, everyOutput(out, ref)...), dir)...)
	o := interrupted(t, cmd, func() bool { return sleeps(t, s.mark) }, press)
	if o.code != 130 || !strings.Contains(o.stderr, "cancelled") {
		t.Errorf("exit code %d, want 130\n%s", o.code, o.stderr)
	}
	if e.remote { // the builder ends the step when it learns that nobody waits for it
		eventually(t, "the step ends", func() bool { return !sleeps(t, s.mark) })
	}
	s.leavesNothing(t)
	if got := listing(t, out); got != "" {
		t.Errorf("left in the outputs' folder: %s", got)
	}
	if got := digestOf(t, ref); got != want {
		t.Errorf("the tag stands for %s, want %s", got, want)
	}
	e.push(t, "cancel/after-"+e.name, dockerfileSubject(t, e).source) // the state folder is as good as before
}

// sleeps says whether a step or command runs that sleeps for as many seconds as the mark says.
func sleeps(t *testing.T, mark string) bool {
	return slices.ContainsFunc(processesWith(t, "1"+mark), func(p string) bool {
		_, args, _ := strings.Cut(p, " ") // not of a shell or of ibuild, which have the command in their arguments
		return strings.HasPrefix(args, "sleep 1"+mark)
	})
}

// interrupted starts a command, waits until it is busy and then stops it, which must take a few seconds at most.
func interrupted(t *testing.T, cmd *exec.Cmd, busy func() bool, press func(pid int) error) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	eventually(t, "the step runs", busy)
	begin := time.Now()
	if err := press(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	err := <-ended
	o := outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), time.Since(begin)}
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("%v\n%s", err, o.stderr)
	}
	if o.took > patience {
		t.Errorf("it took %s to stop", o.took)
	}
	return o
}

// TestCancelExec ends `ibuild exec` with Ctrl-C: its command ends, and nothing is left.
func TestCancelExec(t *testing.T) {
	for _, e := range inProcess(t) {
		t.Run(e.name, func(t *testing.T) {
			s := newScene(t, e)
			cmd := s.command(t, "exec", "--", "sleep", "1"+s.mark)
			o := interrupted(t, cmd, func() bool { return sleeps(t, s.mark) },
				func(pid int) error { return syscall.Kill(-pid, syscall.SIGINT) })
			if o.code != 130 {
				t.Errorf("exit code %d, want 130\n%s", o.code, o.stderr)
			}
			s.leavesNothing(t)
		})
	}
}
