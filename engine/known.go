package engine

import (
	"context"
	"errors"
	"fmt"
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
// A nil Result without an error says that it is not known.
func (b *build) known(ctx context.Context, id digest.Digest) (*Result, error) {
	if id == "" || !b.mayBeKnown() {
		return nil, nil
	}
	rec, ok := cache.Results(b.Cache).Get("image " + id.String())
	if !ok {
		return nil, nil
	}
	eg, ctx := errgroup.WithContext(ctx)
	for _, n := range b.req.Outputs.Names {
		eg.Go(func() error { return b.standing(ctx, n, rec.Descriptor) })
	}
	switch err := eg.Wait(); {
	case err == nil:
		b.Progress.Known("known: nothing to build, nothing to push")
		return b.standingResult(rec.Descriptor, rec.ConfigDigest), nil
	case b.req.FailFast && absent(err).Exists == Unknown:
		return nil, &UnknownError{Names: joinNames(b.req.Outputs), Reason: err.Error()}
	}
	return nil, nil // the way through the builder says what is wrong, if something is
}

// mayBeKnown says whether the request can be answered from memory at all: what is looked for is an image in a registry.
func (b *build) mayBeKnown() bool {
	out := b.req.Outputs
	return out.Push && len(out.Exports) == 0 && !b.req.Force && !b.req.Options.NoCache
}

// standingResult is the result of a build for which nothing had to be done.
func (b *build) standingResult(desc ocispecs.Descriptor, config string) *Result {
	res := &Result{Descriptor: desc, ConfigDigest: config, How: HowKnown}
	for _, n := range b.req.Outputs.Names {
		res.Names = append(res.Names, n.String())
	}
	return res
}

var errMoved = fmt.Errorf("the image itself: %w", registry.ErrNotFound)

// standing makes sure that a name stands for the image.
func (b *build) standing(ctx context.Context, n reference.NamedTagged, desc ocispecs.Descriptor) error {
	at, err := b.head(ctx, n.String(), b.Registry.Head)
	if err == nil && at.Digest == desc.Digest {
		return nil
	}
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	if _, err := b.Registry.Head(ctx, byDigest(n.Name(), desc.Digest)); errors.Is(err, registry.ErrNotFound) {
		return errMoved
	} else if err != nil {
		return err
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
