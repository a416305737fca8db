package journal

import (
	"crypto/rand"

	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
)

// saltKey is where the salt is in the cache; its number is that of how fingerprints are made.
const saltKey = "journal/1 salt"

// Salt returns what fingerprints in the records of this cache are made with. It is made once, at random; when it is
// lost, another one is made, and what older records hide cannot be compared any more. It is nil where none can be
// kept, in a cache that cannot be written to.
func (j Journal) Salt() llb.Salt {
	kept := cache.Facts[llb.Salt](j.store)
	if salt, ok := kept.Get(saltKey); ok && len(salt) > 0 {
		return salt
	}
	if err := kept.Put(saltKey, llb.Salt(rand.Text())); err != nil {
		return nil
	}
	salt, _ := kept.Get(saltKey) // another process may have made one at the same time
	return salt
}
