package embed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/defaults"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/frontend"
	dockerfile "github.com/moby/buildkit/frontend/dockerfile/builder"
	"github.com/moby/buildkit/frontend/gateway"
	"github.com/moby/buildkit/frontend/gateway/forwarder"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/bboltcachestorage"
	"github.com/moby/buildkit/util/db"
	"github.com/moby/buildkit/util/db/boltutil"
	"github.com/moby/buildkit/util/entitlements"
	"github.com/moby/buildkit/util/grpcerrors"
	resolverconfig "github.com/moby/buildkit/util/resolver/config"
	"github.com/moby/buildkit/worker"
	bolt "go.etcd.io/bbolt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
)

// settings are what BuildKit needs to know once everything has been decided.
type settings struct {
	root             string // the state folder
	dir              string // the folder of this snapshotter and privilege below root
	choice           Choice
	snapshotter      snapshotterKind
	runtimePath      string
	rootless         bool
	processSandbox   bool
	registries       map[string]resolverconfig.RegistryConfig
	allowHostNetwork bool
	maxParallelism   int
	maxSize          int64
}

// stateDir names the folder of a snapshotter: what was made in a user namespace
// has other owners and other overlayfs attributes than what root made.
func stateDir(root, snapshotter string, rootless bool) string {
	if rootless {
		snapshotter = "user-" + snapshotter
	}
	return filepath.Join(root, snapshotter)
}

func (s settings) executorDir() string { return filepath.Join(s.dir, "executor") }

// contentDir has the layers as they are in registries.
func (s settings) contentDir() string { return filepath.Join(s.dir, "content") }

// tempDir is for BuildKit's temporary files and mounts.
func (s settings) tempDir() string { return filepath.Join(s.root, "tmp") }

// inProcess is BuildKit running in this process.
type inProcess struct {
	settings   settings
	worker     *localWorker
	controller *control.Controller
	activity   *activity
	server     *grpc.Server
	pipe       *bufconn.Listener
	stop       context.CancelFunc
	leaveTemp  func() // undoes enterTemp
}

// startInProcess starts BuildKit. It must be called with the lock held, in a
// mount namespace in which this process may mount.
func startInProcess(s settings) (_ *inProcess, err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, &SetupError{Kind: SetupRoot, Err: err,
			Problem: "the engine's state folder cannot be written", Hint: "Check its owner and mode."}
	}
	sweep(s)
	leaveTemp, err := enterTemp(s.tempDir())
	if err != nil {
		return nil, &SetupError{Kind: SetupRoot, Err: err,
			Problem: "the engine's folder for temporary files cannot be made", Hint: "Check the owner and mode of its state folder."}
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &inProcess{settings: s, activity: newActivity(), stop: stop, leaveTemp: leaveTemp}
	defer func() {
		if err != nil {
			stop()
			leaveTemp()
		}
	}()
	if p.worker, err = newLocalWorker(ctx, s, p.activity); err != nil {
		return nil, err
	}
	if p.controller, err = newController(ctx, s, p.worker); err != nil {
		return nil, errors.Join(err, p.worker.worker.Close(), p.worker.close())
	}
	p.collect(startCollect)
	p.listen()
	return p, nil
}

// newController wires the worker, the frontends and the solver's databases. On
// failure it closes what it opened, not the worker.
func newController(ctx context.Context, s settings, lw *localWorker) (_ *control.Controller, err error) {
	sessions, err := session.NewManager()
	if err != nil {
		return nil, err
	}
	workers := &worker.Controller{}
	if err := workers.Add(lw.worker); err != nil {
		return nil, err
	}
	gw, err := gateway.NewGatewayFrontend(workers.Infos(), nil)
	if err != nil {
		return nil, err
	}
	cacheDB, historyDB, err := openDatabases(s.dir)
	if err != nil {
		return nil, err
	}
	opt := control.Opt{
		SessionManager:   sessions,
		WorkerController: workers,
		Frontends: map[string]frontend.Frontend{
			"dockerfile.v0": forwarder.NewGatewayForwarder(workers.Infos(), dockerfile.Build),
			"gateway.v0":    gw,
		},
		CacheManager:   solver.NewCacheManager(ctx, "local", cacheDB, worker.NewCacheResultStorage(workers)),
		HistoryDB:      historyDB,
		CacheStore:     cacheDB,
		LeaseManager:   lw.worker.LeaseManager(),
		ContentStore:   lw.worker.ContentStore(),
		GarbageCollect: lw.worker.GarbageCollect,
		GracefulStop:   ctx.Done(),
	}
	if s.allowHostNetwork {
		opt.Entitlements = []string{string(entitlements.EntitlementNetworkHost)}
	}
	addRemoteCaches(&opt, s, lw, sessions)
	c, err := control.NewController(opt)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start BuildKit's controller: %w", err), historyDB.Close(), cacheDB.Close())
	}
	return c, nil
}

// openDatabases opens the solver's cache and the build history. Both replace a
// broken file by an empty one, which loses time and nothing else.
func openDatabases(dir string) (*bboltcachestorage.Store, db.DB, error) {
	cacheDB, err := bboltcachestorage.NewStore(filepath.Join(dir, "cache.db"))
	if err != nil {
		return nil, nil, fmt.Errorf("open cache.db: %w", err)
	}
	// No timeout, ever: see stateLock. The history can be lost, so it need not
	// be synced to the disk either, which saves start-up time.
	historyDB, err := boltutil.SafeOpen(filepath.Join(dir, "history.db"), 0o600, &bolt.Options{
		FreelistType: bolt.FreelistMapType,
		NoSync:       true,
	})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open history.db: %w", err), cacheDB.Close())
	}
	return cacheDB, historyDB, nil
}

// listen starts the gRPC server on an in-memory connection.
func (p *inProcess) listen() {
	const buffer = 1 << 20
	p.server = grpc.NewServer(
		grpc.UnaryInterceptor(grpcerrors.UnaryServerInterceptor),
		grpc.StreamInterceptor(grpcerrors.StreamServerInterceptor),
		grpc.MaxRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
		grpc.MaxSendMsgSize(defaults.DefaultMaxSendMsgSize),
		grpc.WaitForHandlers(true), // the databases are closed after Stop
	)
	p.controller.Register(p.server)
	p.pipe = bufconn.Listen(buffer)
	go func() { _ = p.server.Serve(p.pipe) }() // ends with Stop
}

func (p *inProcess) dial(ctx context.Context) (net.Conn, error) { return p.pipe.DialContext(ctx) }

func (p *inProcess) serve(l net.Listener) error { return p.server.Serve(l) }

func (p *inProcess) about() About {
	return About{
		Root:           p.settings.root,
		Snapshotter:    p.settings.choice,
		Runtime:        Runtime{Path: p.settings.runtimePath},
		BuildKit:       buildkitVersion().Version,
		Rootless:       p.settings.rootless,
		ProcessSandbox: p.settings.processSandbox,
		Network:        networkMode,
		Pid:            os.Getpid(),
	}
}

// How long Close waits for requests to end and for containers to be removed. A
// step is killed with SIGKILL, so only a hung file system takes longer.
const (
	closeRequests   = 5 * time.Second
	closeContainers = 10 * time.Second
)

func (p *inProcess) close() error {
	p.stop()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		p.server.Stop()
	}()
	var errs []error
	select {
	case <-stopped:
	case <-time.After(closeRequests):
		errs = append(errs, errors.New("a request did not end in time after it was cancelled"))
	}
	errs = append(errs, p.activity.close(closeContainers))
	p.collect(closeCollect)
	forgetChecksums(p.worker.worker.MetadataStore)
	errs = append(errs, p.controller.Close(), p.worker.close())
	sweep(p.settings)
	p.leaveTemp()
	// Timers of BuildKit go on, and complain of closed databases to a log that
	// may be closed as well.
	redirectLog(nil, false)
	return errors.Join(errs...)
}
