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
	"k8s.io/klog/v2"
)

// version is set by the linker (-X main.version=…).
var version = "dev"

func main() {
	embed.ChildMain() // the part of an ordinary user's engine that lives in a user namespace
	collectLate()
	logrus.SetOutput(io.Discard)
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard) // what client-go has to say comes back as errors
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
	app := &cli.App{
		Name:      "ibuild",
		Usage:     "build container images for people who train and serve models",
		UsageText: "ibuild [flags] COMMAND",
		Version:   version,
		Description: `ibuild turns a folder, a Dockerfile, an image spec, a uv script or a notebook into a multi-arch OCI image,
with no Docker and no daemon on this machine, or on a remote BuildKit (--builder).

   ibuild build -t ghcr.io/me/train --push train.py
   ibuild build -t me/app -o type=docker,dest=app.tar .
   ibuild spec init
   ibuild doctor

ibuild COMMAND --help says what a command does.`,
		Commands: []*cli.Command{buildCommand(), runCommand(), jobsCommand(), existsCommand(), lockCommand(), llbCommand(), specCommand(), explainCommand(), historyCommand(), inspectCommand(), verifyCommand(), copyCommand(), saveCommand(), loadCommand(), cacheCommand(), execCommand(), acceleratorsCommand(), buildImageCommand(), statusCommand(), doctorCommand()},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "`FILE` with the settings, in place of the one in ~/.config/ibuild", EnvVars: []string{"IBUILD_CONFIG"}},
			&cli.BoolFlag{Name: "debug", Usage: "write what BuildKit, registries and the detection of settings say to standard error", EnvVars: []string{"IBUILD_DEBUG"}},
		},
		HideHelpCommand:           true,
		UseShortOptionHandling:    false,
		Suggest:                   true,
		DisableSliceFlagSeparator: true, // values of -o and --secret have commas
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              usageError,
		Action:                    noCommand,
	}
	app.CustomAppHelpTemplate = inOurWords(cli.AppHelpTemplate)
	hideDefaults(app.Flags)
	complete(app.Name, app.Commands)
	return app
}

// complete sets what is the same for all commands; path is what comes before their names.
func complete(path string, list []*cli.Command) {
	for _, cmd := range list {
		cmd.HideHelpCommand, cmd.OnUsageError = true, usageError
		cmd.UsageText = strings.TrimSpace(path + " " + cmd.Name + " [flags] " + cmd.ArgsUsage)
		cmd.CustomHelpTemplate = inOurWords(cli.CommandHelpTemplate)
		if len(cmd.Subcommands) > 0 {
			cmd.CustomHelpTemplate = inOurWords(cli.SubcommandHelpTemplate)
		}
		hideDefaults(cmd.Flags)
		complete(path+" "+cmd.Name, cmd.Subcommands)
	}
}

// inOurWords calls flags what they are called everywhere else.
func inOurWords(template string) string { return strings.ReplaceAll(template, "OPTIONS:", "FLAGS:") }

// hideDefaults keeps the help from saying that each switch is off.
func hideDefaults(list []cli.Flag) {
	for _, f := range list {
		if b, ok := f.(*cli.BoolFlag); ok {
			b.DisableDefaultText = true
		}
	}
}

// noCommand runs when there is no command, or none of the name that was given.
func noCommand(c *cli.Context) error {
	own := c.Command.HelpName
	switch {
	case c.NArg() == 0 && own == c.App.Name:
		return cli.ShowAppHelp(c)
	case c.NArg() == 0:
		return cli.ShowSubcommandHelp(c)
	}
	var names []string
	for _, cmd := range c.Command.Subcommands {
		names = append(names, cmd.Name)
	}
	hint := "the commands are " + strings.Join(names, ", ") + "; see " + own + " --help"
	if match, ok := suggest.Search(c.Args().First(), names, false); ok {
		hint = "did you mean " + own + " " + match + "?"
	}
	return &usage{msg: fmt.Sprintf("%s has no command %q", own, c.Args().First()), hint: hint}
}
