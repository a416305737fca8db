package embed

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/moby/buildkit/client"
	_ "github.com/moby/buildkit/util/grpcutil/encoding/proto" // the codec of BuildKit's messages, for both ends of the connection
	resolverconfig "github.com/moby/buildkit/util/resolver/config"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Config says how to run the engine. The zero value is useful.
type Config struct {
	// Root is the state folder; "" means DefaultRoot. It is created with mode
	// 0700. One engine at a time may use it.
	Root string
	// Snapshotter is "overlayfs", "fuse-overlayfs" or "native"; "" and "auto"
	// take the first of these that works at Root.
	Snapshotter string
	// Runtime is the OCI runtime's name or path; "" means buildkit-runc or runc
	// from PATH or the system's sbin folders.
	Runtime string
	// Registries has mirrors, certificates and plain-HTTP settings by registry
	// host, as in the section "registry" of buildkitd.toml.
	Registries map[string]resolverconfig.RegistryConfig
	// AllowHostNetwork lets builds ask for the network.host entitlement
	// (RUN --network=host). The network of a RUN step that asks for nothing is
	// the host's in any case, see About.Network.
	AllowHostNetwork bool
	// MaxParallelism limits how many steps run at once; 0 means no limit.
	MaxParallelism int
	// MaxSize is how many bytes of layers, cache mounts and sources may be kept;
	// 0 means BuildKit's default, four fifths of the disk and 100 GB at most. It
	// holds before and after the engine lives, and about once a minute meanwhile:
	// what a running build makes may go beyond it until then.
	MaxSize int64
	// Log receives the engine's own log, which is meant for debugging and never
	// for users; nil discards it. Writes come from any goroutine, one at a time,
	// and end with Close. As root, the engine logs to logrus's standard logger,
	// so that the last engine started in a process decides for all of them.
	Log io.Writer
	// Debug makes the log verbose.
	Debug bool
}

// About describes a running engine.
type About struct {
	Root        string  // the state folder, absolute
	Snapshotter Choice  // what stores the layers, and why
	Runtime     Runtime // what runs the steps
	BuildKit    string  // BuildKit's version, such as "v0.33.1"
	// Rootless says that the engine runs in a user namespace.
	Rootless bool
	// ProcessSandbox says that RUN steps have a PID namespace of their own. It
	// is false only where /proc is masked and none can be made.
	ProcessSandbox bool
	// Network is the network of a RUN step that asks for none: always "host".
	// A bridge needs CNI plugins and privileges that an ordinary user does not
	// have, and registries and proxies on the loopback of the machine have to be
	// reachable in both modes alike.
	Network string
	// Pid is the process that BuildKit runs in: this one, or the child.
	Pid int
}

// Engine is a running BuildKit. Its methods may be called concurrently.
type Engine struct {
	backend backend
	lock    *stateLock

	closeOnce sync.Once
	closeErr  error
}

// backend is where BuildKit runs: in this process or in a child.
type backend interface {
	dial(ctx context.Context) (net.Conn, error)
	serve(l net.Listener) error
	about() About
	close() error
}

// Start starts BuildKit on cfg.Root and returns when it takes requests.
//
// ctx bounds the start only; the engine lives until Close. Errors that a user
// can mend are a *LockedError (another engine uses the folder) or a *SetupError
// (something is missing on the machine), each with a hint. A *ChildError says
// that the child process of an ordinary user failed for another reason.
func Start(ctx context.Context, cfg Config) (*Engine, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	root, err := resolveRoot(cfg.Root)
	if err != nil {
		return nil, err
	}
	cfg.Root = root
	lock, err := lockState(root)
	if err != nil {
		return nil, err
	}
	b, err := startBackend(ctx, cfg, lock)
	if err != nil {
		lock.release()
		return nil, err
	}
	return &Engine{backend: b, lock: lock}, nil
}

// Name is how the engine is called in messages: "in-process", also where it is a
// child process.
func (e *Engine) Name() string { return "in-process" }

// HandsOver says that exports of images are handed over while they are made, if they ask for it: see package export.
func (e *Engine) HandsOver() bool { return true }

// About describes the engine. It costs nothing.
func (e *Engine) About() About { return e.backend.about() }

// Client returns a new connection to the engine, which the caller closes. The
// connection is made on first use.
func (e *Engine) Client(ctx context.Context) (*client.Client, error) {
	return client.New(ctx, "passthrough:///ibuild-engine", client.WithContextDialer(
		func(ctx context.Context, _ string) (net.Conn, error) { return e.backend.dial(ctx) }))
}

// Platforms lists what the engine can run, the native platform first. The first
// call probes the kernel's binfmt handlers, which takes some milliseconds; an
// emulator has to be registered with the F flag to be found inside a build.
func (e *Engine) Platforms(ctx context.Context) ([]ocispecs.Platform, error) {
	c, err := e.Client(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	workers, err := c.ListWorkers(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the embedded engine for its platforms: %w", err)
	}
	if len(workers) == 0 {
		return nil, fmt.Errorf("the embedded engine has no worker")
	}
	return workers[0].Platforms, nil
}

// Serve answers BuildKit's API on l too, until l or the engine is closed; it
// blocks and closes l. Whoever can connect to l can use the engine with the
// rights of this process's user.
func (e *Engine) Serve(l net.Listener) error { return e.backend.serve(l) }

// Close cancels what is running, waits for it to clean up, and frees the state
// folder. Clients fail from then on. It is safe to call it more than once. An
// error says that something did not end as it should, such as a child process
// that crashed; the folder is free all the same.
func (e *Engine) Close() error {
	e.closeOnce.Do(func() {
		e.closeErr = e.backend.close()
		e.lock.release()
	})
	return e.closeErr
}
