package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
	"github.com/opencontainers/go-digest"
)

// Outlook says what a build of a request would do now.
type Outlook struct {
	// How is what it would take: HowKnown, HowAssembled or HowSolved.
	How How
	// Why says it in one line, for people.
	Why string
	// Outline is what would be built, masked as in a record; nil when only a builder can tell, or the engine has no Mask.
	Outline *llb.Outline
	// Identity is the image's identity, "" when it has none.
	Identity digest.Digest
}

// Foresee finds out what [Engine.Build] would do with a request, and does nothing of it: registries and this
// machine's memory are asked, no builder is, and no name moves. What would be solved may still be in the
// builder's own cache. Errors are those of recording and of naming the image.
func (e *Engine) Foresee(ctx context.Context, req Request) (*Outlook, error) {
	quiet := *e
	quiet.Progress = NewProgress()
	defer quiet.Progress.Close()
	go func() {
		for range quiet.Progress.Statuses() {
		}
	}()
	req.Options.Native = false // as in Build
	rec, b, err := quiet.recording(ctx, req)
	var needs *llb.NeedsBuilderError
	if errors.As(err, &needs) {
		return &Outlook{How: HowSolved, Why: err.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	graph, err := rec.Graph(ctx)
	if err != nil {
		return nil, err
	}
	b.rec, b.graph = rec, graph
	id := b.identity(graph)
	if err := b.name(graph); err != nil {
		return nil, err
	}
	o := &Outlook{Identity: b.imageID}
	if b.Mask != nil {
		o.Outline = b.outline()
	}
	o.How, o.Why, err = b.foresee(ctx, id)
	return o, err
}

// foresee goes the way of run and make without doing anything.
func (b *build) foresee(ctx context.Context, id digest.Digest) (How, string, error) {
	out := b.req.Outputs
	switch {
	case b.provider.Make != nil:
		return HowSolved, "the builder " + b.provider.Name + " makes it by means of its own", nil
	case b.req.Force || b.req.Options.NoCache:
		return HowSolved, "it was asked for anew", nil
	case id == "":
		return HowSolved, "only a builder can tell whether this changed: " + b.graph.Volatile()[0], nil
	case !out.Push && len(out.Exports) == 0:
		return HowSolved, "the result stays in the builder's cache: no output is asked for", nil
	}
	if out.Push && len(out.Exports) == 0 {
		if b.remembered(ctx, id) {
			return HowKnown, "this machine remembers the image, and the registry has it", nil
		}
		if where := b.elsewhere(ctx, id); where != "" {
			return HowKnown, where + " has it already", nil
		}
	}
	if err := ctx.Err(); err != nil {
		return "", "", err
	}
	return b.foreseeMake(ctx)
}

// remembered says whether known would end the build.
func (b *build) remembered(ctx context.Context, id digest.Digest) bool {
	rec, ok := cache.Results(b.Cache).Get("image " + id.String())
	if !ok {
		return false
	}
	for _, n := range b.req.Outputs.Names {
		if at, err := b.Registry.Head(ctx, n.String()); err == nil && at.Digest == rec.Descriptor.Digest {
			continue
		}
		if _, err := b.Registry.Head(ctx, byDigest(n.Name(), rec.Descriptor.Digest)); err != nil {
			return false // with it there, the name would be put back
		}
	}
	return true
}

// elsewhere says where an image is that somebody else has built, as there and shared look for it; "" for nowhere.
func (b *build) elsewhere(ctx context.Context, id digest.Digest) string {
	if len(b.asked.ByIdentity) > 0 && len(b.asked.Names) == 0 && b.everywhere(ctx, b.rec.Platforms()).Exists == Yes {
		return "the registry"
	}
	if !b.shareable(id) {
		return ""
	}
	for _, repo := range b.req.Outputs.environmentRepos() {
		if b.Exists(ctx, repo+":"+environmentTag(id), b.rec.Platforms()).Exists == Yes {
			return repo
		}
	}
	return ""
}

// foreseeMake says how make would make the image.
func (b *build) foreseeMake(ctx context.Context) (How, string, error) {
	img := b.req.Plan.Image
	if img == nil || !b.req.Outputs.assembled() {
		return HowSolved, "a builder has to make it", nil
	}
	env, code := img.Split()
	if len(code) == 0 {
		return HowSolved, "a builder has to make it: no code comes last", nil
	}
	p, ok := b.rememberedPlatform()
	if !ok {
		p = hostPlatform() // as recording does: no builder is asked
	}
	rec, err := b.recordFor(ctx, p, env.BuildFunc(b.req.Options))
	if err != nil {
		return "", "", err
	}
	graph, err := rec.Graph(ctx)
	if err != nil {
		return "", "", err
	}
	layers, err := b.knownEnvironment(ctx, newEnvironment(rec, env, code, graph, b.req.Outputs.form(b.codec)))
	var needs *needsBuilder
	switch {
	case errors.As(err, &needs):
		return HowSolved, "code is put into the image by the builder: " + needs.why, nil
	case err != nil:
		return "", "", fmt.Errorf("the environment: %w", err)
	case layers == nil:
		return HowSolved, "a builder has to make the environment, and the code is put on top of it here", nil
	}
	return HowAssembled, "the environment is known: the code is put on top of it here", nil
}
