package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/llb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// IdentityName is a name whose tag is made from the image's identity, so that it stands for this image and no other.
type IdentityName struct {
	Name   reference.Named // without tag and digest
	Format string          // as [llb.IdentityTag] takes it
}

// tagged is the name of the image with this identity.
func (n IdentityName) tagged(id digest.Digest) (reference.NamedTagged, error) {
	tag, err := llb.IdentityTag(n.Format, id)
	if err != nil {
		return nil, err
	}
	return reference.WithTag(reference.TrimNamed(n.Name), tag)
}

// VolatileError says that an image has no identity, because a source of it can change without its name changing.
type VolatileError struct {
	Source string // such as a URL without a checksum
}

func (e *VolatileError) Error() string {
	return "the image has no identity: only a builder can tell whether this changed: " + e.Source
}

// Identify returns the identity of the image that a request is for: the digest of all that decides what is in
// it, for all platforms, and of nothing else. No builder is asked; see [Engine.Graph] for the platform where
// nobody names one. The error is a *VolatileError for what has no identity.
func (e *Engine) Identify(ctx context.Context, req Request) (digest.Digest, error) {
	req.Options.Native = false // as in Build
	g, err := e.Graph(ctx, req)
	if err != nil {
		return "", err
	}
	return imageIdentity(g)
}

func imageIdentity(g *llb.Graph) (digest.Digest, error) {
	if v := g.Volatile(); len(v) > 0 {
		return "", &VolatileError{v[0]}
	}
	return g.Identity(), nil
}

// named returns the outputs with the names that follow from the identity among the Names.
func (o Outputs) named(id digest.Digest) (Outputs, error) {
	o.Names = slices.Clone(o.Names)
	for _, n := range o.ByIdentity {
		tagged, err := n.tagged(id)
		if err != nil {
			return o, fmt.Errorf("the name %s: %w", reference.FamiliarName(n.Name), err)
		}
		o.Names = append(o.Names, tagged)
	}
	return o, nil
}

// name gives the outputs their names. It is done anew for each recording.
func (b *build) name(g *llb.Graph) error {
	id, err := imageIdentity(g)
	if err != nil && len(b.asked.ByIdentity) > 0 {
		return err
	}
	b.imageID = id
	b.req.Outputs = b.asked
	if id != "" {
		b.req.Outputs, err = b.asked.named(id)
		return err
	}
	return nil
}

// stillTrue says before names are given whether those made from the identity are true: they are not when files
// changed while they were built.
func (b *build) stillTrue(ctx context.Context) error {
	if len(b.asked.ByIdentity) == 0 {
		return nil
	}
	changed, err := b.filesChanged(ctx)
	if err == nil && changed {
		err = &SourceError{errors.New(b.whatChanged(ctx) + ", so the tag made from the identity would not be true; build again")}
	}
	return err
}

// filesChanged says whether local files are not what the identity was made of. A builder reads them by itself, and
// later; layers that are made here are those of the identity's own list, and their bytes are compared with it.
func (b *build) filesChanged(ctx context.Context) (bool, error) {
	if !b.solved {
		return false, nil
	}
	now, err := b.rec.Stamp(ctx)
	return now != b.stamp, err
}

// Graph records what a build of the request would ask a builder to do, and asks none. Where nobody names a
// platform and the builder's own is not known yet, it is this machine's.
func (e *Engine) Graph(ctx context.Context, req Request) (*llb.Graph, error) {
	rec, _, err := e.recording(ctx, req)
	if err != nil {
		return nil, err
	}
	return rec.Graph(ctx)
}

// Images returns the images that a build of the request starts from or uses, as far as the source names them
// by tags, sorted by name. No builder is asked.
func (e *Engine) Images(ctx context.Context, req Request) ([]ResolvedImage, error) {
	_, b, err := e.recording(ctx, req)
	if err != nil {
		return nil, err
	}
	return b.resolver.list(), nil
}

// recording records without a builder.
func (e *Engine) recording(ctx context.Context, req Request) (*llb.Recording, *build, error) {
	b := newBuild(e, req)
	choice, err := e.Choose(ctx, req)
	var refused *BuilderError
	if err != nil && !(errors.As(err, &refused) && refused.Unusable) {
		return nil, nil, err
	}
	b.provider = choice
	p, ok := b.rememberedPlatform()
	if !ok {
		p = hostPlatform()
	}
	rec, err := b.recordFor(ctx, p, b.buildFunc())
	return rec, b, err
}

func hostPlatform() ocispecs.Platform { return platforms.Normalize(platforms.DefaultSpec()) }
