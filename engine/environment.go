package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// localEnv is the name that environment images have which are in the local store only.
const localEnv = "ibuild.local/environment"

// environment is an image that code is put on, for all platforms. It is kept as an index: the images, and one
// artifact with the facts about their trees (see environmentType).
type environment struct {
	rec   *llb.Recording
	id    digest.Digest
	stamp digest.Digest // of its files, before they were read
	code  []llb.Step
	img   *llb.Image

	// What follows is set once the environment is found or made.
	repos  []string                  // where its images can be read from; localEnv for the local store
	images map[string]registry.Image // by the platform's ID
	facts  map[string]*Facts         // likewise
	seen   map[string]digest.Digest  // what the tag stood for, by repository

	// standing says what the names of the outputs stand for, "" for what is not known. It waits for the registry.
	standing func() map[string]digest.Digest
}

func newEnvironment(rec *llb.Recording, img *llb.Image, code []llb.Step, graph *llb.Graph, form string) *environment {
	return &environment{rec: rec, img: img, code: code, stamp: graph.Stamp, seen: map[string]digest.Digest{},
		standing: func() map[string]digest.Digest { return nil },
		id:       digest.FromString("environment/1 " + form + "\n" + graph.Identity().String())}
}

// environmentTag is the tag of what has an identity and can be built upon, or found, by everybody.
func environmentTag(id digest.Digest) string { return "ibuild-env-" + id.Encoded()[:32] }

func (e *environment) tag() string { return environmentTag(e.id) }

// ownKey is where this machine remembers an environment that it could not put under its tag, as long as the tag
// stands for the same as then.
func (e *environment) ownKey(repo string, seen digest.Digest) string {
	return "environment " + e.id.String() + " " + repo + " " + seen.String()
}

func (e *environment) localKey() string { return "local " + e.id.String() }

func (e *environment) found() bool { return e.images != nil }

// findEnvironment looks the environment up where the result goes, and what is known about it. It is not found
// when anything goes wrong: a builder can always make it.
func (b *build) findEnvironment(ctx context.Context, e *environment) {
	out := b.req.Outputs
	for _, repo := range out.environmentRepos() {
		if b.findIn(ctx, e, repo) {
			break
		}
	}
	if !e.found() && out.EnvRepo != nil { // it may have been refused there
		for _, repo := range out.repositories() {
			if b.findOwn(ctx, e, repo, "") {
				break
			}
		}
	}
	if len(out.Exports) == 0 {
		return
	}
	if !out.Push {
		// No registry is called ibuild.local, so nothing may be missing.
		if r, ok := cache.Results(b.Cache).Get(e.localKey()); ok && b.wholeLocally(ctx, r.Descriptor) {
			_ = b.openEnvironment(ctx, e, localEnv, r.Descriptor)
		}
	}
	for _, img := range e.images {
		if !b.wholeLocally(ctx, img.Manifest) {
			e.images = nil
			return
		}
	}
}

// findIn looks in one repository: one request for the tag, and what is not in the cache yet of index, facts and
// configs. Who sees this environment for the first time may be about to make an image that somebody else has pushed,
// so the names are looked up meanwhile.
func (b *build) findIn(ctx context.Context, e *environment, repo string) bool {
	var at ocispecs.Descriptor
	if !b.req.Outputs.NoEnvTag {
		var first bool
		at, first, _ = b.Registry.Current(ctx, repo+":"+e.tag()) // an error is a registry that does not say, so nothing is there
		if first && at.Digest != "" {
			e.standing = b.askNames(ctx)
		}
	}
	e.seen[repo] = at.Digest
	return b.findOwn(ctx, e, repo, at.Digest) || at.Digest != "" && b.openEnvironment(ctx, e, repo, at) == nil
}

// askNames begins to ask what the names of the outputs stand for. What cannot be told is not known.
func (b *build) askNames(ctx context.Context) (wait func() map[string]digest.Digest) {
	names := b.req.Outputs.Names
	found := make([]digest.Digest, len(names))
	var all sync.WaitGroup
	for i, n := range names {
		all.Go(func() {
			if at, err := b.head(ctx, n.String(), b.Registry.Glance); err == nil {
				found[i] = at.Digest
			}
		})
	}
	return sync.OnceValue(func() map[string]digest.Digest {
		all.Wait()
		at := map[string]digest.Digest{}
		for i, n := range names {
			at[n.String()] = found[i]
		}
		return at
	})
}

// findOwn takes what this machine remembers of an environment that could not be put under its tag.
func (b *build) findOwn(ctx context.Context, e *environment, repo string, seen digest.Digest) bool {
	r, ok := cache.Results(b.Cache).Get(e.ownKey(repo, seen))
	if !ok || b.openEnvironment(ctx, e, repo, r.Descriptor) != nil {
		return false
	}
	if !b.stillIn(ctx, e, repo) {
		e.images = nil
	}
	return e.found()
}

// stillIn says whether a repository has the images of an environment, with one HEAD each: no tag keeps them.
func (b *build) stillIn(ctx context.Context, e *environment, repo string) bool {
	for _, img := range e.images {
		if _, err := b.Registry.Head(ctx, byDigest(repo, img.Manifest.Digest)); err != nil {
			return false
		}
	}
	return true
}

// openEnvironment reads an environment by its index, from the cache as far as it is there. Facts that are not
// there, or not as they should be, are none.
func (b *build) openEnvironment(ctx context.Context, e *environment, repo string, index ocispecs.Descriptor) error {
	ref := byDigest(repo, index.Digest)
	if _, err := b.Registry.FetchManifest(ctx, ref); err != nil { // before all that needs it begins to ask for it
		return err
	}
	var known factsDocument
	list := make([]registry.Image, len(e.rec.Images))
	eg, gctx := errgroup.WithContext(ctx)
	eg.Go(func() (err error) {
		known, err = b.readFacts(gctx, ref)
		return err
	})
	for i, img := range e.rec.Images {
		eg.Go(func() (err error) {
			list[i], err = b.Registry.Resolve(gctx, ref, img.Platform)
			return err
		})
	}
	if err := eg.Wait(); err != nil {
		return err
	}
	e.set(list, []string{repo})
	for i, img := range e.rec.Images {
		if f := known.Images[list[i].Manifest.Digest]; f != nil {
			e.facts[img.ID] = f
		}
	}
	return nil
}

// set makes list the environment's images, of which nothing is known yet.
func (e *environment) set(list []registry.Image, repos []string) {
	e.repos, e.images, e.facts = repos, map[string]registry.Image{}, map[string]*Facts{}
	for i, img := range e.rec.Images {
		e.images[img.ID], e.facts[img.ID] = list[i], &Facts{}
	}
}

// readFacts returns the facts that an index has beside its images. A registry that cannot be reached is an
// error; a document that makes no sense counts as none.
func (b *build) readFacts(ctx context.Context, ref string) (factsDocument, error) {
	data, err := b.Registry.FetchArtifact(ctx, ref, environmentType, maxFacts)
	if err != nil || data == nil {
		return factsDocument{}, err
	}
	doc, err := parseFacts(data)
	if err != nil {
		b.Progress.Known(fmt.Sprintf("%s: %v: a builder is asked", ref, err))
	}
	return doc, nil
}

// wholeLocally says whether the local store has an image with all that it names.
func (b *build) wholeLocally(ctx context.Context, desc ocispecs.Descriptor) bool {
	store, err := b.Cache.Content()
	if err != nil {
		return false
	}
	whole := true
	err = images.Walk(ctx, images.HandlerFunc(func(ctx context.Context, d ocispecs.Descriptor) ([]ocispecs.Descriptor, error) {
		if !b.Cache.HasBlob(d) {
			whole = false
			return nil, images.ErrStopHandler
		}
		return images.Children(ctx, store, d)
	}), desc)
	return err == nil && whole
}

// layers lays the code out on every platform of the environment. A *needsBuilder error says why it cannot be.
func (e *environment) layers(ctx context.Context) (map[string][]codeLayer, error) {
	out := map[string][]codeLayer{}
	for _, img := range e.rec.Images {
		config, err := llb.ParseConfig(img.Config, img.Platform)
		if err != nil {
			return nil, err
		}
		tree := &codeTree{facts: e.facts[img.ID], added: map[string]Node{}}
		if out[img.ID], err = tree.layers(ctx, e.img, e.code, config); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// stillTrue says whether the files that the identity was made of are as they were.
func (e *environment) stillTrue(ctx context.Context) (bool, error) {
	now, err := e.rec.Stamp(ctx)
	return err == nil && now == e.stamp, err
}

// in says whether the environment's images are in a repository.
func (e *environment) in(repo string) bool { return slices.Contains(e.repos, repo) }
