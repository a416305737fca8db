//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ibuild/ibuild/runner/bootstrap/contract"
)

// bootstrap is the real program, as it is in images.
var bootstrapFile string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "ibuild-bootstrap-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bootstrapFile = filepath.Join(dir, "bootstrap")
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", bootstrapFile, ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// box is one container's life: the bootstrap with its files.
type box struct {
	t      *testing.T
	dir    string
	log    string // the termination message
	env    []string
	out    output
	stderr output
	cmd    *exec.Cmd
}

// output can be looked at while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func newBox(t *testing.T) *box {
	t.Helper()
	dir := t.TempDir()
	b := &box{t: t, dir: dir, log: filepath.Join(dir, "termination-log")}
	if err := os.WriteFile(b.log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir, "IBUILD_TERMINATION_LOG=" + b.log}
	return b
}

// start starts the bootstrap with a request.
func (b *box) start(r contract.Request) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	b.t.Cleanup(cancel)
	b.cmd = exec.CommandContext(ctx, bootstrapFile, r.Command()[1:]...)
	b.cmd.Env, b.cmd.Stdout, b.cmd.Stderr = b.env, &b.out, &b.stderr
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	b.cmd.WaitDelay = 5 * time.Second
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(b.end)
}

// end kills the program and the bootstrap, if they are still there.
func (b *box) end() {
	if b.cmd.ProcessState != nil {
		return
	}
	pid := b.cmd.Process.Pid
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		list, _ := os.ReadFile(file)
		for child := range strings.FieldsSeq(string(list)) {
			if group, err := strconv.Atoi(child); err == nil {
				_ = syscall.Kill(-group, syscall.SIGKILL)
			}
		}
	}
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
}

// wait returns the exit code.
func (b *box) wait() int {
	b.t.Helper()
	err := b.cmd.Wait()
	if b.cmd.ProcessState == nil || !b.cmd.ProcessState.Exited() {
		b.t.Fatalf("the bootstrap did not exit: %v\n%s", err, b.stderr.String())
	}
	return b.cmd.ProcessState.ExitCode()
}

func (b *box) run(r contract.Request) int {
	b.t.Helper()
	b.start(r)
	return b.wait()
}

// until waits for text in the output.
func (b *box) until(text string) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(b.out.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%q did not come; there is %q, and %q", text, b.out.String(), b.stderr.String())
		}
	}
}

func (b *box) signal(sig syscall.Signal) {
	b.t.Helper()
	if err := b.cmd.Process.Signal(sig); err != nil {
		b.t.Fatal(err)
	}
}

// message is what was left for who watches.
func (b *box) message() contract.Message {
	b.t.Helper()
	data, err := os.ReadFile(b.log)
	if err != nil {
		b.t.Fatal(err)
	}
	m, err := contract.ParseMessage(data)
	if err != nil {
		b.t.Fatalf("%v: %q\n%s", err, data, b.stderr.String())
	}
	return m
}

// file writes one below the box and returns its name.
func (b *box) file(name, content string, mode os.FileMode) string {
	b.t.Helper()
	name = filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		b.t.Fatal(err)
	}
	return name
}

func shell(script string) []string { return []string{"/bin/sh", "-c", script} }
