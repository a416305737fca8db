package imagelock

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/pelletier/go-toml/v2"
)

// FileName is what the file is called in every folder.
const FileName = "ibuild.lock"

// version is the format that is read and written.
const version = 1

// header is the first line of the file.
const header = "# Digests of the images that builds of this folder use. Written by `ibuild lock`; `ibuild lock --update` moves them.\n"

// Image is an image and the digest that its name stands for.
type Image struct {
	Name   string // canonical, with a tag
	Digest digest.Digest
}

// Lock is the content of a file. It is a value: With returns another one.
type Lock struct {
	// File is where it was read from and where it belongs.
	File string
	// Exists says that the file is there.
	Exists bool

	images map[string]entry
}

type entry struct {
	Digest  digest.Digest `toml:"digest"`
	Sources []string      `toml:"sources"`
}

// Pins are the digests by name; nil when there is no file.
func (l Lock) Pins() map[string]digest.Digest {
	if !l.Exists {
		return nil
	}
	pins := map[string]digest.Digest{}
	for name, e := range l.images {
		pins[name] = e.Digest
	}
	return pins
}

// With returns the lock after a source was locked that uses these images and no others. Digests that are there
// stay, unless move says that the given ones replace them. An entry that neither this source nor another one
// in the folder uses is dropped.
func (l Lock) With(source string, images []Image, move bool) Lock {
	out := Lock{File: l.File, Exists: true, images: map[string]entry{}}
	for name, e := range l.images {
		e.Sources = slices.DeleteFunc(slices.Clone(e.Sources), func(s string) bool { return s == source || !l.has(s) })
		out.images[name] = e
	}
	for _, img := range images {
		e, there := out.images[img.Name]
		if !there || move {
			e.Digest = img.Digest
		}
		e.Sources = append(e.Sources, source)
		slices.Sort(e.Sources)
		out.images[img.Name] = e
	}
	maps.DeleteFunc(out.images, func(_ string, e entry) bool { return len(e.Sources) == 0 })
	return out
}

// has says whether a source is still in the folder.
func (l Lock) has(source string) bool {
	_, err := os.Lstat(filepath.Join(filepath.Dir(l.File), source))
	return !errors.Is(err, fs.ErrNotExist)
}

// Difference is an image whose name does not stand for what the lock says.
type Difference struct {
	Name   string
	Locked digest.Digest // "" when the lock does not have it
	Now    digest.Digest // "" when it is not used any more
}

// Differences compares with the images that a source uses now; it is sorted by name. What other sources use is
// none of its business.
func (l Lock) Differences(source string, images []Image) []Difference {
	var list []Difference
	used := map[string]bool{}
	for _, img := range images {
		used[img.Name] = true
		if e := l.images[img.Name]; e.Digest != img.Digest {
			list = append(list, Difference{img.Name, e.Digest, img.Digest})
		}
	}
	for name, e := range l.images {
		if !used[name] && slices.Contains(e.Sources, source) {
			list = append(list, Difference{name, e.Digest, ""})
		}
	}
	return sorted(list)
}

// Changes compares with a later lock, sorted by name.
func (l Lock) Changes(later Lock) []Difference {
	var list []Difference
	for name, e := range later.images {
		if old := l.images[name]; old.Digest != e.Digest {
			list = append(list, Difference{name, old.Digest, e.Digest})
		}
	}
	for name, e := range l.images {
		if _, stays := later.images[name]; !stays {
			list = append(list, Difference{name, e.Digest, ""})
		}
	}
	return sorted(list)
}

func sorted(list []Difference) []Difference {
	slices.SortFunc(list, func(a, b Difference) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Bytes is the file, the same for the same lock.
func (l Lock) Bytes() ([]byte, error) {
	b := bytes.NewBufferString(header)
	err := toml.NewEncoder(b).Encode(struct {
		Version int              `toml:"version"`
		Images  map[string]entry `toml:"images"`
	}{version, l.images})
	return b.Bytes(), err
}
