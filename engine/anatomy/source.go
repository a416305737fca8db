package anatomy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/registry"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Source is where the parts of one image are.
type Source = registry.Source

// FromRegistry asks the registry what the name points to now. The name has a tag or a digest.
func FromRegistry(ctx context.Context, c *registry.Client, name reference.Named) (Source, error) {
	return c.Image(ctx, name.String(), nil)
}

// fromCache is an image of which this machine made or saw at least a part.
type fromCache struct {
	store *cache.Store
	root  ocispecs.Descriptor
}

// FromCache reads from the local store. Parts that are not there are missed when they are opened.
func FromCache(store *cache.Store, root ocispecs.Descriptor) Source { return &fromCache{store, root} }

func (s *fromCache) Name() string              { return "the local store" }
func (s *fromCache) Root() ocispecs.Descriptor { return s.root }

func (s *fromCache) Open(ctx context.Context, desc ocispecs.Descriptor, offset int64) (io.ReadCloser, error) {
	if !s.store.HasBlob(desc) {
		return nil, fmt.Errorf("%s is not in the local store: %w", desc.Digest, fs.ErrNotExist)
	}
	blobs, err := s.store.Content()
	if err != nil {
		return nil, err
	}
	return registry.FromStore(blobs, s.root).Open(ctx, desc, offset)
}

// FromFile opens the one image of an OCI layout: of a folder, or of an archive as `-o type=oci` and `-o type=docker`
// write it. Close ends the use of all its parts. Errors: *registry.LayoutError, or those of opening files.
func FromFile(name string) (src Source, closer io.Closer, err error) {
	l, err := registry.OpenLayout(name)
	if err != nil {
		return nil, nil, err
	}
	img, err := l.Find("")
	if err == nil {
		src, err = l.Source(img)
	}
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return src, l, nil
}
