package embed

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/engine/export"
	"github.com/ibuild/ibuild/registry/codec"
	"github.com/moby/buildkit/cache"
	cacheconfig "github.com/moby/buildkit/cache/config"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/util/compression"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/moby/buildkit/worker/base"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// handingWorker is BuildKit's worker, with exporters that compress on all cores, and that hand images over while they
// are made where they are asked to (see package export).
type handingWorker struct {
	*base.Worker
	watch *layerWatch
	blobs string // absolute path of the content store's blobs
}

// Exporter returns the exporter of that name.
func (w *handingWorker) Exporter(name string, sessions *session.Manager) (exporter.Exporter, error) {
	e, err := w.Worker.Exporter(name, sessions)
	switch name {
	case client.ExporterImage, client.ExporterOCI, client.ExporterDocker:
		if err == nil {
			e = &handingExporter{Exporter: e, worker: w, sessions: sessions}
		}
	}
	return e, err
}

type handingExporter struct {
	exporter.Exporter
	worker   *handingWorker
	sessions *session.Manager
}

// Resolve returns the exporter with its attributes.
func (e *handingExporter) Resolve(ctx context.Context, id int, attrs map[string]string) (exporter.ExporterInstance, error) {
	_, handOver := attrs[export.AttrHandOff]
	attrs = maps.Clone(attrs)
	delete(attrs, export.AttrHandOff)
	inner, err := e.Exporter.Resolve(ctx, id, attrs)
	if err != nil {
		return nil, err
	}
	refs := cacheconfig.RefConfig{Compression: inner.Config().Compression()}
	refs.Compression.Type = onAllCores(refs.Compression)
	return &handing{ExporterInstance: inner, handingExporter: e, refs: refs, handOver: handOver}, nil
}

// onAllCores is the same way to compress, on all cores where it can be done: eStargz has an order of its own.
func onAllCores(c compression.Config) compression.Type {
	level := 0
	if c.Level != nil {
		level = *c.Level
	}
	way, err := codec.New(c.Type.String(), level)
	if err != nil {
		return c.Type
	}
	return &parallelType{Type: c.Type, codec: way, layers: semaphore.NewWeighted(layersAtATime)}
}

// layersAtATime is how many layers are compressed side by side, each of them on all cores: more take more memory, and
// the first one is whole later.
const layersAtATime = 2

// parallelType is one of BuildKit's ways to compress, on all cores.
type parallelType struct {
	compression.Type
	codec  codec.Codec
	layers *semaphore.Weighted
}

// Compress returns what compresses one layer.
func (t *parallelType) Compress(ctx context.Context, _ compression.Config) (compression.Compressor, compression.Finalizer) {
	return func(dest io.Writer, _ string) (io.WriteCloser, error) {
		if err := t.layers.Acquire(ctx, 1); err != nil {
			return nil, err
		}
		w, err := t.codec.NewWriter(dest)
		if err != nil {
			t.layers.Release(1)
			return nil, err
		}
		return &layerWriter{WriteCloser: w, done: sync.OnceFunc(func() { t.layers.Release(1) })}, nil
	}, nil
}

// NeedsComputeDiffBySelf says that containerd's own differ, which compresses by itself, is not to be used.
func (t *parallelType) NeedsComputeDiffBySelf(compression.Config) bool { return true }

type layerWriter struct {
	io.WriteCloser
	done func()
}

// Close ends the layer; BuildKit calls it twice when all goes well.
func (w *layerWriter) Close() error {
	defer w.done()
	return w.WriteCloser.Close()
}

// handing is one export.
type handing struct {
	exporter.ExporterInstance
	*handingExporter
	refs     cacheconfig.RefConfig
	handOver bool
}

// sender is for the client that asked for the export; nil when it did not ask for the image to be handed over.
func (h *handing) sender(ctx context.Context, id string) (*export.Sender, error) {
	if !h.handOver {
		return nil, nil
	}
	caller, err := h.sessions.Get(ctx, id, false)
	if err != nil {
		return nil, err
	}
	if !export.Supported(caller) {
		return nil, errors.New("the client asks for images to be handed over and does not take them")
	}
	return export.NewSender(caller.Conn()), nil
}

// Export makes the layers, and tells the client of each while it is made; BuildKit's exporter then finds them made, and
// writes config and manifests. What it returns last has the client take the image.
func (h *handing) Export(ctx context.Context, src *exporter.Source, info exporter.ExportBuildInfo) (_ map[string]string, _ exporter.FinalizeFunc, _ exporter.DescriptorReference, err error) {
	sender, err := h.sender(ctx, info.SessionID)
	if err != nil {
		return nil, nil, nil, err
	}
	ctx, done, err := leaseutil.WithLease(ctx, h.worker.LeaseManager(), leaseutil.MakeTemporary)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { _ = done(context.WithoutCancel(ctx)) }() // by then BuildKit's exporter holds a lease of its own
	sources, err := h.layers(ctx, src, sender, session.NewGroup(info.SessionID))
	if err != nil {
		return nil, nil, nil, err
	}
	resp, finalize, ref, err := h.ExporterInstance.Export(ctx, src, info)
	if err != nil || sender == nil {
		return resp, finalize, ref, err
	}
	handOver := func(ctx context.Context) error {
		if finalize != nil {
			if err := finalize(ctx); err != nil {
				return err
			}
		}
		return sender.Image(ctx, export.Image{Root: ref.Descriptor(), Blobs: h.worker.blobs, Sources: sources})
	}
	return resp, handOver, ref, nil
}

// layers makes the layers that are not made yet, and returns where those came from that were pulled.
func (h *handing) layers(ctx context.Context, src *exporter.Source, sender *export.Sender, g session.Group) (map[digest.Digest][]string, error) {
	refs := slices.Collect(maps.Values(src.Refs))
	if src.Ref != nil {
		refs = append(refs, src.Ref)
	}
	refs = slices.DeleteFunc(refs, func(r cache.ImmutableRef) bool { return r == nil })
	var records []string
	for _, ref := range refs {
		chain := ref.LayerChain()
		for _, r := range chain {
			records = append(records, r.ID())
		}
		if err := chain.Release(context.WithoutCancel(ctx)); err != nil {
			return nil, err
		}
	}
	if sender != nil {
		defer h.worker.watch.watch(records, sender)()
		defer h.tellMade(ctx, refs, sender, g)()
	}
	var mu sync.Mutex
	sources := map[digest.Digest][]string{}
	eg, ctx := errgroup.WithContext(ctx)
	for _, ref := range refs {
		eg.Go(func() error {
			remotes, err := ref.GetRemotes(ctx, true, h.refs, false, g)
			if err != nil {
				return err
			}
			for _, desc := range remotes[0].Descriptors {
				from := h.sourcesOf(ctx, desc)
				if sender != nil && len(from) == 0 {
					if err := h.bring(ctx, remotes[0].Provider, desc); err != nil {
						return err
					}
				}
				mu.Lock()
				sources[desc.Digest] = from
				mu.Unlock()
			}
			return nil
		})
	}
	return sources, eg.Wait()
}

// tellMade tells the client of the layers that are there already, while the others are made: those of base images,
// mostly. wait returns when the client has taken them; who calls it holds the lease that keeps them.
func (h *handing) tellMade(ctx context.Context, refs []cache.ImmutableRef, sender *export.Sender, g session.Group) (wait func()) {
	if h.refs.Compression.Force {
		return func() {} // they may have to be made again
	}
	made := export.Made{Blobs: h.worker.blobs, Sources: map[digest.Digest][]string{}}
	for _, ref := range refs {
		for _, desc := range h.made(ctx, ref, g) {
			if _, twice := made.Sources[desc.Digest]; !twice {
				made.Layers = append(made.Layers, desc)
				made.Sources[desc.Digest] = h.sourcesOf(ctx, desc)
			}
		}
	}
	if len(made.Layers) == 0 {
		return func() {}
	}
	var told sync.WaitGroup
	told.Go(func() { _ = sender.Made(ctx, made) }) // the client will say what is wrong when it is given the image
	return told.Wait
}

// made are the layers of an image up to the first one that is not made yet.
func (h *handing) made(ctx context.Context, ref cache.ImmutableRef, g session.Group) []ocispecs.Descriptor {
	chain := ref.LayerChain()
	defer func() { _ = chain.Release(context.WithoutCancel(ctx)) }()
	for _, r := range slices.Backward(chain) {
		if remotes, err := r.GetRemotes(ctx, false, h.refs, false, g); err == nil {
			return remotes[0].Descriptors
		}
	}
	return nil
}

// bring reads a layer that is not here yet: one of a remote cache that is no repository, where the client cannot find it.
func (h *handing) bring(ctx context.Context, from content.Provider, desc ocispecs.Descriptor) error {
	if _, err := h.worker.ContentStore().Info(ctx, desc.Digest); err == nil {
		return nil
	}
	ra, err := from.ReaderAt(ctx, desc) // puts it into the content store
	if err != nil {
		return err
	}
	return ra.Close()
}

// cacheLabel has the whole reference of the remote cache that a blob was seen in.
const cacheLabel = sourceLabel + "ref"

// sourceLabel begins the name of a label or annotation with the repositories of a host that a blob was seen in.
const sourceLabel = "containerd.io/distribution.source."

// sourcesOf lists the repositories that a layer came from: BuildKit notes them at the layer while it is not pulled, and
// in the content store after that.
func (h *handing) sourcesOf(ctx context.Context, desc ocispecs.Descriptor) []string {
	labels := maps.Clone(desc.Annotations)
	if labels == nil {
		labels = map[string]string{}
	}
	var store content.Manager = h.worker.ContentStore()
	if info, err := store.Info(ctx, desc.Digest); err == nil {
		maps.Copy(labels, info.Labels)
	}
	var list []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if key == cacheLabel {
			if named, err := reference.ParseNormalizedNamed(labels[key]); err == nil {
				list = append(list, named.Name())
			}
		} else if host, ok := strings.CutPrefix(key, sourceLabel); ok {
			for repo := range strings.SplitSeq(labels[key], ",") {
				list = append(list, host+"/"+repo)
			}
		}
	}
	return list
}
