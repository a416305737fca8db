package results

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// ArtifactType marks a manifest as results of a job.
const ArtifactType = "application/vnd.ibuild.results.v1"

// Annotations of the manifest.
const (
	filesAnnotation = "dev.ibuild.results.files" // number of files
	bytesAnnotation = "dev.ibuild.results.bytes" // what they have together
	leftAnnotation  = "dev.ibuild.results.left"  // JSON: what is not there, and why
	countAnnotation = "dev.ibuild.results.left.count"
)

// Limits of one host's results.
const (
	maxEntries = 200_000
	maxLayers  = 10_000
	small      = 4 << 20  // bytes up to which a file is packed with others
	packSize   = 32 << 20 // bytes of files in one pack
	maxNamed   = 100      // of what is left out, how many are named
	maxReason  = 300      // bytes of a name or reason there
	maxDepth   = 100      // folders in folders
)

// Left is something that is not in the results, though it was in the folder.
type Left struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

// String is the path, quoted, and why.
func (l Left) String() string { return fmt.Sprintf("%q: %s", l.Path, l.Why) }

// Summary is what results are, beside their files.
type Summary struct {
	Digest digest.Digest // of the manifest; empty when there is nothing
	Files  int
	Bytes  int64
	Left   []Left // the first hundred of what is not there
	Missed int    // how many are not there in all
}

// manifest is the document that names all.
func manifest(s Summary, layers []ocispecs.Descriptor) (registry.Content, error) {
	m := ocispecs.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispecs.MediaTypeImageManifest, ArtifactType: ArtifactType,
		Config: ocispecs.DescriptorEmptyJSON, Layers: append([]ocispecs.Descriptor{}, layers...), // never null
		Annotations: map[string]string{filesAnnotation: strconv.Itoa(s.Files), bytesAnnotation: strconv.FormatInt(s.Bytes, 10)},
	}
	m.Config.Data = nil
	if s.Missed > 0 {
		left, err := json.Marshal(s.Left)
		if err != nil {
			return registry.Content{}, err
		}
		m.Annotations[leftAnnotation], m.Annotations[countAnnotation] = string(left), strconv.Itoa(s.Missed)
	}
	data, err := json.Marshal(m)
	return registry.Content{Descriptor: ocispecs.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}, Bytes: data}, err
}

// parseManifest reads what manifest wrote. It is not trusted.
func parseManifest(data []byte) (Summary, []ocispecs.Descriptor, error) {
	var m ocispecs.Manifest
	s := Summary{Digest: digest.FromBytes(data)}
	if err := json.Unmarshal(data, &m); err != nil {
		return s, nil, fmt.Errorf("the manifest is malformed: %w", err)
	}
	if m.ArtifactType != ArtifactType {
		return s, nil, fmt.Errorf("these are no results of a job: the type is %.80q, not %s", m.ArtifactType, ArtifactType)
	}
	if len(m.Layers) > maxLayers {
		return s, nil, fmt.Errorf("%d layers, more than the limit of %d", len(m.Layers), maxLayers)
	}
	for _, l := range m.Layers {
		if l.MediaType != ocispecs.MediaTypeImageLayerZstd || l.Size < 0 || l.Digest.Validate() != nil {
			return s, nil, fmt.Errorf("a layer that is none of results: %.80q, %d bytes, %.80q", l.MediaType, l.Size, l.Digest)
		}
	}
	var err error
	if s.Files, err = strconv.Atoi(m.Annotations[filesAnnotation]); err == nil {
		s.Bytes, err = strconv.ParseInt(m.Annotations[bytesAnnotation], 10, 64)
	}
	if err != nil || s.Files < 0 || s.Bytes < 0 {
		return s, nil, fmt.Errorf("the manifest does not say how many files and bytes there are")
	}
	if text, ok := m.Annotations[leftAnnotation]; ok {
		s.Missed, err = strconv.Atoi(m.Annotations[countAnnotation])
		if err != nil || json.Unmarshal([]byte(text), &s.Left) != nil || len(s.Left) > maxNamed {
			return s, nil, fmt.Errorf("the manifest does not say in our words what was left out")
		}
	}
	return s, m.Layers, nil
}

// checkName tells whether an entry may have this path.
func checkName(name string) error {
	switch {
	case name == "." || !fs.ValidPath(name) && !validBytes(name) || strings.ContainsRune(name, 0):
		return fmt.Errorf("%.200q is not a path below the folder", name)
	case strings.Count(name, "/") >= maxDepth:
		return fmt.Errorf("%.200q is more than %d folders deep", name, maxDepth)
	}
	return nil
}

// validBytes is fs.ValidPath for names that are not UTF-8, which Linux allows.
func validBytes(name string) bool { return fs.ValidPath(strings.ToValidUTF8(name, "_")) }

// checkLink tells whether a symbolic link stays in the folder, whatever other such links there are: it goes up only at
// its beginning, where all that it goes through are folders, and no further than there are any.
func checkLink(name, target string) error {
	if target == "" || path.IsAbs(target) || strings.ContainsRune(target, 0) {
		return fmt.Errorf("a link to %.200q, which is not relative", target)
	}
	up, down := 0, false
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == ".." && down:
			return fmt.Errorf("a link to %.200q, which goes down and up again", target)
		case part == "..":
			up++
		case part != "" && part != ".":
			down = true
		}
	}
	if up > strings.Count(name, "/") {
		return fmt.Errorf("a link to %.200q, which is outside of the folder", target)
	}
	return nil
}
