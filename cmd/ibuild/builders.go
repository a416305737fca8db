package main

import (
	"context"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/engine/embed"
	"github.com/ibuild/ibuild/engine/remote"
	"github.com/urfave/cli/v2"
)

// builderFlag chooses the builder. Commands that ask none take the platform from it, where nobody names one.
func builderFlag() cli.Flag {
	return &cli.StringFlag{Name: "builder", Usage: "`BUILDER`: local (in this process), remote (the one that BUILDKIT_HOST or the settings name; the default where they do), noop (the base image as it is), or an address (unix://PATH, tcp://HOST:PORT)", EnvVars: []string{"IBUILD_BUILDER"}}
}

// builderFlags choose and reach the builder.
func builderFlags() []cli.Flag {
	return []cli.Flag{
		builderFlag(),
		&cli.StringFlag{Name: "tls-ca", Usage: "`FILE` with the CA of the builder's certificate", EnvVars: []string{"IBUILD_TLS_CA"}},
		&cli.StringFlag{Name: "tls-cert", Usage: "`FILE` with the client certificate", EnvVars: []string{"IBUILD_TLS_CERT"}},
		&cli.StringFlag{Name: "tls-key", Usage: "`FILE` with the client certificate's key", EnvVars: []string{"IBUILD_TLS_KEY"}},
		&cli.StringFlag{Name: "tls-server-name", Usage: "`NAME` that the builder's certificate has to be for", EnvVars: []string{"IBUILD_TLS_SERVER_NAME"}},
	}
}

// Names of the builders that a command has to know.
const (
	localBuilder  = "local"
	remoteBuilder = "remote"
)

// builders are the ways to build that this program is put together with.
func (h *house) builders(mode string) engine.Builders {
	return engine.Builders{
		{Name: remoteBuilder, Priority: 20, Usable: h.remoteUsable, Open: h.openRemote(mode), Key: h.remote.Addr},
		{Name: localBuilder, Priority: 10, Usable: localUsable, Open: h.openLocal(mode), Key: "in-process", Platform: platforms.Normalize(platforms.DefaultSpec())},
		engine.Noop(),
		{Name: "cloudbuild", Priority: -1, Usable: laterUsable},
	}
}

// findRemote reads who named a builder, and where the remote one is.
func (h *house) findRemote(c *cli.Context) {
	b := h.settings.Builder
	h.builder = c.String("builder")
	host := os.Getenv("BUILDKIT_HOST")
	switch {
	case strings.ContainsAny(h.builder, ":/"): // an address
		h.remote.Addr, h.builder = h.builder, remoteBuilder
	case host != "":
		h.remote.Addr, h.remoteWhy = host, "BUILDKIT_HOST names it"
	case b.Addr != "":
		h.remote.Addr, h.remoteWhy = b.Addr, "named in "+h.settings.File
	}
	if strings.HasPrefix(h.remote.Addr, "unix://") && !tlsFlags() {
		// certificates in the environment or the config file are for builders that need them
		return
	}
	h.remote.CACert, h.remote.Cert, h.remote.Key = first(c.String("tls-ca"), b.CA), first(c.String("tls-cert"), b.Cert), first(c.String("tls-key"), b.Key)
	h.remote.ServerName = first(c.String("tls-server-name"), b.ServerName)
}

// tlsFlags says whether the command line itself names certificates.
func tlsFlags() bool {
	return slices.ContainsFunc(os.Args, func(a string) bool {
		return strings.HasPrefix(strings.TrimLeft(a, "-"), "tls-") && strings.HasPrefix(a, "-")
	})
}

func (h *house) remoteUsable(context.Context) (bool, string) {
	if h.remote.Addr == "" {
		return false, "no address in --builder, BUILDKIT_HOST or [builder] of the settings"
	}
	return true, h.remoteWhy
}

func localUsable(context.Context) (bool, string) {
	if runtime.GOOS != "linux" {
		return false, "builds in this process need Linux, and this is " + runtime.GOOS
	}
	return true, ""
}

func laterUsable(context.Context) (bool, string) { return false, "it comes with a later version" }

// openRemote dials the remote builder.
func (h *house) openRemote(mode string) func(context.Context, string) (engine.Builder, error) {
	return func(ctx context.Context, why string) (engine.Builder, error) {
		b, err := remote.Start(ctx, h.remote)
		if err != nil {
			return nil, err
		}
		say(mode, "builder: %s (remote), BuildKit %s (%s)", b.Name(), b.About().BuildKit, why)
		h.sayUnapplied(mode)
		return b, nil
	}
}

// openLocal starts the engine in this process.
func (h *house) openLocal(mode string) func(context.Context, string) (engine.Builder, error) {
	return func(ctx context.Context, why string) (engine.Builder, error) {
		b, err := embed.Start(ctx, h.embed)
		if err != nil {
			return nil, err
		}
		a := b.About()
		who := "as root"
		if a.Rootless {
			who = "as an ordinary user"
		}
		say(mode, "builder: in this process (local), %s, BuildKit %s, %s (%s)", who, a.BuildKit, a.Snapshotter.Name, why)
		return b, nil
	}
}

// sayUnapplied names the registry settings that only buildkitd itself can apply.
func (h *house) sayUnapplied(mode string) {
	text := h.settings.BuildkitdTOML()
	if text == "" {
		return
	}
	say(mode, "note: mirrors, certificates and plain http of %s are not applied by a remote builder; its buildkitd.toml needs:\n  %s",
		h.settings.File, strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  "))
}
