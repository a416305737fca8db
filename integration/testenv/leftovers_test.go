//go:build integration

package testenv_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/integration/testenv"
)

// testClose closes the environment in the middle of a build.
func testClose(t *testing.T, env *testenv.Env) {
	c, err := env.Buildkitd.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	built := make(chan error, 1)
	go func() {
		_, err := solve(t.Context(), c, "docker.io/library/busybox:latest", "amd64", "sleep 86398", t.TempDir())
		built <- err
	}()
	waitUntil(t, func() bool { return len(processes("86398")) > 0 })
	begin := time.Now()
	if err := env.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	t.Logf("closed in %s", time.Since(begin))
	if err := <-built; err == nil {
		t.Error("the build survived")
	}
	checkGone(t, env.Dir, "86398")
	if conn, err := net.Dial("tcp", env.Registry.Addr); err == nil {
		conn.Close()
		t.Error("the registry still listens")
	}
	if err := env.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// checkGone checks that no process and no mount names dir or mark.
func checkGone(t *testing.T, dir, mark string) {
	t.Helper()
	for _, word := range []string{dir, mark} {
		if left := processes(word); len(left) > 0 {
			t.Errorf("processes left: %q", left)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || bytes.Contains(mounts, []byte(dir)) {
		t.Errorf("mounts left: %v\n%s", err, mounts)
	}
	if left, _ := filepath.Glob(dir + "*"); len(left) > 0 {
		t.Errorf("files left: %q", left)
	}
}

// processes lists the command lines that contain a word, but for this test's.
func processes(word string) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if file == "/proc/"+strconv.Itoa(os.Getpid())+"/cmdline" {
			continue
		}
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte(word)) {
			found = append(found, string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
		}
	}
	return found
}

func waitUntil(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

// startsAndHangs is the variable that makes TestKilled's own copy of this
// program start an environment.
const startsAndHangs = "IBUILD_TEST_HANG"

// TestKilled kills a process with an environment, in the middle of a build.
func TestKilled(t *testing.T) {
	if os.Getenv(startsAndHangs) != "" {
		hang(t)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), startsAndHangs+"=1")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	waitUntil(t, func() bool { return len(processes("86399")) > 0 })
	dir := workFolder(t, out.Name())
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	waitUntil(t, func() bool { return len(processes(dir))+len(processes("86399")) == 0 })

	// The folder that was left is removed by whoever comes next.
	next, err := testenv.Start(t.Context(), testenv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	checkGone(t, dir, "86399")
}

func hang(t *testing.T) {
	env, err := testenv.Start(t.Context(), testenv.Options{Buildkitd: true, Bases: []string{"busybox"}})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("dir=" + env.Dir)
	c, err := env.Buildkitd.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = solve(t.Context(), c, "docker.io/library/busybox:latest", "amd64", "sleep 86399", t.TempDir())
	t.Fatal("the build ended", err)
}

func workFolder(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if dir, ok := strings.CutPrefix(line, "dir="); ok {
			return strings.TrimSpace(dir)
		}
	}
	t.Fatalf("no folder in %q", text)
	return ""
}
