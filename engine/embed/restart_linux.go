package embed

import (
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/cache/contenthash"
	"github.com/moby/buildkit/cache/metadata"
	bolt "go.etcd.io/bbolt"
)

// forgetChecksums makes the next engine in this process independent of this one.
//
// BuildKit keeps file checksums in a cache of the process, by the ids of its
// refs, and each entry writes to the database it came from. A second engine on
// the same folder has the same ids, and would write to the closed database.
func forgetChecksums(records *metadata.Store) {
	_ = records.DB().View(func(tx *bolt.Tx) error {
		refs := tx.Bucket([]byte("_main"))
		if refs == nil {
			return nil
		}
		return refs.ForEachBucket(func(id []byte) error {
			contenthash.ClearCacheContext(refID{id: string(id)})
			return nil
		})
	})
}

// refID is as much of a ref as its id.
type refID struct {
	cache.RefMetadata
	id string
}

func (r refID) ID() string { return r.id }
