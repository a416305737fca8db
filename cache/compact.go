package cache

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"slices"

	bolt "go.etcd.io/bbolt"
)

const (
	newIndex = "index.db.new" // the index that is about to take the other one's place
	// maxKept bounds the index, in bytes. It is read whole to check its seal, so it has to be small; 32 MiB are some
	// 50,000 results. Half of it goes at once, so that this is rare.
	maxKept = 32 << 20
)

// record is an entry of the index as it is stored, with the name of its bucket.
type record struct {
	bucket, key, value []byte
}

func (r record) size() int64 { return int64(len(r.bucket) + len(r.key) + len(r.value)) }

// id tells records apart.
func (r record) id() string { return string(r.bucket) + "\x00" + string(r.key) }

// trimIndex removes the oldest records of an index that has grown too large. The lock is held exclusively.
func (s *Store) trimIndex() error {
	info, err := os.Stat(s.path(indexFile))
	if err != nil || info.Size() <= s.trimAt {
		return nil
	}
	var list []record
	err = s.transact(true, func(tx *bolt.Tx) error {
		list = allRecords(tx)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b record) int { return b.view().used().Compare(a.view().used()) })
	drop := map[string]bool{}
	var sum int64
	for _, r := range list {
		if sum += r.size(); sum > s.trimAt/2 {
			drop[r.id()] = true
		}
	}
	return s.rewriteIndex(drop)
}

// allRecords copies the records of all buckets but those of the schema and of the indexes of the log of builds.
func allRecords(tx *bolt.Tx) (list []record) {
	_ = tx.ForEach(func(name []byte, b *bolt.Bucket) error { // fn returns no error
		if isIndexBucket(name) {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			if v != nil { // no bucket of this package is in another one
				list = append(list, record{bytes.Clone(name), bytes.Clone(k), bytes.Clone(v)})
			}
			return nil
		})
	})
	return list
}

// isIndexBucket is true for buckets whose entries belong to those of others.
func isIndexBucket(name []byte) bool {
	return slices.Contains([]string{metaBucket, bucketBuildKeys, bucketBuildBlobs}, string(name))
}

// rewriteIndex makes an index without the records to drop, by their id, and puts it in the place of the old one,
// which frees their room on the disk. Whoever is killed in here leaves the one or the other. The lock is held
// exclusively.
func (s *Store) rewriteIndex(drop map[string]bool) error {
	path := s.path(newIndex)
	_ = os.Remove(path) // of a process that was killed
	kept, err := s.copyIndex(path, drop)
	if err == nil {
		err = s.exchangeIndex(path)
	}
	if err != nil {
		_ = os.Remove(path)
	}
	if IsFull(err) && kept == 0 { // no room for an empty one
		s.forgetSeal()
		return os.Remove(s.path(indexFile))
	}
	return err
}

// copyIndex copies the index without the records to drop, and returns how many were to be kept.
func (s *Store) copyIndex(path string, drop map[string]bool) (kept int, err error) {
	err = s.transact(true, func(tx *bolt.Tx) error {
		for _, r := range allRecords(tx) {
			if !drop[r.id()] {
				kept++
			}
		}
		return nil
	})
	if err != nil {
		return kept, err
	}
	out, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true, NoGrowSync: true, FreelistType: bolt.FreelistMapType, NoStatistics: true})
	if err != nil {
		return kept, err
	}
	err = s.transact(true, func(from *bolt.Tx) error {
		return out.Update(func(to *bolt.Tx) error {
			return from.ForEach(func(name []byte, b *bolt.Bucket) error {
				c, err := to.CreateBucket(name)
				if err != nil {
					return err
				}
				return copyBucket(c, b, name, drop)
			})
		})
	})
	return kept, cmp.Or(err, out.Close())
}

func copyBucket(to, from *bolt.Bucket, name []byte, drop map[string]bool) error {
	if err := to.SetSequence(from.Sequence()); err != nil { // numbers of builds are not given twice
		return err
	}
	return from.ForEach(func(k, v []byte) error {
		gone := drop[record{bucket: name, key: k}.id()]
		if isIndexBucket(name) && string(name) != metaBucket && len(k) > 8 {
			gone = drop[record{bucket: []byte(bucketBuilds), key: k[len(k)-8:]}.id()]
		}
		if gone || v == nil {
			return nil
		}
		return to.Put(k, v)
	})
}

// exchangeIndex puts the file at path in the place of the index. Both have their seals until that is done.
func (s *Store) exchangeIndex(path string) error {
	before, err := s.seal()
	if err != nil {
		return err
	}
	after, err := sealOf(path)
	if err != nil {
		return err
	}
	if err := s.replaceSeals(before, after); err != nil {
		return err
	}
	if err := s.fault("rename"); err != nil {
		return err
	}
	if err := os.Rename(path, s.path(indexFile)); err != nil {
		return err
	}
	return s.writeSeal()
}

// removeRecords removes records from the index, by their id.
func (s *Store) removeRecords(drop map[string]bool) error {
	if len(drop) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.locked(true, func() error {
		if err := s.repair(); err != nil {
			return err
		}
		if _, err := os.Stat(s.path(indexFile)); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return s.rewriteIndex(drop)
	})
	return s.full(err)
}
