package registry

import (
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/ibuild/ibuild/cache"
	"github.com/opencontainers/go-digest"
)

// place is what this machine knows of where a blob is in one registry: the next repository that wants it has it
// mounted, and no byte moves. It is believed as far as a mount can fail, which costs what is left to do without it:
// sending the bytes. Small blobs are not remembered, as sending them takes no longer than asking.
type place struct {
	Repositories []string  `json:"repositories"` // of the registry, the newest last
	Seen         time.Time `json:"seen"`
}

// maxPlaces is how many repositories are remembered for one blob: the first that is tried is the last that was seen.
const maxPlaces = 4

func placeRecords(s *cache.Store) cache.Records[place] { return cache.Bucket[place](s, "places/1") }

func placeKey(host string, d digest.Digest) string { return host + " " + d.String() }

// elsewhere is another repository of the registry that has the blob, as far as is known; the list has at most one.
func (c *Client) elsewhere(own target, b Blob) []name.Repository {
	if c.opts.Cache == nil || b.Size <= smallBlob {
		return nil
	}
	known, _ := placeRecords(c.opts.Cache).Get(placeKey(own.host, b.Digest))
	for _, repo := range slices.Backward(known.Repositories) {
		if _, refused := own.unmountable.Load(repo); !refused && repo != own.repo.RepositoryStr() {
			return []name.Repository{own.registry.Repo(repo)}
		}
	}
	return nil
}

// isIn remembers that a repository has a blob.
func (c *Client) isIn(own target, b Blob) {
	if c.opts.Cache == nil || b.Size <= smallBlob {
		return
	}
	records, key, repo := placeRecords(c.opts.Cache), placeKey(own.host, b.Digest), own.repo.RepositoryStr()
	known, _ := records.Get(key)
	if slices.Contains(known.Repositories, repo) {
		return
	}
	list := append(slices.Clone(known.Repositories), repo)
	_ = records.Put(key, place{list[max(0, len(list)-maxPlaces):], time.Now()}) // forgotten, its bytes are sent again
}

// isNotIn forgets that a repository has a blob.
func (c *Client) isNotIn(own target, d digest.Digest) {
	if c.opts.Cache == nil {
		return
	}
	records, key := placeRecords(c.opts.Cache), placeKey(own.host, d)
	known, ok := records.Get(key)
	if i := slices.Index(known.Repositories, own.repo.RepositoryStr()); ok && i >= 0 {
		_ = records.Put(key, place{slices.Delete(slices.Clone(known.Repositories), i, i+1), time.Now()}) // a mount can fail
	}
}
