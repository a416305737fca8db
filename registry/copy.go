package registry

import (
	"context"
	"strings"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
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
	data, err := c.manifest(ctx, p.pinned(desc.Digest))
	if err != nil {
		return err
	}
	doc, err := decodeDocument(data, c.limits)
	if err != nil {
		return c.blame(p, err)
	}
	for _, e := range doc.index {
		data, entry, err := c.entry(ctx, p, e)
		if err != nil {
			return c.blame(p, err)
		}
		if err := c.copyImage(ctx, from, to, Content{Descriptor: e, Bytes: data}, entry.image, t); err != nil {
			return err
		}
	}
	root := Content{Descriptor: desc, Bytes: data}
	root.MediaType, root.Size = doc.mediaType, int64(len(data))
	if doc.image != nil {
		return c.copyImage(ctx, from, to, root, doc.image, t)
	}
	return c.PutManifest(ctx, to, root.Descriptor, root.Bytes)
}

func (c *Client) copyImage(ctx context.Context, from, to string, m Content, image *ocispecs.Manifest, t *Traffic) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelUploads)
	for _, d := range append([]ocispecs.Descriptor{image.Config}, image.Layers...) {
		if isForeign(d) {
			continue
		}
		group.Go(func() error { return c.PushBlob(gctx, to, Blob{Descriptor: d, From: from}, t) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return c.PutManifest(ctx, to, m.Descriptor, m.Bytes)
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
