//go:build integration

package bootstrap

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ibuild/ibuild/integration/testenv/pyindex"
	"github.com/ibuild/ibuild/runner/bootstrap/contract"
)

// uvVersion is that of the images of integration/bases.
const uvVersion = "0.13.9"

// nobody is an ordinary user's number.
const nobody = 65534

var (
	program string // the bootstrap
	uvBin   string // folder with uv and nothing else
	python  string // an interpreter that all users may run, if the machine has one
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "ibuild-bootstrap-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := prepare(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// prepare builds the bootstrap and gets uv from PyPI.
func prepare(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil { // for nobody
		return err
	}
	program, uvBin = filepath.Join(dir, "bootstrap"), filepath.Join(dir, "uvbin")
	found, err := command("python3", "-c", "import sys; print(sys.executable)")
	if err != nil {
		return err
	}
	withPip := strings.TrimSpace(found)
	if python = "/usr/bin/python3"; exec.Command(python, "-c", "import venv").Run() != nil {
		python = withPip
	}
	for _, args := range [][]string{
		{"env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-o", program, "github.com/ibuild/ibuild/runner/bootstrap/program"},
		{withPip, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", filepath.Join(dir, "uv"), "uv==" + uvVersion},
		{"mkdir", uvBin},
		{"cp", filepath.Join(dir, "uv/bin/uv"), uvBin},
		{"chmod", "-R", "a+rX", dir},
	} {
		if _, err := command(args[0], args[1:]...); err != nil {
			return err
		}
	}
	return nil
}

func command(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %q: %w\n%s", name, args, err, out)
	}
	return string(out), nil
}

// box is one container's life.
type box struct {
	t           *testing.T
	dir, log    string
	env         []string
	user        uint32
	alone       bool // as process 1 of a namespace of its own
	out, stderr output
	cmd         *exec.Cmd
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

func newBox(t *testing.T, user uint32) *box {
	t.Helper()
	dir, err := os.MkdirTemp("", "ibuild-box-") // below a folder that others may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &box{t: t, dir: dir, log: dir + "/log", user: user}
	b.file("log", "", 0o666)
	if err := os.Chown(dir, int(user), int(user)); err != nil {
		t.Fatal(err)
	}
	b.env = []string{"PATH=" + uvBin + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir, "IBUILD_TERMINATION_LOG=" + b.log}
	return b
}

// file writes one below the box and returns its name.
func (b *box) file(name, content string, mode os.FileMode) string {
	b.t.Helper()
	name = filepath.Join(b.dir, name)
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		b.t.Fatal(err)
	}
	return name
}

// venv makes a virtual environment that this user owns, and returns its folder.
func (b *box) venv(owner int) string {
	b.t.Helper()
	dir := b.dir + "/venv"
	for _, args := range [][]string{{python, "-m", "venv", "--without-pip", dir}, {"chown", "-R", fmt.Sprint(owner), dir}} {
		if _, err := command(args[0], args[1:]...); err != nil {
			b.t.Fatal(err)
		}
	}
	return dir
}

func (b *box) start(r contract.Request) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	b.t.Cleanup(cancel)
	b.cmd = exec.CommandContext(ctx, program, r.Command()[1:]...)
	attr := &syscall.SysProcAttr{Setpgid: true, Credential: &syscall.Credential{Uid: b.user, Gid: b.user}}
	if b.alone {
		script := `mount -t proc proc /proc && exec "$0" "$@"` // stays process 1
		b.cmd = exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", script, program}, r.Command()[1:]...)...)
		attr.Cloneflags, attr.Unshareflags = syscall.CLONE_NEWPID|syscall.CLONE_NEWNS, syscall.CLONE_NEWNS
	}
	b.cmd.Env, b.cmd.Stdout, b.cmd.Stderr, b.cmd.SysProcAttr, b.cmd.Dir = b.env, &b.out, &b.stderr, attr, b.dir
	b.cmd.WaitDelay = 10 * time.Second
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if b.cmd.ProcessState == nil {
			_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL)
			_ = b.cmd.Wait()
		}
	})
}

// wait returns the exit code and the termination message.
func (b *box) wait() (int, contract.Message) {
	b.t.Helper()
	err := b.cmd.Wait()
	if b.cmd.ProcessState == nil || !b.cmd.ProcessState.Exited() {
		b.t.Fatalf("the bootstrap did not exit: %v\n%s", err, b.stderr.String())
	}
	data, err := os.ReadFile(b.log)
	if err != nil {
		b.t.Fatal(err)
	}
	m, err := contract.ParseMessage(data)
	if err != nil {
		b.t.Fatalf("%v: %q\n%s", err, data, b.stderr.String())
	}
	return b.cmd.ProcessState.ExitCode(), m
}

func (b *box) run(r contract.Request) (int, contract.Message) {
	b.t.Helper()
	b.start(r)
	return b.wait()
}

// until waits for text in an output.
func (b *box) until(o *output, text string) {
	b.t.Helper()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(o.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%q did not come; there is %q, and %q", text, b.out.String(), b.stderr.String())
		}
	}
}

// packages serves an index, and returns its address.
func packages(t *testing.T) string {
	t.Helper()
	index, err := pyindex.New()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(index)
	t.Cleanup(server.Close)
	return server.URL + "/simple/"
}
