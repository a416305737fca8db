package registry

import (
	"context"
	"io"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Growing is a blob that is still being made, and is sent meanwhile. Its methods may be called concurrently.
type Growing interface {
	// Open reads from an offset. A read waits for bytes that are not there yet; io.EOF is the end of the whole blob.
	// The caller closes the reader, which ends a read that waits.
	Open(offset int64) (io.ReadCloser, error)
	// Reached waits until more than size bytes are there (true), or until the blob is whole (false).
	Reached(ctx context.Context, size int64) (bool, error)
	// Done waits until the blob is whole, and returns its descriptor.
	Done(ctx context.Context) (ocispecs.Descriptor, error)
}

// PushGrowing uploads a blob while it is made, and returns its descriptor.
func (c *Client) PushGrowing(ctx context.Context, repo string, g Growing, t *Traffic) (ocispecs.Descriptor, error) {
	desc, err := g.Done(ctx)
	if err != nil {
		return desc, err
	}
	return desc, c.PushBlob(ctx, repo, Blob{Descriptor: desc, Open: g.Open, New: true}, t)
}
