package cache

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// blobStore is containerd's content store with a limit: room is made before anything is written, and what has no
// room, or meets a full disk, goes to the stand-in. What is read or written stays for as long as this process lives.
type blobStore struct {
	content.Store // of the cache folder
	s             *Store
	lease         *lease
}

// ReaderAt opens a blob of the cache or of the stand-in.
func (b *blobStore) ReaderAt(_ context.Context, desc ocispecs.Descriptor) (content.ReaderAt, error) {
	path, err := b.s.findBlob(desc.Digest)
	if err != nil {
		return nil, err
	}
	return local.OpenReader(path)
}

// Info tells the size of a blob of the cache or of the stand-in.
func (b *blobStore) Info(ctx context.Context, d digest.Digest) (content.Info, error) {
	if _, err := b.s.findBlob(d); err != nil {
		return content.Info{}, err
	}
	info, err := b.Store.Info(ctx, d)
	if errdefs.IsNotFound(err) {
		if other := b.s.openedStandIn(); other != nil {
			return other.Info(ctx, d)
		}
	}
	return info, err
}

// Abort ends a write of this process that was not committed.
func (b *blobStore) Abort(ctx context.Context, ref string) error {
	own := b.ownRef(ref)
	err := b.Store.Abort(ctx, own)
	b.s.settle(b.lease, ingestFolder(own), 0)
	if errdefs.IsNotFound(err) {
		if other := b.s.openedStandIn(); other != nil {
			return other.Abort(ctx, ref)
		}
	}
	return err
}

// Status is that of a write of this process.
func (b *blobStore) Status(ctx context.Context, ref string) (content.Status, error) {
	st, err := b.Store.Status(ctx, b.ownRef(ref))
	if errdefs.IsNotFound(err) {
		if other := b.s.openedStandIn(); other != nil {
			return other.Status(ctx, ref)
		}
	}
	st.Ref = ref
	return st, err
}

// ownRef keeps the writes of processes apart: the store resumes writes by name, and two processes that resumed the
// same one would mix their bytes.
func (b *blobStore) ownRef(ref string) string { return b.lease.id + " " + ref }

// ingestFolder is where containerd's store keeps a write, below ingest/.
func ingestFolder(ref string) string { return digest.FromString(ref).Encoded() }

// Writer begins a write. The size in the descriptor is what room is made for; without one, room is made while it
// grows.
func (b *blobStore) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	if o.Desc.Digest != "" {
		if _, err := b.s.findBlob(o.Desc.Digest); err == nil {
			return nil, fmt.Errorf("content %s: %w", o.Desc.Digest, errdefs.ErrAlreadyExists)
		}
	}
	w := &blobWriter{store: b, asked: o, ref: b.ownRef(o.Ref)}
	err := w.open(ctx, opts)
	if mayStandIn(err) {
		b.s.tellStandIn(err)
		if IsFull(err) { // containerd's store leaves what it made before the disk was full
			_ = os.RemoveAll(b.s.path(filepath.Join("ingest", ingestFolder(w.ref))))
		}
		b.s.settle(b.lease, ingestFolder(w.ref), 0)
		return b.s.writeToStandIn(ctx, opts...)
	}
	if err != nil {
		return nil, err
	}
	return w, nil
}

// firstRoom is what room is made for when a size is not known, in bytes; it doubles when that is not enough.
const firstRoom = 1 << 20

// blobWriter is one write to the cache folder, or, from the moment on when there is no more room, to the stand-in.
type blobWriter struct {
	content.Writer
	store *blobStore
	asked content.WriterOpts
	ref   string // the name of the write in the cache folder

	room    int64 // bytes that room was made for
	written int64
	moved   bool // to the stand-in
}

func (w *blobWriter) open(ctx context.Context, opts []content.WriterOpt) (err error) {
	if d := w.asked.Desc.Digest; d != "" { // from here on it stays, also if another process writes it first
		if err := w.store.lease.use(d); err != nil {
			return err
		}
	}
	if err := w.grow(max(w.asked.Desc.Size, 1)); err != nil {
		return err
	}
	if err := w.store.s.fault("ingest"); err != nil {
		return err
	}
	if w.Writer, err = w.store.Store.Writer(ctx, append(opts, content.WithRef(w.ref))...); err != nil {
		return err
	}
	st, err := w.Writer.Status() // what is there of a write that this process has left
	w.written = st.Offset
	return err
}

// grow makes room for size bytes.
func (w *blobWriter) grow(size int64) error {
	if size <= w.room {
		return nil
	}
	if w.asked.Desc.Size == 0 {
		size = max(size, min(max(firstRoom, 2*w.room), w.store.s.MaxSize()/slack))
	}
	if err := w.store.s.makeRoom(w.store.lease, ingestFolder(w.ref), size); err != nil {
		return err
	}
	w.room = size
	return nil
}

// Write writes p whole, or fails.
func (w *blobWriter) Write(p []byte) (int, error) {
	if w.moved {
		return w.Writer.Write(p)
	}
	n := 0
	err := w.grow(w.written + int64(len(p)))
	if err == nil {
		err = w.store.s.fault("blob")
	}
	if err == nil {
		n, err = w.Writer.Write(p)
		w.written += int64(n)
	}
	if !mayStandIn(err) {
		return n, err
	}
	if err := w.move(context.Background(), err); err != nil {
		return n, err
	}
	m, err := w.Writer.Write(p[n:])
	return n + m, err
}

// Truncate begins anew.
func (w *blobWriter) Truncate(size int64) error {
	err := w.Writer.Truncate(size)
	if err == nil {
		w.written = size
	}
	return err
}

// Status is that of the write under the name that was asked for.
func (w *blobWriter) Status() (content.Status, error) {
	st, err := w.Writer.Status()
	st.Ref = w.asked.Ref
	return st, err
}

// Commit makes a blob of what was written. It stays for as long as this process lives.
func (w *blobWriter) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	if w.moved {
		return w.Writer.Commit(ctx, size, expected, opts...)
	}
	d := expected
	if d == "" {
		d = w.Digest()
	}
	err := w.store.lease.use(d)
	if err == nil {
		err = w.store.s.fault("commit")
	}
	if err == nil {
		err = w.Writer.Commit(ctx, size, expected, opts...)
	}
	switch {
	case err == nil:
		w.store.s.settle(w.store.lease, ingestFolder(w.ref), w.written)
	case errdefs.IsAlreadyExists(err):
		w.store.s.settle(w.store.lease, ingestFolder(w.ref), 0)
	case mayStandIn(err):
		if err := w.move(ctx, err); err != nil {
			return err
		}
		return w.Writer.Commit(ctx, size, expected, opts...)
	}
	return err
}

// move goes on in the stand-in with what was written so far.
func (w *blobWriter) move(ctx context.Context, why error) (err error) {
	s := w.store.s
	s.tellStandIn(why)
	path := s.path(filepath.Join("ingest", ingestFolder(w.ref), "data"))
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w (%w)", s.full(why), err)
	}
	defer in.Close()
	out, err := s.writeToStandIn(ctx, content.WithRef(w.asked.Ref), content.WithDescriptor(w.asked.Desc))
	if err != nil {
		return fmt.Errorf("%w (%w)", s.full(why), err)
	}
	if _, err := io.CopyN(out, in, w.written); err != nil {
		_ = out.Close()
		return s.full(err)
	}
	_ = w.Writer.Close() // its file goes away now
	_ = w.store.Store.Abort(context.WithoutCancel(ctx), w.ref)
	s.settle(w.store.lease, ingestFolder(w.ref), 0)
	w.Writer, w.moved = out, true
	return nil
}
