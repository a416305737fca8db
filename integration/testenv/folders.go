package testenv

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"
)

// workPrefix begins the name of every work folder.
const workPrefix = "ibuild-test-"

// workLock is held as long as a work folder is in use. The lock file lies
// beside the folder: so a folder is never there without its lock.
type workLock struct {
	dir  string
	lock *flock.Flock
}

// newWorkFolder makes a folder that every user can enter, and removes those of
// processes that were killed.
func newWorkFolder() (string, *workLock, error) {
	sweep(os.TempDir())
	w, err := newWorkLock()
	if err != nil {
		return "", nil, err
	}
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		return "", nil, errors.Join(err, w.remove())
	}
	return w.dir, w, os.Chmod(w.dir, 0o755) // whatever the umask
}

// newWorkLock takes a new lock. Another process's sweep may find the file in
// the moment in which it is not locked yet; then the next file has more luck.
func newWorkLock() (*workLock, error) {
	for {
		file, err := os.CreateTemp("", workPrefix+"*.lock")
		if err != nil {
			return nil, err
		}
		w := &workLock{lock: flock.New(file.Name()), dir: folderOf(file.Name())}
		locked, err := w.lock.TryLock()
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
		}
		if locked {
			return w, nil
		}
	}
}

func folderOf(lockFile string) string { return lockFile[:len(lockFile)-len(".lock")] }

// remove removes the folder and then its lock.
func (w *workLock) remove() error {
	if w == nil {
		return nil
	}
	if err := os.RemoveAll(w.dir); err != nil {
		return err
	}
	return errors.Join(os.Remove(w.lock.Path()), w.lock.Close())
}

// sweep removes the work folders in dir whose process is gone. What it cannot
// remove, such as another user's, it leaves alone.
func sweep(dir string) {
	locks, _ := filepath.Glob(filepath.Join(dir, workPrefix+"*.lock"))
	for _, file := range locks {
		w := &workLock{lock: flock.New(file), dir: folderOf(file)}
		if locked, err := w.lock.TryLock(); err == nil && locked {
			_ = w.remove()
		}
		_ = w.lock.Close()
	}
}

// cacheFolder is where tools and base images are kept from run to run.
func cacheFolder(dir string) (string, error) {
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", &MissingError{What: "a cache folder", Hint: "set HOME or XDG_CACHE_HOME"}
		}
		dir = filepath.Join(user, "ibuild-test")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// link makes the file from appear as to, without copying where it can.
func link(from, to string) error {
	if err := os.Link(from, to); err == nil || errors.Is(err, os.ErrExist) {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// syncWriter lets several goroutines write lines to one writer.
type syncWriter struct {
	mu sync.Mutex
	to io.Writer
}

func newSyncWriter(to io.Writer) *syncWriter {
	if to == nil {
		to = io.Discard
	}
	return &syncWriter{to: to}
}

func (w *syncWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}
