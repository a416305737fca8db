package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ibuild/ibuild/integration/imagetest"
	"github.com/ibuild/ibuild/integration/testenv"
)

// engine is a way to solve.
type engine struct {
	name   string
	daemon *testenv.Buildkitd
	remote bool
}

func (e engine) short() string {
	if e.remote {
		return "remote"
	}
	return "in-process"
}

// show is the demonstration with one engine.
type show struct {
	env    *testenv.Env
	ibuild string
	engine engine
	dir    string // its own copy of the script, its own cache and engine state
}

func (s *show) image() string { return s.env.Registry.Ref("demo/" + s.engine.short() + ":latest") }
func (s *show) state() string { return filepath.Join(s.dir, "state") }

func (s *show) run(ctx context.Context, script string) error {
	if err := s.copyScript(script); err != nil {
		return err
	}
	title("Build and push for amd64 and arm64: " + s.engine.name)
	first, err := s.build(ctx)
	if err != nil {
		return err
	}
	if err := s.runImage(ctx, ""); err != nil {
		return err
	}
	title("Build and push again, nothing changed: " + s.engine.name)
	if err := s.unreached(ctx); err != nil {
		return err
	}
	title("Change the script's body, build and push: " + s.engine.name)
	if err := s.edit("print('this line is new')\n"); err != nil {
		return err
	}
	if err := s.unreached(ctx); err != nil {
		return err
	}
	say("(the first build took %s)", first.Round(time.Millisecond))
	return s.runImage(ctx, "this line is new")
}

// copyScript takes the script and its lock, when there is one, into the show's own folder.
func (s *show) copyScript(script string) error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	for from, to := range map[string]string{script: "main.py", script + ".lock": "main.py.lock"} {
		data, err := os.ReadFile(from)
		if errors.Is(err, fs.ErrNotExist) && to != "main.py" {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(s.dir, to), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (s *show) edit(line string) error {
	f, err := os.OpenFile(filepath.Join(s.dir, "main.py"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}

func (s *show) build(ctx context.Context) (time.Duration, error) {
	args := []string{"build", "--progress", "plain", "--platform", "linux/amd64,linux/arm64", "-t", s.image(), "--push", "main.py"}
	say("$ ibuild %s", strings.Join(args, " "))
	cmd := s.env.Command(ctx, s.env.Self, s.ibuild, args...)
	cmd.Dir = s.dir
	cmd.Env = append(cmd.Env, "IBUILD_CACHE="+filepath.Join(s.dir, "cache"), "IBUILD_ROOT="+s.state())
	if !s.engine.remote {
		cmd.Env = append(cmd.Env, "BUILDKIT_HOST=")
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	start := time.Now()
	err := cmd.Run()
	return time.Since(start), err
}

// unreached builds and shows by the logs of builder and registry that no builder was reached.
func (s *show) unreached(ctx context.Context) error {
	requests, connections := s.env.Registry.Mark(), s.env.Buildkitd.Mark()
	state := s.state()
	if err := os.Rename(state, state+".away"); err != nil && !s.engine.remote {
		return err
	}
	took, err := s.build(ctx)
	if err != nil {
		return err
	}
	say("the process took %s; what the registry was asked:", took.Round(time.Millisecond))
	for _, r := range s.env.Registry.Requests(requests) {
		say("  %-5s %s  %d", r.Method, r.Path, r.Status)
	}
	if c := s.env.Buildkitd.Connections(connections); len(c) > 0 {
		return fmt.Errorf("buildkitd was reached %d times", len(c))
	}
	say("connections to buildkitd: none")
	if s.engine.remote {
		return nil
	}
	if _, err := os.Stat(state); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the in-process engine was started: %s is there (%v)", state, err)
	}
	say("the in-process engine was not started: its state folder was moved away and no new one was made")
	return os.Rename(state+".away", state)
}

// runImage pulls the image for this machine and runs it from its own config.
func (s *show) runImage(ctx context.Context, want string) error {
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		img, err := imagetest.Pull(ctx, s.image(), platform)
		if err != nil {
			return err
		}
		say("pulled %s for %s; it runs:", s.image(), platform)
		res, err := imagetest.Run(ctx, img, imagetest.RunOptions{})
		if err != nil {
			return err
		}
		os.Stdout.Write(bytes.TrimRight([]byte(res.Stdout+res.Stderr), "\n"))
		fmt.Println()
		if res.ExitCode != 0 || !strings.Contains(res.Stdout, want) {
			return fmt.Errorf("the program ended with %d, and its output should have %q", res.ExitCode, want)
		}
	}
	return nil
}
