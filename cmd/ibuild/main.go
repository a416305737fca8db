// Command ibuild makes container images from folders, Dockerfiles, image specs and Python scripts,
// without a daemon or on a remote BuildKit.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/ibuild/ibuild/engine/embed"
	"github.com/moby/buildkit/util/suggest"
	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"
	"google.golang.org/grpc/grpclog"
)

// version is set by the linker (-X main.version=…).
var version = "dev"

func main() {
	embed.ChildMain() // the part of an ordinary user's engine that lives in a user namespace
	logrus.SetOutput(io.Discard)
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second Ctrl-C ends the process at once
	}()
	err := newApp().RunContext(ctx, os.Args)
	os.Exit(report(os.Stderr, err))
}

func newApp() *cli.App {
	return &cli.App{
		Name:    "ibuild",
		Usage:   "build container images for people who train and serve models",
		Version: version,
		Description: `ibuild turns a folder, a Dockerfile, an image spec, a uv script or a notebook into a multi-arch OCI image,
with no Docker and no daemon on this machine, or on a remote BuildKit (--builder).

   ibuild build -t ghcr.io/me/train --push train.py
   ibuild build -t me/app -o type=docker,dest=app.tar .
   ibuild spec init
   ibuild doctor`,
		Commands: []*cli.Command{buildCommand(), existsCommand(), lockCommand(), llbCommand(), specCommand(), execCommand(), doctorCommand()},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "config `FILE`", EnvVars: []string{"IBUILD_CONFIG"}},
			&cli.BoolFlag{Name: "debug", Usage: "write BuildKit's own log to standard error", EnvVars: []string{"IBUILD_DEBUG"}},
		},
		HideHelpCommand:           true,
		UseShortOptionHandling:    false,
		Suggest:                   true,
		DisableSliceFlagSeparator: true, // values of -o and --secret have commas
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              usageError,
		Action:                    noCommand,
	}
}

// noCommand runs when the first argument is no command's name.
func noCommand(c *cli.Context) error {
	if c.NArg() == 0 {
		return cli.ShowAppHelp(c)
	}
	var names []string
	for _, cmd := range c.App.Commands {
		names = append(names, cmd.Name)
	}
	hint := "the commands are " + strings.Join(names, ", ")
	if match, ok := suggest.Search(c.Args().First(), names, false); ok {
		hint = "did you mean ibuild " + match + "?"
	}
	return &usage{msg: fmt.Sprintf("there is no command %q", c.Args().First()), hint: hint}
}
