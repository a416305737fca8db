//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/ibuild/ibuild/runner/bootstrap/contract"
	"golang.org/x/sys/unix"
)

// ending is how a child has ended.
type ending struct {
	status      syscall.WaitStatus
	timedOut    bool // --timeout has ended it
	asked       bool // SIGTERM came while it ran
	outOfMemory bool // the kernel killed something for want of memory meanwhile
}

// code is the exit code that a shell would have for it.
func (e ending) code() int {
	if e.status.Signaled() {
		return contract.ExitSignal + int(e.status.Signal())
	}
	return e.status.ExitStatus()
}

// words say what an exit code does not; empty for a program that has ended by itself.
func (e ending) words() string {
	if !e.status.Signaled() {
		return ""
	}
	words := "the program was killed by " + signalName(e.status.Signal())
	switch {
	case e.outOfMemory:
		return words + ": the container's memory limit was reached"
	case e.asked:
		return words + ", after the pod was asked to end"
	}
	return words
}

// outOfMemory is how many processes of this container the kernel has killed for want of memory; 0 where that is not
// known.
func outOfMemory() int {
	for _, file := range []string{"/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"} { // version 2, 1
		data, err := os.ReadFile(file) // the kernel's own, some lines
		if err != nil {
			continue
		}
		for line := range bytes.Lines(data) {
			if count, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
				n, err := strconv.Atoi(string(bytes.TrimSpace(count)))
				if err == nil {
					return n
				}
			}
		}
	}
	return 0
}

// signalName is SIGKILL; realtime signals have numbers only.
func signalName(n syscall.Signal) string {
	if name := unix.SignalName(n); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(n))
}
