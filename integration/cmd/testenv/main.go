// Command testenv starts the environment that the integration tests use, says
// what to export to try ibuild in it, and stays until it is interrupted. Its
// arguments are base images to have besides those that are quick to make.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/ibuild/ibuild/integration/testenv"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		os.Exit(1)
	}
}

// run prints what a shell can evaluate to out and everything else to chatter.
func run(ctx context.Context, bases []string, out, chatter io.Writer) (err error) {
	env, err := testenv.Start(ctx, testenv.Options{Buildkitd: true, Sites: true, Upstream: true, Log: chatter})
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := env.Close(); err == nil {
			err = closeErr
		}
	}()
	for _, name := range append(env.Bases(), bases...) {
		if _, err := env.Base(ctx, name); err != nil {
			return err
		}
	}
	for _, line := range append(env.Environ(), env.Sites.Environ()...) {
		name, value, _ := strings.Cut(line, "=")
		fmt.Fprintf(out, "export %s='%s'\n", name, value)
	}
	fmt.Fprintf(out, "export IBUILD_TEST_REGISTRY='%s'\n", env.Registry.Addr)
	fmt.Fprintf(chatter, "registry %s (requests in %s), builder %s, ordinary user %s; Ctrl-C ends it\n",
		env.Registry.Addr, env.Registry.AccessLog, env.Buildkitd.Addr, env.User.Name)
	<-ctx.Done()
	return nil
}
