package registry

import (
	"context"
	"strings"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Copy brings an image or index, with all that it names, from one repository into another: blobs are mounted
// where both are on one registry, so that no byte of them moves, and are sent else. It gets no tag there.
// Layers that are no registry's to keep (docker's foreign ones) stay where they are.
// Errors: *Error, or the context's.
func (c *Client) Copy(ctx context.Context, from, to string, desc ocispecs.Descriptor, t *Traffic) error {
	p, err := parseRepo(from)
	if err != nil {
		return err
	}
	parcel, err := Pack(ctx, &repositoryImage{client: c, name: p.pinned(desc.Digest).text, repo: p.name, root: desc, traffic: t}, nil)
	if err != nil {
		return c.blame(p, err)
	}
	return c.Push(ctx, Upload{Repository: to, Blobs: parcel.Blobs, Manifests: parcel.Manifests, Traffic: t})
}

// Layers returns the image's layers as blobs to push to another repository than from, where they are.
func (i Image) Layers(from string) ([]Blob, error) {
	doc, err := decodeDocument(i.ManifestBytes, defaultLimits())
	if err != nil || doc.image == nil {
		return nil, err
	}
	var list []Blob
	for _, d := range doc.image.Layers {
		if !isForeign(d) {
			list = append(list, Blob{Descriptor: ocispecs.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}, From: from})
		}
	}
	return list, nil
}

// isForeign says that a layer is fetched from a place of its own and not kept by registries.
func isForeign(d ocispecs.Descriptor) bool {
	return d.MediaType == dockerForeignLayer || strings.Contains(d.MediaType, ".nondistributable.")
}
