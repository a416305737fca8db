package cache

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/adrg/xdg"
	"github.com/containerd/containerd/v2/core/content"
)

// lockTimeout bounds the wait for another process that holds the index. It is
// far longer than any operation of this package holds the lock.
const lockTimeout = 2 * time.Second

// Store is one user's cache. It is safe for concurrent use by goroutines, and
// several Stores, in one or in several processes, may share a folder.
type Store struct {
	dir         string
	temp        string // the folder for temporary files when the cache was opened: an engine has one of its own
	warn        func(msg string)
	lockTimeout time.Duration

	// mu keeps operations of this Store apart, so that goroutines queue here
	// and not at the file lock, which polls.
	mu sync.RWMutex

	sealedMu sync.Mutex
	sealed   sealedFile

	warnedMu sync.Mutex
	warned   map[string]bool // kinds of warning that were given already

	blobsMu  sync.Mutex
	blobs    content.Store // what Content returned
	standIn  *standIn      // nil before something had to go there
	lease    *lease        // nil before a blob was used, or for leaseErr
	leaseErr error

	maxSize int64                 // bytes; 0 is the default
	trimAt  int64                 // bytes of the index
	fault   func(op string) error // tests make a write fail with it
}

// Option changes how a Store is opened.
type Option func(*Store)

// WithWarn sets the function that is told, in one line each, about things that
// make the cache slower or empty but do not stop a build. Each kind of message
// comes once per Store. It may be called from several goroutines.
func WithWarn(warn func(msg string)) Option {
	return func(s *Store) { s.warn = warn }
}

// withLockTimeout lets tests see a timeout without waiting for it.
func withLockTimeout(d time.Duration) Option {
	return func(s *Store) { s.lockTimeout = d }
}

// DefaultDir returns the folder of the user's cache, $XDG_CACHE_HOME/ibuild.
func DefaultDir() string {
	return filepath.Join(xdg.CacheHome, "ibuild")
}

// Open returns the cache in dir, which is made on the first write. It does no
// I/O: a start of ibuild that uses no cache pays nothing for it. The only error
// is a dir that is not absolute. A dir that cannot be written is an empty cache
// (with one warning), not an error.
func Open(dir string, opts ...Option) (*Store, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("cache folder %q is not an absolute path", dir)
	}
	s := &Store{
		dir:         filepath.Clean(dir),
		temp:        os.TempDir(),
		warn:        func(string) {},
		lockTimeout: lockTimeout,
		warned:      map[string]bool{},
		fault:       func(string) error { return nil },
		trimAt:      maxKept,
	}
	for _, opt := range opts {
		opt(s)
	}
	return s, nil
}

// Dir returns the folder of the cache.
func (s *Store) Dir() string { return s.dir }

// Close ends this process's use of blobs: others may remove them from now on. What only this process could see,
// the stand-in for what the cache could not take, is removed, and so is what was not written to its end. The Store
// must not be used afterwards.
func (s *Store) Close() error {
	s.blobsMu.Lock()
	defer s.blobsMu.Unlock()
	if s.lease != nil {
		for folder := range s.lease.writes {
			_ = os.RemoveAll(s.path(filepath.Join("ingest", folder))) // the next process removes what stays
		}
		s.lease.close()
		s.lease, s.blobs = nil, nil
	}
	if s.standIn == nil {
		return nil
	}
	err := s.standIn.close()
	s.standIn, s.blobs = nil, nil
	return err
}

// warnOnce passes a message on, unless one of its kind was passed on before.
func (s *Store) warnOnce(kind, format string, args ...any) {
	s.warnedMu.Lock()
	seen := s.warned[kind]
	s.warned[kind] = true
	s.warnedMu.Unlock()
	if !seen {
		s.warn(fmt.Sprintf(format, args...))
	}
}

// makeDir makes the cache folder, readable by its user alone: it holds images
// that may not be public.
func (s *Store) makeDir() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("cache folder: %w", err)
	}
	return nil
}
