//go:build linux

package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/ibuild/ibuild/runner/bootstrap/contract"
	"golang.org/x/sys/unix"
)

// supervisor runs one child at a time, passes signals on to it, and buries what has no other parent.
type supervisor struct {
	signals  chan os.Signal
	deadline time.Time     // of --timeout; zero is none
	grace    time.Duration // between SIGTERM and SIGKILL
	save     bool          // there are results to be pushed within the grace
	asked    time.Time     // when SIGTERM came; zero: it has not
}

// lastSignal is Linux' highest.
const lastSignal = 64

// newSupervisor takes over the signals of the process.
func newSupervisor(r contract.Request, begin time.Time) *supervisor {
	s := &supervisor{signals: make(chan os.Signal, 4*lastSignal), grace: r.Grace, save: r.Results != ""}
	if r.Timeout > 0 {
		s.deadline = begin.Add(r.Timeout)
	}
	for n := syscall.Signal(1); n <= lastSignal; n++ {
		if !ours(n) {
			signal.Notify(s.signals, n)
		}
	}
	// A handler, as what is ignored would be ignored in the child, too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if os.Getpid() != 1 {
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // without it, orphans go to whoever is process 1
	}
	return s
}

// ours says that a signal is about this process' own work, or that nobody can catch it. SIGURG is what Go's scheduler
// sends itself all the time, and SIGPROF its profiler's; 32 and 33 are the C library's.
func ours(n syscall.Signal) bool {
	switch n {
	case syscall.SIGCHLD, syscall.SIGPIPE, syscall.SIGURG, syscall.SIGPROF, syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGTTIN, syscall.SIGTTOU,
		syscall.SIGILL, syscall.SIGTRAP, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV, 32, 33:
		return true
	}
	return false
}

// run starts a program and waits for its end. Its output goes where this one's does, errors to stderr. The error is
// that of the start.
func (s *supervisor) run(file string, args []string, stderr *os.File) (ending, error) {
	kid, err := start(file, args, stderr)
	if err != nil {
		return ending{}, err
	}
	defer kid.close()
	done := make(chan syscall.WaitStatus, 1)
	before := outOfMemory()
	go func() { done <- kid.wait() }()
	var end ending
	for timeout, kill := s.timer(), (<-chan time.Time)(nil); ; {
		select {
		case end.status = <-done:
			end.outOfMemory = end.status.Signaled() && outOfMemory() > before
			kid.sweep()
			return end, nil
		case sig := <-s.signals:
			kid.signal(sig.(syscall.Signal))
			if sig == syscall.SIGTERM && s.asked.IsZero() {
				s.asked = time.Now()
				end.asked = true
				if s.save {
					kill = time.After(s.patience())
				}
			}
		case <-timeout:
			say("the time limit is over: the program gets SIGTERM, and %s later SIGKILL", s.patience())
			end.timedOut, timeout = true, nil
			kid.signal(syscall.SIGTERM)
			kill = time.After(s.patience())
		case <-kill:
			say("the program has not ended %s after SIGTERM: it is killed", s.patience())
			kid.killGroup()
		}
	}
}

// patience is how long a program may go on after SIGTERM, where something is left to do after it.
func (s *supervisor) patience() time.Duration { return s.grace * 2 / 3 }

func (s *supervisor) timer() <-chan time.Time {
	if s.deadline.IsZero() {
		return nil
	}
	return time.After(time.Until(s.deadline))
}

// end returns when the pod is killed, zero when nobody has asked it to end.
func (s *supervisor) end() time.Time {
	if s.asked.IsZero() {
		return time.Time{}
	}
	return s.asked.Add(s.grace)
}

// child is a program that runs, in a process group of its own.
type child struct {
	pid   int
	pidfd int // -1 where the kernel has none
}

// start runs a program. Where standard input is a terminal, its group is the one that reads from it.
func start(file string, args []string, stderr *os.File) (*child, error) {
	kid := &child{pidfd: -1}
	_, err := unix.IoctlGetTermios(0, unix.TCGETS)
	attr := &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, stdout(stderr).Fd(), stderr.Fd()},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Foreground: err == nil, Ctty: 0, PidFD: &kid.pidfd},
	}
	kid.pid, err = syscall.ForkExec(file, args, attr)
	if attr.Sys.Foreground && (errors.Is(err, syscall.ENOTTY) || errors.Is(err, syscall.EPERM)) {
		attr.Sys.Foreground = false // a terminal of another session
		kid.pid, err = syscall.ForkExec(file, args, attr)
	}
	return kid, err
}

// stdout is where a child's output goes: with its errors, if these do not go where ours do.
func stdout(stderr *os.File) *os.File {
	if stderr == os.Stderr {
		return os.Stdout
	}
	return stderr
}

// wait buries all that ends, until the child does.
func (k *child) wait() syscall.WaitStatus {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil: // there is no child: this cannot be
			return 0xff00
		case pid == k.pid:
			return status
		}
	}
}

// signal sends it to the child alone. The number of a process may be another one's as soon as it is buried; the
// kernel's handle never is.
func (k *child) signal(sig syscall.Signal) {
	if k.pidfd >= 0 && unix.PidfdSendSignal(k.pidfd, sig, nil, 0) != unix.ENOSYS {
		return
	}
	_ = syscall.Kill(k.pid, sig)
}

func (k *child) killGroup() {
	k.signal(syscall.SIGKILL)
	_ = syscall.Kill(-k.pid, syscall.SIGKILL)
}

// sweepTime is how long is waited for processes that were killed: a device's driver may hold one in the kernel.
const sweepTime = 5 * time.Second

// sweep ends what the child has left behind. As process 1 that is all that runs in the container.
func (k *child) sweep() {
	which := -1 // does not mean this process
	if os.Getpid() != 1 {
		which = -k.pid
	}
	_ = syscall.Kill(which, syscall.SIGKILL)
	for end := time.Now().Add(sweepTime); time.Now().Before(end); {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		switch {
		case err == syscall.ECHILD, pid == 0 && syscall.Kill(which, 0) == syscall.ESRCH:
			return
		case pid == 0:
			time.Sleep(5 * time.Millisecond)
		}
	}
	say("some processes do not end, though they were killed: results may change while they are read")
}

func (k *child) close() {
	if k.pidfd >= 0 {
		_ = syscall.Close(k.pidfd)
	}
}
