package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// keepEnvironment puts the environment with its facts under its tag, so that the registry keeps it and everybody
// finds it. Where that is not possible, this machine remembers it.
func (b *build) keepEnvironment(ctx context.Context, e *environment) error {
	kept, err := e.document()
	if err != nil {
		b.Progress.Known(err.Error() + ": they are not kept")
		return nil
	}
	b.keepLocally(ctx, e, kept)
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

// document is the index of the environment's images, with the facts about them. What is too much to be kept is left
// out of it, and not forgotten in e.
func (e *environment) document() (registry.Companion, error) {
	doc := factsDocument{Images: map[digest.Digest]*Facts{}}
	var list []ocispecs.Descriptor
	for _, img := range e.rec.Images {
		got := e.images[img.ID]
		platform := got.Platform
		list = append(list, ocispecs.Descriptor{
			MediaType: got.Manifest.MediaType, Digest: got.Manifest.Digest, Size: got.Manifest.Size, Platform: &platform, Data: got.ManifestBytes,
		})
		doc.Images[got.Manifest.Digest] = e.facts[img.ID].merged(&Facts{})
	}
	data, err := doc.encode()
	if err != nil {
		return registry.Companion{}, err
	}
	return registry.IndexWith(list, registry.Artifact{Type: environmentType, MediaType: factsType, Data: data})
}

// keepLocally puts the index and the facts into the local store; one that cannot be written forgets them.
func (b *build) keepLocally(ctx context.Context, e *environment, kept registry.Companion) {
	for _, c := range append(kept.Blobs, kept.Manifest, kept.Index) {
		_, _ = b.Cache.WriteBlob(ctx, c.MediaType, c.Bytes)
	}
	mine := map[string]digest.Digest{}
	for _, img := range e.images {
		mine[factsKey(img.Manifest.Digest)] = kept.Blobs[len(kept.Blobs)-1].Digest
	}
	_ = cache.Facts[digest.Digest](b.Cache).PutAll(mine)
}

// factsKey is where this machine remembers the document with what it has found out about an image.
func factsKey(image digest.Digest) string { return "environment/1 " + image.String() }

// recallFacts adds what this machine has found out about the images before, and says whether there was something:
// what is under the tag may be of somebody who did not know of it.
func (b *build) recallFacts(e *environment) bool {
	found := false
	for _, img := range e.rec.Images {
		image := e.images[img.ID].Manifest.Digest
		at, ok := cache.Facts[digest.Digest](b.Cache).Get(factsKey(image))
		if !ok {
			continue
		}
		data, err := b.Cache.ReadBlob(at, maxFacts)
		if err != nil {
			continue
		}
		if doc, err := parseFacts(data); err == nil && doc.Images[image] != nil {
			e.facts[img.ID], found = e.facts[img.ID].merged(doc.Images[image]), true
		}
	}
	return found
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

// maxMerges is how often a tag is put again because somebody else has put it meanwhile.
const maxMerges = 5

// pushEnvironment moves the tag of an environment. Registries have no "only if it is still what I saw", so two that
// find out something at the same time may each overwrite the other's tag. Hence the tag is looked at just before it is
// put, with all its parts there already, and just after, and what another one has found out about the same images goes
// into the next attempt. Whoever is overwritten even so puts its facts there again when it needs them (recallFacts).
func (b *build) pushEnvironment(ctx context.Context, e *environment, repo string, kept registry.Companion) error {
	name := repo + ":" + e.tag()
	for range maxMerges {
		parts := registry.Upload{Repository: repo, Manifests: []registry.Content{kept.Manifest}, Traffic: &b.moved.aside}
		for _, c := range kept.Blobs {
			parts.Blobs = append(parts.Blobs, c.Blob())
		}
		if err := b.Registry.Push(ctx, parts); err != nil {
			return err
		}
		if merged, err := b.mergeFacts(ctx, e, repo, kept); err != nil {
			return err
		} else if merged.Index.Digest != kept.Index.Digest {
			kept = merged
			continue
		}
		if err := b.Registry.Tag(ctx, name, kept.Index.Descriptor, kept.Index.Bytes); err != nil {
			return err
		}
		e.seen[repo] = kept.Index.Digest
		merged, err := b.mergeFacts(ctx, e, repo, kept)
		if err != nil || merged.Index.Digest == kept.Index.Digest {
			return err
		}
		kept = merged
	}
	return nil
}

// mergeFacts looks at the tag, and returns kept with what somebody else has put there about the same images.
func (b *build) mergeFacts(ctx context.Context, e *environment, repo string, kept registry.Companion) (registry.Companion, error) {
	at, _, err := b.Registry.Current(ctx, repo+":"+e.tag())
	if err != nil || at.Digest == e.seen[repo] || at.Digest == kept.Index.Digest {
		return kept, ctx.Err() // one that cannot be looked at may still be put
	}
	others, err := b.readFacts(ctx, byDigest(repo, at.Digest))
	if err != nil {
		return kept, ctx.Err()
	}
	e.seen[repo] = at.Digest
	for id, img := range e.images {
		if f := others.Images[img.Manifest.Digest]; f != nil {
			e.facts[id] = e.facts[id].merged(f)
		}
	}
	return e.document()
}

// rememberEnvironment keeps under a key what stands for an environment on this machine. Failing to is no error.
func (b *build) rememberEnvironment(key string, index ocispecs.Descriptor) {
	_ = cache.Results(b.Cache).Put(key, cache.Result{Descriptor: index, Created: time.Now()})
}
