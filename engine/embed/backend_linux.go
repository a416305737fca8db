package embed

import (
	"context"
	"os"

	"github.com/moby/sys/userns"
	"golang.org/x/sys/unix"
)

// startBackend starts BuildKit here for root, in a child for anyone else. The
// root of a user namespace is anyone else: it needs the folders, and gets the
// safety, that a child's own mount and PID namespaces give.
func startBackend(ctx context.Context, cfg Config, lock *stateLock) (backend, error) {
	path, err := lookRuntime(cfg.Runtime, sbinFolders())
	if err != nil {
		return nil, err
	}
	checked := checkRuntimeAside(path)
	var b backend
	if !mayBuild() {
		b, err = nil, privilegesError()
	} else if isRealRoot() {
		redirectLog(cfg.Log, cfg.Debug)
		b, err = startAsRoot(cfg, path)
	} else {
		b, err = startChild(ctx, newChildConfig(cfg, path), childFiles{lock: lock.file, log: cfg.Log})
	}
	rt := <-checked
	if rt.err != nil {
		// Said first: whatever else went wrong may be a consequence.
		if err == nil {
			_ = b.close()
		}
		return nil, rt.err
	}
	if err != nil {
		return nil, err
	}
	return &withRuntime{backend: b, runtime: rt.runtime}, nil
}

// withRuntime adds what was learned about the runtime to a backend's account.
type withRuntime struct {
	backend
	runtime Runtime
}

func (w *withRuntime) about() About {
	a := w.backend.about()
	a.Runtime = w.runtime
	return a
}

type runtimeCheck struct {
	runtime Runtime
	err     error
}

// checkRuntimeAside checks the runtime while the engine starts: a second process
// takes a good part of the whole start-up time.
func checkRuntimeAside(path string) <-chan runtimeCheck {
	ch := make(chan runtimeCheck, 1)
	go func() {
		rt, err := checkRuntime(path)
		ch <- runtimeCheck{rt, err}
	}()
	return ch
}

// startAsRoot starts BuildKit in this process.
func startAsRoot(cfg Config, runtimePath string) (backend, error) {
	choice, kind, err := chooseHere(cfg.Root, cfg.Snapshotter)
	if err != nil {
		return nil, err
	}
	p, err := startInProcess(settings{
		root:             cfg.Root,
		dir:              stateDir(cfg.Root, kind.name, false),
		choice:           choice,
		snapshotter:      kind,
		runtimePath:      runtimePath,
		processSandbox:   true,
		registries:       cfg.Registries,
		allowHostNetwork: cfg.AllowHostNetwork,
		maxParallelism:   cfg.MaxParallelism,
		maxSize:          cfg.MaxSize,
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

func isRealRoot() bool { return os.Geteuid() == 0 && !userns.RunningInUserNS() }

// mayBuild is false for a root that may not mount, as in most containers.
func mayBuild() bool {
	if os.Geteuid() != 0 {
		return true // by a user namespace of its own
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return true // let the mount itself say what is wrong
	}
	return data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

func privilegesError() error {
	return &SetupError{Kind: SetupPrivileges,
		Problem: "this process is root but may not mount (it has no CAP_SYS_ADMIN), as in an unprivileged container",
		Hint:    "Run ibuild as an ordinary user, use a container with more privileges, or use a remote builder."}
}

func probeSnapshotter(ctx context.Context, root, name string) (Choice, error) {
	if !mayBuild() {
		return Choice{}, privilegesError()
	}
	if isRealRoot() {
		c, _, err := chooseHere(root, name)
		return c, err
	}
	return probeInChild(ctx, root, name)
}
