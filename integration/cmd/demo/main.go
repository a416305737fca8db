// Command demo shows ibuild's main job on this machine, with everything real: a uv script becomes a
// pushed image for amd64 and arm64, by the in-process engine and by a rootless buildkitd with mutual TLS;
// the image runs; and what was built before reaches no builder.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/ibuild/ibuild/integration/testenv"
)

func main() {
	ibuild := flag.String("ibuild", "bin/ibuild", "the program to show")
	script := flag.String("script", "examples/scripts/fit.py", "a uv script")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *ibuild, *script); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, ibuild, script string) (err error) {
	title("Start a registry and a rootless buildkitd with mutual TLS, on loopback")
	env, err := testenv.Start(ctx, testenv.Options{Buildkitd: true, Upstream: true, Log: os.Stdout})
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := env.Close(); err == nil {
			err = closeErr
		}
	}()
	for _, name := range []string{"python:3.11-slim-bookworm", "ghcr.io/astral-sh/uv:0.13.9"} {
		if _, err := env.Base(ctx, name); err != nil {
			return err
		}
	}
	if env.StandIns {
		say("Docker Hub and ghcr.io cannot be reached from here, so the base images are STAND-INS: Debian 12 with")
		say("Debian's Python 3.11, and uv from its PyPI package, served by the loopback registry as a mirror.")
	} else {
		say("Docker Hub and ghcr.io can be reached: the base images are the real ones.")
	}
	program, err := env.Install(ibuild)
	if err != nil {
		return err
	}
	for _, e := range []engine{{"in-process engine", nil, false}, {"rootless buildkitd with mutual TLS", env.Buildkitd, true}} {
		s := &show{env: env, ibuild: program, engine: e, dir: filepath.Join(env.Self.Home, e.short())}
		if err := s.run(ctx, script); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	title("Done: all of this was checked, not only shown")
	return nil
}

func title(s string)            { fmt.Printf("\n\033[1m== %s\033[0m\n", s) }
func say(f string, args ...any) { fmt.Printf("   "+f+"\n", args...) }
