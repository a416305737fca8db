package registry

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// parallelReads is how many tags are read at a time.
const parallelReads = 8

// Environment is an environment image of a repository.
type Environment struct {
	Tag    string
	Digest digest.Digest // what the tag stands for
	// Size is that of all its layers, in bytes. Layers that other images have, too, are not freed with it.
	Size int64
	// Time is when it was pushed, as far as the registry says so, else when it was made; zero when neither is known.
	Time time.Time
	// UsedBy are the other tags whose images are built on it: their layers begin with its own.
	UsedBy []string
}

// taggedImage is what a tag stands for.
type taggedImage struct {
	tag    string
	digest digest.Digest
	time   time.Time               // of the push or, after created, the newest time known
	images [][]ocispecs.Descriptor // the layers of each platform
	sizes  map[digest.Digest]int64 // of the layers
	config []ocispecs.Descriptor   // of each platform
}

// Environments lists the images of a repository whose tags begin with prefix, in the order of their tags, and finds
// out which other images are built on them. For that it reads the manifests of all tags; one that cannot be read is
// an error, as it may be built on any of them. The registry itself is asked, never a mirror. Errors: *Error, or the
// context's.
func (c *Client) Environments(ctx context.Context, repo, prefix string) ([]Environment, error) {
	p, own, err := c.destination(repo)
	if err != nil {
		return nil, err
	}
	list, err := c.listTags(ctx, own, p)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(list.tags, func(tag string) bool { return strings.HasPrefix(tag, prefix) }) {
		return nil, nil
	}
	read, err := c.readTags(ctx, own, p, list, prefix)
	if err != nil {
		return nil, err
	}
	var out []Environment
	for _, t := range read {
		if !strings.HasPrefix(t.tag, prefix) {
			continue
		}
		e := Environment{Tag: t.tag, Digest: t.digest, Time: t.time}
		for _, size := range t.sizes {
			e.Size += size
		}
		for _, o := range read {
			if !strings.HasPrefix(o.tag, prefix) && (o.digest == t.digest || o.isOn(t)) {
				e.UsedBy = append(e.UsedBy, o.tag)
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// isOn says whether one of the images begins with the layers of one of the others'. An image without layers is the
// beginning of all.
func (t *taggedImage) isOn(base *taggedImage) bool {
	return slices.ContainsFunc(base.images, func(below []ocispecs.Descriptor) bool {
		return slices.ContainsFunc(t.images, func(layers []ocispecs.Descriptor) bool {
			return len(layers) >= len(below) && slices.EqualFunc(layers[:len(below)], below, func(a, b ocispecs.Descriptor) bool { return a.Digest == b.Digest })
		})
	})
}

// readTags reads what all tags stand for. A tag that is gone meanwhile is left out.
func (c *Client) readTags(ctx context.Context, own target, p parsedRef, list *tagList, prefix string) ([]*taggedImage, error) {
	var mu sync.Mutex
	var out []*taggedImage
	eg, gctx := errgroup.WithContext(ctx)
	eg.SetLimit(parallelReads)
	for _, tag := range list.tags {
		eg.Go(func() error {
			t, err := c.readTag(gctx, own, p, tag)
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			t.time = later(t.time, list.uploaded[t.digest])
			if t.time.IsZero() && strings.HasPrefix(tag, prefix) {
				if t.time, err = c.created(gctx, p, t); err != nil {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, t)
			return nil
		})
	}
	if err := eg.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b *taggedImage) int { return strings.Compare(a.tag, b.tag) })
	return out, nil
}

func (c *Client) readTag(ctx context.Context, own target, p parsedRef, tag string) (*taggedImage, error) {
	p.tag, p.dgst, p.text = tag, "", p.name+":"+tag
	at, err := c.head(ctx, own, p)
	if err != nil {
		return nil, err
	}
	t := &taggedImage{tag: tag, digest: at.Digest, sizes: map[digest.Digest]int64{}}
	doc, err := c.ownDocument(ctx, own, p.pinned(at.Digest))
	if err != nil {
		return nil, err
	}
	t.add(doc)
	for _, e := range doc.index {
		if !IsManifest(e.MediaType) || e.Platform != nil && isAttestation(&e) {
			continue
		}
		one, err := c.ownDocument(ctx, own, p.pinned(e.Digest))
		if errors.Is(err, ErrNotFound) {
			continue // an index may name what its registry does not have
		}
		if err != nil {
			return nil, err
		}
		t.add(one)
	}
	return t, nil
}

// ownDocument reads a manifest from the cache or from the registry itself, and keeps nothing: it is read once.
func (c *Client) ownDocument(ctx context.Context, own target, p parsedRef) (document, error) {
	data, known := c.recall(p.dgst, c.limits.manifest)
	if !known {
		var err error
		if data, _, err = c.get(ctx, own, p); err != nil {
			return document{}, err
		}
	}
	doc, err := decodeDocument(data, c.limits)
	return doc, c.blame(p, err)
}

func (t *taggedImage) add(doc document) {
	if doc.image == nil {
		return
	}
	t.images = append(t.images, doc.image.Layers)
	t.config = append(t.config, doc.image.Config)
	for _, l := range doc.image.Layers {
		t.sizes[l.Digest] = l.Size
	}
}

// created is the newest time that the configs of an image name, zero when they name none.
func (c *Client) created(ctx context.Context, p parsedRef, t *taggedImage) (newest time.Time, err error) {
	for _, desc := range t.config {
		if !isConfigType(desc.MediaType) {
			continue
		}
		data, err := c.blob(ctx, p.pinned(desc.Digest), desc, c.limits.config)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return newest, err
		}
		var config struct {
			Created time.Time `json:"created"`
		}
		if json.Unmarshal(data, &config) == nil { // a time that is none is not known
			newest = later(newest, config.Created)
		}
	}
	return newest, nil
}

// earliest is before any container image: a time before it is one that was set to be no time.
const earliest = 2013

// later is the later one of two times, of which those before there were images do not count.
func later(a, b time.Time) time.Time {
	if b.Year() < earliest || b.Before(a) {
		return a
	}
	return b
}
