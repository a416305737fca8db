package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/docker/cli/cli/config"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/engine/embed"
	"github.com/ibuild/ibuild/engine/remote"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/settings"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth/authprovider"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"
)

// builderFlags choose and reach the builder.
func builderFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "builder", Usage: "`ADDRESS` of a buildkitd: unix://PATH or tcp://HOST:PORT; without it the build runs in this process", EnvVars: []string{"IBUILD_BUILDER", "BUILDKIT_HOST"}},
		&cli.StringFlag{Name: "tls-ca", Usage: "`FILE` with the CA of the builder's certificate", EnvVars: []string{"IBUILD_TLS_CA"}},
		&cli.StringFlag{Name: "tls-cert", Usage: "`FILE` with the client certificate", EnvVars: []string{"IBUILD_TLS_CERT"}},
		&cli.StringFlag{Name: "tls-key", Usage: "`FILE` with the client certificate's key", EnvVars: []string{"IBUILD_TLS_KEY"}},
		&cli.StringFlag{Name: "tls-server-name", Usage: "`NAME` that the builder's certificate has to be for", EnvVars: []string{"IBUILD_TLS_SERVER_NAME"}},
	}
}

func engineFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "root", Usage: "state `FOLDER` of the in-process engine", EnvVars: []string{"IBUILD_ROOT"}},
		&cli.StringFlag{Name: "snapshotter", Usage: "auto, overlayfs, fuse-overlayfs or native", EnvVars: []string{"IBUILD_SNAPSHOTTER"}},
		&cli.StringFlag{Name: "runtime", Usage: "OCI runtime (`NAME` or path), runc by default", EnvVars: []string{"IBUILD_RUNTIME"}},
	}
}

// house is everything that a command is wired from.
type house struct {
	settings *settings.Config
	cache    *cache.Store
	registry *registry.Client
	remote   *remote.Config // nil: the build runs in this process
	embed    embed.Config
	why      string // why this builder
	log      io.Writer
}

func wire(c *cli.Context) (*house, error) {
	cfg, err := settings.Load(c.String("config"))
	if err != nil {
		return nil, err
	}
	h := &house{settings: cfg, log: io.Discard}
	if c.Bool("debug") {
		h.log = os.Stderr
	}
	mode := progressMode(c)
	warn := func(msg string) { say(mode, "note: %s", msg) }
	dir, err := filepath.Abs(first(os.Getenv("IBUILD_CACHE"), cache.DefaultDir()))
	if err != nil {
		return nil, err
	}
	h.cache, err = cache.Open(dir, cache.WithWarn(warn))
	if err != nil {
		return nil, err
	}
	debug := func(string) {}
	if c.Bool("debug") {
		debug = func(msg string) { say("", "registry: %s", msg) }
	}
	h.registry = registry.New(registry.Options{Hosts: cfg.Registry, TokenHosts: cfg.TokenHosts, Cache: h.cache, UserAgent: "ibuild/" + version, Log: debug})
	h.embed = embed.Config{
		Root: first(c.String("root"), cfg.Engine.Root), Snapshotter: first(c.String("snapshotter"), cfg.Engine.Snapshotter),
		Runtime: first(c.String("runtime"), cfg.Engine.Runtime), Registries: cfg.Registry, Log: h.log, Debug: c.Bool("debug"),
	}
	h.chooseBuilder(c)
	return h, nil
}

// close frees what the house holds.
func (h *house) close() { _ = h.cache.Close() }

// progressMode is how much people want to be told.
func progressMode(c *cli.Context) string {
	if c.Bool("quiet") {
		return "quiet"
	}
	return c.String("progress")
}

func (h *house) chooseBuilder(c *cli.Context) {
	b := h.settings.Builder
	addr := c.String("builder")
	switch {
	case addr == "embedded" || addr == "in-process":
		h.why = "asked for by --builder"
		return
	case addr != "":
		h.why = "asked for by --builder or BUILDKIT_HOST"
	case b.Addr != "":
		addr, h.why = b.Addr, "named in "+h.settings.File
	default:
		h.why = "no --builder and no BUILDKIT_HOST"
		return
	}
	if strings.HasPrefix(addr, "unix://") && !tlsFlags() {
		// certificates in the environment or the config file are for builders that need them
		h.remote = &remote.Config{Addr: addr}
		return
	}
	h.remote = &remote.Config{
		Addr:   addr,
		CACert: first(c.String("tls-ca"), b.CA), Cert: first(c.String("tls-cert"), b.Cert), Key: first(c.String("tls-key"), b.Key),
		ServerName: first(c.String("tls-server-name"), b.ServerName),
	}
}

// tlsFlags says whether the command line itself names certificates.
func tlsFlags() bool {
	return slices.ContainsFunc(os.Args, func(a string) bool {
		return strings.HasPrefix(strings.TrimLeft(a, "-"), "tls-") && strings.HasPrefix(a, "-")
	})
}

func first(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

// open starts the in-process engine or dials the remote builder.
func (h *house) open(mode string) func(context.Context) (engine.Builder, error) {
	return func(ctx context.Context) (engine.Builder, error) {
		if h.remote != nil {
			b, err := remote.Start(ctx, *h.remote)
			if err != nil {
				return nil, err
			}
			say(mode, "builder: %s, BuildKit %s (%s)", b.Name(), b.About().BuildKit, h.why)
			h.sayUnapplied(mode)
			return b, nil
		}
		b, err := embed.Start(ctx, h.embed)
		if err != nil {
			return nil, err
		}
		a := b.About()
		who := "as root"
		if a.Rootless {
			who = "as an ordinary user"
		}
		say(mode, "builder: in this process, %s, BuildKit %s, %s (%s)", who, a.BuildKit, a.Snapshotter.Name, h.why)
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

// engine puts the parts together for builds.
func (h *house) engine(mode string, p *engine.Progress) *engine.Engine {
	e := &engine.Engine{
		Open: h.open(mode), Registry: h.registry, Cache: h.cache, Auth: credentials(), Progress: p,
		BuilderKey: "in-process", Platform: hostPlatform(),
	}
	if h.remote != nil {
		e.BuilderKey, e.Platform = h.remote.Addr, ocispecs.Platform{}
	}
	return e
}

func hostPlatform() ocispecs.Platform { return platforms.Normalize(platforms.DefaultSpec()) }

// credentials are docker's own: its config file and its helpers.
func credentials() session.Attachable {
	return authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{
		AuthConfigProvider: authprovider.LoadAuthConfig(config.LoadDefaultConfigFile(io.Discard)),
	})
}

// machine finds what steps need to reach networks, once.
func (h *house) machine(ctx context.Context, mode string) func() (llb.Machine, error) {
	return func() (llb.Machine, error) {
		m, notes, err := settings.Detect(ctx, h.settings, settings.ThisHost())
		if h.log != io.Discard {
			for _, n := range notes {
				say(mode, "machine: %s", n)
			}
		}
		return m, err
	}
}
