package cache

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// A process that reads or writes blobs has a lease: a file in leases/ that is locked for as long as the process
// lives. It lists the blobs that the process needs and the bytes that it is about to write. Whoever removes blobs
// reads all leases first. A lease that nobody locks is of a process that was killed. No clock is part of this.
const (
	leasesDir = "leases"
	gateFile  = "gate" // locked shared to write to a lease, and exclusively to read them all and remove blobs
	usedFile  = "used" // see Store.makeRoom
	// maxLease bounds a lease, in bytes: some 100,000 blobs.
	maxLease = 16 << 20
	// maxRecord bounds a line of a lease.
	maxRecord = 1 << 10
)

type lease struct {
	dir  string // of all leases
	id   string
	wait time.Duration
	file *os.File // locked exclusively until close

	// mu keeps goroutines apart: gate is one lock for the whole process.
	mu     sync.Mutex
	gate   *os.File
	used   map[digest.Digest]bool
	writes map[string]int64 // by ingest folder: the bytes that room was made for
	// recounted is when the sum in usedFile was last counted.
	recounted time.Time
}

// claims are what the leases of all living processes say.
type claims struct {
	used   map[digest.Digest][]string // by blob: the processes
	writes map[string]int64           // by ingest folder: bytes
	killed int                        // leases of processes that were killed
}

func (c claims) reserved() (sum int64) {
	for _, n := range c.writes {
		sum += n
	}
	return sum
}

// openGate opens what keeps the leases of the cache folder root, without a lease of one's own.
func openGate(root string, wait time.Duration) (_ *lease, err error) {
	l := &lease{dir: filepath.Join(root, leasesDir), wait: wait, used: map[digest.Digest]bool{}, writes: map[string]int64{}}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, err
	}
	if l.gate, err = os.OpenFile(filepath.Join(l.dir, gateFile), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	return l, nil
}

// openLease makes a lease in the cache folder root. This is the test, too, of whether root can be written.
func openLease(root string, wait time.Duration) (*lease, error) {
	l, err := openGate(root, wait)
	if err != nil {
		return nil, err
	}
	// Under the gate, so that nobody takes the new file for one that is left over before it is locked.
	err = l.locked(unix.LOCK_SH, func() (err error) {
		if l.file, err = os.CreateTemp(l.dir, strconv.Itoa(os.Getpid())+"-*"); err != nil {
			return err
		}
		l.id = filepath.Base(l.file.Name())
		return unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	})
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// locked runs fn with the gate locked, LOCK_SH or LOCK_EX. It waits for l.wait at most; the error is errLocked then.
func (l *lease) locked(how int, fn func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for end := time.Now().Add(l.wait); ; time.Sleep(lockPoll) {
		err := unix.Flock(int(l.gate.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			defer func() { _ = unix.Flock(int(l.gate.Fd()), unix.LOCK_UN) }()
			return fn()
		case errors.Is(err, unix.EINTR):
		case !errors.Is(err, unix.EWOULDBLOCK):
			return err
		case time.Now().After(end):
			return errLocked
		}
	}
}

// use keeps a blob for as long as this process lives, also one that is not there yet.
func (l *lease) use(d digest.Digest) error {
	l.mu.Lock()
	known := l.used[d]
	l.mu.Unlock()
	if known {
		return nil
	}
	return l.locked(unix.LOCK_SH, func() error {
		if err := l.record("use " + d.String()); err != nil {
			return err
		}
		l.used[d] = true
		return nil
	})
}

// record adds a line. It begins with the line break, so that one which a full disk cut off ends there. The gate is
// locked.
func (l *lease) record(line string) error {
	_, err := l.file.WriteString("\n" + line)
	return err
}

// reserve notes that the ingest folder will have this many bytes, 0 when it is gone. The gate is locked.
func (l *lease) reserve(folder string, size int64) error {
	if size == 0 {
		delete(l.writes, folder)
	} else {
		l.writes[folder] = size
	}
	return l.record("write " + folder + " " + strconv.FormatInt(size, 10))
}

// close ends the lease. Nothing is kept for this process any more.
func (l *lease) close() {
	if l.file != nil {
		_ = os.Remove(l.file.Name()) // the next process finds it without its lock
		_ = l.file.Close()
	}
	if l.gate != nil {
		_ = l.gate.Close()
	}
}

// living reads the leases of all living processes, and removes those of others. The gate is locked exclusively. An
// error says that it is not known what is needed, so nothing may be removed.
func (l *lease) living() (claims, error) {
	c := claims{used: map[digest.Digest][]string{}, writes: map[string]int64{}}
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return c, err
	}
	for _, e := range entries {
		if e.Name() == gateFile || e.Name() == usedFile || !e.Type().IsRegular() {
			continue
		}
		if err := c.add(filepath.Join(l.dir, e.Name()), e.Name() == l.id); err != nil {
			return c, err
		}
	}
	return c, nil
}

// add reads one lease, or removes it if its process was killed.
func (c *claims) add(path string, own bool) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it ended just now
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if !own && unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
			c.killed++
			return err
		}
		return nil // it ended just now
	}
	pid, _, _ := strings.Cut(filepath.Base(path), "-")
	return c.read(f, "process "+pid)
}

// read adds the lines of one lease. What is no line of a lease is one that was cut off.
func (c claims) read(r io.Reader, who string) error {
	counted := &io.LimitedReader{R: r, N: maxLease + 1}
	lines := bufio.NewScanner(counted)
	lines.Buffer(nil, maxRecord)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 2 && words[0] == "use":
			if d := digest.Digest(words[1]); d.Validate() == nil {
				c.used[d] = append(c.used[d], who)
			}
		case len(words) == 3 && words[0] == "write" && filepath.Base(words[1]) == words[1]:
			if n, err := strconv.ParseInt(words[2], 10, 64); err == nil && n > 0 {
				c.writes[words[1]] = n
			} else {
				delete(c.writes, words[1])
			}
		}
	}
	if counted.N <= 0 {
		return fmt.Errorf("the lease of %s is larger than %d bytes", who, maxLease)
	}
	return lines.Err()
}
