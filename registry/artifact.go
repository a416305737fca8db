package registry

import (
	"context"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxEmbedded is the size, in bytes, up to which an index that has an artifact carries the manifests that it
// names in itself (the "data" of OCI's descriptors): each saves its reader a request, and an index has to stay
// far below the limit of a manifest.
const maxEmbedded = 16 << 10

// Artifact is a document that travels beside images, in their index.
type Artifact struct {
	Type      string // the artifactType of its manifest
	MediaType string // of Data
	Data      []byte
}

// Companion is an index of images with an artifact beside them, and what has to be pushed for it: the images
// are there already.
type Companion struct {
	Index    Content
	Manifest Content   // the artifact's
	Blobs    []Content // of that manifest
}

// IndexWith returns an index as Index does, with the artifact as its last entry. That has the platform
// unknown/unknown, as attestations have, so that no runtime takes it for an image. An image that comes with its
// manifest in Data keeps it if it is small.
func IndexWith(images []ocispecs.Descriptor, a Artifact) (Companion, error) {
	empty := newContent(ocispecs.MediaTypeEmptyJSON, []byte("{}"))
	document := newContent(a.MediaType, a.Data)
	manifest := ocispecs.Manifest{
		MediaType: ocispecs.MediaTypeImageManifest, ArtifactType: a.Type,
		Config: empty.Descriptor, Layers: []ocispecs.Descriptor{document.Descriptor},
	}
	manifest.SchemaVersion = 2
	raw, err := encode(manifest)
	if err != nil {
		return Companion{}, err
	}
	out := Companion{Manifest: newContent(ocispecs.MediaTypeImageManifest, raw), Blobs: []Content{empty, document}}
	list := make([]ocispecs.Descriptor, 0, len(images)+1)
	for _, img := range images {
		if len(img.Data) > maxEmbedded || digest.FromBytes(img.Data) != img.Digest {
			img.Data = nil
		}
		list = append(list, img)
	}
	entry := out.Manifest.Descriptor
	entry.ArtifactType, entry.Data = a.Type, raw
	entry.Platform = &ocispecs.Platform{OS: "unknown", Architecture: "unknown"}
	out.Index, err = Index(append(list, entry))
	return out, err
}

// FetchArtifact returns the artifact of a type that is beside the images of an index (repository@digest), at
// most limit bytes of it; nil when there is none, or when it is an image and no index. Errors: *Error, or the context's.
func (c *Client) FetchArtifact(ctx context.Context, ref, artifactType string, limit int64) ([]byte, error) {
	p, err := parseRef(ref)
	if err != nil {
		return nil, err
	}
	data, err := c.FetchManifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	doc, err := decodeDocument(data, c.limits)
	if err != nil {
		return nil, c.blame(p, err)
	}
	at := slices.IndexFunc(doc.index, func(e ocispecs.Descriptor) bool { return e.ArtifactType == artifactType && IsManifest(e.MediaType) })
	if at < 0 {
		return nil, nil
	}
	_, artifact, err := c.entry(ctx, p, doc.index[at])
	if err == nil && len(artifact.image.Layers) != 1 {
		err = badAnswer("an artifact of %d parts, not one", len(artifact.image.Layers))
	}
	if err != nil {
		return nil, c.blame(p, err)
	}
	return c.blob(ctx, p, artifact.image.Layers[0], limit)
}
