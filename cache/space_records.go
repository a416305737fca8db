package cache

import (
	"encoding/json"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// recordView is what the records of this package's callers tell people and pruning, under the names that they use.
type recordView struct {
	Created    time.Time                      `json:"created"`
	Asked      time.Time                      `json:"asked"`
	Seen       time.Time                      `json:"seen"`
	Repository string                         `json:"repository"`
	Platform   string                         `json:"platform"`
	Platforms  []string                       `json:"platforms"`
	Descriptor struct{ Digest digest.Digest } `json:"descriptor"`
	Keys       []string                       `json:"keys"` // of an entry of the log, as the next two
	Blobs      []digest.Digest                `json:"blobs"`
	Value      struct {
		Start    time.Time `json:"start"`
		Identity string    `json:"identity"`
	} `json:"value"`
}

// view returns nothing of a record that cannot be read.
func (r record) view() recordView {
	v, _ := decode[recordView](r.bucket, string(r.key), r.value)
	return v
}

// used is the newest of the times that a record has of itself, zero when it has none.
func (v recordView) used() time.Time {
	newest := v.Created
	for _, at := range []time.Time{v.Asked, v.Seen, v.Value.Start} {
		if at.After(newest) {
			newest = at
		}
	}
	return newest
}

// about says what a record is about, for people.
func (v recordView) about() string {
	words := []string{v.Repository}
	if len(v.Keys) > 0 {
		words = append(words, v.Keys[0])
	}
	words = append(append(words, v.Platform), v.Platforms...)
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// kind is that of the record's bucket; results say in their keys what they are.
func (r record) kind() Kind {
	switch string(r.bucket) {
	case bucketResults:
		if strings.HasPrefix(string(r.key), "image ") {
			return KindResults
		}
		return KindEnvironments
	case bucketBuilders:
		return KindBuilders
	case bucketBuilds:
		return KindBuilds
	case "code-layers/1":
		return KindLayers
	case "pings/1", "tags/1", "places/1":
		return KindRegistries
	}
	name, _, _ := strings.Cut(string(r.bucket), "/")
	return Kind(name)
}

// name is the record's key as people write it.
func (r record) name() string {
	if string(r.bucket) == bucketBuilds && len(r.key) == 8 {
		var id uint64
		for _, b := range r.key {
			id = id<<8 | uint64(b)
		}
		return strconv.FormatUint(id, 10)
	}
	return string(r.key)
}

// recordItems lists the records, and what the index has beside them.
func (s *Store) recordItems(records []record) (list []Item) {
	builds := map[string]time.Time{} // the last one, by identity
	for _, r := range records {
		if v := r.view(); v.Value.Start.After(builds[v.Value.Identity]) {
			builds[v.Value.Identity] = v.Value.Start
		}
	}
	var sum int64
	for _, r := range records {
		v := r.view()
		i := Item{Kind: r.kind(), Name: r.name(), Text: v.about(), Size: r.size(), Used: v.used(), record: r.id()}
		if identity, ok := strings.CutPrefix(i.Name, "image "); ok && builds[identity].After(i.Used) {
			i.Used = builds[identity]
		}
		if i.Kind == KindLayers { // it is of use as long as its blob is there, and is used with it
			if path, err := s.blobPath(v.Descriptor.Digest); err == nil {
				if info, err := os.Stat(path); err == nil {
					i.Used = info.ModTime()
				}
			}
		}
		sum += i.Size
		list = append(list, i)
	}
	if info, err := os.Stat(s.path(indexFile)); err == nil && info.Size() > sum {
		list = append(list, Item{Kind: KindIndex, Name: indexFile, Size: info.Size() - sum, Used: info.ModTime()})
	}
	return list
}

// maxUserNames bounds how many records are named for one blob.
const maxUserNames = 5

// blobUsers says which records need which blobs: those that they name, and what these name in turn.
func (s *Store) blobUsers(records []record) map[digest.Digest][]string {
	users := map[digest.Digest][]string{}
	children := map[digest.Digest][]digest.Digest{}
	for _, r := range records {
		v := r.view()
		who := string(r.kind()) + " " + r.name()
		seen := map[digest.Digest]bool{}
		next := append([]digest.Digest{v.Descriptor.Digest}, v.Blobs...)
		for len(next) > 0 {
			d := next[len(next)-1]
			next = next[:len(next)-1]
			if d == "" || seen[d] {
				continue
			}
			seen[d] = true
			if len(users[d]) < maxUserNames {
				users[d] = append(users[d], who)
			}
			if _, known := children[d]; !known {
				children[d] = s.named(d)
			}
			next = append(next, children[d]...)
		}
	}
	return users
}

// maxManifest bounds what is read as a manifest, in bytes.
const maxManifest = 4 << 20

// named returns the blobs that a blob names if it is an index or a manifest. It is no use of the blob.
func (s *Store) named(d digest.Digest) (list []digest.Digest) {
	path, err := s.blobPath(d)
	if err != nil {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() > maxManifest {
		return nil
	}
	type part struct{ Digest digest.Digest }
	var m struct {
		Config            part
		Layers, Manifests []part
	}
	data, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil || len(data) == 0 || data[0] != '{' || json.Unmarshal(data, &m) != nil {
		return nil
	}
	for _, p := range append(append(m.Layers, m.Manifests...), m.Config) {
		if p.Digest.Validate() == nil {
			list = append(list, p.Digest)
		}
	}
	return list
}
