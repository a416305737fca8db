package embed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/containerd/containerd/v2/core/diff/apply"
	ctdmetadata "github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/containerd/platforms"
	"github.com/moby/buildkit/cache/metadata"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/executor/oci"
	"github.com/moby/buildkit/executor/resources"
	"github.com/moby/buildkit/executor/runcexecutor"
	dockerfileversion "github.com/moby/buildkit/frontend/dockerfile/version"
	containerdsnapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/moby/buildkit/util/network"
	"github.com/moby/buildkit/util/resolver"
	"github.com/moby/buildkit/util/winlayers"
	"github.com/moby/buildkit/version"
	"github.com/moby/buildkit/worker/base"
	wlabel "github.com/moby/buildkit/worker/label"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/semaphore"
)

// The containerd namespace of what the worker stores. BuildKit derives the one
// of the build history from it.
const storeNamespace = "buildkit"

const networkMode = "host"

// localWorker is BuildKit's worker together with what it does not close itself.
//
// BuildKit has a constructor for this, runc.NewWorkerOpt. It hides the metadata
// database and the snapshotter, which therefore stay open and locked until the
// process ends, and it links CNI and a proxy that nothing here uses.
type localWorker struct {
	worker *handingWorker
	watch  *layerWatch
	open   []io.Closer // in the order of opening
}

// close closes what BuildKit leaves open; the worker itself is closed by its
// controller before.
func (w *localWorker) close() error {
	var errs []error
	for i := len(w.open) - 1; i >= 0; i-- {
		errs = append(errs, w.open[i].Close())
	}
	return errors.Join(errs...)
}

// newLocalWorker opens the worker's stores below s.dir.
func newLocalWorker(ctx context.Context, s settings, act *activity) (_ *localWorker, err error) {
	w := &localWorker{watch: newLayerWatch()}
	defer func() {
		if err != nil {
			_ = w.close()
		}
	}()
	opt, err := w.openStores(s)
	if err != nil {
		return nil, err
	}
	if err := addExecution(&opt, s, act); err != nil {
		return nil, err
	}
	if opt.ID, err = base.ID(s.dir); err != nil {
		return nil, fmt.Errorf("read the worker's id: %w", err)
	}
	opt.Labels = workerLabels(s)
	opt.Platforms = []ocispecs.Platform{platforms.Normalize(platforms.DefaultSpec())} // BuildKit adds emulated ones when asked
	opt.RegistryHosts = resolver.NewRegistryConfig(s.registries)
	opt.GCPolicy = gcPolicy(s.dir, s.maxSize)
	opt.BuildkitVersion = buildkitVersion()
	inner, err := base.NewWorker(ctx, opt)
	if err != nil {
		return nil, fmt.Errorf("start the worker: %w", err)
	}
	w.worker = &handingWorker{Worker: inner, watch: w.watch, blobs: filepath.Join(s.contentDir(), "blobs")}
	return w, nil
}

// openStores opens what keeps layers, blobs and their records.
func (w *localWorker) openStores(s settings) (opt base.WorkerOpt, err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return opt, err
	}
	sn, err := s.snapshotter.open(filepath.Join(s.dir, "snapshots"))
	if err != nil {
		return opt, fmt.Errorf("open the snapshotter %s: %w", s.snapshotter.name, err)
	}
	w.open = append(w.open, sn)
	blobs, err := local.NewStore(s.contentDir())
	if err != nil {
		return opt, fmt.Errorf("open the content store: %w", err)
	}
	// No timeout: the lock on the state folder has been taken.
	db, err := bolt.Open(filepath.Join(s.dir, "containerdmeta.db"), 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType})
	if err != nil {
		return opt, fmt.Errorf("open containerdmeta.db: %w", err)
	}
	w.open = append(w.open, db)
	mdb := ctdmetadata.NewDB(db, pathStore{blobs, s.contentDir()}, map[string]snapshots.Snapshotter{s.snapshotter.name: sn})
	if err := mdb.Init(context.Background()); err != nil {
		return opt, fmt.Errorf("read containerdmeta.db: %w", err)
	}
	registerGunzip()
	records, err := metadata.NewStore(filepath.Join(s.dir, "metadata_v2.db"))
	if err != nil {
		return opt, fmt.Errorf("open metadata_v2.db: %w", err)
	}
	store := containerdsnapshot.NewContentStore(watchedStore{mdb.ContentStore(), w.watch}, storeNamespace)
	return base.WorkerOpt{
		Root:           s.dir,
		Snapshotter:    containerdsnapshot.NewSnapshotter(s.snapshotter.name, mdb.Snapshotter(s.snapshotter.name), storeNamespace, nil),
		ContentStore:   store,
		Applier:        winlayers.NewFileSystemApplierWithWindows(store, apply.NewFileSystemApplier(store)),
		Differ:         winlayers.NewWalkingDiffWithWindows(store, walking.NewWalkingDiff(store)),
		LeaseManager:   leaseutil.WithNamespace(ctdmetadata.NewLeaseManager(mdb), storeNamespace),
		GarbageCollect: mdb.GarbageCollect,
		MetadataStore:  records,
		MountPoolRoot:  filepath.Join(s.dir, "cachemounts"),
	}, nil
}

// addExecution adds what runs the steps.
func addExecution(opt *base.WorkerOpt, s settings, act *activity) error {
	host := &countedNetwork{Provider: network.NewHostProvider(), activity: act}
	opt.NetworkProviders = map[pb.NetMode]network.Provider{
		pb.NetMode_UNSET: host,
		pb.NetMode_HOST:  host,
		pb.NetMode_NONE:  &countedNetwork{Provider: network.NewNoneProvider(), activity: act},
	}
	monitor, err := resources.NewMonitor()
	if err != nil {
		return fmt.Errorf("start the resource monitor: %w", err)
	}
	x, err := runcexecutor.New(runcexecutor.Opt{
		Root:              s.executorDir(),
		CommandCandidates: []string{s.runtimePath},
		Rootless:          s.rootless,
		ProcessMode:       s.processMode(),
		ResourceMonitor:   monitor,
	}, opt.NetworkProviders)
	if err != nil {
		return fmt.Errorf("start the executor: %w", err)
	}
	opt.ResourceMonitor = monitor
	opt.Executor = &countedExecutor{Executor: executor.Executor(x), activity: act}
	if s.maxParallelism > 0 {
		opt.ParallelismSem = semaphore.NewWeighted(int64(s.maxParallelism))
	}
	return nil
}

func (s settings) processMode() oci.ProcessMode {
	if s.processSandbox {
		return oci.ProcessSandbox
	}
	return oci.NoProcessSandbox
}

// workerLabels has no host name, unlike buildkitd's: it would be in every
// provenance attestation.
func workerLabels(s settings) map[string]string {
	return map[string]string{
		wlabel.Executor:       "oci",
		wlabel.Snapshotter:    s.snapshotter.name,
		wlabel.Network:        networkMode,
		wlabel.OCIProcessMode: s.processMode().String(),
		wlabel.SELinuxEnabled: "false",
	}
}

// buildkitVersion is the version of the linked module: BuildKit's own constant is
// set by the linker of its release builds only.
func buildkitVersion() client.BuildkitVersion {
	v := client.BuildkitVersion{
		Package:           version.Package,
		Version:           version.Version,
		Revision:          version.Revision,
		DockerfileVersion: dockerfileversion.Version(),
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/moby/buildkit" {
			if m.Replace != nil {
				m = m.Replace
			}
			v.Version = m.Version
		}
	}
	return v
}
