package engine

import (
	"context"
	"fmt"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Images that no code is put on (Dockerfiles, and what ends with a command) get the tag of an environment,
// too, for the image itself: whoever has the same source finds it by one HEAD.

// shareable says whether such a tag is asked for.
func (b *build) shareable(id digest.Digest) bool {
	out := b.req.Outputs
	if id == "" || !out.Push || out.NoEnvTag {
		return false
	}
	if b.req.Plan.Image == nil {
		return true
	}
	_, code := b.req.Plan.Image.Split()
	return len(code) == 0
}

// shared ends a build whose image somebody has made before: only names are moved. A nil Result without an error
// says that it has to be built.
func (b *build) shared(ctx context.Context, rec *llb.Recording, id digest.Digest) (*Result, error) {
	out := b.req.Outputs
	if !b.shareable(id) || len(out.Exports) > 0 || b.req.Force || b.req.Options.NoCache {
		return nil, nil
	}
	for _, repo := range out.environmentRepos() {
		p := b.Exists(ctx, repo+":"+environmentTag(id), rec.Platforms())
		if p.Exists == Unknown && b.req.FailFast {
			return nil, &UnknownError{Names: joinNames(out), Reason: p.Reason}
		}
		if p.Exists == Yes {
			err := b.bring(ctx, repo, p.Descriptor)
			if err == nil {
				b.Progress.Known("the image is in " + repo + ": nothing to build")
				return b.nameShared(ctx, p)
			}
			if ctx.Err() == nil {
				b.Progress.Known(fmt.Sprintf("the image is in %s and cannot be copied, so it is built: %v", repo, err))
			}
		}
	}
	return nil, ctx.Err()
}

// bring copies an image into the repositories of the request that it is not in.
func (b *build) bring(ctx context.Context, from string, desc ocispecs.Descriptor) error {
	for _, repo := range b.req.Outputs.repositories() {
		if repo == from {
			continue
		}
		var err error
		_ = b.transfer("copy the image to "+repo, func(t *registry.Traffic) error {
			err = b.Registry.Copy(ctx, from, repo, desc, t)
			return nil // a red line would say that the build failed
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// nameShared gives an image that is in all repositories of the request its names.
func (b *build) nameShared(ctx context.Context, p Presence) (*Result, error) {
	res := &Result{Descriptor: ocispecs.Descriptor{MediaType: p.Descriptor.MediaType, Digest: p.Descriptor.Digest, Size: p.Descriptor.Size},
		ConfigDigest: p.ConfigDigest.String(), How: HowKnown}
	return res, b.moveTags(ctx, res)
}

// share puts an image that was built under the tag of its identity. That it cannot is no reason to fail: the
// image has its names.
func (b *build) share(ctx context.Context, id digest.Digest, res *Result) {
	if !b.shareable(id) || res.How != HowSolved || res.Descriptor.Digest == "" {
		return
	}
	from := b.req.Outputs.repositories()[0]
	for _, repo := range b.req.Outputs.environmentRepos() {
		name, err := tagged(repo, environmentTag(id))
		if err == nil && b.req.Outputs.EnvRepo != nil && repo != from {
			_ = b.transfer("copy the image to "+repo, func(t *registry.Traffic) error {
				err = b.Registry.Copy(ctx, from, repo, res.Descriptor, t)
				return nil // as above
			})
		}
		if err == nil {
			err = b.tag(ctx, name, res.Descriptor)
		}
		if err != nil && ctx.Err() == nil {
			b.Progress.Known(fmt.Sprintf("only this machine will find the image by its source: %v", err))
		}
	}
}

func tagged(repo, tag string) (reference.NamedTagged, error) {
	named, err := reference.ParseNormalizedNamed(repo)
	if err != nil {
		return nil, err
	}
	return reference.WithTag(named, tag)
}
