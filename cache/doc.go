// Package cache keeps what ibuild may forget: one bbolt file (index.db) of
// small JSON records and one folder of blobs named by their digest, both below
// one folder per user.
//
// What lives here: opening, sharing and repairing that file, typed records
// (results of builds, facts about environments, default platforms of builders)
// and a containerd content store for manifests, configs and layers.
//
// What does not: what a key is made of (the callers digest all inputs of a
// record into its key, so that a wrong hit cannot happen), network access, and
// any decision of a build. The package imports nothing else of ibuild.
//
// Every entry can be lost without harm. So a miss is the answer to everything
// that can go wrong while reading (no file, a lock that is held too long, a
// damaged page, a blob whose bytes do not have its digest), and a failed write
// is reported once through the warning callback and returned to the caller,
// who may ignore it.
//
// Several processes may use the same folder at the same time. The index is
// opened for each operation and closed right after it, under a file lock that is
// shared for reads and exclusive for writes. bbolt takes the bytes of its file
// on trust, so the index has a seal, a checksum of the whole file; a file
// without is put aside, and the cache begins anew.
package cache
