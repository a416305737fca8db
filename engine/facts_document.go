package engine

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ibuild/ibuild/cache"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
)

const (
	// environmentType is the artifact that has the facts, beside the environment images in their index.
	environmentType = "application/vnd.ibuild.environment.v1+json"
	// factsType is the media type of its one layer, a factsDocument.
	factsType = "application/vnd.ibuild.environment.facts.v1+json+gzip"
	// maxFacts bounds a factsDocument as it is stored, in bytes.
	maxFacts = 2 << 20
	// maxFactsText bounds its JSON, in bytes: some hundred folders for each of ten platforms. Decoded it takes
	// about ten times as much memory.
	maxFactsText = 8 << 20
)

// factsDocument is what is known about the images of one environment, by the digest of each one's manifest:
// two builds of one definition may make different trees.
type factsDocument struct {
	Images map[digest.Digest]*Facts `json:"images"`
}

// encode returns the document as compressed JSON, the same bytes for the same facts. What is too much to be kept is
// left out of the document, see [factsDocument.shrink].
func (d factsDocument) encode() ([]byte, error) {
	for {
		text, err := json.Marshal(d)
		if err != nil {
			return nil, err
		}
		data, err := compressFacts(text)
		if err != nil {
			return nil, err
		}
		over := max(len(text)-maxFactsText, 0)
		if len(data) > maxFacts {
			over = max(over, len(text)/8) // names compress unlike each other, so a part is left out at a time
		}
		if over == 0 {
			return data, nil
		}
		if !d.shrink(over) {
			return nil, fmt.Errorf("the facts about the environment have %d bytes, more than %d", len(data), maxFacts)
		}
	}
}

func compressFacts(text []byte) ([]byte, error) {
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	if _, err := gz.Write(text); err != nil {
		return nil, err
	}
	err := gz.Close()
	return out.Bytes(), err
}

// shrink leaves out about as many bytes of JSON as said, and says whether there was anything to leave out. The
// folders with the longest listings go first, as long as no folder in them is listed; they count as too large to be
// known then, so that code which goes there is a builder's, without a look at them each time. Users go last.
func (d factsDocument) shrink(bytes int) bool {
	type listing struct {
		image digest.Digest
		dir   string
		size  int
	}
	var list []listing
	for image, f := range d.Images {
		above := map[string]bool{}
		for dir := range f.Folders {
			above[path.Dir(dir)] = true
		}
		for dir, entries := range f.Folders {
			if dir != "/" && !above[dir] {
				list = append(list, listing{image, dir, listingSize(entries)})
			}
		}
	}
	slices.SortFunc(list, func(a, b listing) int {
		return cmp.Or(cmp.Compare(b.size, a.size), cmp.Compare(a.dir, b.dir), cmp.Compare(a.image, b.image))
	})
	for _, l := range list {
		if bytes <= 0 {
			return true
		}
		f := d.Images[l.image]
		delete(f.Folders, l.dir)
		f.Large = append(f.Large, l.dir)
		slices.Sort(f.Large)
		bytes -= l.size
	}
	if len(list) > 0 {
		return true
	}
	for _, f := range d.Images {
		if f.Users != nil {
			f.Users, f.NoUsers = nil, true
			return true
		}
	}
	return false
}

// listingSize is about how many bytes of JSON a folder's entries take.
func listingSize(entries map[string]Node) int {
	size := 0
	for name, n := range entries {
		size += len(name) + len(n.Link) + len(`"":"d",`)
	}
	return size
}

// parseFacts reads a document that comes from a registry. What could not have been read from a file tree is an
// error, and then nothing of the document counts.
func parseFacts(data []byte) (factsDocument, error) {
	var d factsDocument
	text, err := decompressFacts(data)
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil {
		return factsDocument{}, fmt.Errorf("the facts about the environment: %w", err)
	}
	for image, f := range d.Images {
		err := image.Validate()
		if err == nil {
			err = f.validate()
		}
		if err != nil {
			return factsDocument{}, fmt.Errorf("the facts about the environment: %w", err)
		}
	}
	return d, nil
}

func decompressFacts(data []byte) ([]byte, error) {
	if len(data) > maxFacts {
		return nil, fmt.Errorf("they have %d bytes, more than %d", len(data), maxFacts)
	}
	gz, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return cache.ReadAll(gz, maxFactsText)
}

func (f *Facts) validate() error {
	if f == nil {
		return errors.New("an image without any")
	}
	for dir, entries := range f.Folders {
		if !cleanPath(dir) || len(entries) > maxListing {
			return fmt.Errorf("not a folder: %.80q with %d entries", dir, len(entries))
		}
		if dir != "/" && f.Folders[path.Dir(dir)][path.Base(dir)].Kind != Folder {
			return fmt.Errorf("%.80q is listed, but not as a folder of the one above", dir)
		}
		for name, n := range entries {
			if !validName(name) || n.Kind == Absent {
				return fmt.Errorf("%.80q has the entry %.80q", dir, name)
			}
		}
	}
	for _, dir := range f.Large {
		if !cleanPath(dir) {
			return fmt.Errorf("not a folder: %.80q", dir)
		}
	}
	if u := f.Users; u != nil && (len(u.Passwd) > maxUserFile || len(u.Group) > maxUserFile) {
		return fmt.Errorf("users or groups of more than %d bytes", maxUserFile)
	}
	return nil
}

// cleanPath says whether p is absolute and in the form that node takes.
func cleanPath(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && len(p) <= maxPath && utf8.ValidString(p) && !strings.ContainsRune(p, 0)
}

func validName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 255 && utf8.ValidString(name) && !strings.ContainsAny(name, "/\x00")
}
