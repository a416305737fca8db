package cache

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// Kind says what an item of the cache is.
type Kind string

// The kinds of items. A bucket that this list does not know is a kind of its own, by its name.
const (
	KindBlobs        Kind = "blobs"        // manifests, configs, layers, records that are large
	KindResults      Kind = "results"      // which image a source made
	KindEnvironments Kind = "environments" // likewise for environments that only this machine knows
	KindLayers       Kind = "layers"       // which compressed layer big files made
	KindRegistries   Kind = "registries"   // what registries say about themselves, and what is where
	KindBuilders     Kind = "builders"     // the default platforms of builders
	KindFiles        Kind = "files"        // facts about the files of a folder
	KindBuilds       Kind = "builds"       // the list of past builds
	KindIndex        Kind = "index"        // the room between the records of the index; it goes with them
	KindLeftovers    Kind = "leftovers"    // what killed processes left, and damaged files that were put aside
)

// Kinds lists what [Store.Prune] can remove.
func Kinds() []Kind {
	return []Kind{KindBlobs, KindResults, KindEnvironments, KindLayers, KindRegistries, KindBuilders, KindFiles, KindBuilds, KindLeftovers}
}

// Item is one thing in the cache.
type Item struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`            // a digest, a key, or a file
	Text string `json:"about,omitempty"` // what it is about, for people
	Size int64  `json:"size"`            // bytes in its file
	// Used is when it was last read or written, zero when that is not known. For blobs it is true to ten minutes, and for
	// results it is the last build that had them.
	Used time.Time `json:"lastUsed,omitzero"`
	// UsedBy names the items that need it, and the processes that do.
	UsedBy []string `json:"usedBy,omitempty"`
	// InUse says that a living process needs it.
	InUse bool `json:"inUse,omitempty"`

	path   string // of its file, "" for a record
	record string // the id of a record, "" for a file
	digest digest.Digest
}

// Items lists what is in the cache, by kind and name. What cannot be read is not listed; the error says that it is
// not known what living processes need.
func (s *Store) Items() ([]Item, error) {
	c, err := s.claims()
	if err != nil {
		return nil, s.full(err)
	}
	records := s.records()
	list := s.recordItems(records)
	users := s.blobUsers(records)
	for _, b := range s.storedBlobs() {
		i := Item{Kind: KindBlobs, Name: b.digest.String(), Size: b.size, Used: b.used, UsedBy: users[b.digest], path: b.path, digest: b.digest}
		if who := c.used[b.digest]; who != nil {
			i.InUse, i.UsedBy = true, append(i.UsedBy, who...)
		}
		list = append(list, i)
	}
	list = append(list, s.folderItems()...)
	list = append(list, s.leftoverItems(c)...)
	slices.SortFunc(list, func(a, b Item) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
	return list, nil
}

// claims asks what living processes need.
func (s *Store) claims() (c claims, err error) {
	if _, err := os.Stat(s.dir); errors.Is(err, os.ErrNotExist) {
		return claims{}, nil // nothing is there, and listing it makes nothing
	}
	gate, err := openGate(s.dir, s.lockTimeout)
	if err != nil {
		if isReadOnly(err) {
			return claims{}, nil // so nobody can remove anything either
		}
		return claims{}, err
	}
	defer gate.close()
	err = gate.locked(unix.LOCK_EX, func() (err error) {
		c, err = gate.living()
		return err
	})
	return c, err
}

func isReadOnly(err error) bool {
	return errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.ENOTDIR)
}

func (s *Store) records() (list []record) {
	_ = s.view(func(tx *bolt.Tx) error { // a failure is an empty index, and told already
		list = allRecords(tx)
		return nil
	})
	return list
}

// folderItems are the facts about files: one file for each folder, named by the digest of the folder's path.
func (s *Store) folderItems() (list []Item) {
	for _, e := range readDir(s.path(foldersDir)) {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		list = append(list, fileItem(KindFiles, e.Name(), s.path(filepath.Join(foldersDir, e.Name())), e))
	}
	return list
}

// leftoverItems are what no process needs and none will ever read.
func (s *Store) leftoverItems(c claims) (list []Item) {
	for _, e := range readDir(s.dir) {
		if strings.HasPrefix(e.Name(), indexFile+".") {
			list = append(list, fileItem(KindLeftovers, e.Name(), s.path(e.Name()), e))
		}
	}
	for _, e := range readDir(s.path(foldersDir)) {
		if _, writing := c.writes[e.Name()]; strings.HasPrefix(e.Name(), tempPrefix) && !writing {
			list = append(list, fileItem(KindLeftovers, e.Name(), s.path(filepath.Join(foldersDir, e.Name())), e))
		}
	}
	dirs, _ := os.ReadDir(s.path("ingest"))
	for _, d := range dirs {
		if _, writing := c.writes[d.Name()]; writing {
			continue
		}
		i := Item{Kind: KindLeftovers, Name: "ingest/" + d.Name(), path: s.path(filepath.Join("ingest", d.Name()))}
		if info, err := os.Stat(filepath.Join(i.path, "data")); err == nil {
			i.Size, i.Used = info.Size(), info.ModTime()
		}
		list = append(list, i)
	}
	return list
}

func fileItem(kind Kind, name, path string, info os.FileInfo) Item {
	return Item{Kind: kind, Name: name, Size: info.Size(), Used: info.ModTime(), path: path}
}

// readDir lists the regular files of a folder, none when it cannot be read.
func readDir(dir string) (list []os.FileInfo) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			list = append(list, info)
		}
	}
	return list
}
