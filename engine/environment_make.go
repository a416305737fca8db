package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/moby/buildkit/client"
	bk "github.com/moby/buildkit/client/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
)

// looker collects the facts about an environment's images while a builder has them at hand.
type looker struct {
	env   *environment
	mu    sync.Mutex
	facts map[string]*Facts
}

// look is called for all platforms at once.
func (l *looker) look(ctx context.Context, img llb.RecordedImage, ref gateway.Reference) error {
	f := &Facts{}
	if err := f.explore(ctx, ref, img, l.env.img, l.env.code); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.facts[img.ID] = f
	return nil
}

// learn has a builder look into the environment's images where they are, for facts that are not known yet. The
// images stay what they are, so nobody gets another environment than everybody else.
func (b *build) learn(ctx context.Context, e *environment) error {
	l := &looker{env: e, facts: map[string]*Facts{}}
	pull := func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
		for _, img := range e.rec.Images {
			ref := byDigest(e.repos[0], e.images[img.ID].Manifest.Digest)
			def, err := bk.Image(ref, bk.Platform(img.Platform), bk.WithCustomName("look into the environment "+ref)).Marshal(ctx)
			if err != nil {
				return nil, err
			}
			res, err := c.Solve(ctx, gateway.SolveRequest{Definition: def.ToPB()})
			if err != nil {
				return nil, err
			}
			if err := l.look(ctx, img, res.Ref); err != nil {
				return nil, err
			}
		}
		return gateway.NewResult(), nil
	}
	if _, err := b.solveOnce(ctx, func(llb.Machine) gateway.BuildFunc { return pull }, nil, nil, nil); err != nil {
		return err
	}
	for id, f := range l.facts {
		e.facts[id] = e.facts[id].merged(f)
	}
	return b.keepEnvironment(ctx, e)
}

// solveEnvironment has the builder make the environment images, learns the facts about their trees, and puts
// them where the result goes.
func (b *build) solveEnvironment(ctx context.Context, e *environment) error {
	exports, repos, err := b.environmentExports(ctx)
	if err != nil {
		return err
	}
	l := &looker{env: e, facts: map[string]*Facts{}}
	resp, err := nativeFirst(ctx, b, e.img, e.rec, func(rec *llb.Recording) (map[string]string, error) {
		return b.solveOnce(ctx, func(m llb.Machine) gateway.BuildFunc { return rec.Replay(m.Apply, l.look) }, platformAttrs(rec), exports, b.links())
	})
	if err != nil {
		return err
	}
	desc, err := descriptor(resp)
	if err != nil {
		return err
	}
	list := make([]registry.Image, len(e.rec.Images))
	for i, img := range e.rec.Images {
		if list[i], err = b.Registry.Resolve(ctx, byDigest(repos[0], desc.Digest), img.Platform); err != nil {
			return err
		}
	}
	e.set(list, repos)
	e.facts = l.facts
	if still, err := e.stillTrue(ctx); !still {
		return err // its name would not be true
	}
	return b.keepEnvironment(ctx, e)
}

// environmentExports are where the builder brings the environment, and the names of these places.
func (b *build) environmentExports(ctx context.Context) ([]client.ExportEntry, []string, error) {
	o := &build{Engine: b.Engine, req: b.req, codec: b.codec}
	o.req.Outputs.Exports = nil
	if repo := b.req.Outputs.EnvRepo; repo != nil && b.req.Outputs.Push {
		if err := b.Registry.CheckPush(ctx, repo.Name()); err != nil {
			if ctx.Err() != nil {
				return nil, nil, err
			}
			b.Progress.Known(fmt.Sprintf("the environment cannot be kept in %s: %v", reference.FamiliarName(repo), err))
			b.req.Outputs.EnvRepo, b.req.Outputs.NoEnvTag = nil, true
		} else {
			name, err := reference.WithTag(reference.TrimNamed(repo), "ibuild-env") // no tag of this name is made
			if err != nil {
				return nil, nil, err
			}
			o.req.Outputs.Names = []reference.NamedTagged{name}
		}
	}
	out, err := o.openOutputs()
	if err != nil {
		return nil, nil, err
	}
	repos := b.req.Outputs.environmentRepos()
	if len(b.req.Outputs.Exports) > 0 {
		store, err := b.Cache.Content()
		if err != nil {
			return nil, nil, err
		}
		out.entries = append(out.entries, client.ExportEntry{Type: client.ExporterOCI, OutputStore: store, Attrs: b.req.Outputs.compressed(map[string]string{"tar": "false", "oci-mediatypes": "true"}, b.codec)})
	}
	if len(repos) == 0 {
		repos = []string{localEnv}
	}
	return out.entries, repos, nil
}
