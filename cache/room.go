package cache

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// The limit of a cache whose user has set none, in bytes. Most of what is kept is small: manifests, configs, code.
// What is large are layers of big files and environments for outputs that are files, which are some gigabytes each
// and of use for days. A tenth of the disk has room for several of them and goes unnoticed; a cache that fills more
// than 50 GB has things in it that nobody comes back to.
const (
	defaultShare = 10 // the disk's size is divided by it
	defaultLeast = 1e9
	defaultMost  = 50e9
)

const (
	// slack is the part of the limit that is freed at once, so that not every write has to look for room.
	slack = 20 // the limit is divided by it
	// recount is how long the sum in usedFile is believed.
	recount = time.Hour
)

// errNoRoom says that a blob does not fit, also when all that may go has gone.
var errNoRoom = errors.New("no room in the cache")

// WithMaxSize sets the limit of all that the cache keeps, in bytes: blobs, what is half-written, the index, and
// facts about files. 0 is a tenth of the disk, between 1 and 50 GB.
func WithMaxSize(bytes int64) Option {
	return func(s *Store) { s.maxSize = bytes }
}

// MaxSize returns the limit, in bytes.
func (s *Store) MaxSize() int64 {
	if s.maxSize > 0 {
		return s.maxSize
	}
	var disk unix.Statfs_t
	for dir := s.dir; unix.Statfs(dir, &disk) != nil && dir != filepath.Dir(dir); {
		dir = filepath.Dir(dir)
	}
	share := float64(disk.Blocks) * float64(disk.Bsize) / defaultShare
	return int64(min(max(share, defaultLeast), defaultMost))
}

// makeRoom sees to it that size bytes fit into the ingest folder, before they are written: what is least useful
// goes. The error is errNoRoom when that is not enough, and errLocked when others take too long.
func (s *Store) makeRoom(l *lease, folder string, size int64) error {
	return l.locked(unix.LOCK_EX, func() error {
		more := size - l.writes[folder]
		used, known := l.readUsed()
		if limit := s.MaxSize(); !known || used+more > limit {
			var err error
			if used, err = s.evict(l, more, limit); err != nil {
				return err
			}
		}
		if err := s.fault("lease"); err != nil {
			return err
		}
		if err := l.reserve(folder, size); err != nil {
			return err
		}
		l.writeUsed(used + more)
		return nil
	})
}

// settle ends the reservation of an ingest folder of which kept bytes are a blob now.
func (s *Store) settle(l *lease, folder string, kept int64) {
	_ = s.settleBy(l, folder, func() (int64, error) { return kept, nil }) // if it fails, the sum is too high until it is counted anew
}

// settleBy does so for what finish puts in its place, at a time when nobody else counts or removes anything. finish says
// how many bytes more are kept now; when it fails, the reservation stays.
func (s *Store) settleBy(l *lease, folder string, finish func() (kept int64, err error)) error {
	return l.locked(unix.LOCK_EX, func() error {
		kept, err := finish()
		if err != nil {
			return err
		}
		held := l.writes[folder]
		if used, known := l.readUsed(); known {
			l.writeUsed(used + kept - held)
		}
		return l.reserve(folder, 0)
	})
}

// evict counts what is there, and removes what is least useful until there are more bytes of room, or nothing if
// that cannot be. It returns how many bytes are used. The gate is locked exclusively.
func (s *Store) evict(l *lease, more, limit int64) (used int64, err error) {
	c, err := l.living()
	if err != nil {
		return 0, err
	}
	s.sweep(c)
	if used, err = s.measure(c); err != nil {
		return 0, err
	}
	l.recounted = time.Now()
	over := used + more - limit
	if over <= 0 {
		return used, nil
	}
	list := s.evictable(c)
	var most int64
	for _, b := range list {
		most += b.size
	}
	if most < over {
		return 0, errNoRoom
	}
	for _, b := range list {
		if over+limit/slack <= 0 {
			break
		}
		if os.Remove(b.path) == nil {
			over, used = over-b.size, used-b.size
		}
	}
	if over > 0 {
		return 0, errNoRoom
	}
	return used, nil
}

// storedBlob is a blob's file, or another one that may go like one.
type storedBlob struct {
	digest digest.Digest // "" for what is no blob
	path   string
	size   int64
	used   time.Time // when it was last read or written
}

// evictable lists the blobs that no process needs, and facts about files, the least useful first: what is large and
// was not used for long.
func (s *Store) evictable(c claims) []storedBlob {
	list := slices.DeleteFunc(s.storedBlobs(), func(b storedBlob) bool { return c.used[b.digest] != nil })
	for _, i := range s.folderItems() {
		list = append(list, storedBlob{path: i.path, size: i.Size, used: i.Used})
	}
	now := time.Now()
	slices.SortFunc(list, func(a, b storedBlob) int {
		return cmp.Or(cmp.Compare(b.uselessness(now), a.uselessness(now)), cmp.Compare(a.path, b.path))
	})
	return list
}

// uselessness is the room that the blob takes times how long it has been taking it for nothing. A time in the
// future is that of another clock, and says nothing.
func (b storedBlob) uselessness(now time.Time) float64 {
	return max(now.Sub(b.used).Seconds(), 1) * float64(b.size)
}

// storedBlobs lists the blobs of the cache folder.
func (s *Store) storedBlobs() (list []storedBlob) {
	algorithms, _ := os.ReadDir(s.path("blobs")) // none: no blobs
	for _, a := range algorithms {
		dir := filepath.Join(s.path("blobs"), a.Name())
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			d := digest.NewDigestFromEncoded(digest.Algorithm(a.Name()), e.Name())
			info, err := e.Info()
			if err != nil || !info.Mode().IsRegular() || d.Validate() != nil {
				continue
			}
			list = append(list, storedBlob{d, filepath.Join(dir, e.Name()), info.Size(), info.ModTime()})
		}
	}
	return list
}

// measure sums up what the cache folder has, with the bytes that are about to be written.
func (s *Store) measure(c claims) (int64, error) {
	total := c.reserved()
	for _, b := range s.storedBlobs() {
		total += b.size
	}
	for _, dir := range []string{s.dir, s.path(foldersDir)} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
		for _, e := range entries {
			if _, reserved := c.writes[e.Name()]; reserved {
				continue
			}
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
				total += info.Size()
			}
		}
	}
	return total, nil
}

// sweep removes what no living process is writing: the half-written blobs and facts of those that were killed, and the folders
// in which containerd's store tries out what the file system can, which it can do without. The gate is locked
// exclusively.
func (s *Store) sweep(c claims) {
	dir := s.path("ingest")
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if _, writing := c.writes[e.Name()]; !writing {
			_ = os.RemoveAll(filepath.Join(dir, e.Name())) // what stays is found again
		}
	}
	records, _ := filepath.Glob(s.path(filepath.Join(foldersDir, tempPrefix+"*")))
	for _, r := range records {
		if _, writing := c.writes[filepath.Base(r)]; !writing {
			_ = os.Remove(r)
		}
	}
	trials, _ := filepath.Glob(s.path(".fsverity-check-*"))
	for _, t := range trials {
		_ = os.RemoveAll(t)
	}
}

// readUsed returns the sum of all bytes that are kept or about to be written. It saves counting them for each
// write. A process that was killed leaves it too high, never too low; others mend it when they count.
func (l *lease) readUsed() (used int64, known bool) {
	data, err := os.ReadFile(filepath.Join(l.dir, usedFile))
	if err != nil {
		return 0, false
	}
	var counted int64
	if n, err := fmt.Sscanf(string(data), "%d %d\n", &used, &counted); n != 2 || err != nil || used < 0 {
		return 0, false
	}
	l.recounted = time.Unix(counted, 0)
	age := time.Since(l.recounted)
	return used, age >= -time.Minute && age < recount
}

// writeUsed sets the sum. One that cannot be written is removed, and counted next time.
func (l *lease) writeUsed(used int64) {
	path := filepath.Join(l.dir, usedFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprintf(f, "%020d %020d\n", max(used, 0), l.recounted.Unix())
		err = cmp.Or(err, f.Close())
	}
	if err != nil {
		_ = os.Remove(path)
	}
}
