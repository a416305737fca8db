package workfolder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// Kind is one kind of work folders.
type Kind struct {
	Prefix string // begins the names of the folders, such as "ibuild-test-"

	// Before removes what belongs to a folder and lies elsewhere, before the
	// folder itself is removed; nil where there is nothing.
	Before func(dir string) error
}

// Folder is a work folder in use.
type Folder struct {
	Path string

	kind Kind
	lock *flock.Flock // its file lies beside the folder: so a folder is never there without its lock
}

// New makes a folder in the system's folder for temporary files, which every
// user can enter, and removes those of processes that were killed.
func (k Kind) New() (*Folder, error) {
	k.sweep(os.TempDir())
	f, err := k.lock()
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(f.Path, 0o755); err != nil {
		return nil, errors.Join(err, f.Remove())
	}
	return f, os.Chmod(f.Path, 0o755) // whatever the umask
}

// lock takes a new lock. Another process's sweep may find the file in the
// moment in which it is not locked yet; then the next file has more luck.
func (k Kind) lock() (*Folder, error) {
	for {
		file, err := os.CreateTemp("", k.Prefix+"*.lock")
		if err != nil {
			return nil, err
		}
		f := k.folder(file.Name())
		locked, err := f.lock.TryLock()
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
		}
		if locked {
			return f, nil
		}
	}
}

// folder is the one that a lock file stands for.
func (k Kind) folder(lockFile string) *Folder {
	return &Folder{Path: lockFile[:len(lockFile)-len(".lock")], kind: k, lock: flock.New(lockFile)}
}

// Remove removes the folder and then its lock. To remove nil is fine.
func (f *Folder) Remove() error {
	if f == nil {
		return nil
	}
	if f.kind.Before != nil {
		if err := f.kind.Before(f.Path); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(f.Path); err != nil {
		return err
	}
	return errors.Join(os.Remove(f.lock.Path()), f.lock.Close())
}

// sweep removes the work folders in dir whose process is gone. What it cannot
// remove, such as another user's, it leaves alone.
func (k Kind) sweep(dir string) {
	locks, _ := filepath.Glob(filepath.Join(dir, k.Prefix+"*.lock"))
	for _, file := range locks {
		f := k.folder(file)
		if locked, err := f.lock.TryLock(); err == nil && locked {
			_ = f.Remove()
		}
		_ = f.lock.Close()
	}
}
