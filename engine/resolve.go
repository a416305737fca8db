package engine

import (
	"context"

	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// resolver resolves each tag once per build, so that all graphs of the build see the same base even when
// the tag moves meanwhile. It implements llb.Resolver.
type resolver struct{ images *registry.Resolver }

func (r resolver) ResolveImage(ctx context.Context, ref string, p ocispecs.Platform) (digest.Digest, []byte, error) {
	img, err := r.images.Resolve(ctx, ref, p)
	return img.Digest, img.Config, err
}
