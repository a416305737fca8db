package registry

import (
	"context"
	"errors"
	"sync"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is what a reference means for one platform.
type Image struct {
	// Ref is the canonical name with the digest of what the tag points to, which
	// is the index where there is one: docker.io/library/debian@sha256:…
	Ref string
	// Digest is the digest in Ref.
	Digest digest.Digest
	// Manifest is the platform's image manifest, with its bytes.
	Manifest      ocispecs.Descriptor
	ManifestBytes []byte
	// ConfigDigest is the digest of Config, the image config as it was read.
	ConfigDigest digest.Digest
	Config       []byte
	// Platform is what the image is for, normalized.
	Platform ocispecs.Platform
}

// Parts returns the image as a base for Assemble.
func (i Image) Parts() ImageParts {
	return ImageParts{Manifest: i.ManifestBytes, Config: i.Config}
}

// Resolve returns the image that ref names for the platform (the zero Platform
// is this machine's). A tag costs one HEAD if its content is in the cache; a
// reference with a known digest costs nothing. Errors: *Error, *PlatformError,
// or the context's. A tag that this machine has not seen is fetched at once.
func (c *Client) Resolve(ctx context.Context, ref string, platform ocispecs.Platform) (Image, error) {
	p, err := parseRef(ref)
	if err != nil {
		return Image{}, err
	}
	if p, err = c.pin(ctx, p); err != nil {
		return Image{}, err
	}
	return c.image(ctx, p, platform)
}

// pin replaces a tag by the digest that it points to now.
func (c *Client) pin(ctx context.Context, p parsedRef) (parsedRef, error) {
	if p.dgst != "" {
		return p.pinned(p.dgst), nil
	}
	var root ocispecs.Descriptor
	err := c.fromAny(ctx, p, func(t target) (err error) {
		root, _, err = c.current(ctx, t, p)
		return err
	})
	if err != nil {
		return parsedRef{}, err
	}
	return p.pinned(root.Digest), nil
}

// image returns the platform's image behind a pinned reference.
func (c *Client) image(ctx context.Context, p parsedRef, want ocispecs.Platform) (Image, error) {
	if want.OS == "" {
		want = platforms.DefaultSpec()
	}
	want = platforms.Normalize(want)
	img := Image{Ref: p.text, Digest: p.dgst}
	data, err := c.manifest(ctx, p)
	if err != nil {
		return Image{}, err
	}
	doc, err := decodeDocument(data, c.limits)
	if err != nil {
		return Image{}, c.blame(p, err)
	}
	img.Manifest = ocispecs.Descriptor{MediaType: doc.mediaType, Digest: p.dgst, Size: int64(len(data))}
	var fromIndex *ocispecs.Platform
	if doc.index != nil {
		if img.Manifest, err = choose(p.text, doc.index, want); err != nil {
			return Image{}, err
		}
		fromIndex = img.Manifest.Platform
		if data, doc, err = c.entry(ctx, p, img.Manifest); err != nil {
			return Image{}, c.blame(p, err)
		}
	}
	if !isConfigType(doc.image.Config.MediaType) {
		return Image{}, c.blame(p, badAnswer("not a container image but something else (config of type %q)", printable(doc.image.Config.MediaType)))
	}
	img.ManifestBytes = data
	img.ConfigDigest = doc.image.Config.Digest
	if img.Config, err = c.blob(ctx, p, doc.image.Config, c.limits.config); err != nil {
		return Image{}, err
	}
	has, err := decodeConfig(img.Config)
	if err == nil {
		img.Platform, err = checkPlatform(p.text, want, has, fromIndex)
	}
	if err != nil {
		return Image{}, c.blame(p, err)
	}
	return img, nil
}

// entry returns the image manifest that an entry of an index names.
func (c *Client) entry(ctx context.Context, p parsedRef, desc ocispecs.Descriptor) ([]byte, document, error) {
	if desc.Size > c.limits.manifest {
		return nil, document{}, badAnswer("a manifest of %d bytes, more than the limit of %d", desc.Size, c.limits.manifest)
	}
	c.unpack(ctx, desc)
	data, err := c.manifest(ctx, p.pinned(desc.Digest))
	if err != nil {
		return nil, document{}, err
	}
	if int64(len(data)) != desc.Size {
		return nil, document{}, badAnswer("the index says that manifest %s has %d bytes, but it has %d", desc.Digest, desc.Size, len(data))
	}
	doc, err := decodeDocument(data, c.limits)
	if err == nil && (doc.image == nil || doc.mediaType != desc.MediaType) {
		err = badAnswer("manifest %s is of another type than the index says", desc.Digest)
	}
	return data, doc, err
}

// unpack puts a manifest that its index carries (the "data" of OCI's descriptors) into the cache.
func (c *Client) unpack(ctx context.Context, desc ocispecs.Descriptor) {
	if len(desc.Data) == 0 || int64(len(desc.Data)) != desc.Size || desc.Digest.Algorithm().FromBytes(desc.Data) != desc.Digest {
		return
	}
	if c.opts.Cache != nil && !c.opts.Cache.HasBlob(desc) {
		c.remember(ctx, desc.MediaType, desc.Data)
	}
}

// blame adds host and reference to an error about content.
func (c *Client) blame(p parsedRef, err error) error {
	var known *Error
	if err == nil || !errors.As(err, &known) || known.Host != "" {
		return err
	}
	return classify(&endpoint{host: p.host}, p.text, err)
}

// Resolver resolves references for one build: it asks for each tag once, so that
// all platforms and stages of the build see the same images, and for each image
// once. It is safe for concurrent use.
type Resolver struct {
	client *Client

	mu     sync.Mutex
	tags   map[string]*asked[parsedRef]
	images map[string]*asked[Image] // by the pinned reference and the platform
}

// asked is what was asked for, or the wait for it.
type asked[T any] struct {
	mu    sync.Mutex
	value *T
}

// get waits for another caller's answer rather than asking too. A failure is not
// kept: it may be that caller's cancelled context.
func (a *asked[T]) get(ask func() (T, error)) (T, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.value != nil {
		return *a.value, nil
	}
	value, err := ask()
	if err == nil {
		a.value = &value
	}
	return value, err
}

// NewResolver returns a Resolver that remembers nothing yet.
func (c *Client) NewResolver() *Resolver {
	return &Resolver{client: c, tags: map[string]*asked[parsedRef]{}, images: map[string]*asked[Image]{}}
}

// Resolve is Client.Resolve, with what was answered the first time.
func (r *Resolver) Resolve(ctx context.Context, ref string, platform ocispecs.Platform) (Image, error) {
	p, err := parseRef(ref)
	if err != nil {
		return Image{}, err
	}
	p, err = known(&r.mu, r.tags, p.text).get(func() (parsedRef, error) { return r.client.pin(ctx, p) })
	if err != nil {
		return Image{}, err
	}
	one := known(&r.mu, r.images, p.text+" "+platforms.FormatAll(platform))
	return one.get(func() (Image, error) { return r.client.image(ctx, p, platform) })
}

// known returns the answer in the map, a new one if there is none.
func known[T any](mu *sync.Mutex, m map[string]*asked[T], key string) *asked[T] {
	mu.Lock()
	defer mu.Unlock()
	if m[key] == nil {
		m[key] = &asked[T]{}
	}
	return m[key]
}
