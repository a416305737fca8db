package registry

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// parallelUploads is how many blobs of one Push go up at a time.
const parallelUploads = 4

// Blob is something to push: a layer or a config.
type Blob struct {
	ocispecs.Descriptor
	// Open returns the bytes, anew each time: an interrupted upload begins again.
	// Nil means: from the cache, or else from the repository From.
	Open func() (io.ReadCloser, error)
	// From is a repository that has the blob too. On the same registry it is
	// mounted from there, and no byte moves.
	From string
}

// Content is a small document (image manifest, index, config) with its
// descriptor.
type Content struct {
	ocispecs.Descriptor
	Bytes []byte
}

// Blob returns the document as something that PushBlob takes.
func (c Content) Blob() Blob {
	return Blob{Descriptor: c.Descriptor, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(c.Bytes)), nil
	}}
}

// Upload is all that makes up an image in one repository.
type Upload struct {
	// Repository is where it goes, without tag.
	Repository string
	Blobs      []Blob
	// Manifests are in the order in which they need each other: an index last.
	Manifests []Content
	// Tags are full references, set to the last manifest. They may be in other
	// repositories only if that manifest's parts are there already.
	Tags []string
}

// Push uploads blobs, then manifests by digest, then moves the tags: whoever
// pulls by tag meanwhile gets the old image or the new one, whole.
func (c *Client) Push(ctx context.Context, up Upload) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelUploads)
	for _, b := range up.Blobs {
		group.Go(func() error { return c.PushBlob(gctx, up.Repository, b) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, m := range up.Manifests {
		if err := c.PutManifest(ctx, up.Repository, m.Descriptor, m.Bytes); err != nil {
			return err
		}
	}
	if len(up.Tags) > 0 && len(up.Manifests) == 0 {
		return errors.New("there is no manifest that the tags could be set to")
	}
	for _, tag := range up.Tags {
		root := up.Manifests[len(up.Manifests)-1]
		if err := c.Tag(ctx, tag, root.Descriptor, root.Bytes); err != nil {
			return err
		}
	}
	return nil
}

// PushBlob uploads a blob unless the repository has it: one HEAD, then a mount
// if From allows it, then the bytes.
func (c *Client) PushBlob(ctx context.Context, repo string, b Blob) error {
	p, own, err := c.destination(repo)
	if err != nil {
		return err
	}
	layer, err := c.uploadLayer(ctx, own, b)
	if err != nil {
		return err
	}
	return classify(own.endpoint, p.pinned(b.Digest).text, own.pusher.Upload(ctx, own.repo, layer))
}

// destination returns where pushes to a repository go.
func (c *Client) destination(repo string) (parsedRef, target, error) {
	p, err := parseRepo(repo)
	if err != nil {
		return parsedRef{}, target{}, err
	}
	own, err := c.own(p)
	return p, own, err
}

// uploadLayer returns the blob in the form that ggcr pushes.
func (c *Client) uploadLayer(ctx context.Context, own target, b Blob) (v1.Layer, error) {
	hash, err := v1.NewHash(b.Digest.String())
	if err != nil {
		return nil, &Error{Kind: ErrBadAnswer, Host: own.host, Ref: own.repo.Name(), Msg: "not a digest: " + printable(b.Digest.String())}
	}
	open := b.Open
	if open == nil {
		open = func() (io.ReadCloser, error) { return c.openKnown(ctx, b) }
	}
	layer := blobLayer{desc: b.Descriptor, hash: hash, open: open}
	if b.From == "" {
		return layer, nil
	}
	from, err := parseRepo(b.From)
	if err != nil {
		return nil, err
	}
	if from.host != own.host {
		return layer, nil
	}
	return &remote.MountableLayer{Layer: layer, Reference: own.registry.Repo(from.path).Digest(b.Digest.String())}, nil
}

// openKnown opens a blob from the cache, or else from where it comes from.
func (c *Client) openKnown(ctx context.Context, b Blob) (io.ReadCloser, error) {
	if c.opts.Cache != nil && c.opts.Cache.HasBlob(b.Descriptor) {
		store, err := c.opts.Cache.Content()
		if err == nil {
			ra, err := store.ReaderAt(ctx, b.Descriptor)
			if err == nil {
				return readerAtCloser{content.NewReader(ra), ra}, nil
			}
		}
	}
	if b.From == "" {
		return nil, badAnswer("blob %s is neither in the cache nor in a known repository", b.Digest)
	}
	return c.OpenBlob(ctx, b.From, b.Descriptor)
}

type readerAtCloser struct {
	io.Reader
	io.Closer
}

// PutManifest stores a manifest under its digest.
func (c *Client) PutManifest(ctx context.Context, repo string, desc ocispecs.Descriptor, data []byte) error {
	p, own, err := c.destination(repo)
	if err != nil {
		return err
	}
	return c.put(ctx, own, p.pinned(desc.Digest), desc, data)
}

// Tag lets ref, which has a tag, point to a manifest. All that the manifest
// names has to be in the repository.
func (c *Client) Tag(ctx context.Context, ref string, desc ocispecs.Descriptor, data []byte) error {
	p, err := parseRef(ref)
	if err != nil {
		return err
	}
	if p.tag == "" {
		return &Error{Kind: ErrBadAnswer, Host: p.host, Ref: p.text, Msg: "a reference with a digest cannot be set"}
	}
	own, err := c.own(p)
	if err != nil {
		return err
	}
	return c.put(ctx, own, p, desc, data)
}

func (c *Client) put(ctx context.Context, own target, p parsedRef, desc ocispecs.Descriptor, data []byte) error {
	if digest.FromBytes(data) != desc.Digest || int64(len(data)) != desc.Size {
		return classify(own.endpoint, p.text, badAnswer("the manifest's bytes are not those of its descriptor %s", desc.Digest))
	}
	if int64(len(data)) > c.limits.manifest {
		return classify(own.endpoint, p.text, badAnswer("a manifest of %d bytes, more than the limit of %d", len(data), c.limits.manifest))
	}
	err := own.pusher.Put(ctx, p.in(own.repo), rawManifest{desc: desc, data: data})
	if err != nil {
		return classify(own.endpoint, p.text, err)
	}
	c.remember(ctx, desc.MediaType, data)
	return nil
}

// Exists tells whether the repository has a manifest or blob, by its digest. It
// asks the registry itself.
func (c *Client) Exists(ctx context.Context, repo string, desc ocispecs.Descriptor) (bool, error) {
	p, own, err := c.destination(repo)
	if err != nil {
		return false, err
	}
	p = p.pinned(desc.Digest)
	if isManifestType(desc.MediaType) || isIndexType(desc.MediaType) {
		_, err := c.head(ctx, own, p)
		if errors.Is(err, ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	}
	layer, err := own.puller.Layer(ctx, own.repo.Digest(desc.Digest.String()))
	if err != nil {
		return false, classify(own.endpoint, p.text, err)
	}
	ok, err := partial.Exists(layer)
	return ok, classify(own.endpoint, p.text, err)
}

// rawManifest is a manifest that ggcr can put.
type rawManifest struct {
	desc ocispecs.Descriptor
	data []byte
}

func (m rawManifest) RawManifest() ([]byte, error) { return m.data, nil }

func (m rawManifest) MediaType() (types.MediaType, error) {
	return types.MediaType(m.desc.MediaType), nil
}

// blobLayer is a blob that ggcr can push. It is never unpacked.
type blobLayer struct {
	desc ocispecs.Descriptor
	hash v1.Hash
	open func() (io.ReadCloser, error)
}

var errOpaque = errors.New("the blob is pushed as it is")

func (l blobLayer) Digest() (v1.Hash, error)             { return l.hash, nil }
func (l blobLayer) DiffID() (v1.Hash, error)             { return v1.Hash{}, errOpaque }
func (l blobLayer) Uncompressed() (io.ReadCloser, error) { return nil, errOpaque }
func (l blobLayer) Size() (int64, error)                 { return l.desc.Size, nil }
func (l blobLayer) MediaType() (types.MediaType, error) {
	return types.MediaType(l.desc.MediaType), nil
}

// Compressed opens the blob's bytes; what is read is verified, so that a file
// that changed is an error here and not at the registry.
func (l blobLayer) Compressed() (io.ReadCloser, error) {
	rc, err := l.open()
	if err != nil {
		return nil, err
	}
	return verified(rc, l.desc), nil
}

// CheckPush finds out in one request, an upload that is begun and left, whether the repository may be
// pushed to, so that nobody waits for a build whose push is refused.
func (c *Client) CheckPush(ctx context.Context, repo string) error {
	p, own, err := c.destination(repo)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err = remote.CheckPushPermission(own.repo.Tag("latest"), endpointKeychain{inner: c.opts.Keychain, endpoint: own.endpoint, log: c.logf}, own.transport)
	return classify(own.endpoint, p.text, err)
}
