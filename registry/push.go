package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

const (
	// parallelUploads is how many manifests go up at a time. (Of blobs, see Profile.Parallel.)
	parallelUploads = 4
	// smallBlob is the size, in bytes, up to which a blob that was just made is sent without asking whether it is
	// there: sending it takes no longer than the question on a line of 100 Mbit/s (20 ms).
	smallBlob = 256 << 10
)

// Blob is something to push: a layer or a config.
type Blob struct {
	ocispecs.Descriptor
	// Open returns the bytes from an offset on, anew each time: an interrupted upload goes on or begins again.
	// Nil means: from the cache, or else from the repository From.
	Open func(offset int64) (io.ReadCloser, error)
	// From is a repository that has the blob too. On the same registry it is
	// mounted from there, and no byte moves.
	From string
	// Trusted says that nobody but this process can have changed the bytes since they were hashed, so that they are not
	// hashed again while they are sent. (The registry checks the digest in any case.) What Open is nil for is trusted.
	Trusted bool
	// New says that these bytes were made just now and not before, so that a repository can hardly have them.
	New bool

	missing bool // the registry has said that it does not have it
}

// unasked says that the blob is sent at once.
func (b Blob) unasked() bool { return b.missing || b.New && b.From == "" && b.Size <= smallBlob }

// Content is a small document (image manifest, index, config) with its
// descriptor.
type Content struct {
	ocispecs.Descriptor
	Bytes []byte
}

// Blob returns the document as something that PushBlob takes.
func (c Content) Blob() Blob {
	return Blob{Descriptor: c.Descriptor, Open: func(offset int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(c.Bytes[offset:])), nil
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
	// Traffic counts what is done; nil for nobody.
	Traffic *Traffic
}

// Push uploads blobs, then manifests, the tags last: whoever pulls by tag meanwhile gets the old image or the new
// one, whole. The last manifest gets its digest and its first tag in one request. A registry that misses a blob then,
// though it had it before, gets it once more. Errors: *Error, the context's, or those of a blob's reader.
func (c *Client) Push(ctx context.Context, up Upload) error {
	if len(up.Manifests) == 0 && len(up.Tags) > 0 {
		return errors.New("there is no manifest that the tags could be set to")
	}
	err := c.push(ctx, up)
	var failed *Error
	if errors.As(err, &failed) && failed.missing != "" && ctx.Err() == nil && len(up.Blobs) > 0 {
		if err := c.doubt(&up, failed.missing); err != nil {
			return err
		}
		err = c.push(ctx, up)
	}
	return err
}

// doubt forgets that the blobs are in the repository. Those that the registry names as missing are sent without a
// question: it may say yes again.
func (c *Client) doubt(up *Upload, missing string) error {
	_, own, err := c.destination(up.Repository)
	if err != nil {
		return err
	}
	c.logf("%s misses blobs that it had: they are sent again", own.host)
	up.Blobs = slices.Clone(up.Blobs)
	for i, b := range up.Blobs {
		c.writer(own).lacks(b.Digest)
		c.isNotIn(own, b.Digest)
		up.Blobs[i].missing = strings.Contains(missing, b.Digest.String())
	}
	return nil
}

func (c *Client) push(ctx context.Context, up Upload) error {
	_, own, err := c.destination(up.Repository)
	if err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(c.Profile(own.host).Parallel)
	sent := map[digest.Digest]bool{}
	for _, b := range up.Blobs {
		if !sent[b.Digest] {
			sent[b.Digest] = true
			group.Go(func() error { return c.PushBlob(gctx, up.Repository, b, up.Traffic) })
		}
	}
	if err := group.Wait(); err != nil || len(up.Manifests) == 0 {
		return err
	}
	root := up.Manifests[len(up.Manifests)-1]
	if err := c.putParts(ctx, up.Repository, up.Manifests[:len(up.Manifests)-1]); err != nil {
		return err
	}
	if !up.tagsRoot() {
		if err := c.PutManifest(ctx, up.Repository, root.Descriptor, root.Bytes); err != nil {
			return err
		}
	}
	for _, tag := range up.Tags {
		if err := c.Tag(ctx, tag, root.Descriptor, root.Bytes); err != nil {
			return err
		}
	}
	return nil
}

// tagsRoot says that the first tag is in the upload's own repository, so that setting it stores the manifest, too.
func (up Upload) tagsRoot() bool {
	if len(up.Tags) == 0 {
		return false
	}
	repo, err := parseRepo(up.Repository)
	if err != nil {
		return false
	}
	tag, err := parseRef(up.Tags[0])
	return err == nil && tag.name == repo.name
}

// putParts stores the manifests that an index needs: images side by side, an index after those before it.
func (c *Client) putParts(ctx context.Context, repo string, parts []Content) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelUploads)
	for _, m := range parts {
		if IsIndex(m.MediaType) {
			if err := group.Wait(); err != nil {
				return err
			}
			group, gctx = errgroup.WithContext(ctx)
			group.SetLimit(parallelUploads)
		}
		group.Go(func() error { return c.PutManifest(gctx, repo, m.Descriptor, m.Bytes) })
	}
	return group.Wait()
}

// PushBlob uploads a blob unless the repository has it: one HEAD, then a mount from From, or from where this machine has
// seen it (see [place]), then the bytes. An upload that is cut goes on where it was, if the registry can do that.
// A small blob that is New is not asked for. Errors: *Error, the context's, or that of the reader.
func (c *Client) PushBlob(ctx context.Context, repo string, b Blob, t *Traffic) error {
	p, own, err := c.destination(repo)
	if err != nil {
		return err
	}
	if err := b.Digest.Validate(); err != nil {
		return &Error{Kind: ErrBadAnswer, Host: own.host, Ref: own.repo.Name(), Msg: "not a digest: " + printable(b.Digest.String())}
	}
	open := b.Open
	switch {
	case open != nil && !b.Trusted:
		open = checking(open, b.Descriptor)
	case open == nil:
		open = func(offset int64) (io.ReadCloser, error) { return c.openKnown(ctx, b, offset, t) }
	}
	var from []name.Repository // at most one
	if b.From != "" {
		source, err := parseRepo(b.From)
		if err != nil {
			return err
		}
		if source.host == own.host {
			from = append(from, own.registry.Repo(source.path))
		}
	}
	if len(from) == 0 {
		from = c.elsewhere(own, b)
	}
	profile := c.Profile(own.host)
	if b.missing || !profile.Mount || len(from) > 0 && own.mountsNothingFrom(from[0]) {
		from = nil
	}
	err = c.writing(own, p.pinned(b.Digest).text, func(w *repoWriter) error {
		return w.once(ctx, b.Digest, func() error {
			s := &sending{w: w, profile: profile, desc: b.Descriptor, open: open, from: from, unasked: b.unasked(), count: &counted{traffic: t}}
			s.count.looked(b.Size)
			return s.run(ctx)
		})
	})
	if err == nil {
		c.isIn(own, b)
	}
	return err
}

// mountsNothingFrom says that a mount from a repository was refused before.
func (e *endpoint) mountsNothingFrom(repo name.Repository) bool {
	_, refused := e.unmountable.Load(repo.RepositoryStr())
	return refused
}

// checking returns open with a check of the digest: a file that changed is an error here, and not at the registry.
func checking(open func(int64) (io.ReadCloser, error), desc ocispecs.Descriptor) func(int64) (io.ReadCloser, error) {
	return func(offset int64) (io.ReadCloser, error) {
		rc, err := open(0)
		if err != nil {
			return nil, err
		}
		checked := verified(rc, desc)
		if _, err := io.CopyN(io.Discard, checked, offset); err != nil {
			checked.Close()
			return nil, err
		}
		return checked, nil
	}
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

// openKnown opens a blob at an offset from the cache, or else from where it comes from.
func (c *Client) openKnown(ctx context.Context, b Blob, offset int64, t *Traffic) (io.ReadCloser, error) {
	if c.opts.Cache != nil && c.opts.Cache.HasBlob(b.Descriptor) {
		store, err := c.opts.Cache.Content()
		if err == nil {
			ra, err := store.ReaderAt(ctx, b.Descriptor)
			if err == nil {
				return readerAtCloser{io.NewSectionReader(ra, offset, b.Size-offset), ra}, nil
			}
		}
	}
	if b.From == "" {
		return nil, badAnswer("blob %s is neither in the cache nor in a known repository", b.Digest)
	}
	return c.openBlob(ctx, b.From, b.Descriptor, offset, t)
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
	err := c.writing(own, p.text, func(w *repoWriter) error { return w.put(ctx, p.in(own.repo), desc, data) })
	if err != nil {
		return err
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
	if IsManifest(desc.MediaType) || IsIndex(desc.MediaType) {
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

// CheckPush finds out in one request, an upload that is begun, whether the repository may be pushed to, so that nobody
// waits for a build whose push is refused. The upload is deleted while the caller goes on.
func (c *Client) CheckPush(ctx context.Context, repo string) error {
	p, own, err := c.destination(repo)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.writing(own, p.text, func(w *repoWriter) error {
		s, err := w.open(ctx, "", nil)
		if err == nil {
			go s.drop(ctx) // which nobody waits for
		}
		return err
	})
}
