package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startTimeout is how long a program may take until it answers.
const startTimeout = 60 * time.Second

// stopGrace is how long a program may take to end itself before it is killed.
// Nothing that it has is worth a longer wait.
const stopGrace = time.Second

// goneTimeout is how long the kernel may take to clean up killed processes.
const goneTimeout = 10 * time.Second

// Process is a program that runs in the background, in a process group of its
// own. Its methods may be called from several goroutines.
type Process struct {
	Name string
	Log  string // file with its output
	PID  int

	done chan struct{} // closed when the program has ended
	err  error         // why it ended; valid once done is closed
}

// Start starts cmd with its output in the file log, and calls it name in
// errors. The kernel kills the program when this process dies, however it dies.
//
// That signal is tied to the thread that forked, not to the process, so the
// goroutine that forks keeps its thread until the program has ended.
func Start(cmd *exec.Cmd, name, log string) (*Process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL

	p := &Process{Name: name, Log: log, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.PID = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop asks the program to end, kills it when it takes its time, and returns
// once it and all that it started are gone. To stop nil, or a program that has
// ended, is fine.
func (p *Process) Stop() error {
	if p == nil {
		return nil
	}
	family := append(descendants(p.PID), p.PID)
	// Only the leader is asked: it knows in which order its children end.
	if err := p.signal(p.PID, syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(stopGrace):
	}
	if err := p.signal(-p.PID, syscall.SIGKILL); err != nil { // the group
		return err
	}
	<-p.done
	for deadline := time.Now().Add(goneTimeout); !gone(family); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("stop %s: processes are left of %v", p.Name, family)
		}
	}
	return nil
}

// signal sends a signal; that nobody is there any more is fine.
func (p *Process) signal(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %s to %s: %w", sig, p.Name, err)
	}
	return nil
}

// gone says whether all processes have ended. One that has ended and that its
// parent, a slow init perhaps, has not noticed yet holds nothing any more.
func gone(pids []int) bool {
	return !slices.ContainsFunc(pids, func(pid int) bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return false
		}
		_, state, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')'):]), " ")
		return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
	})
}

// descendants lists the processes that pid started, and those that they did.
func descendants(pid int) []int {
	var found []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			continue // ended meanwhile
		}
		for _, field := range strings.Fields(string(children)) {
			if child, err := strconv.Atoi(field); err == nil {
				found = append(append(found, child), descendants(child)...)
			}
		}
	}
	return found
}

// Failure is an Error with the end of what the program wrote.
func (p *Process) Failure(err error) error {
	return &Error{Process: p.Name, Err: err, Log: Tail(p.Log, 20)}
}

// WaitFor calls ready until it succeeds, and gives up when the program ends,
// when ctx ends or after a minute.
func (p *Process) WaitFor(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return p.Failure(fmt.Errorf("ended before it was ready: %v", p.err))
		case <-ctx.Done():
			return p.Failure(fmt.Errorf("not ready (%v): %w", err, ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
