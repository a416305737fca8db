// Package cache keeps what ibuild may forget: one bbolt file (index.db) of
// small JSON records, one folder of blobs named by their digest, and one record
// for each folder of local files (folders/), all below one folder per user.
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
//
// What is kept has a limit, see [WithMaxSize]. It holds before a write: blobs that
// were not used for long and are large go first. What a living process has read or
// written never goes: it says so in a file that it keeps locked, its lease, so
// neither clocks nor killed processes matter. What does not fit is kept outside of
// the cache until the process ends. [Store.Items] and [Store.Prune] are for people
// who want to look, or have the room.
package cache
