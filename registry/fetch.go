package registry

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/ibuild/ibuild/cache"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Head returns what ref points to, with one request to the registry itself
// (never a mirror: this is how a build asks whether its result is still there).
// Where a registry cannot answer that, the manifest is fetched instead.
func (c *Client) Head(ctx context.Context, ref string) (ocispecs.Descriptor, error) {
	p, err := parseRef(ref)
	if err != nil {
		return ocispecs.Descriptor{}, err
	}
	own, err := c.own(p)
	if err != nil {
		return ocispecs.Descriptor{}, err
	}
	return c.head(ctx, own, p)
}

// Current returns what ref points to, as Head does. A tag that this machine has not seen before is fetched with that
// one request, so that its manifest is in the cache afterwards, and first is true. Of others only the digest is asked
// for: their manifests are in the cache mostly, and registries that limit pulls do not count HEADs.
// Errors: *Error, or the context's.
func (c *Client) Current(ctx context.Context, ref string) (desc ocispecs.Descriptor, first bool, err error) {
	p, err := parseRef(ref)
	if err != nil {
		return ocispecs.Descriptor{}, false, err
	}
	own, err := c.own(p)
	if err != nil {
		return ocispecs.Descriptor{}, false, err
	}
	return c.current(ctx, own, p)
}

func (c *Client) current(ctx context.Context, t target, p parsedRef) (desc ocispecs.Descriptor, first bool, err error) {
	if c.opts.Cache == nil {
		desc, err = c.head(ctx, t, p)
		return desc, false, err
	}
	seen := cache.Bucket[digest.Digest](c.opts.Cache, "tags/1") // by the reference
	if _, ok := seen.Get(p.text); ok || p.dgst != "" {
		desc, err = c.head(ctx, t, p)
		return desc, false, err
	}
	data, desc, err := c.get(ctx, t, p)
	if err != nil {
		return ocispecs.Descriptor{}, true, err
	}
	c.remember(ctx, desc.MediaType, data)
	_ = seen.Put(p.text, desc.Digest) // forgotten, it is fetched once more
	return desc, true, nil
}

// Glance is one HEAD and nothing more: for those who can do without the answer. An error does not mean that nothing
// is there. The registry itself is asked. Errors: *Error, or the context's.
func (c *Client) Glance(ctx context.Context, ref string) (ocispecs.Descriptor, error) {
	p, err := parseRef(ref)
	if err != nil {
		return ocispecs.Descriptor{}, err
	}
	own, err := c.own(p)
	if err != nil {
		return ocispecs.Descriptor{}, err
	}
	desc, err := own.puller.Head(ctx, p.in(own.repo))
	if err != nil {
		return ocispecs.Descriptor{}, classify(own.endpoint, p.text, err)
	}
	return descriptor(*desc), nil
}

// head asks one target. What it had to fetch for the answer is cached.
func (c *Client) head(ctx context.Context, t target, p parsedRef) (ocispecs.Descriptor, error) {
	var desc *v1.Descriptor
	err := c.believing(&t, func() (err error) {
		desc, err = t.puller.Head(ctx, p.in(t.repo))
		return err
	})
	if err == nil {
		return descriptor(*desc), nil
	}
	if !headUnsupported(err) || t.namespace != "" && isNotFound(err) {
		return ocispecs.Descriptor{}, classify(t.endpoint, p.text, err)
	}
	data, got, err := c.get(ctx, t, p)
	if err != nil {
		return ocispecs.Descriptor{}, err
	}
	c.remember(ctx, got.MediaType, data)
	return got, nil
}

// believing asks t, and once more when what was remembered of its host no longer holds.
func (c *Client) believing(t *target, ask func() error) error {
	err := ask()
	if errors.Is(err, errStalePing) {
		if t.endpoint, err = c.renew(t.endpoint); err == nil {
			err = ask()
		}
	}
	return err
}

// headUnsupported tells whether a failed HEAD says nothing about what a GET will
// say: some registries do not know HEAD, answer 404 to it, or leave out headers.
func headUnsupported(err error) bool {
	var answered *transport.Error
	if errors.As(err, &answered) {
		switch answered.StatusCode {
		case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented:
			// Only where it was the HEAD that was answered, and not the
			// ping or the token server.
			return answered.Request != nil && answered.Request.Method == http.MethodHead
		}
		return false
	}
	var uerr *url.Error
	return !errors.As(err, &uerr) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// isNotFound tells whether a registry answered that it does not have something.
// From a mirror that is taken at its word: the next one will be asked.
func isNotFound(err error) bool {
	var answered *transport.Error
	return errors.As(err, &answered) && answered.StatusCode == http.StatusNotFound
}

// get fetches a manifest from one target. By digest, it has that digest; by tag,
// the descriptor says which one it has.
func (c *Client) get(ctx context.Context, t target, p parsedRef) ([]byte, ocispecs.Descriptor, error) {
	var got *remote.Descriptor
	ask := func() (err error) {
		got, err = t.puller.Get(ctx, p.in(t.repo))
		return err
	}
	err := c.believing(&t, ask)
	pause := c.retry.base
	for attempt := 1; attempt < c.retry.attempts && isCut(err); attempt++ {
		c.logf("%s: the connection was cut; trying again in %s", t.host, pause)
		if sleep(ctx, pause) != nil {
			break
		}
		pause *= 3
		err = ask()
	}
	if err != nil {
		return nil, ocispecs.Descriptor{}, classify(t.endpoint, p.text, err)
	}
	desc := descriptor(got.Descriptor)
	desc.Digest = digest.FromBytes(got.Manifest) // schema 1 has a digest of another kind
	if p.dgst != "" {
		desc.Digest = p.dgst
	}
	desc.Size = int64(len(got.Manifest))
	return got.Manifest, desc, nil
}

// FetchManifest returns the bytes of a manifest or index by digest
// (repository@digest), from the cache if they are there.
func (c *Client) FetchManifest(ctx context.Context, ref string) ([]byte, error) {
	p, err := parseRef(ref)
	if err != nil {
		return nil, err
	}
	if p.dgst == "" {
		return nil, &Error{Kind: ErrBadAnswer, Host: p.host, Ref: p.text, Msg: "the reference has no digest"}
	}
	return c.manifest(ctx, p)
}

// manifest returns the bytes that a pinned reference names.
func (c *Client) manifest(ctx context.Context, p parsedRef) ([]byte, error) {
	if data, ok := c.recall(p.dgst, c.limits.manifest); ok {
		return data, nil
	}
	var data []byte
	err := c.fromAny(ctx, p, func(t target) (err error) {
		var desc ocispecs.Descriptor
		if data, desc, err = c.get(ctx, t, p); err == nil {
			c.remember(ctx, desc.MediaType, data)
		}
		return err
	})
	return data, err
}

// blob returns the bytes of a small blob.
func (c *Client) blob(ctx context.Context, p parsedRef, desc ocispecs.Descriptor, limit int64) ([]byte, error) {
	if desc.Size > limit {
		return nil, classify(&endpoint{host: p.host}, p.text, badAnswer("a blob of %d bytes, more than the limit of %d", desc.Size, limit))
	}
	if data, ok := c.recall(desc.Digest, limit); ok && int64(len(data)) == desc.Size {
		return data, nil
	}
	var data []byte
	err := c.fromAny(ctx, p, func(t target) (err error) {
		data, err = c.readBlob(ctx, t, p, desc)
		return err
	})
	if err == nil {
		c.remember(ctx, desc.MediaType, data)
	}
	return data, err
}

// fromAny runs fn for the targets of p until one of them succeeds. The error is
// that of the last one, the registry itself; those of mirrors are logged.
func (c *Client) fromAny(ctx context.Context, p parsedRef, fn func(target) error) error {
	targets, err := c.targets(p)
	if err != nil {
		return err
	}
	var passed []string
	for i, t := range targets {
		if err = fn(t); err == nil || ctx.Err() != nil || i == len(targets)-1 {
			return afterMirrors(err, passed)
		}
		passed = append(passed, c.passOver(t, err)...)
	}
	return err
}

// passOver notes that a mirror failed, and returns what is to be said of it if nobody else does better.
func (c *Client) passOver(t target, err error) (said []string) {
	var known *Error
	if errors.As(err, &known) {
		said = append(said, t.host+" said: "+known.Kind.Error())
	}
	if errors.Is(err, ErrUnreachable) {
		t.markDown()
	}
	if !errors.Is(err, ErrNotFound) {
		c.logf("mirror %s: %v; going on with the next", t.host, err)
	}
	return said
}

// afterMirrors adds to the registry's own failure what its mirrors had said before.
func afterMirrors(err error, passed []string) error {
	var known *Error
	if len(passed) == 0 || !errors.As(err, &known) {
		return err
	}
	out := *known
	out.Msg += " (before that, the mirror " + strings.Join(passed, ", the mirror ") + ")"
	return &out
}

// recall returns a blob from the cache.
func (c *Client) recall(d digest.Digest, limit int64) ([]byte, bool) {
	if c.opts.Cache == nil {
		return nil, false
	}
	data, err := c.opts.Cache.ReadBlob(d, limit)
	return data, err == nil
}

// remember puts a blob into the cache. That it cannot is reported by the cache
// itself, and only makes the next build slower.
func (c *Client) remember(ctx context.Context, mediaType string, data []byte) {
	if c.opts.Cache != nil {
		_, _ = c.opts.Cache.WriteBlob(ctx, mediaType, data)
	}
}

// descriptor converts ggcr's form to that of the rest of ibuild.
func descriptor(d v1.Descriptor) ocispecs.Descriptor {
	mediaType := string(d.MediaType)
	if parsed, _, err := mime.ParseMediaType(mediaType); err == nil {
		mediaType = parsed // without "; charset=utf-8"
	}
	return ocispecs.Descriptor{MediaType: mediaType, Digest: digest.Digest(d.Digest.String()), Size: d.Size}
}
