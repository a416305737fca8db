//go:build linux

package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ibuild/ibuild/runner/bootstrap/contract"
)

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		name    string
		program func(b *box) []string
		code    int
		message string // in the termination message
	}{
		{"success", func(*box) []string { return []string{"true"} }, 0, ""},
		{"its own", func(*box) []string { return shell("exit 7") }, 7, ""},
		{"255", func(*box) []string { return shell("exit 255") }, 255, ""},
		{"killed", func(*box) []string { return shell("kill -KILL $$") }, 137, "killed by SIGKILL"},
		{"crashed", func(*box) []string { return shell("kill -SEGV $$") }, 139, "killed by SIGSEGV"},
		{"realtime signal", func(*box) []string { return []string{"bash", "-c", "kill -40 $$"} }, 168, "killed by signal 40"},
		{"not there", func(*box) []string { return []string{"no-such-program"} }, 127, `no program "no-such-program" in PATH`},
		{"no such path", func(*box) []string { return []string{"/no/such"} }, 127, `no program "/no/such"`},
		{"a folder", func(*box) []string { return []string{"/tmp"} }, 126, "may not be run"},
		{"not executable", func(b *box) []string { return []string{b.file("x", "#!/bin/sh\n", 0o644)} }, 126, "may not be run"},
		{"no program", func(b *box) []string { return []string{b.file("x", "just text\n", 0o755)} }, 126, "another architecture"},
		{"no interpreter", func(b *box) []string { return []string{b.file("x", "#!/no/such/python\n", 0o755)} }, 127, "needs an interpreter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t)
			code := b.run(contract.Request{Program: c.program(b)})
			m := b.message()
			if code != c.code || m.ExitCode != code || m.Phase != contract.PhaseRun {
				t.Errorf("exit code %d, not %d; message %+v", code, c.code, m)
			}
			if !strings.Contains(m.Message, c.message) || c.message == "" && m.Message+b.stderr.String() != "" {
				t.Errorf("message %q, output %q", m.Message, b.stderr.String())
			}
		})
	}
}

func TestWrongCommandLine(t *testing.T) {
	b := newBox(t)
	b.cmd = exec.Command(bootstrapFile, "run", "--new-thing=1", "--", "true")
	b.cmd.Env, b.cmd.Stderr = b.env, &b.stderr
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if code := b.wait(); code != contract.ExitBootstrap || !strings.Contains(b.message().Message, "older than the ibuild") {
		t.Errorf("%d, %+v", code, b.message())
	}
}

func TestEnvironment(t *testing.T) {
	b := newBox(t)
	out := filepath.Join(b.dir, "a/b")
	b.env = append(b.env, "KEPT=a b")
	b.start(contract.Request{Output: out, Program: shell(`echo "$IBUILD_OUTPUT_DIR|$PYTHONUNBUFFERED|$KEPT"; test -d "$IBUILD_OUTPUT_DIR"`)})
	if code := b.wait(); code != 0 || b.out.String() != out+"|1|a b\n" {
		t.Errorf("%d: %q", code, b.out.String())
	}
	b = newBox(t)
	b.env = append(b.env, "PYTHONUNBUFFERED=")
	if b.run(contract.Request{Program: shell(`echo "${PYTHONUNBUFFERED-unset}|${IBUILD_OUTPUT_DIR-unset}"`)}); b.out.String() != "|unset\n" {
		t.Errorf("%q", b.out.String())
	}
}

func TestOutputFolderCannotBeMade(t *testing.T) {
	b := newBox(t)
	if code := b.run(contract.Request{Output: b.file("f", "", 0o644) + "/out", Program: []string{"true"}}); code != contract.ExitBootstrap || !strings.Contains(b.message().Message, "folder for results cannot be made") {
		t.Errorf("%d: %+v", code, b.message())
	}
}

// TestSignals: each signal that can be caught reaches the program, and it alone.
func TestSignals(t *testing.T) {
	b := newBox(t)
	var caught []int
	for n := 1; n <= lastSignal; n++ {
		if !ours(syscall.Signal(n)) && n != 34 && n != int(syscall.SIGTSTP) { // 34 is the C library's, too
			caught = append(caught, n)
		}
	}
	script := b.file("trap.sh", `for n in "$@"; do trap "echo got $n" $n; done
bash -c 'trap "echo GRANDCHILD" HUP INT USR1 USR2; while :; do sleep 0.1; done' &
echo ready
while :; do sleep 0.02; done`, 0o644)
	args := []string{"bash", script}
	for _, n := range caught {
		args = append(args, strconv.Itoa(n))
	}
	b.start(contract.Request{Program: args})
	b.until("ready")
	for _, n := range caught {
		b.signal(syscall.Signal(n))
		b.until("got " + strconv.Itoa(n) + "\n")
	}
	if strings.Contains(b.out.String(), "GRANDCHILD") {
		t.Error("a signal went to a child of the program")
	}
	b.signal(syscall.SIGTERM) // which the program ignores; without results, nobody kills it
	time.Sleep(100 * time.Millisecond)
	if err := syscall.Kill(b.cmd.Process.Pid, 0); err != nil {
		t.Fatal("the bootstrap has ended: ", err)
	}
}

// TestManySignals: none of those that count is lost in others.
func TestManySignals(t *testing.T) {
	b := newBox(t)
	b.start(contract.Request{Program: []string{"bash", "-c", "trap 'echo end; exit 5' TERM; trap : USR1; echo ready; while :; do sleep 0.01; done"}})
	b.until("ready")
	for range 500 {
		b.signal(syscall.SIGUSR1)
	}
	b.signal(syscall.SIGTERM)
	if code := b.wait(); code != 5 || !strings.Contains(b.out.String(), "end") {
		t.Errorf("%d: %q", code, b.out.String())
	}
}

func TestTermIsTheProgramsOwn(t *testing.T) {
	b := newBox(t)
	b.start(contract.Request{Program: shell("echo ready; exec sleep 100")})
	b.until("ready")
	b.signal(syscall.SIGTERM)
	if code := b.wait(); code != 143 || !strings.Contains(b.message().Message, "after the pod was asked to end") {
		t.Errorf("%d: %+v", code, b.message())
	}
}

func TestTimeout(t *testing.T) {
	for name, script := range map[string]string{
		"ends by itself": "echo ready; exec sleep 100",
		"ignores it":     "trap '' TERM; echo ready; while :; do sleep 1; done",
		"says success":   "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			begin := time.Now()
			code := b.run(contract.Request{Timeout: time.Second, Grace: time.Second, Program: shell(script)})
			took := time.Since(begin)
			m := b.message()
			if code != contract.ExitTimeout || m.ExitCode == code || m.Phase != contract.PhaseTimeout || !strings.Contains(m.Message, "time limit of 1s") {
				t.Errorf("%d: %+v", code, m)
			}
			if took < time.Second || took > 8*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// TestLeftovers: what a program leaves running is gone when the bootstrap is, also what has no parent any more, and
// nothing stays unburied meanwhile.
func TestLeftovers(t *testing.T) {
	b := newBox(t)
	script := `for i in 1 2 3 4 5; do (sleep 0.05 &) ; done
(sleep 300 & echo $! >left)
sleep 0.4
ps -o stat= --ppid $PPID | grep -c Z
echo done`
	b.start(contract.Request{Program: shell("cd " + b.dir + "; " + script)})
	if code := b.wait(); code != 0 || b.out.String() != "0\ndone\n" {
		t.Errorf("%d: %q %q", code, b.out.String(), b.stderr.String())
	}
	pid, err := os.ReadFile(filepath.Join(b.dir, "left"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(n, 0); err != syscall.ESRCH {
		t.Errorf("process %d lives: %v", n, err)
	}
}

// TestMuchOutput: what a program prints is neither read nor kept.
func TestMuchOutput(t *testing.T) {
	const size = 100 << 20
	b := newBox(t)
	b.start(contract.Request{Program: shell("head -c " + strconv.Itoa(size) + " /dev/zero; echo end >&2")})
	if code := b.wait(); code != 0 || len(b.out.String()) != size || b.stderr.String() != "end\n" {
		t.Errorf("%d: %d bytes, %q", code, len(b.out.String()), b.stderr.String())
	}
	if used := b.cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss; used > 40<<10 {
		t.Errorf("%d KiB of memory", used)
	}
}

func TestInput(t *testing.T) {
	b := newBox(t)
	cmd := exec.Command(bootstrapFile, contract.Request{Program: []string{"cat"}}.Command()[1:]...)
	cmd.Env, cmd.Stdin = b.env, strings.NewReader("from outside")
	if out, err := cmd.Output(); err != nil || string(out) != "from outside" {
		t.Errorf("%q, %v", out, err)
	}
}

// TestTerminal: a program reads from a terminal, and Ctrl-C is for it.
func TestTerminal(t *testing.T) {
	if _, err := exec.LookPath("script"); err != nil {
		t.Skip("there is no script(1) to make a terminal with")
	}
	b := newBox(t)
	r := contract.Request{Program: shell("trap 'echo interrupted; exit 9' INT; read line; echo read:$line; while :; do sleep 0.05; done")}
	line := bootstrapFile
	for _, arg := range r.Command()[1:] {
		line += " '" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	cmd := exec.Command("script", "-qec", line, "/dev/null")
	cmd.Env, cmd.Stdout = b.env, &b.out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	_, _ = io.WriteString(in, "hello\n")
	b.until("read:hello")
	_, _ = io.WriteString(in, "\x03")
	b.until("interrupted")
	_ = in.Close()
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 9 {
		t.Errorf("exit code %d: %q", cmd.ProcessState.ExitCode(), b.out.String())
	}
}
