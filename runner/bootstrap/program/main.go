//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/runner/bootstrap/contract"
	"golang.org/x/sys/unix"
)

func main() {
	begin := time.Now()
	request, err := contract.Parse(os.Args[1:])
	if err != nil {
		say("the command line of the bootstrap is wrong: %v", err)
		leave(contract.Message{Phase: contract.PhaseInstall, Message: err.Error()})
		os.Exit(contract.ExitBootstrap)
	}
	if request.Grace == 0 {
		request.Grace = contract.DefaultGrace
	}
	c := &container{Request: request, sup: newSupervisor(request, begin), traffic: &registry.Traffic{}}
	o := c.run()
	leave(o.Message)
	os.Exit(o.exit)
}

// outcome is how it ended.
type outcome struct {
	contract.Message
	exit int // the container's exit code
}

// container is what is done in one container, step by step.
type container struct {
	contract.Request
	sup     *supervisor
	traffic *registry.Traffic // of the results
}

// run does all of it.
func (c *container) run() outcome {
	if err := c.environment(); err != nil {
		say("%v", err)
		return outcome{contract.Message{Phase: contract.PhaseInstall, Message: err.Error()}, contract.ExitBootstrap}
	}
	if c.Install != "" {
		if failed := c.install(); failed != nil {
			return *failed
		}
	}
	o := c.program()
	if c.Results == "" {
		return o
	}
	leave(o.Message) // stays when the node goes away in the middle of the push
	return c.gather(o)
}

// environment makes what the program finds.
func (c *container) environment() error {
	var failed error
	set := func(name, value string) { failed = errors.Join(failed, os.Setenv(name, value)) }
	if _, ok := os.LookupEnv("PYTHONUNBUFFERED"); !ok {
		set("PYTHONUNBUFFERED", "1")
	}
	if c.Output == "" {
		return failed
	}
	if err := os.MkdirAll(c.Output, 0o755); err != nil {
		return fmt.Errorf("the folder for results cannot be made (is it a volume that this user may not write?): %w", err)
	}
	set(contract.OutputVariable, c.Output)
	return failed
}

// program runs the user's program.
func (c *container) program() outcome {
	o := outcome{Message: contract.Message{Phase: contract.PhaseRun}}
	file, err := find(c.Program[0])
	var end ending
	if err == nil {
		end, err = c.sup.run(file, c.Program, os.Stderr)
	}
	switch {
	case err != nil:
		o.ExitCode, o.Message.Message = notRun(c.Program[0], err)
	case end.timedOut:
		o.Phase, o.ExitCode = contract.PhaseTimeout, end.code()
		o.Message.Message = fmt.Sprintf("the time limit of %s is over", c.Timeout)
	default:
		o.ExitCode, o.Message.Message = end.code(), end.words()
	}
	if o.exit = o.ExitCode; end.timedOut {
		o.exit = contract.ExitTimeout
	}
	if o.Message.Message != "" {
		say("%s", o.Message.Message)
	}
	return o
}

// say writes one line for people. The program's own output is on the same stream.
func say(format string, args ...any) {
	text := contract.Printable(fmt.Sprintf(format, args...))
	fmt.Fprintf(os.Stderr, "ibuild: %s\n", strings.ReplaceAll(strings.TrimSpace(text), "\n", "\nibuild: "))
}

// leave writes the termination message. Where there is no file for it, nobody waits for one.
func leave(m contract.Message) {
	file, err := os.OpenFile(terminationLog(), os.O_WRONLY|os.O_TRUNC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	_, err = file.Write(m.Encode())
	if err = errors.Join(err, file.Close()); err != nil {
		say("the termination message could not be written: %v", err)
	}
}

// terminationLog is where the message goes. Another file is for tests, and for people who try the bootstrap by hand.
func terminationLog() string {
	if file := os.Getenv("IBUILD_TERMINATION_LOG"); filepath.IsAbs(file) {
		return file
	}
	return contract.TerminationLog
}
