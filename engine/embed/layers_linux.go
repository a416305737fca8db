package embed

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/ibuild/ibuild/engine/export"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// layerWatch knows who wants to be told of the layers of which cache records, while BuildKit writes them. Only who
// exports a record gets its layer.
type layerWatch struct {
	mu     sync.Mutex
	wanted map[string]*export.Sender // by the cache record's id
}

func newLayerWatch() *layerWatch {
	return &layerWatch{wanted: map[string]*export.Sender{}}
}

// watch tells to of the layers of these records, until stop is called. A record that another export waits for stays
// that one's: the layer is written once, and who is not told of it reads it when it is there.
func (w *layerWatch) watch(records []string, to *export.Sender) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var mine []string
	for _, id := range records {
		if _, taken := w.wanted[id]; !taken {
			w.wanted[id] = to
			mine = append(mine, id)
		}
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, id := range mine {
			delete(w.wanted, id)
		}
	}
}

func (w *layerWatch) sender(record string) *export.Sender {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wanted[record]
}

// watchedStore is BuildKit's content store. BuildKit writes the layer of a cache record under the record's id, with no
// digest, as it is not known yet.
type watchedStore struct {
	content.Store
	watch *layerWatch
}

// Writer begins to write a blob.
func (s watchedStore) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	to := s.watch.sender(o.Ref)
	if to == nil || o.Desc.Digest != "" {
		return s.Store.Writer(ctx, opts...)
	}
	at := &ingestPath{}
	w, err := s.Store.Writer(context.WithValue(ctx, ingestKey{}, at), opts...)
	if err != nil || at.path == "" {
		return w, err
	}
	return &watchedWriter{Writer: w, layer: to.Layer(context.WithoutCancel(ctx), at.path), mediaType: o.Desc.MediaType}, nil
}

// The metadata database between watchedStore and pathStore gives a blob that is written another name, which only the
// context reaches through.
type (
	ingestKey  struct{}
	ingestPath struct{ path string }
)

// pathStore is containerd's content store on disk, which tells where it writes. TestEngineHandsOver holds it to that.
type pathStore struct {
	content.Store
	root string
}

// Writer begins to write a blob.
func (s pathStore) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	w, err := s.Store.Writer(ctx, opts...)
	if at, ok := ctx.Value(ingestKey{}).(*ingestPath); ok && err == nil {
		var o content.WriterOpts
		for _, opt := range opts {
			_ = opt(&o) // it did no harm before
		}
		at.path = filepath.Join(s.root, "ingest", digest.FromString(o.Ref).Encoded(), "data")
	}
	return w, err
}

// watchedWriter tells how far a layer is.
type watchedWriter struct {
	content.Writer
	layer     *export.LayerSender
	mediaType string
	size      int64
}

// Write writes and tells of it.
func (w *watchedWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.size += int64(n)
	w.layer.Grown(w.size)
	return n, err
}

// Truncate forgets what was written. Nobody was told of anything when it is called before the first Write, as it is.
func (w *watchedWriter) Truncate(size int64) error {
	if w.size != size {
		w.layer.Drop()
	}
	w.size = size
	return w.Writer.Truncate(size)
}

// Commit ends the layer. Its bytes are all there before it is made durable, which may take as long again.
func (w *watchedWriter) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	w.layer.Done(ocispecs.Descriptor{MediaType: w.mediaType, Digest: w.Digest(), Size: w.size})
	err := w.Writer.Commit(ctx, size, expected, opts...)
	if err != nil && !errdefs.IsAlreadyExists(err) {
		w.layer.Drop()
	}
	return err
}

// Close ends a layer that was not committed.
func (w *watchedWriter) Close() error {
	w.layer.Drop()
	return w.Writer.Close()
}
