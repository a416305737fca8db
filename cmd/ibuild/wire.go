package main

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/engine/embed"
	"github.com/ibuild/ibuild/engine/remote"
	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/settings"
	"github.com/urfave/cli/v2"
)

func engineFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "root", Usage: "`FOLDER` with the state of the in-process engine", EnvVars: []string{"IBUILD_ROOT"}},
		&cli.StringFlag{Name: "snapshotter", Usage: "`NAME` of the in-process engine's snapshotter: auto, overlayfs, fuse-overlayfs or native; auto by default", EnvVars: []string{"IBUILD_SNAPSHOTTER"}},
		&cli.StringFlag{Name: "runtime", Usage: "`NAME` or path of the in-process engine's OCI runtime, runc by default", EnvVars: []string{"IBUILD_RUNTIME"}},
	}
}

// house is everything that a command is wired from.
type house struct {
	settings *settings.Config
	cache    *cache.Store
	registry *registry.Client
	// registryOptions are what registry was made of, and credentials are for builders.
	registryOptions registry.Options
	credentials     *configfile.ConfigFile
	remote          remote.Config // without an address when none is known
	embed           embed.Config
	log             io.Writer

	builder   string // the one that the command line names, "" for none
	remoteWhy string // who names the remote one's address
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
	h.cache, err = cache.Open(dir, cache.WithWarn(warn), cache.WithMaxSize(cfg.Cache.MaxBytes()))
	if err != nil {
		return nil, err
	}
	debug := func(string) {}
	if c.Bool("debug") {
		debug = func(msg string) { say("", "registry: %s", msg) }
	}
	h.registryOptions = registry.Options{Hosts: cfg.Registry, TokenHosts: cfg.TokenHosts, Profiles: pushProfiles(cfg.Push), Cache: h.cache, UserAgent: "ibuild/" + version, Log: debug}
	h.registry = registry.New(h.registryOptions)
	h.credentials = config.LoadDefaultConfigFile(io.Discard)
	h.embed = embed.Config{
		Root: first(c.String("root"), cfg.Engine.Root), Snapshotter: first(c.String("snapshotter"), cfg.Engine.Snapshotter),
		Runtime: first(c.String("runtime"), cfg.Engine.Runtime), Registries: cfg.Registry, MaxSize: cfg.Engine.MaxBytes(), Log: h.log, Debug: c.Bool("debug"),
	}
	h.findRemote(c)
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

func first(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

// engine puts the parts together for builds.
func (h *house) engine(mode string, p *engine.Progress) *engine.Engine {
	return &engine.Engine{Builders: h.builders(mode), Registry: h.registry, Cache: h.cache, Auth: h.auth(), Progress: p, Mask: credential.Mask}
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
