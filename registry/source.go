package registry

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Source is one image somewhere: in a repository, a layout, an archive or a content store. It is safe for concurrent use.
type Source interface {
	// Name is what people call it.
	Name() string
	// Root is the image's manifest or index.
	Root() ocispecs.Descriptor
	// Open returns the bytes of a part from an offset on; the caller closes it. Reading the whole of it fails at the end
	// when the bytes do not have the descriptor's digest and size. The error is fs.ErrNotExist or [ErrNotFound] for
	// what is not there.
	Open(ctx context.Context, desc ocispecs.Descriptor, offset int64) (io.ReadCloser, error)
}

// repositoryImage is an image in a repository.
type repositoryImage struct {
	client  *Client
	name    string // as people call it
	repo    string
	root    ocispecs.Descriptor
	traffic *Traffic
}

// Image asks the registry itself what a name with a tag or digest points to now, as [Client.Current] does. What is
// fetched of its blobs is counted.
// Errors: *Error, or the context's.
func (c *Client) Image(ctx context.Context, ref string, t *Traffic) (Source, error) {
	p, err := parseRef(ref)
	if err != nil {
		return nil, err
	}
	root, _, err := c.Current(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &repositoryImage{client: c, name: p.text, repo: p.name, root: root, traffic: t}, nil
}

func (s *repositoryImage) Name() string              { return s.name }
func (s *repositoryImage) Root() ocispecs.Descriptor { return s.root }

// Open takes from the cache what is there.
func (s *repositoryImage) Open(ctx context.Context, desc ocispecs.Descriptor, offset int64) (io.ReadCloser, error) {
	if desc.Digest == s.root.Digest || IsIndex(desc.MediaType) || IsManifest(desc.MediaType) {
		s.client.unpack(ctx, desc)
		data, err := s.client.FetchManifest(ctx, s.repo+"@"+desc.Digest.String())
		if err != nil {
			return nil, err
		}
		return io.NopCloser(bytes.NewReader(data[min(offset, int64(len(data))):])), nil
	}
	if rc, ok := s.client.openCached(ctx, desc, offset); ok {
		return rc, nil
	}
	return s.client.openBlob(ctx, s.repo, desc, offset, s.traffic)
}

// openCached opens a blob in the cache at an offset, if it is there.
func (c *Client) openCached(ctx context.Context, desc ocispecs.Descriptor, offset int64) (io.ReadCloser, bool) {
	if c.opts.Cache == nil || !c.opts.Cache.HasBlob(desc) {
		return nil, false
	}
	store, err := c.opts.Cache.Content()
	if err != nil {
		return nil, false
	}
	rc, err := storedImage{store: store}.Open(ctx, desc, offset)
	return rc, err == nil
}

// storedImage is an image in a content store.
type storedImage struct {
	store content.Provider
	root  ocispecs.Descriptor
}

// FromStore reads an image from a content store. Parts that are not there are missed when they are opened.
func FromStore(store content.Provider, root ocispecs.Descriptor) Source {
	return storedImage{store, root}
}

func (s storedImage) Name() string              { return "the local store" }
func (s storedImage) Root() ocispecs.Descriptor { return s.root }

func (s storedImage) Open(ctx context.Context, desc ocispecs.Descriptor, offset int64) (io.ReadCloser, error) {
	at, err := s.store.ReaderAt(ctx, desc)
	if err != nil {
		return nil, err
	}
	return section(s.Name(), layoutFile{at, at.Size(), at}, desc, offset), nil
}

// section is a part of what holds a blob of some size, verified when it is the whole blob. Closing it closes closer.
// where is said in errors.
func section(where string, f layoutFile, desc ocispecs.Descriptor, offset int64) io.ReadCloser {
	rc := io.ReadCloser(readerAtCloser{io.NewSectionReader(f, offset, f.size-offset), f.closer})
	if offset == 0 {
		rc = verified(rc, desc)
	}
	return &localReader{rc, where}
}

// localReader reads from this machine, and says so in errors about content.
type localReader struct {
	io.ReadCloser
	where string
}

func (r *localReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	var known *Error
	if errors.As(err, &known) && known.Ref == "" {
		err = &LayoutError{r.where, known.Msg}
	}
	return n, err
}
