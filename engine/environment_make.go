package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/moby/buildkit/client"
	bk "github.com/moby/buildkit/client/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
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
	if _, err := b.run1(ctx, func(llb.Machine) gateway.BuildFunc { return pull }, nil, nil); err != nil {
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
		return b.run1(ctx, func(m llb.Machine) gateway.BuildFunc { return rec.Replay(m.Apply, l.look) }, platformAttrs(rec), exports)
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
	o := &build{Engine: b.Engine, req: b.req}
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
		out.entries = append(out.entries, client.ExportEntry{Type: client.ExporterOCI, OutputStore: store, Attrs: map[string]string{"tar": "false", "oci-mediatypes": "true"}})
	}
	if len(repos) == 0 {
		repos = []string{localEnv}
	}
	return out.entries, repos, nil
}

// keepEnvironment puts the environment with its facts under its tag, so that the registry keeps it and everybody
// finds it. Where that is not possible, this machine remembers it.
func (b *build) keepEnvironment(ctx context.Context, e *environment) error {
	kept, err := e.document()
	if err != nil {
		b.Progress.Known(err.Error() + ": they are not kept")
		return nil
	}
	b.keepLocally(ctx, kept)
	if len(b.req.Outputs.Exports) > 0 {
		b.rememberEnvironment(e.localKey(), kept.Index.Descriptor)
	}
	for _, repo := range e.repos {
		if repo != localEnv && !b.shareEnvironment(ctx, e, repo, kept) {
			b.rememberEnvironment(e.ownKey(repo, e.seen[repo]), kept.Index.Descriptor)
		}
	}
	return ctx.Err()
}

// shareEnvironment puts the environment under its tag, and says whether it could. A registry that does not take
// it (the tag is immutable, or others may not write it) does not stop the build.
func (b *build) shareEnvironment(ctx context.Context, e *environment, repo string, kept registry.Companion) bool {
	if b.req.Outputs.NoEnvTag {
		return false
	}
	name := repo + ":" + e.tag()
	var err error
	_ = b.Progress.Step("keep the environment as "+name, func() error {
		err = b.pushEnvironment(ctx, e, repo, kept)
		return nil // a red line would say that the build failed
	})
	if err != nil && ctx.Err() == nil {
		b.Progress.Known(fmt.Sprintf("only this machine will find the environment: %v", err))
	}
	return err == nil
}

// document is the index of the environment's images, with the facts about them.
func (e *environment) document() (registry.Companion, error) {
	doc := factsDocument{Images: map[digest.Digest]*Facts{}}
	var list []ocispecs.Descriptor
	for _, img := range e.rec.Images {
		got := e.images[img.ID]
		platform := got.Platform
		list = append(list, ocispecs.Descriptor{
			MediaType: got.Manifest.MediaType, Digest: got.Manifest.Digest, Size: got.Manifest.Size, Platform: &platform, Data: got.ManifestBytes,
		})
		doc.Images[got.Manifest.Digest] = e.facts[img.ID]
	}
	data, err := doc.encode()
	if err != nil {
		return registry.Companion{}, err
	}
	return registry.IndexWith(list, registry.Artifact{Type: environmentType, MediaType: factsType, Data: data})
}

// keepLocally puts the index and the facts into the local store; one that cannot be written forgets them.
func (b *build) keepLocally(ctx context.Context, kept registry.Companion) {
	for _, c := range append(kept.Blobs, kept.Manifest, kept.Index) {
		_, _ = b.Cache.WriteBlob(ctx, c.MediaType, c.Bytes)
	}
}

// pushEnvironment moves the tag of an environment. What somebody else has found out about the same images
// meanwhile is kept.
func (b *build) pushEnvironment(ctx context.Context, e *environment, repo string, kept registry.Companion) error {
	if at, err := b.Registry.Head(ctx, repo+":"+e.tag()); err == nil && at.Digest != e.seen[repo] && at.Digest != kept.Index.Digest {
		if others, err := b.readFacts(ctx, byDigest(repo, at.Digest)); err == nil {
			for id, img := range e.images {
				if f := others.Images[img.Manifest.Digest]; f != nil {
					e.facts[id] = e.facts[id].merged(f)
				}
			}
			if more, err := e.document(); err == nil {
				kept = more
			}
		}
	}
	up := registry.Upload{Repository: repo, Manifests: []registry.Content{kept.Manifest, kept.Index}, Tags: []string{repo + ":" + e.tag()}}
	for _, c := range kept.Blobs {
		up.Blobs = append(up.Blobs, c.Blob())
	}
	return b.Registry.Push(ctx, up)
}

// rememberEnvironment keeps under a key what stands for an environment on this machine. Failing to is no error.
func (b *build) rememberEnvironment(key string, index ocispecs.Descriptor) {
	_ = cache.Results(b.Cache).Put(key, cache.Result{Descriptor: index, Created: time.Now()})
}
