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
	"golang.org/x/sys/unix"
)

// touchAfter is how old the time of a blob's last use has to be before it is set anew.
const touchAfter = 10 * time.Minute

// ErrMiss is returned for a blob that is not there, or not as it should be.
var ErrMiss = errors.New("not in the cache")

// Content returns the content store of the cache, with its blobs in
// blobs/<algorithm>/<hex>. What it cannot take (the limit of [WithMaxSize] is
// reached, or the folder or its disk cannot be written) goes to a temporary folder
// that is removed by Close, so a build goes on. What is read or written here is kept
// from pruning, also by other processes, until Close or the end of this process.
//
// Blobs in it are verified when they are written, not when they are read through
// the content store's own methods; ReadBlob does verify.
func (s *Store) Content() (content.Store, error) {
	s.blobsMu.Lock()
	defer s.blobsMu.Unlock()
	if s.blobs != nil {
		return s.blobs, nil
	}
	l, err := s.leaseLocked()
	if err != nil {
		s.tellUnwritable(err)
		other, err := s.standInLocked()
		if err != nil {
			return nil, err
		}
		s.blobs = &readOnlyStore{Store: other, s: s}
		return s.blobs, nil
	}
	blobs, err := local.NewStore(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cache folder: %w", err)
	}
	s.blobs = &blobStore{Store: blobs, s: s, lease: l}
	return s.blobs, nil
}

// tellUnwritable says why blobs do not go to the cache folder.
func (s *Store) tellUnwritable(err error) {
	if IsFull(err) {
		s.warnFull(err)
		return
	}
	s.warnOnce("write", "the cache in %s cannot be written, so nothing is remembered: %v", s.dir, err)
}

// leaseLocked returns this process's lease, made on first use together with a look for what killed processes left
// half-written. blobsMu is held.
func (s *Store) leaseLocked() (*lease, error) {
	if s.lease != nil || s.leaseErr != nil {
		return s.lease, s.leaseErr
	}
	if s.leaseErr = s.makeDir(); s.leaseErr == nil {
		s.leaseErr = s.fault("lease")
	}
	if s.leaseErr == nil {
		s.lease, s.leaseErr = openLease(s.dir, s.lockTimeout)
	}
	if s.leaseErr != nil {
		return nil, s.leaseErr
	}
	s.sweepKilled()
	return s.lease, nil
}

// sweepKilled removes what killed processes left, if there are any. What it cannot do now, whoever counts next does.
func (s *Store) sweepKilled() {
	const ownFiles = 3 // the gate, the sum, and this process's lease
	ingests, _ := os.ReadDir(s.path("ingest"))
	leases, _ := os.ReadDir(s.path(leasesDir))
	if len(ingests) == 0 && len(leases) <= ownFiles {
		return
	}
	_ = s.lease.locked(unix.LOCK_EX, func() error {
		c, err := s.lease.living()
		if err != nil {
			return err
		}
		s.sweep(c)
		if c.killed > 0 {
			removeStandIns(s.temp)
		}
		return nil
	})
}

// blobPath returns where the cache folder has the blob, if it is there.
func (s *Store) blobPath(dgst digest.Digest) (string, error) {
	if err := dgst.Validate(); err != nil {
		return "", err
	}
	return blobFile(s.dir, dgst), nil
}

func blobFile(root string, dgst digest.Digest) string {
	return filepath.Join(root, "blobs", dgst.Algorithm().String(), dgst.Encoded())
}

// findBlob returns where the blob is, and sees to it that it stays there until this process ends.
func (s *Store) findBlob(dgst digest.Digest) (string, error) {
	path, err := s.blobPath(dgst)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(path); err == nil && s.keep(dgst, path, info) {
		if _, err := os.Stat(path); err == nil { // not removed before it was kept
			return path, nil
		}
	}
	if other := s.openedStandIn(); other != nil {
		path = blobFile(other.dir, dgst)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("blob %s: %w", dgst, errdefs.ErrNotFound)
}

// keep keeps a blob for this process, and notes its use in the time of its file. It says no when that takes too
// long. Where nothing can be written, nothing can be removed.
func (s *Store) keep(dgst digest.Digest, path string, info os.FileInfo) bool {
	s.blobsMu.Lock()
	l, err := s.leaseLocked()
	s.blobsMu.Unlock()
	if err != nil {
		return true
	}
	if errors.Is(l.use(dgst), errLocked) {
		return false
	}
	now := time.Now()
	if age := now.Sub(info.ModTime()); age > touchAfter || age < -touchAfter {
		_ = os.Chtimes(path, now, now) // it only goes earlier when there is no room
	}
	return true
}

// ReadBlob returns a blob's bytes, at most limit of them. They have the digest
// that was asked for: a blob whose bytes do not is removed. The error is ErrMiss
// for everything that can be mended by getting the blob again.
func (s *Store) ReadBlob(dgst digest.Digest, limit int64) ([]byte, error) {
	if err := dgst.Validate(); err != nil {
		return nil, err
	}
	path, err := s.findBlob(dgst)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", dgst, ErrMiss)
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

// HasBlob tells whether a blob of this size is there, and keeps it until this
// process ends. It does not read it.
func (s *Store) HasBlob(desc ocispecs.Descriptor) bool {
	path, err := s.findBlob(desc.Digest)
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
	return fmt.Errorf("blob %s: %w", desc.Digest, s.full(err))
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
