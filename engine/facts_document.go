package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
)

const (
	// environmentType is the artifact that has the facts, beside the environment images in their index.
	environmentType = "application/vnd.ibuild.environment.v1+json"
	// factsType is the media type of its one layer, a factsDocument.
	factsType = "application/vnd.ibuild.environment.facts.v1+json"
	// maxFacts bounds a factsDocument, in bytes: some hundred folders for each of ten platforms.
	maxFacts = 2 << 20
)

// factsDocument is what is known about the images of one environment, by the digest of each one's manifest:
// two builds of one definition may make different trees.
type factsDocument struct {
	Images map[digest.Digest]*Facts `json:"images"`
}

// encode returns the document as JSON, the same bytes for the same facts.
func (d factsDocument) encode() ([]byte, error) {
	data, err := json.Marshal(d)
	if err == nil && len(data) > maxFacts {
		err = fmt.Errorf("the facts about the environment have %d bytes, more than %d", len(data), maxFacts)
	}
	return data, err
}

// parseFacts reads a document that comes from a registry. What could not have been read from a file tree is an
// error, and then nothing of the document counts.
func parseFacts(data []byte) (factsDocument, error) {
	var d factsDocument
	if len(data) > maxFacts {
		return d, fmt.Errorf("the facts about the environment have %d bytes, more than %d", len(data), maxFacts)
	}
	if err := json.Unmarshal(data, &d); err != nil {
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
