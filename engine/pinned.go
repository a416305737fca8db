package engine

import (
	"context"
	"strings"

	"github.com/moby/buildkit/client/llb/sourceresolver"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/opencontainers/go-digest"
)

// pinnedClient holds a frontend that resolves images with the builder to the pins.
type pinnedClient struct {
	gateway.Client
	build *build
}

// ResolveImageConfig implements gateway.Client.
func (c *pinnedClient) ResolveImageConfig(ctx context.Context, ref string, opt sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	c.build.resolver.know(ref)
	_, at, pinned := c.build.req.Pins.apply(ref)
	if !pinned {
		return c.Client.ResolveImageConfig(ctx, ref, opt)
	}
	_, d, config, err := c.Client.ResolveImageConfig(ctx, at, opt)
	return ref, d, config, err
}

// Solve implements gateway.Client. A frontend that is an image itself resolves on the builder, where no lock is.
func (c *pinnedClient) Solve(ctx context.Context, req gateway.SolveRequest) (*gateway.Result, error) {
	if req.Frontend != "" && c.build.req.Pins != nil {
		c.build.Progress.Known("the lock of images means nothing to the frontend " + req.FrontendOpt["source"])
	}
	return c.Client.Solve(ctx, req)
}

// tellUnpinned names the images that the lock does not have, where there is one.
func (b *build) tellUnpinned() {
	if b.req.Pins == nil {
		return
	}
	var missing []string
	for _, img := range b.resolver.list() {
		if !img.Pinned {
			missing = append(missing, img.Name)
		}
	}
	if len(missing) > 0 {
		b.Progress.Known("not in the lock of images (ibuild lock adds them): " + strings.Join(missing, ", "))
	}
}
