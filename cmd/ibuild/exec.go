package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ibuild/ibuild/engine/embed"
	"github.com/urfave/cli/v2"
)

func execCommand() *cli.Command {
	return &cli.Command{
		Name:      "exec",
		Usage:     "serve the in-process engine on a socket while a command runs",
		ArgsUsage: "-- COMMAND [ARGUMENT...]",
		Description: `The command finds the socket in BUILDKIT_HOST. When it ends the engine is gone, and ibuild ends with its
exit code.

   ibuild exec -- buildctl build --frontend dockerfile.v0 --local context=. --local dockerfile=.
   ibuild exec --addr unix:///tmp/bk.sock -- sleep 3600

Exit codes: the command's own, 2 usage, 4 the engine cannot start.`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "addr", Usage: "`unix://PATH` of the socket; in a private folder by default"},
		}, engineFlags()...),
		Action: runExec,
	}
}

func runExec(c *cli.Context) error {
	args := c.Args().Slice()
	if len(args) == 0 {
		return &usage{msg: "the command to run is missing", hint: "write " + c.Command.UsageText}
	}
	h, err := wire(c)
	if err != nil {
		return err
	}
	defer h.close()
	l, cleanup, err := listen(c.String("addr"))
	if err != nil {
		return err
	}
	defer cleanup()
	env := os.Environ() // the engine sets TMPDIR for itself
	e, err := embed.Start(c.Context, h.embed)
	if err != nil {
		return err
	}
	defer e.Close()
	served := make(chan error, 1)
	go func() { served <- e.Serve(l) }()
	return runWith(c.Context, args, append(env, "BUILDKIT_HOST=unix://"+l.Addr().String()), served)
}

// runWith runs the command until it ends; its exit code becomes ibuild's.
func runWith(ctx context.Context, args, env []string, served <-chan error) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return &usage{msg: fmt.Sprintf("cannot run %s: %v", args[0], err), hint: "is it installed and on PATH?"}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	select {
	case err = <-ended:
	case err = <-served:
		cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		return fmt.Errorf("the engine's socket failed: %w", err)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
			return &childExit{code: 128 + int(s.Signal())}
		}
		return &childExit{code: exit.ExitCode()}
	}
	return err
}

// listen opens the socket, with access for this user only.
func listen(addr string) (net.Listener, func(), error) {
	cleanup := func() {}
	path, ok := strings.CutPrefix(addr, "unix://")
	if addr == "" {
		dir, err := os.MkdirTemp(os.Getenv("XDG_RUNTIME_DIR"), "ibuild-exec-")
		if err != nil {
			return nil, nil, err
		}
		cleanup = func() { os.RemoveAll(dir) }
		path = filepath.Join(dir, "buildkitd.sock")
	} else if !ok || !filepath.IsAbs(path) {
		return nil, nil, &usage{msg: fmt.Sprintf("--addr %s: only sockets can be served", addr), hint: "write unix:///absolute/path"}
	}
	old := syscall.Umask(0o077)
	l, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		cleanup()
		return nil, nil, &usage{msg: fmt.Sprintf("cannot listen on %s: %v", path, errors.Unwrap(err)), hint: "is another process using it?"}
	}
	return l, cleanup, nil
}
