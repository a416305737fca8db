//go:build integration

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// scene is where a run of ibuild may leave things: folders for its temporary files and sockets, a state folder,
// and a text that the arguments of all its processes have.
type scene struct {
	engine
	temp, runtime string
	mark          string
}

func newScene(t *testing.T, e engine) scene {
	t.Helper()
	s := scene{engine: e, mark: strconv.FormatInt(time.Now().UnixNano(), 10)}
	dir := folder(t)
	s.temp, s.runtime = filepath.Join(dir, "tmp"), filepath.Join(dir, "run")
	for _, d := range []string{s.temp, s.runtime} {
		if err := e.user.Mkdir(d); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s scene) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := s.engine.command(t, args...)
	cmd.Env = append(cmd.Env, "TMPDIR="+s.temp, "XDG_RUNTIME_DIR="+s.runtime, "IBUILD_TEST_MARK="+s.mark)
	return cmd
}

// leavesNothing looks for processes, mounts, sockets and temporary files.
func (s scene) leavesNothing(t *testing.T) {
	t.Helper()
	for _, p := range processesWith(t, s.mark) {
		t.Errorf("left behind: process %s", p)
	}
	table := read(t, "/proc/self/mountinfo")
	for line := range strings.Lines(table) {
		if strings.Contains(line, s.engine.dir) || strings.Contains(line, s.temp) || strings.Contains(line, s.runtime) {
			t.Errorf("left behind: mount %s", line)
		}
	}
	if got := listing(t, s.temp); got != "" {
		t.Errorf("left behind in the temporary folder: %s", got)
	}
	for _, dir := range []string{s.runtime, filepath.Join(s.root(), "run"), filepath.Join(s.root(), "tmp")} {
		for _, f := range filesBelow(t, dir) {
			t.Errorf("left behind: %s", f)
		}
	}
}

// filesBelow lists what is not a folder below dir, which need not exist. An empty folder of runc's harms nobody.
func filesBelow(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err == nil && !d.IsDir() {
			found = append(found, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// processesWith lists the processes, but this one, that have a text in their arguments or environment.
func processesWith(t *testing.T, text string) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, dir := range dirs {
		if filepath.Base(dir) == strconv.Itoa(os.Getpid()) {
			continue
		}
		// A process that has ended, and one that its parent has not noticed to have ended, have neither.
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if bytes.Contains(args, []byte(text)) || bytes.Contains(environ, []byte(text)) {
			found = append(found, filepath.Base(dir)+" "+strings.ReplaceAll(string(args), "\x00", " "))
		}
	}
	return found
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}
