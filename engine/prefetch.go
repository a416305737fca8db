package engine

import (
	"cmp"
	"context"

	"github.com/ibuild/ibuild/llb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// prefetch begins to resolve the images that the source names, side by side: lowering asks for one after the other.
// Who asks for one of them waits for the answer that is on its way. An image that nobody asks for is in no recording,
// lock or identity, and a failure is told to whoever asks again.
func (b *build) prefetch(ctx context.Context, own ocispecs.Platform) {
	img := b.req.Plan.Image
	if img == nil {
		return // a Dockerfile's frontend asks for all stages at once
	}
	list := b.req.Options.Platforms
	if len(list) == 0 {
		list = []ocispecs.Platform{own}
	}
	refs := imagesOf(img)
	if len(refs) < 2 { // platforms are lowered side by side
		return
	}
	for _, ref := range refs {
		_, at, _ := b.req.Pins.apply(ref)
		for _, p := range list {
			go func() { _, _ = b.resolver.images.Resolve(ctx, at, p) }()
		}
	}
}

// imagesOf lists the base and the images that steps mount, each once.
func imagesOf(img *llb.Image) []string {
	var refs []string
	seen := map[string]bool{"": true, "scratch": true}
	add := func(ref string) {
		if !seen[ref] {
			seen[ref] = true
			refs = append(refs, ref)
		}
	}
	add(img.Base.Ref)
	for _, s := range img.Steps {
		e, ok := s.(llb.Exec)
		if !ok {
			continue
		}
		for _, m := range e.Mounts {
			if m.Kind == llb.ImageMount {
				add(cmp.Or(img.Tools[m.Ref], m.Ref))
			}
		}
	}
	return refs
}
