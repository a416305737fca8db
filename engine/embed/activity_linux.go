package embed

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/moby/buildkit/executor"
	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	"github.com/moby/buildkit/util/network"
)

var errClosing = errors.New("the engine is closing")

// activity counts containers that exist or are being removed.
//
// BuildKit's executor returns before its container is deleted, and a cancelled
// request returns before its step has ended. buildkitd lives on and does not
// care; a process that is about to exit has to wait, or it leaves containers,
// cgroups and mounts behind.
type activity struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // closed when n is 0 after close
}

func newActivity() *activity { return &activity{idle: make(chan struct{})} }

// begin registers something that runs; the returned func, which may be called
// more than once, ends it. After close it fails.
func (a *activity) begin() (end func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, errClosing
	}
	a.n++
	return sync.OnceFunc(a.end), nil
}

func (a *activity) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n--
	if a.closed && a.n == 0 {
		close(a.idle)
	}
}

// close refuses new containers and waits until there are none, for the given
// time at most. It must be called once.
func (a *activity) close(most time.Duration) error {
	a.mu.Lock()
	a.closed = true
	if a.n == 0 {
		close(a.idle)
	}
	a.mu.Unlock()
	select {
	case <-a.idle:
		return nil
	case <-time.After(most):
		return errors.New("a build step did not end in time after it was cancelled")
	}
}

// countedExecutor counts the calls that run.
type countedExecutor struct {
	executor.Executor
	activity *activity
}

func (x *countedExecutor) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount, process executor.ProcessInfo, started chan<- struct{}) (resourcestypes.Recorder, error) {
	end, err := x.activity.begin()
	if err != nil {
		return nil, err
	}
	defer end()
	return x.Executor.Run(ctx, id, root, mounts, process, started)
}

// countedNetwork counts network namespaces: closing one is the last thing that
// the executor does after it has deleted the container.
type countedNetwork struct {
	network.Provider
	activity *activity
}

func (p *countedNetwork) New(ctx context.Context, hostname string, opt network.NamespaceOptions) (network.Namespace, error) {
	end, err := p.activity.begin()
	if err != nil {
		return nil, err
	}
	ns, err := p.Provider.New(ctx, hostname, opt)
	if err != nil {
		end()
		return nil, err
	}
	return &countedNamespace{Namespace: ns, end: end}, nil
}

type countedNamespace struct {
	network.Namespace
	end func()
}

func (n *countedNamespace) Close() error {
	defer n.end()
	return n.Namespace.Close()
}
