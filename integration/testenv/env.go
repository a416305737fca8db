package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ibuild/ibuild/integration/bases"
	"github.com/ibuild/ibuild/integration/gotool"
	"github.com/ibuild/ibuild/integration/workfolder"
)

// Options says what an environment has. The zero value is a registry without
// images.
type Options struct {
	Buildkitd bool      // start a builder
	Sites     bool      // start servers of packages
	Bases     []string  // base images to have before Start returns; see Env.Base
	Upstream  bool      // use the real registries where they can be reached
	Cache     string    // folder for tools and base images; default in the user's cache folder
	Log       io.Writer // told what takes time; nil for silence
}

// Env is a running environment.
type Env struct {
	Dir       string // work folder, open to all users, gone after Close
	Registry  *Registry
	Buildkitd *Buildkitd // nil unless asked for
	Sites     *Sites     // nil unless asked for
	User      User       // an ordinary user
	Self      User       // who runs the tests, with a home folder of this environment
	StandIns  bool       // base images are stand-ins; false when the real registries are used

	tools  gotool.Builder
	bases  *bases.Store
	log    *syncWriter
	folder *workfolder.Folder
	binDir string

	mu     sync.Mutex
	pushed map[string]bool // titles of base images that the registry has

	closing  sync.Once
	closeErr error
}

// Start starts an environment. ctx bounds the start only; the environment
// lives until Close, or until this process ends.
func Start(ctx context.Context, o Options) (_ *Env, err error) {
	begin := time.Now()
	e := &Env{log: newSyncWriter(o.Log), pushed: map[string]bool{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	if err := e.prepare(ctx, o.Cache); err != nil {
		return nil, err
	}
	e.StandIns = true
	if o.Upstream {
		unreachable := Reachable(ctx)
		e.StandIns = unreachable != nil
		if e.StandIns {
			e.logf("base images are stand-ins: %v", unreachable)
		}
	}
	program, err := e.tools.Build(ctx, registryPackage)
	if err != nil {
		return nil, err
	}
	if e.Registry, err = startRegistry(ctx, program, filepath.Join(e.Dir, "registry")); err != nil {
		return nil, err
	}
	if err := os.WriteFile(e.IbuildConfig(), []byte(e.registryConfig()), 0o644); err != nil {
		return nil, err
	}
	if o.Sites {
		if e.Sites, err = startSites(filepath.Join(e.Dir, "sites"), e.Self); err != nil {
			return nil, err
		}
	}
	if err := e.startRest(ctx, o); err != nil {
		return nil, err
	}
	e.logf("environment ready in %s", time.Since(begin).Round(time.Millisecond))
	return e, nil
}

// prepare finds the folders and accounts that everything else needs.
func (e *Env) prepare(ctx context.Context, cache string) error {
	cwd, err := os.Getwd()
	if err != nil {
		return err
	}
	module, err := gotool.FindModule(cwd, toolsModule)
	if err != nil {
		return err
	}
	if cache, err = cacheFolder(cache); err != nil {
		return err
	}
	e.tools = gotool.Builder{Module: module, Cache: filepath.Join(cache, "tools"), Log: e.log}
	if e.folder, err = (workfolder.Kind{Prefix: workPrefix}).New(); err != nil {
		return err
	}
	e.Dir = e.folder.Path
	e.binDir = filepath.Join(e.Dir, "bin")
	if err := os.Mkdir(e.binDir, 0o755); err != nil {
		return err
	}
	e.bases = bases.Open(filepath.Join(cache, "bases"), e.Dir, e.log)
	if e.Self, err = current(e.Dir); err != nil {
		return err
	}
	e.User, err = ordinary(ctx, e.Dir, cache)
	return err
}

// startRest starts what can start side by side once there is a registry.
func (e *Env) startRest(ctx context.Context, o Options) error {
	group, ctx := errgroup.WithContext(ctx)
	if o.Buildkitd {
		group.Go(func() error { return e.startBuildkitd(ctx) })
	}
	group.Go(func() error {
		for _, name := range o.Bases {
			if _, err := e.Base(ctx, name); err != nil {
				return err
			}
		}
		return nil
	})
	return group.Wait()
}

func (e *Env) startBuildkitd(ctx context.Context) error {
	for _, pkg := range []string{rootlesskitPackage, buildkitdPackage} {
		program, err := e.tools.Build(ctx, pkg)
		if err != nil {
			return err
		}
		if _, err := e.Install(program); err != nil {
			return err
		}
	}
	dir := filepath.Join(e.Dir, "buildkitd")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	var err error
	e.Buildkitd, err = startBuildkitd(ctx, buildkitdOptions{
		dir: dir, binDir: e.binDir, user: e.User, config: e.registryConfig(),
	})
	return err
}

// IbuildConfig is the file with the settings by which ibuild uses this
// environment's registry in place of the real ones.
func (e *Env) IbuildConfig() string { return filepath.Join(e.Dir, "config.toml") }

// registryConfig is the section on registries, the same for ibuild and
// buildkitd.
func (e *Env) registryConfig() string {
	config := fmt.Sprintf("[registry.%q]\n  http = true\n", e.Registry.Addr)
	if e.StandIns {
		for _, host := range []string{"docker.io", "ghcr.io"} {
			config += fmt.Sprintf("[registry.%q]\n  mirrors = [%q]\n", host, e.Registry.Addr)
		}
	}
	return config
}

// Environ is what ibuild must find in its environment to use this one, as
// NAME=value.
func (e *Env) Environ() []string {
	env := []string{"IBUILD_CONFIG=" + e.IbuildConfig()}
	if b := e.Buildkitd; b != nil {
		env = append(env,
			"BUILDKIT_HOST="+b.Addr,
			"IBUILD_TLS_CA="+b.CACert,
			"IBUILD_TLS_CERT="+b.Cert,
			"IBUILD_TLS_KEY="+b.Key)
	}
	return env
}

// Command is a command that runs as a user, Env.User or Env.Self, in that
// user's home folder, with a clean environment in which only Environ and the
// machine's proxies and certificates are set. When ctx ends, it is killed with
// all that it started.
func (e *Env) Command(ctx context.Context, as User, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = as.Home
	cmd.Env = append(as.environ(e.binDir), e.Environ()...)
	cmd.SysProcAttr = as.attributes()
	cmd.SysProcAttr.Setpgid = true
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Close stops all that Start and its environment started and removes the work
// folder. Calls after the first return the same.
func (e *Env) Close() error {
	e.closing.Do(func() {
		e.closeErr = errors.Join(e.Buildkitd.close(), e.Sites.close(), e.Registry.close(), e.folder.Remove())
	})
	return e.closeErr
}

func (e *Env) logf(format string, args ...any) { fmt.Fprintf(e.log, format+"\n", args...) }
