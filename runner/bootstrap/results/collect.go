package results

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// entry is a file, folder or link of the folder.
type entry struct {
	path string
	mode fs.FileMode
	size int64 // of a file, when it was looked at
	time time.Time
	link string
}

// collection is all that is below a folder.
type collection struct {
	root    *os.Root
	entries []entry // sorted by path: a folder comes before what is in it

	mu     sync.Mutex
	left   []Left
	missed int
}

// collect looks all of a folder up. Reading its files comes later. An error is about the folder itself.
func collect(root *os.Root) (*collection, error) {
	c := &collection{root: root}
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	c.folder(dir, "")
	slices.SortFunc(c.entries, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return c, nil
}

// leave notes that something is left out. It may be called concurrently.
func (c *collection) leave(name string, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.missed++
	if len(c.left) < maxNamed {
		c.left = append(c.left, Left{shorten(strings.ToValidUTF8(name, "\uFFFD")), shorten(reason(why))})
	}
}

// reason is an error's text without the names of calls and files in it, which Left has already.
func reason(err error) string {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		return perr.Err.Error()
	}
	return err.Error()
}

func shorten(s string) string {
	if len(s) > maxReason {
		return strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	return s
}

// folder takes over what is in a folder, and closes it. prefix is its path with a slash, or empty.
func (c *collection) folder(dir *os.File, prefix string) {
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1000) // not all at once: there may be millions
		for _, name := range names {
			if len(c.entries) >= maxEntries {
				c.leave(prefix+name, fmt.Errorf("over the limit of %d files and folders; this and what comes after it is missing", maxEntries))
				return
			}
			c.add(prefix + name)
		}
		if err != nil {
			if err != io.EOF {
				c.leave(strings.TrimSuffix(prefix, "/"), err)
			}
			return
		}
	}
}

// add takes over one entry, with all that is in it.
func (c *collection) add(name string) {
	e, err := c.look(name)
	if err != nil {
		c.leave(name, err)
		return
	}
	if !e.mode.IsDir() {
		c.entries = append(c.entries, e)
		return
	}
	dir, err := c.open(name, syscall.O_DIRECTORY)
	if err != nil {
		c.leave(name, err)
		return
	}
	c.entries = append(c.entries, e)
	c.folder(dir, name+"/")
}

// below makes a link relative that is absolute and leads into the folder: programs write them, as the folder's name
// that they are given is absolute.
func below(folder, name, target string) string {
	if !path.IsAbs(target) {
		return target
	}
	inside, err := filepath.Rel(folder, target)
	if err != nil || !filepath.IsLocal(inside) {
		return target
	}
	relative, err := filepath.Rel(path.Dir(name), inside)
	if err != nil {
		return target
	}
	return relative
}

// look finds out what an entry is, and whether it can be taken over.
func (c *collection) look(name string) (entry, error) {
	info, err := c.root.Lstat(name)
	if err != nil {
		return entry{}, err
	}
	e := entry{path: name, mode: info.Mode().Type() | info.Mode().Perm(), time: info.ModTime()}
	if err := checkName(name); err != nil {
		return e, err
	}
	switch e.mode.Type() {
	case fs.ModeDir:
	case fs.ModeSymlink:
		if e.link, err = c.root.Readlink(name); err == nil {
			e.link = below(c.root.Name(), name, e.link)
			err = checkLink(name, e.link)
		}
	case 0:
		e.size = info.Size()
		file, openErr := c.open(name, 0)
		if openErr != nil {
			return e, openErr
		}
		err = file.Close()
	default:
		err = fmt.Errorf("it is a %s, no file", kind(e.mode))
	}
	return e, err
}

func kind(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeNamedPipe != 0:
		return "pipe"
	case mode&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

// open opens a file or folder itself: no link in its place is followed, and a pipe in its place does not block.
func (c *collection) open(name string, flags int) (*os.File, error) {
	return c.root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|flags, 0)
}

// errChanged says that a file is not what it was when it was looked at.
var errChanged = errors.New("it changed while it was read")

// openFile opens a file of the collection and says how large it is now.
func (c *collection) openFile(e entry) (*os.File, int64, error) {
	file, err := c.open(e.path, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errChanged
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

// split is the entries in packs, and those that have layers of their own. What is over the limit of layers is left out.
func (c *collection) split() (packs [][]entry, large []entry) {
	var pack []entry
	size := int64(0)
	for _, e := range c.entries {
		if e.size > small {
			large = append(large, e)
			continue
		}
		if size+e.size > packSize || len(pack) >= maxPacked {
			packs, pack, size = append(packs, pack), nil, 0
		}
		pack, size = append(pack, e), size+e.size
	}
	if len(pack) > 0 {
		packs = append(packs, pack)
	}
	if room := max(0, maxLayers-len(packs)); len(large) > room {
		for _, e := range large[room:] {
			c.leave(e.path, fmt.Errorf("over the limit of %d layers", maxLayers))
		}
		large = large[:room]
	}
	return packs, large
}

// maxPacked is how many entries are in one pack: 1.5 KiB of headers each.
const maxPacked = 5_000

// something says that there is more than folders.
func (c *collection) something() bool {
	return slices.ContainsFunc(c.entries, func(e entry) bool { return !e.mode.IsDir() })
}
