package objectcache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/cache/remotecache"
	v1 "github.com/moby/buildkit/cache/remotecache/v1"
	cachetypes "github.com/moby/buildkit/cache/remotecache/v1/types"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/util/compression"
	"github.com/moby/buildkit/util/progress"
	"github.com/moby/buildkit/worker"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// store is where the objects of one cache are.
type store interface {
	// name is that of the step that writes the cache.
	name() string
	// index returns the document; nil when there is none. There may be several, each on its own.
	index(ctx context.Context) ([]io.ReadCloser, error)
	setIndex(ctx context.Context, data []byte) error
	// has says whether a layer is there, and sees to it that it stays for a while.
	has(ctx context.Context, layer ocispecs.Descriptor) (bool, error)
	put(ctx context.Context, layer ocispecs.Descriptor, from content.ReaderAt) error
	open(ctx context.Context, layer ocispecs.Descriptor) (content.ReaderAt, error)
	// parallel is how many layers are sent at a time.
	parallel() int
}

// Times of layers, in their annotations: BuildKit's, for the times of images.
const createdAt = "buildkit/createdat"

// maxIndex is how large the document may be, in bytes: BuildKit writes some hundred for each step.
const maxIndex = 64 << 20

// maxRecords bounds the nesting that a document may ask of BuildKit, whose parser follows links by recursion.
const maxRecords = 100_000

// exporter collects what a build made, and writes it. It implements remotecache.Exporter.
type exporter struct {
	solver.CacheExporterTarget
	chains *v1.CacheChains
	store  store
}

func newExporter(s store) *exporter {
	chains := v1.NewCacheChains()
	return &exporter{CacheExporterTarget: chains, chains: chains, store: s}
}

// Name is the step's name.
func (e *exporter) Name() string { return e.store.name() }

// Config says how layers are compressed that are in no blob yet.
func (e *exporter) Config() remotecache.Config {
	return remotecache.Config{Compression: compression.New(compression.Default)}
}

// Finalize writes the layers, and then the document.
func (e *exporter) Finalize(ctx context.Context) (map[string]string, error) {
	doc, found, err := e.chains.Marshal(ctx)
	if err != nil {
		return nil, err
	}
	eg, egctx := errgroup.WithContext(ctx)
	eg.SetLimit(e.store.parallel())
	sent := map[digest.Digest]bool{}
	for i, l := range doc.Layers {
		layer, ok := found[l.Blob]
		if !ok {
			return nil, fmt.Errorf("the layer %s is nowhere", l.Blob)
		}
		if doc.Layers[i].Annotations, err = annotations(layer.Descriptor); err != nil {
			return nil, err
		}
		if !sent[l.Blob] {
			sent[l.Blob] = true
			eg.Go(func() error { return e.send(egctx, layer) })
		}
	}
	if err := eg.Wait(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	return nil, e.store.setIndex(ctx, data)
}

// send brings a layer to the store, if it is not there.
func (e *exporter) send(ctx context.Context, layer v1.DescriptorProviderPair) error {
	there, err := e.store.has(ctx, layer.Descriptor)
	if err != nil || there {
		return err
	}
	done := progress.OneOff(ctx, fmt.Sprintf("writing layer %s", layer.Descriptor.Digest))
	from, err := layer.Provider.ReaderAt(ctx, layer.Descriptor)
	if err != nil {
		return done(err)
	}
	defer from.Close()
	return done(e.store.put(ctx, layer.Descriptor, from))
}

// annotations are what the document says of a layer.
func annotations(desc ocispecs.Descriptor) (*cachetypes.LayerAnnotations, error) {
	diff, err := digest.Parse(desc.Annotations[labels.LabelUncompressed])
	if err != nil {
		return nil, fmt.Errorf("the layer %s without its uncompressed digest: %w", desc.Digest, err)
	}
	a := &cachetypes.LayerAnnotations{DiffID: diff, Size: desc.Size, MediaType: desc.MediaType}
	if text, ok := desc.Annotations[createdAt]; ok {
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, err
		}
		a.CreatedAt = t.UTC()
	}
	return a, nil
}

// importer reads a cache. It implements remotecache.Importer.
type importer struct{ store store }

// Resolve returns what the cache knows. Layers are fetched when they are needed.
func (i *importer) Resolve(ctx context.Context, _ ocispecs.Descriptor, id string, w worker.Worker) (solver.CacheManager, error) {
	list, err := i.store.index(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, doc := range list {
			doc.Close()
		}
	}()
	if len(list) == 0 {
		return nil, fmt.Errorf("the cache: %w", errdefs.ErrNotFound)
	}
	var managers []solver.CacheManager
	for _, doc := range list {
		chains, err := i.read(doc)
		if err != nil {
			return nil, err
		}
		keys, results, err := v1.NewCacheKeyStorage(chains, w)
		if err != nil {
			return nil, err
		}
		managers = append(managers, solver.NewCacheManager(ctx, id, keys, results))
	}
	return solver.NewCombinedCacheManager(managers, nil), nil
}

// read reads a document.
func (i *importer) read(from io.Reader) (*v1.CacheChains, error) {
	data, err := io.ReadAll(io.LimitReader(from, maxIndex+1))
	if err != nil {
		return nil, fmt.Errorf("read the cache's index: %w", err)
	}
	if len(data) > maxIndex {
		return nil, fmt.Errorf("the cache's index has more than %d bytes", maxIndex)
	}
	doc, layers, err := i.parse(data)
	if err != nil {
		return nil, fmt.Errorf("the cache's index: %w", err)
	}
	chains := v1.NewCacheChains()
	return chains, v1.ParseConfig(doc, layers, chains)
}

func (i *importer) parse(data []byte) (cachetypes.CacheConfig, v1.DescriptorProvider, error) {
	var doc cachetypes.CacheConfig
	if err := json.Unmarshal(data, &doc); err != nil {
		return doc, nil, err
	}
	if len(doc.Records) > maxRecords || len(doc.Layers) > maxRecords {
		return doc, nil, fmt.Errorf("more than %d records", maxRecords)
	}
	layers := v1.DescriptorProvider{}
	for n, l := range doc.Layers {
		if l.ParentIndex >= len(doc.Layers) {
			return doc, nil, fmt.Errorf("layer %d is on a layer %d, which is not there", n, l.ParentIndex)
		}
		desc, err := descriptor(l)
		if err != nil {
			return doc, nil, err
		}
		p := &provider{store: i.store, layer: desc}
		layers[l.Blob] = v1.DescriptorProviderPair{Descriptor: desc, Provider: p, InfoProvider: p}
	}
	return doc, layers, nil
}

// descriptor is that of a layer in the document.
func descriptor(l cachetypes.CacheLayer) (ocispecs.Descriptor, error) {
	a := l.Annotations
	switch {
	case l.Blob.Validate() != nil:
		return ocispecs.Descriptor{}, errors.New("a layer without a digest")
	case a == nil || a.DiffID.Validate() != nil || a.Size < 0:
		return ocispecs.Descriptor{}, fmt.Errorf("the layer %s without its uncompressed digest or with a wrong size", l.Blob)
	}
	desc := ocispecs.Descriptor{MediaType: a.MediaType, Digest: l.Blob, Size: a.Size, Annotations: map[string]string{labels.LabelUncompressed: a.DiffID.String()}}
	if !a.CreatedAt.IsZero() {
		desc.Annotations[createdAt] = a.CreatedAt.Format(time.RFC3339Nano)
	}
	return desc, nil
}

// provider reads one layer of a cache. BuildKit verifies its digest.
type provider struct {
	store store
	layer ocispecs.Descriptor

	mu    sync.Mutex
	known bool // it is there
}

// Info says whether the layer is there: stores forget the old ones, and a step whose layer is gone has to run.
func (p *provider) Info(ctx context.Context, d digest.Digest) (content.Info, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known {
		there, err := p.store.has(ctx, p.layer)
		if err != nil {
			return content.Info{}, err
		}
		p.known = there
	}
	if !p.known || d != p.layer.Digest {
		return content.Info{}, fmt.Errorf("layer %s: %w", d, errdefs.ErrNotFound)
	}
	return content.Info{Digest: p.layer.Digest, Size: p.layer.Size}, nil
}

// ReaderAt opens the layer.
func (p *provider) ReaderAt(ctx context.Context, desc ocispecs.Descriptor) (content.ReaderAt, error) {
	if desc.Digest != p.layer.Digest {
		return nil, fmt.Errorf("layer %s: %w", desc.Digest, errdefs.ErrNotFound)
	}
	return p.store.open(ctx, p.layer)
}

// Exporter returns BuildKit's constructor of an exporter, for the types "gha" and "s3".
func Exporter(kind string) remotecache.ResolveCacheExporterFunc {
	return func(_ context.Context, _ session.Group, attrs map[string]string) (remotecache.Exporter, error) {
		s, err := open(kind, attrs)
		if err != nil {
			return nil, err
		}
		return newExporter(s), nil
	}
}

// Importer returns BuildKit's constructor of an importer, for the types "gha" and "s3".
func Importer(kind string) remotecache.ResolveCacheImporterFunc {
	return func(_ context.Context, _ session.Group, attrs map[string]string) (remotecache.Importer, ocispecs.Descriptor, error) {
		s, err := open(kind, attrs)
		if err != nil {
			return nil, ocispecs.Descriptor{}, err
		}
		return &importer{s}, ocispecs.Descriptor{}, nil
	}
}

func open(kind string, attrs map[string]string) (store, error) {
	switch kind {
	case "gha":
		return newActions(attrs)
	case "s3":
		return newS3(attrs)
	}
	return nil, fmt.Errorf("there are no caches of type %s", kind)
}
