package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"
	bolt "go.etcd.io/bbolt"
)

// Buckets of the log of builds. Entries are in bucketBuilds by their number; the two others are indexes that have
// keys only: what an entry is looked for by, and which blobs belong to it, each followed by the number.
const (
	bucketBuilds     = "builds/1"
	bucketBuildKeys  = "build-keys/1"
	bucketBuildBlobs = "build-blobs/1"
)

// Log is the list of past builds, in the order in which they ended, with a value of the caller's type for each. It
// is a small value, safe for concurrent use. Like everything here it may be lost; numbers begin at 1 again then.
type Log[T any] struct{ store *Store }

// Builds returns the log of builds of this user. All callers use one type.
func Builds[T any](s *Store) Log[T] { return Log[T]{s} }

// Entry is one build of the log.
type Entry[T any] struct {
	// ID is the number of the entry: 1 for the first one, and higher for later ones. Add sets it.
	ID uint64 `json:"-"`
	// Keys are what it is looked for by, such as a name. The first one counts for LogLimits.PerKey.
	Keys []string `json:"keys"`
	// Blobs are removed with the last entry that has them.
	Blobs []digest.Digest `json:"blobs,omitempty"`
	Value T               `json:"value"`
}

// LogLimits bound the log: the oldest entries go first.
type LogLimits struct {
	PerKey int // entries that have the same first key
	Total  int // entries
}

// Add puts a build at the end of the log and forgets the oldest ones beyond the limits. It returns the number of
// the build. Its error is for tests and logs, as that of [Records.Put].
func (l Log[T]) Add(e Entry[T], keep LogLimits) (id uint64, err error) {
	if len(e.Keys) == 0 {
		return 0, errors.New("a build without a key cannot be found again")
	}
	var orphans []digest.Digest
	err = l.store.update(func(tx *bolt.Tx) error {
		b, err := openLog(tx)
		if err != nil {
			return err
		}
		if id, err = b.entries.NextSequence(); err != nil {
			return err
		}
		data, err := encode([]byte(bucketBuilds), string(number(id)), e)
		if err != nil {
			return err
		}
		if err := b.put(id, data, e.Keys, e.Blobs); err != nil {
			return err
		}
		for _, old := range b.beyond(e.Keys[0], keep) {
			gone, err := l.drop(b, old)
			if err != nil {
				return err
			}
			// An entry that cannot be read any more does not say what its key was.
			if err := b.keys.Delete(append(keyPrefix(e.Keys[0]), number(old)...)); err != nil {
				return err
			}
			orphans = append(orphans, gone...)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, d := range orphans {
		if path, err := l.store.blobPath(d); err == nil {
			_ = os.Remove(path) // what stays is a blob that nothing names: cache prune finds it
		}
	}
	return id, nil
}

// Get returns the build of a number.
func (l Log[T]) Get(id uint64) (Entry[T], bool) {
	var found Entry[T]
	ok := false
	_ = l.store.view(func(tx *bolt.Tx) error { // a failure is a miss, and told already
		found, ok = l.read(tx.Bucket([]byte(bucketBuilds)), id)
		return nil
	})
	return found, ok
}

// Last returns the newest builds that have a key, the newest first, at most limit of them. The empty key is that
// of all builds.
func (l Log[T]) Last(key string, limit int) []Entry[T] {
	var list []Entry[T]
	_ = l.store.view(func(tx *bolt.Tx) error {
		entries := tx.Bucket([]byte(bucketBuilds))
		if entries == nil {
			return nil
		}
		ids := numbers(entries, nil)
		if key != "" {
			ids = numbers(tx.Bucket([]byte(bucketBuildKeys)), keyPrefix(key))
		}
		for i := len(ids) - 1; i >= 0 && len(list) < limit; i-- {
			if e, ok := l.read(entries, ids[i]); ok {
				list = append(list, e)
			}
		}
		return nil
	})
	return list
}

func (l Log[T]) read(entries *bolt.Bucket, id uint64) (Entry[T], bool) {
	if entries == nil {
		return Entry[T]{}, false
	}
	e, ok := decode[Entry[T]]([]byte(bucketBuilds), string(number(id)), entries.Get(number(id)))
	e.ID = id
	return e, ok
}

// drop forgets an entry and returns the blobs that no other entry has.
func (l Log[T]) drop(b logBuckets, id uint64) (orphans []digest.Digest, err error) {
	e, _ := l.read(b.entries, id)
	for _, k := range e.Keys {
		if err := b.keys.Delete(append(keyPrefix(k), number(id)...)); err != nil {
			return nil, err
		}
	}
	for _, d := range e.Blobs {
		if err := b.blobs.Delete(append(blobPrefix(d), number(id)...)); err != nil {
			return nil, err
		}
		if len(numbers(b.blobs, blobPrefix(d))) == 0 {
			orphans = append(orphans, d)
		}
	}
	return orphans, b.entries.Delete(number(id))
}

// logBuckets are the buckets of the log in one transaction.
type logBuckets struct{ entries, keys, blobs *bolt.Bucket }

func openLog(tx *bolt.Tx) (b logBuckets, err error) {
	for name, into := range map[string]**bolt.Bucket{bucketBuilds: &b.entries, bucketBuildKeys: &b.keys, bucketBuildBlobs: &b.blobs} {
		if *into, err = tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return b, err
		}
	}
	return b, nil
}

func (b logBuckets) put(id uint64, data []byte, keys []string, blobs []digest.Digest) error {
	if err := b.entries.Put(number(id), data); err != nil {
		return fmt.Errorf("build %d: %w", id, err)
	}
	for _, k := range keys {
		if err := b.keys.Put(append(keyPrefix(k), number(id)...), nil); err != nil {
			return err
		}
	}
	for _, d := range blobs {
		if err := b.blobs.Put(append(blobPrefix(d), number(id)...), nil); err != nil {
			return err
		}
	}
	return nil
}

// beyond lists the oldest entries that are too many.
func (b logBuckets) beyond(key string, keep LogLimits) []uint64 {
	same := numbers(b.keys, keyPrefix(key))
	out := same[:max(0, len(same)-keep.PerKey)]
	rest := slices.DeleteFunc(numbers(b.entries, nil), func(id uint64) bool { return slices.Contains(out, id) })
	return append(out, rest[:max(0, len(rest)-keep.Total)]...)
}

// numbers lists the entries at the ends of the keys that begin with prefix, in order.
func numbers(b *bolt.Bucket, prefix []byte) []uint64 {
	var ids []uint64
	if b == nil {
		return nil
	}
	c := b.Cursor()
	for k, _ := c.Seek(prefix); k != nil && len(k) == len(prefix)+8 && string(k[:len(prefix)]) == string(prefix); k, _ = c.Next() {
		ids = append(ids, binary.BigEndian.Uint64(k[len(prefix):]))
	}
	return ids
}

// number is an entry's number as a key, so that the order of keys is that of numbers.
func number(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

// keyPrefix is a name of any length as the beginning of a key.
func keyPrefix(key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return sum[:]
}

func blobPrefix(d digest.Digest) []byte { return keyPrefix(d.String()) }
