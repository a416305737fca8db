package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

const (
	standInPrefix = "ibuild-blobs-"
	standInLock   = "lock" // locked for as long as the stand-in's process lives
	// standInGrace is how old a stand-in without a lock is before it is taken for one that was left behind.
	standInGrace = time.Hour
)

// standIn is where blobs go that a build needs and the cache cannot take: it is full, or its folder or disk
// cannot be written. It is a temporary folder of this process, removed at its end.
type standIn struct {
	content.Store
	dir  string
	lock *os.File
}

// openStandIn makes a stand-in, and removes those of processes that were killed.
func openStandIn(temp string) (_ *standIn, err error) {
	removeStandIns(temp)
	s := &standIn{}
	if s.dir, err = os.MkdirTemp(temp, standInPrefix+"*"); err != nil {
		return nil, fmt.Errorf("neither the cache folder nor a temporary one can be written: %w", err)
	}
	if s.lock, err = os.OpenFile(filepath.Join(s.dir, standInLock), os.O_CREATE|os.O_RDWR, 0o600); err == nil {
		err = unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		s.Store, err = local.NewStore(s.dir)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// standInLocked returns this process's stand-in, made on first use. blobsMu is held.
func (s *Store) standInLocked() (*standIn, error) {
	if s.standIn == nil {
		made, err := openStandIn(s.temp)
		if err != nil {
			return nil, err
		}
		s.standIn = made
	}
	return s.standIn, nil
}

// openedStandIn returns the stand-in, nil when there is none.
func (s *Store) openedStandIn() *standIn {
	s.blobsMu.Lock()
	defer s.blobsMu.Unlock()
	return s.standIn
}

// writeToStandIn begins a write that the cache cannot take.
func (s *Store) writeToStandIn(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	s.blobsMu.Lock()
	other, err := s.standInLocked()
	s.blobsMu.Unlock()
	if err != nil {
		return nil, err
	}
	return other.Writer(ctx, opts...)
}

// mayStandIn says whether an error is one of the cache's, and not of what is written.
func mayStandIn(err error) bool {
	return errors.Is(err, errNoRoom) || errors.Is(err, errLocked) || IsFull(err)
}

// tellStandIn says why something goes to the stand-in.
func (s *Store) tellStandIn(why error) {
	switch {
	case IsFull(why):
		s.warnFull(why)
	case errors.Is(why, errNoRoom):
		s.warnOnce("room", "the cache in %s is at its limit of %s, and what may go from it is not enough: the rest is kept for this build only; %s",
			s.dir, FormatSize(s.MaxSize()), hintLimit)
	default:
		s.warnOnce("gate", "the cache in %s is locked by another process for more than %s: what is new is kept for this build only", s.dir, s.lockTimeout)
	}
}

// readOnlyStore is the content store where the cache folder cannot be written: what is there is read, and what is
// new goes to the stand-in.
type readOnlyStore struct {
	content.Store
	s *Store
}

// ReaderAt opens a blob of the cache or of the stand-in.
func (r *readOnlyStore) ReaderAt(_ context.Context, desc ocispecs.Descriptor) (content.ReaderAt, error) {
	path, err := r.s.findBlob(desc.Digest)
	if err != nil {
		return nil, err
	}
	return local.OpenReader(path)
}

// close removes the stand-in with all that is in it.
func (s *standIn) close() error {
	err := os.RemoveAll(s.dir)
	if s.lock != nil {
		_ = s.lock.Close()
	}
	return err
}

// removeStandIns removes this user's stand-ins that nobody has locked. It does what it can.
func removeStandIns(temp string) {
	left, _ := filepath.Glob(filepath.Join(temp, standInPrefix+"*"))
	for _, dir := range left {
		if isOwnFolder(dir) && isLeft(dir) {
			_ = os.RemoveAll(dir)
		}
	}
}

func isOwnFolder(dir string) bool {
	var st unix.Stat_t
	return unix.Lstat(dir, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && int(st.Uid) == os.Getuid()
}

// isLeft says whether the process of a stand-in has ended. One without a lock may be just being made.
func isLeft(dir string) bool {
	f, err := os.Open(filepath.Join(dir, standInLock))
	if err != nil {
		info, serr := os.Lstat(dir)
		return errors.Is(err, os.ErrNotExist) && serr == nil && time.Since(info.ModTime()) > standInGrace
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}
