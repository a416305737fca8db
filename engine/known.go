package engine

import (
	"context"
	"errors"
	"time"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// known ends a build whose result is remembered and still in the registry. The cost is one HEAD per tag;
// a tag that was moved or deleted is put back if the image itself is still there.
func (b *build) known(ctx context.Context, id digest.Digest) *Result {
	out := b.req.Outputs
	if id == "" || !out.Push || len(out.Exports) > 0 || b.req.Force || b.req.Options.NoCache {
		return nil
	}
	rec, ok := cache.Results(b.Cache).Get("image " + id.String())
	if !ok {
		return nil
	}
	eg, ctx := errgroup.WithContext(ctx)
	for _, n := range out.Names {
		eg.Go(func() error { return b.standing(ctx, n, rec.Descriptor) })
	}
	if err := eg.Wait(); err != nil {
		return nil // the way through the builder says what is wrong, if something is
	}
	b.Progress.Known("known: nothing to build, nothing to push")
	res := &Result{Descriptor: rec.Descriptor, ConfigDigest: rec.ConfigDigest, How: HowKnown}
	for _, n := range out.Names {
		res.Names = append(res.Names, n.String())
	}
	return res
}

var errMoved = errors.New("the registry does not have it")

// standing makes sure that a name stands for the image.
func (b *build) standing(ctx context.Context, n reference.NamedTagged, desc ocispecs.Descriptor) error {
	at, err := b.Registry.Head(ctx, n.String())
	if err == nil && at.Digest == desc.Digest {
		return nil
	}
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	if _, err := b.Registry.Head(ctx, byDigest(n.Name(), desc.Digest)); err != nil {
		return errMoved
	}
	return b.tag(ctx, n, desc)
}

// tag points a name to an image that its repository has.
func (b *build) tag(ctx context.Context, n reference.NamedTagged, desc ocispecs.Descriptor) error {
	data, err := b.Registry.FetchManifest(ctx, byDigest(n.Name(), desc.Digest))
	if err != nil {
		return err
	}
	return b.Registry.Tag(ctx, n.String(), desc, data)
}

func byDigest(repo string, d digest.Digest) string { return repo + "@" + d.String() }

// remember keeps what a build made, so that the next one can end early. Failing to is no error.
func (b *build) remember(what string, id digest.Digest, rec *llb.Recording, desc ocispecs.Descriptor, config string) {
	r := cache.Result{Descriptor: desc, ConfigDigest: config, Created: time.Now()}
	for _, p := range rec.Platforms() {
		r.Platforms = append(r.Platforms, platforms.FormatAll(p))
	}
	_ = cache.Results(b.Cache).Put(what+" "+id.String(), r)
}
