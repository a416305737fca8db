package engine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// unfinished begins the names of outputs that are not whole yet.
const unfinished = ".ibuild-unfinished-"

// place is where one output is until it is whole: beside its destination, or in it when that is a folder that is there.
// The folder of the place is locked for reading by all processes that write there, so whoever gets the lock for
// writing knows that what is unfinished there was left by processes that were killed.
type place struct {
	dest   string
	temp   string
	lock   *os.File // nil where there are no locks
	folder bool     // else a file
	merge  bool     // dest is a folder that is there: what is in temp is put into it
}

// newPlace returns a place in dir, where nothing is made yet.
func newPlace(dir, dest string) *place {
	sweepUnfinished(dir)
	return &place{dest: dest, temp: filepath.Join(dir, unfinished+rand.Text()), lock: lockFolder(dir, unix.LOCK_SH)}
}

// newFolderPlace is for a tree: what is in dest and not in the tree stays, and a new folder appears at the end.
func newFolderPlace(dest string) (*place, error) {
	dir, merge := dest, true
	info, err := os.Stat(dest)
	switch {
	case err == nil && !info.IsDir():
		return nil, fmt.Errorf("%s is not a folder", dest)
	case errors.Is(err, fs.ErrNotExist):
		dir, merge = filepath.Dir(filepath.Clean(dest)), false
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = unix.Access(dir, unix.W_OK)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot write %s: %w", dest, err)
	}
	p := newPlace(dir, dest)
	p.folder, p.merge = true, merge
	return p, nil
}

// put brings what is whole to its destination.
func (p *place) put() error {
	if !p.folder {
		return os.Rename(p.temp, p.dest)
	}
	if err := os.MkdirAll(p.temp, 0o755); err != nil { // an empty tree
		return err
	}
	if !p.merge {
		if err := os.Chmod(p.temp, 0o755); err != nil {
			return err
		}
		return os.Rename(p.temp, p.dest)
	}
	root, err := os.OpenRoot(p.dest)
	if err != nil {
		return err
	}
	defer root.Close()
	return mergeFolder(root, filepath.Base(p.temp), ".")
}

// mergeFolder moves what is in one folder into another, which has files and folders of its own. Links are moved, and
// not followed; what is in the way of a file or link goes.
func mergeFolder(root *os.Root, from, to string) error {
	dir, err := root.Open(from)
	if err != nil {
		return err
	}
	list, err := dir.ReadDir(-1)
	_ = dir.Close()
	if err != nil {
		return err
	}
	for _, e := range list {
		src, dst := path.Join(from, e.Name()), path.Join(to, e.Name())
		there, err := root.Lstat(dst)
		switch {
		case err == nil && there.IsDir() && e.IsDir():
			err = mergeInto(root, src, dst)
		case err == nil && there.IsDir() != e.IsDir():
			if err = root.RemoveAll(dst); err == nil {
				err = moveEntry(root, src, dst)
			}
		case err == nil || errors.Is(err, fs.ErrNotExist):
			err = moveEntry(root, src, dst)
		}
		if err != nil {
			return err
		}
	}
	return root.Remove(from)
}

// mergeInto merges a folder into one that is there, which gets its mode and time.
func mergeInto(root *os.Root, src, dst string) error {
	info, err := root.Lstat(src)
	if err != nil {
		return err
	}
	err = withWrite(root, src, info, func() error {
		there, err := root.Lstat(dst)
		if err != nil {
			return err
		}
		return withWrite(root, dst, there, func() error { return mergeFolder(root, src, dst) })
	})
	if err == nil {
		err = root.Chmod(dst, info.Mode())
	}
	if err != nil {
		return err
	}
	return root.Chtimes(dst, time.Time{}, info.ModTime())
}

// moveEntry moves a file, a link or a whole folder.
func moveEntry(root *os.Root, src, dst string) error {
	info, err := root.Lstat(src)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return root.Rename(src, dst)
	}
	// A folder that its owner may not write to cannot get another parent.
	if err := withWrite(root, src, info, func() error { return root.Rename(src, dst) }); err != nil || info.Mode()&0o200 != 0 {
		return err
	}
	return root.Chmod(dst, info.Mode())
}

// withWrite does something while the owner of a folder may write to it.
func withWrite(root *os.Root, name string, info fs.FileInfo, do func() error) error {
	if info.Mode()&0o200 != 0 {
		return do()
	}
	if err := root.Chmod(name, info.Mode()|0o700); err != nil {
		return err
	}
	return do()
}

// probe says that the disk of the place is full, by writing to it; nil when it is not.
func (p *place) probe() error {
	dir := p.temp
	if _, err := os.Stat(dir); err != nil {
		dir = filepath.Dir(dir)
	}
	name := filepath.Join(dir, unfinished+rand.Text())
	defer os.Remove(name)
	// More than what a file system keeps beside a small file's name.
	err := os.WriteFile(name, make([]byte, 64<<10), 0o600)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return err
	}
	return nil
}

// close removes what was not put to its destination, and the lock.
func (p *place) close() {
	removeAll(p.temp)
	if p.lock != nil {
		_ = p.lock.Close()
	}
}

// removeAll removes a tree, also below folders that their owner may not write to.
func removeAll(name string) {
	if os.RemoveAll(name) == nil {
		return
	}
	_ = filepath.WalkDir(name, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			_ = os.Chmod(p, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(name) // what stays is removed by the next build that writes there
}

// sweepUnfinished removes what killed processes left in a folder, unless somebody is writing there.
func sweepUnfinished(dir string) {
	lock := lockFolder(dir, unix.LOCK_EX)
	if lock == nil {
		return
	}
	defer lock.Close()
	list, _ := lock.Readdirnames(-1) // none: nothing to remove
	for _, name := range list {
		if strings.HasPrefix(name, unfinished) {
			removeAll(filepath.Join(dir, name))
		}
	}
}

// sweepOutputs does so for all outputs of a request, before its sources are read: they may be in the same folder.
func sweepOutputs(out Outputs) {
	for _, e := range out.Exports {
		if e.Dest == "-" || e.Dest == "" {
			continue
		}
		dir := filepath.Dir(behindLinks(e.Dest))
		if info, err := os.Stat(e.Dest); err == nil && info.IsDir() {
			dir = e.Dest
		}
		sweepUnfinished(dir)
	}
}

// lockFolder locks a folder for reading or writing. It returns nil when that cannot be: where there are no such
// locks, and for writing while others have it.
func lockFolder(dir string, how int) *os.File {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	const patience = 2 * time.Second // others have it for as long as it takes to remove what is left
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return f
		}
		if how == unix.LOCK_EX || !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Now().After(end) {
			f.Close()
			return nil
		}
	}
}
