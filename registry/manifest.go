package registry

import (
	"encoding/json"
	"strings"

	"github.com/containerd/platforms"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of docker's image format; those of OCI are in image-spec.
const (
	dockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig       = "application/vnd.docker.container.image.v1+json"
	dockerLayer        = "application/vnd.docker.image.rootfs.diff.tar"
	dockerLayerGzip    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	dockerLayerZstd    = "application/vnd.docker.image.rootfs.diff.tar.zstd"
	dockerForeignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
)

// maxLayers bounds the layers of an image. No runtime mounts as many.
const maxLayers = 1000

// IsIndex says whether a media type is that of an index of images, OCI's or docker's.
func IsIndex(mediaType string) bool {
	return mediaType == ocispecs.MediaTypeImageIndex || mediaType == dockerManifestList
}

// IsManifest says whether a media type is that of one image's manifest, OCI's or docker's.
func IsManifest(mediaType string) bool {
	return mediaType == ocispecs.MediaTypeImageManifest || mediaType == dockerManifest
}

func isConfigType(mediaType string) bool {
	return mediaType == ocispecs.MediaTypeImageConfig || mediaType == dockerConfig
}

// document is a decoded index or image manifest: one of the two fields is set.
type document struct {
	mediaType string
	index     []ocispecs.Descriptor // of an index; never nil for one
	image     *ocispecs.Manifest
}

// rawDocument has lists undecoded: 4 MB of "{},{},…" would be 300 MB of
// descriptors, so they are counted before they are decoded.
type rawDocument struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        json.RawMessage   `json:"config"`
	Layers        []json.RawMessage `json:"layers"`
	Manifests     []json.RawMessage `json:"manifests"`
	FSLayers      json.RawMessage   `json:"fsLayers"`
}

// decodeDocument reads what a registry sent as a manifest. It refuses what could
// be read in two ways, so that ibuild, the builder and the runtime see the same
// image in it.
func decodeDocument(data []byte, lim limits) (document, error) {
	if int64(len(data)) > lim.manifest {
		return document{}, badAnswer("a manifest of %d bytes, more than the limit of %d", len(data), lim.manifest)
	}
	var raw rawDocument
	if err := json.Unmarshal(data, &raw); err != nil {
		return document{}, badAnswer("the manifest is not valid JSON: %s", printable(err.Error()))
	}
	if raw.SchemaVersion == 1 || raw.FSLayers != nil {
		return document{}, badAnswer("the image is in docker's old format (schema 1), which is not supported: push it again with a current tool")
	}
	if err := exactKeys(data); err != nil {
		return document{}, err
	}
	hasIndex := raw.Manifests != nil
	hasImage := raw.Layers != nil || raw.Config != nil
	switch {
	case hasIndex && hasImage:
		return document{}, badAnswer("the manifest is an image and an index in one")
	case hasIndex && (raw.MediaType == "" || IsIndex(raw.MediaType)):
		return decodeIndex(raw, lim)
	case hasImage && (raw.MediaType == "" || IsManifest(raw.MediaType)):
		return decodeImage(raw)
	}
	return document{}, badAnswer("neither an image nor an index (media type %q)", printable(raw.MediaType))
}

// exactKeys refuses keys that differ from those of the format in case only:
// encoding/json takes them for the same, other readers do not.
func exactKeys(data []byte) error {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(data, &top); err != nil {
		return badAnswer("the manifest is not a JSON object")
	}
	for key := range top {
		for _, known := range []string{"schemaVersion", "mediaType", "config", "layers", "manifests"} {
			if key != known && strings.EqualFold(key, known) {
				return badAnswer("the manifest has the key %q", printable(key))
			}
		}
	}
	return nil
}

func decodeIndex(raw rawDocument, lim limits) (document, error) {
	if len(raw.Manifests) > lim.indexEntries {
		return document{}, badAnswer("an index of %d entries, more than the limit of %d", len(raw.Manifests), lim.indexEntries)
	}
	doc := document{mediaType: raw.MediaType, index: make([]ocispecs.Descriptor, 0, len(raw.Manifests))}
	if doc.mediaType == "" {
		doc.mediaType = ocispecs.MediaTypeImageIndex
	}
	for _, entry := range raw.Manifests {
		desc, err := decodeDescriptor(entry)
		if err != nil {
			return document{}, err
		}
		doc.index = append(doc.index, desc)
	}
	return doc, nil
}

func decodeImage(raw rawDocument) (document, error) {
	if len(raw.Layers) > maxLayers {
		return document{}, badAnswer("an image of %d layers, more than the limit of %d", len(raw.Layers), maxLayers)
	}
	m := &ocispecs.Manifest{MediaType: raw.MediaType}
	m.SchemaVersion = raw.SchemaVersion
	if m.MediaType == "" {
		m.MediaType = ocispecs.MediaTypeImageManifest
	}
	if raw.Config == nil {
		return document{}, badAnswer("the manifest has no config")
	}
	var err error
	if m.Config, err = decodeDescriptor(raw.Config); err != nil {
		return document{}, err
	}
	for _, entry := range raw.Layers {
		layer, err := decodeDescriptor(entry)
		if err != nil {
			return document{}, err
		}
		m.Layers = append(m.Layers, layer)
	}
	return document{mediaType: m.MediaType, image: m}, nil
}

func decodeDescriptor(data []byte) (ocispecs.Descriptor, error) {
	var desc ocispecs.Descriptor
	if err := json.Unmarshal(data, &desc); err != nil {
		return desc, badAnswer("a descriptor in the manifest is malformed: %s", printable(err.Error()))
	}
	if err := desc.Digest.Validate(); err != nil {
		return desc, badAnswer("a descriptor in the manifest has no valid digest")
	}
	if desc.Size < 0 {
		return desc, badAnswer("a descriptor in the manifest has a negative size")
	}
	return desc, nil
}

// PlatformError says that an image is not there for the platform asked for.
type PlatformError struct {
	Ref  string
	Want ocispecs.Platform
	Have []ocispecs.Platform // in the order of the index
}

// Error lists the platforms that are there.
func (e *PlatformError) Error() string {
	have := "none that are named"
	if len(e.Have) > 0 {
		names := make([]string, len(e.Have))
		for i, p := range e.Have {
			names[i] = printable(platforms.FormatAll(p))
		}
		have = strings.Join(names, ", ")
	}
	return e.Ref + ": no image for " + platforms.FormatAll(e.Want) + "; it has: " + have
}

// Hint says what to do about it, in one line.
func (e *PlatformError) Hint() string {
	return "choose one of these platforms, or another base image"
}

// choose returns the entry of an index that fits the platform best. Attestations
// and other entries that are no images are not looked at.
func choose(ref string, entries []ocispecs.Descriptor, want ocispecs.Platform) (ocispecs.Descriptor, error) {
	matcher := platforms.Only(want)
	var best *ocispecs.Descriptor
	missing := &PlatformError{Ref: ref, Want: want}
	for i := range entries {
		e := &entries[i]
		if e.Platform == nil || !IsManifest(e.MediaType) || isAttestation(e) {
			continue
		}
		missing.Have = append(missing.Have, *e.Platform)
		if matcher.Match(*e.Platform) && (best == nil || matcher.Less(*e.Platform, *best.Platform)) {
			best = e
		}
	}
	if best != nil {
		return *best, nil
	}
	if len(entries) == 1 && entries[0].Platform == nil && IsManifest(entries[0].MediaType) {
		return entries[0], nil // its config says what it is for
	}
	return ocispecs.Descriptor{}, missing
}

func isAttestation(e *ocispecs.Descriptor) bool {
	return e.Annotations["vnd.docker.reference.type"] == "attestation-manifest" || e.Platform.OS == "unknown"
}

// imagePlatform is what an image config says it is for.
type imagePlatform struct {
	OS           string   `json:"os"`
	Architecture string   `json:"architecture"`
	Variant      string   `json:"variant"`
	OSVersion    string   `json:"os.version"`
	OSFeatures   []string `json:"os.features"`
}

// decodeConfig reads the platform of an image config, which is all that is
// needed of it here; the rest is not decoded.
func decodeConfig(data []byte) (ocispecs.Platform, error) {
	var c imagePlatform
	if err := json.Unmarshal(data, &c); err != nil {
		return ocispecs.Platform{}, badAnswer("the image config is malformed: %s", printable(err.Error()))
	}
	return ocispecs.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant,
		OSVersion: c.OSVersion, OSFeatures: c.OSFeatures}, nil
}

// checkPlatform refuses a config that is for something else than was asked for.
// The variant is left to the index, where there is one: many configs have none.
func checkPlatform(ref string, want, has ocispecs.Platform, fromIndex *ocispecs.Platform) (ocispecs.Platform, error) {
	if fromIndex == nil {
		if has.OS == "" || !platforms.Only(want).Match(has) {
			return has, &PlatformError{Ref: ref, Want: want, Have: []ocispecs.Platform{has}}
		}
		return platforms.Normalize(has), nil
	}
	a, b := platforms.Normalize(*fromIndex), platforms.Normalize(has)
	if a.OS != b.OS || a.Architecture != b.Architecture {
		return has, badAnswer("the index says that the image is for %s, its config for %s",
			printable(platforms.FormatAll(a)), printable(platforms.FormatAll(b)))
	}
	return a, nil
}
