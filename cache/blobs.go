package cache

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// staleIngest is the age at which a half-written blob can only be the leftover
// of a process that was killed.
const staleIngest = 24 * time.Hour

// ErrMiss is returned for a blob that is not there, or not as it should be.
var ErrMiss = errors.New("not in the cache")

// Content returns the content store of the cache, with its blobs in
// blobs/<algorithm>/<hex>. If the folder cannot be written, the store is a
// temporary one that is removed by Close.
//
// Blobs in it are verified when they are written, not when they are read through
// the content store's own methods; ReadBlob does verify.
func (s *Store) Content() (content.Store, error) {
	s.blobsMu.Lock()
	defer s.blobsMu.Unlock()
	if s.blobs != nil {
		return s.blobs, nil
	}
	root, err := s.blobRoot()
	if err != nil {
		return nil, err
	}
	blobs, err := local.NewStore(root)
	if err != nil {
		return nil, fmt.Errorf("cache folder: %w", err)
	}
	s.removeStaleIngests(root)
	s.blobs = blobs
	return blobs, nil
}

// blobRoot returns a folder that can be written to: the cache's own if possible.
func (s *Store) blobRoot() (string, error) {
	err := s.makeDir()
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(s.dir, ".probe-*"); err == nil {
			probe.Close()
			os.Remove(probe.Name())
			return s.dir, nil
		}
	}
	s.warnOnce("write", "the cache in %s cannot be written, so nothing is remembered: %v", s.dir, err)
	if s.tempDir, err = os.MkdirTemp("", "ibuild-blobs-*"); err != nil {
		return "", fmt.Errorf("neither the cache folder nor a temporary one can be written: %w", err)
	}
	return s.tempDir, nil
}

// removeStaleIngests deletes what killed processes left half-written.
func (s *Store) removeStaleIngests(root string) {
	dir := filepath.Join(root, "ingest")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		// The data file's time moves with each write; the folder's does not.
		fi, err := os.Stat(filepath.Join(path, "data"))
		if err != nil {
			fi, err = e.Info()
		}
		if err == nil && time.Since(fi.ModTime()) > staleIngest {
			os.RemoveAll(path)
		}
	}
}

// blobPath returns where the blob is, without opening the content store: a
// lookup on the way to a known result must not cost a write.
func (s *Store) blobPath(dgst digest.Digest) (string, error) {
	if err := dgst.Validate(); err != nil {
		return "", err
	}
	root := s.dir
	s.blobsMu.Lock()
	if s.tempDir != "" {
		root = s.tempDir
	}
	s.blobsMu.Unlock()
	return filepath.Join(root, "blobs", dgst.Algorithm().String(), dgst.Encoded()), nil
}

// ReadBlob returns a blob's bytes, at most limit of them. They have the digest
// that was asked for: a blob whose bytes do not is removed. The error is ErrMiss
// for everything that can be mended by getting the blob again.
func (s *Store) ReadBlob(dgst digest.Digest, limit int64) ([]byte, error) {
	path, err := s.blobPath(dgst)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", dgst, ErrMiss)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w: %v", dgst, ErrMiss, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("blob %s is larger than %d bytes", dgst, limit)
	}
	if dgst.Algorithm().FromBytes(data) != dgst {
		s.removeCorrupted(path, dgst)
		return nil, fmt.Errorf("blob %s: %w", dgst, ErrMiss)
	}
	return data, nil
}

func (s *Store) removeCorrupted(path string, dgst digest.Digest) {
	s.warnOnce("blob", "the cached blob %s is damaged: it is removed, and fetched again when needed", dgst)
	_ = os.Remove(path) // if it stays, the next reader finds it as damaged
}

// HasBlob tells whether a blob of this size is there. It does not read it.
func (s *Store) HasBlob(desc ocispecs.Descriptor) bool {
	path, err := s.blobPath(desc.Digest)
	if err != nil {
		return false
	}
	fi, err := os.Stat(path)
	return err == nil && fi.Size() == desc.Size
}

// WriteBlob stores data and returns its digest and size in a descriptor of the
// given media type. A blob that is there already is not written again.
func (s *Store) WriteBlob(ctx context.Context, mediaType string, data []byte) (ocispecs.Descriptor, error) {
	desc := ocispecs.Descriptor{
		MediaType: mediaType,
		Digest:    digest.FromBytes(data),
		Size:      int64(len(data)),
	}
	return desc, s.WriteBlobFrom(ctx, desc, bytes.NewReader(data))
}

// WriteBlobFrom stores what r delivers, which must have the digest and size of
// desc; otherwise nothing is stored. r is not read if the blob is there already.
func (s *Store) WriteBlobFrom(ctx context.Context, desc ocispecs.Descriptor, r io.Reader) error {
	if s.HasBlob(desc) {
		return nil
	}
	store, err := s.Content()
	if err != nil {
		return err
	}
	s.removeCutOff(desc)
	ref := IngestRef(desc.Digest.Encoded())
	err = content.WriteBlob(ctx, store, ref, r, desc)
	if err == nil || errdefs.IsAlreadyExists(err) {
		return nil
	}
	// The context may be the reason for the failure, and must not keep the
	// half-written file from being removed.
	_ = store.Abort(context.WithoutCancel(ctx), ref)
	return fmt.Errorf("blob %s: %w", desc.Digest, err)
}

// removeCutOff removes a blob of the wrong size, which a crash of the machine left:
// the content store would take it for the right one. A blob that is not there is
// let alone, as another process may be writing it at this moment.
func (s *Store) removeCutOff(desc ocispecs.Descriptor) {
	path, err := s.blobPath(desc.Digest)
	if err != nil {
		return
	}
	if fi, err := os.Stat(path); err == nil && fi.Size() != desc.Size {
		_ = os.Remove(path)
	}
}

// IngestRef returns a name for one write to the content store that no other
// process uses: the store resumes writes by name, and two processes that
// resumed the same one would mix their bytes.
func IngestRef(what string) string {
	return "ibuild-" + what + "-" + rand.Text()
}
