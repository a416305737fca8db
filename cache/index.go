package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	indexFile     = "index.db"
	lockFile      = "index.lock" // holds the seal, too
	schemaVersion = "1"
	// maxAside bounds how many damaged files are kept for a look at them.
	maxAside = 5
	// lockPoll is the pause between attempts to get the lock.
	lockPoll = 5 * time.Millisecond
	// metaBucket and schemaKey are where the version of the file is kept.
	metaBucket = "meta"
	schemaKey  = "schema"
)

var (
	errForeign = errors.New("written by another version of ibuild")
	errDamaged = errors.New("damaged, or not written to its end")
	errNoIndex = errors.New("no index yet")
	errLocked  = errors.New("locked by another process")
)

// view runs fn in a read-only transaction. Errors mean a miss; they have been
// reported already as far as they are worth it.
func (s *Store) view(fn func(*bolt.Tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if fi, err := os.Stat(s.path(indexFile)); err != nil || fi.Size() == 0 {
		return errNoIndex // without a lock: reading makes no files
	}
	err := s.locked(false, func() error {
		if err := s.checkSeal(); err != nil {
			return err
		}
		return s.transact(true, fn)
	})
	if isDamage(err) {
		// Only the exclusive lock says that nobody else is putting it aside.
		err = errors.Join(err, s.locked(true, s.repair))
	}
	return s.report(err)
}

// update runs fn in a read-write transaction, on an empty file if what is there
// cannot be used.
func (s *Store) update(fn func(*bolt.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.makeDir(); err != nil {
		return s.report(err)
	}
	return s.report(s.locked(true, func() error {
		err := s.checkSeal()
		if err == nil {
			err = s.trimIndex()
		}
		if err != nil && !isDamage(err) {
			return err // nobody knows what is in the file, so it gets no seal
		}
		if err == nil {
			err = s.transact(false, fn)
		}
		if isDamage(err) {
			s.putAside(err)
			err = s.transact(false, fn)
		}
		return errors.Join(err, s.writeSeal())
	}))
}

// locked runs fn under the lock that all processes share.
func (s *Store) locked(exclusive bool, fn func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.lockTimeout)
	defer cancel()
	lock := flock.New(s.path(lockFile), flock.SetPermissions(0o600))
	defer lock.Close()
	try := lock.TryRLockContext
	if exclusive {
		try = lock.TryLockContext
	}
	if ok, err := try(ctx, lockPoll); !ok {
		if errors.Is(err, context.DeadlineExceeded) {
			return errLocked
		}
		return err
	}
	return fn()
}

// transact opens the index, runs fn, and closes it again. It does not sync: the
// seal tells what a crash of the machine left behind, and the wait for a disk
// would cost more than the cache is worth.
func (s *Store) transact(readOnly bool, fn func(*bolt.Tx) error) error {
	db, err := bolt.Open(s.path(indexFile), 0o600, &bolt.Options{
		Timeout:      s.lockTimeout, // for other programs; ibuild has its own lock
		ReadOnly:     readOnly,
		NoSync:       true,
		NoGrowSync:   true,
		FreelistType: bolt.FreelistMapType,
		NoStatistics: true,
	})
	if err != nil {
		return err
	}
	do := db.Update
	if readOnly {
		do = db.View
	}
	err = do(func(tx *bolt.Tx) error {
		if err := inSchema(tx); err != nil {
			return err
		}
		if err := fn(tx); err != nil || readOnly {
			return err
		}
		return s.fault("index")
	})
	return errors.Join(err, db.Close())
}

// inSchema refuses a file of another schema. A new file gets this version's.
func inSchema(tx *bolt.Tx) error {
	meta := tx.Bucket([]byte(metaBucket))
	if meta == nil {
		if name, _ := tx.Cursor().First(); name != nil {
			return errForeign // somebody else's buckets
		}
		if !tx.Writable() {
			return errNoIndex
		}
		var err error
		if meta, err = tx.CreateBucket([]byte(metaBucket)); err != nil {
			return err
		}
		return meta.Put([]byte(schemaKey), []byte(schemaVersion))
	}
	if string(meta.Get([]byte(schemaKey))) != schemaVersion {
		return errForeign
	}
	return nil
}

// repair puts a file aside that cannot be used. The lock is held exclusively.
func (s *Store) repair() error {
	err := s.checkSeal()
	if err == nil {
		if fi, serr := os.Stat(s.path(indexFile)); serr == nil && fi.Size() > 0 {
			err = s.transact(true, func(*bolt.Tx) error { return nil })
		}
	}
	switch {
	case err == nil, errors.Is(err, errNoIndex):
		return nil
	case isDamage(err):
		s.putAside(err)
		return nil
	}
	return err
}

// putAside renames the index. The lock is held exclusively.
func (s *Store) putAside(cause error) {
	aside := s.asideName()
	if err := os.Rename(s.path(indexFile), aside); err != nil {
		s.warnOnce("aside", "the cache index in %s cannot be used (%v), and not be put aside: %v", s.dir, cause, err)
		return
	}
	s.forgetSeal()
	s.warnOnce("damaged", "the cache index cannot be used (%v): it is now %s, and an empty one takes its place", cause, aside)
}

// asideName returns the first free name for a damaged file, or the last one when
// there are enough of them.
func (s *Store) asideName() string {
	for n := 1; ; n++ {
		name := s.path(fmt.Sprintf("%s.damaged-%d", indexFile, n))
		if _, err := os.Lstat(name); err != nil || n == maxAside {
			return name
		}
	}
}

// report tells, once, what is wrong beyond a damaged file, and returns err.
func (s *Store) report(err error) error {
	switch {
	case err == nil, errors.Is(err, errNoIndex), isDamage(err):
	case errors.Is(err, errLocked), errors.Is(err, berrors.ErrTimeout):
		s.warnOnce("lock", "the cache index in %s is locked by another process for more than %s: going on without it", s.dir, s.lockTimeout)
	case IsFull(err):
		s.warnFull(err)
	case isIO(err):
		s.warnOnce("write", "the cache in %s cannot be used, so nothing is remembered: %v", s.dir, err)
	default:
		s.warnOnce("other", "the cache index in %s: %v", s.dir, err)
	}
	return err
}

func isDamage(err error) bool {
	for _, target := range []error{
		errDamaged, errForeign, berrors.ErrInvalid, berrors.ErrVersionMismatch,
		berrors.ErrChecksum, berrors.ErrInvalidMapping, berrors.ErrIncompatibleValue,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// isIO tells whether err comes from the file system (no permission, no space,
// read-only) and so says nothing about the bytes of a file.
func isIO(err error) bool {
	var perr *os.PathError
	var errno syscall.Errno
	return errors.As(err, &perr) || errors.As(err, &errno)
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }
