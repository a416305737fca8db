package cache

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"
)

// Names of the buckets. The number is the version of the record's meaning: a
// change of a record's fields that old readers would misread gets a new number,
// and the old bucket is forgotten.
const (
	bucketResults  = "results/1"
	bucketBuilders = "builders/1"
	bucketFacts    = "facts/1"
)

// maxValue bounds a record, in bytes of JSON. Anything larger belongs in a blob.
const maxValue = 1 << 20

// Result is what a build with a known identity made.
type Result struct {
	// Descriptor is the image or index, as it can be pushed and pulled.
	Descriptor ocispecs.Descriptor `json:"descriptor"`
	// ConfigDigest is the image config's digest, "" for an index.
	ConfigDigest string `json:"configDigest,omitempty"`
	// Repository is where it was pushed to, without tag; empty if it was not.
	Repository string `json:"repository,omitempty"`
	// Platforms are those of the image, in the form os/arch[/variant].
	Platforms []string `json:"platforms,omitempty"`
	// Created is when the build ended; it is only for people to read.
	Created time.Time `json:"created"`
}

// Builder is what is remembered of a builder's address.
type Builder struct {
	// Platform is the builder's default platform, in the form os/arch[/variant].
	Platform string `json:"platform"`
}

// Results returns the records of builds, by identity.
func Results(s *Store) Records[Result] { return Bucket[Result](s, bucketResults) }

// Builders returns the records of builders, by address.
func Builders(s *Store) Records[Builder] { return Bucket[Builder](s, bucketBuilders) }

// Facts returns records of the caller's own type, by a key of the caller's own.
// Callers keep their keys apart by a prefix, and put the type's version into it.
func Facts[T any](s *Store) Records[T] { return Bucket[T](s, bucketFacts) }

// Records is one bucket of the index, seen as a map from string keys to JSON
// values of type T. It is a small value, safe for concurrent use.
type Records[T any] struct {
	store *Store
	name  []byte
}

// Bucket returns the records of type T in the bucket called name. Each name
// belongs to one type.
func Bucket[T any](s *Store, name string) Records[T] {
	return Records[T]{store: s, name: []byte(name)}
}

// Get returns the record of key. Anything that cannot be read (damaged, of
// another type, locked for too long) is a miss.
func (r Records[T]) Get(key string) (T, bool) {
	v, ok := r.GetAll(key)[key]
	return v, ok
}

// GetAll returns those of the keys' records that are there, in one transaction.
func (r Records[T]) GetAll(keys ...string) map[string]T {
	found := make(map[string]T, len(keys))
	_ = r.store.view(func(tx *bolt.Tx) error { // a failure is a miss, and told already
		b := tx.Bucket(r.name)
		if b == nil {
			return nil
		}
		for _, key := range keys {
			if v, ok := decode[T](r.name, key, b.Get([]byte(key))); ok {
				found[key] = v
			}
		}
		return nil
	})
	return found
}

// Put sets the record of key. Its error is for tests and logs: a record that
// could not be written is a later miss, no reason to fail.
func (r Records[T]) Put(key string, value T) error {
	return r.PutAll(map[string]T{key: value})
}

// PutAll sets all records in one transaction, which is much cheaper than one
// for each.
func (r Records[T]) PutAll(records map[string]T) error {
	encoded := make(map[string][]byte, len(records))
	for key, value := range records {
		data, err := encode(r.name, key, value)
		if err != nil {
			return err
		}
		encoded[key] = data
	}
	return r.store.update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(r.name)
		if err != nil {
			return err
		}
		for key, data := range encoded {
			if err := b.Put([]byte(key), data); err != nil {
				return fmt.Errorf("record %q: %w", key, err)
			}
		}
		return nil
	})
}

// Delete forgets the record of key, if there is one.
func (r Records[T]) Delete(key string) error {
	err := r.store.update(func(tx *bolt.Tx) error {
		if b := tx.Bucket(r.name); b != nil {
			return b.Delete([]byte(key))
		}
		return nil
	})
	if errors.Is(err, errNoIndex) {
		return nil
	}
	return err
}

// checksum covers where a record is as well as what it says: bbolt has no
// checksums on its pages, so a damaged one could lead to another key's value.
func checksum(bucket []byte, key string, data []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, bucket)
	sum = crc32.Update(sum, table, []byte("\x00"+key+"\x00"))
	return crc32.Update(sum, table, data)
}

// encode returns the stored form of a record: a checksum and JSON.
func encode[T any](bucket []byte, key string, value T) ([]byte, error) {
	if key == "" || len(key) > bolt.MaxKeySize {
		return nil, fmt.Errorf("a record's key has between 1 and %d bytes, not %d", bolt.MaxKeySize, len(key))
	}
	data, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("record %q: %w", key, err)
	}
	if len(data) > maxValue {
		return nil, fmt.Errorf("record %q has %d bytes, more than %d", key, len(data), maxValue)
	}
	return append(binary.BigEndian.AppendUint32(nil, checksum(bucket, key, data)), data...), nil
}

// decode is the reverse of encode. It copies what it keeps: stored belongs to
// bbolt and ends with the transaction.
func decode[T any](bucket []byte, key string, stored []byte) (T, bool) {
	var zero, value T
	if len(stored) < 4 || len(stored) > maxValue+4 {
		return zero, false
	}
	data := bytes.Clone(stored[4:])
	if binary.BigEndian.Uint32(stored) != checksum(bucket, key, data) {
		return zero, false
	}
	if json.Unmarshal(data, &value) != nil {
		return zero, false
	}
	return value, true
}
