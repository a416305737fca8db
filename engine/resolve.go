package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/engine/journal"
	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Pins are digests that stand for tags, by the canonical name (docker.io/library/debian:12). The tags are not
// looked up.
type Pins map[string]digest.Digest

// ResolvedImage is an image that a recording needed and that its source names by a tag.
type ResolvedImage struct {
	Name   string // canonical, with the tag
	Digest digest.Digest
	Pinned bool // the digest is from the request's Pins
}

// resolver resolves each tag once per build, so that all graphs of the build see the same base even when
// the tag moves meanwhile. It implements llb.Resolver.
type resolver struct {
	images *registry.Resolver
	pins   Pins
	seen   journal.Journal // what tags stood for in earlier builds

	mu    sync.Mutex
	asked map[string]ResolvedImage
	repos []string // that images were found in, and that caches are in
}

func newResolver(e *Engine, pins Pins) *resolver {
	return &resolver{images: e.Registry.NewResolver(), pins: pins, seen: journal.Open(e.Cache), asked: map[string]ResolvedImage{}}
}

// know notes that layers may come from a repository that no recording resolves: that of a cache, or of an image that a
// frontend resolves on the builder.
func (r *resolver) know(ref string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if named, err := reference.ParseNormalizedNamed(ref); err == nil && !slices.Contains(r.repos, named.Name()) {
		r.repos = append(r.repos, named.Name())
	}
}

// ResolveImage implements llb.Resolver.
func (r *resolver) ResolveImage(ctx context.Context, ref string, p ocispecs.Platform) (digest.Digest, []byte, error) {
	img, err := r.resolve(ctx, ref, p)
	return img.Digest, img.Config, err
}

func (r *resolver) resolve(ctx context.Context, ref string, p ocispecs.Platform) (registry.Image, error) {
	name, at, pinned := r.pins.apply(ref)
	img, err := r.images.Resolve(ctx, at, p)
	if err != nil && pinned {
		return img, fmt.Errorf("%w (the lock pins %s to this digest; ibuild lock --update moves it)", err, name)
	}
	if name != "" && !pinned && errors.Is(err, registry.ErrUnreachable) {
		err = r.recall(err, name)
	}
	if err != nil {
		return img, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if named, perr := reference.ParseNormalizedNamed(ref); perr == nil && !slices.Contains(r.repos, named.Name()) {
		r.repos = append(r.repos, named.Name())
	}
	if name != "" {
		r.asked[name] = ResolvedImage{Name: name, Digest: img.Digest, Pinned: pinned}
	}
	return img, err
}

// recall adds to the error of a registry that is out of reach what the tag stood for in an earlier build. Nobody knows
// whether it still does, so nothing is built on it unless the source says so.
func (r *resolver) recall(err error, name string) error {
	var reach *registry.Error
	named, perr := reference.ParseNormalizedNamed(name)
	at, when, ok := r.seen.Seen(name)
	if !ok || perr != nil || !errors.As(err, &reach) {
		return err
	}
	told := *reach
	told.Msg += fmt.Sprintf("; at %s it was %s", when.UTC().Format(time.DateTime+" MST"), at)
	told.Hint = strings.TrimPrefix(fmt.Sprintf("%s; or write %s@%s, which asks for no tag", reach.Hint, reference.FamiliarString(named), at), "; or ")
	return &told
}

// list returns what was resolved by a tag so far, sorted by name.
func (r *resolver) list() []ResolvedImage {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []ResolvedImage
	for _, img := range r.asked {
		list = append(list, img)
	}
	slices.SortFunc(list, func(a, b ResolvedImage) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// apply returns the canonical name of a reference, "" when it has a digest of its own or is no reference, and
// what to look up in its place.
func (pins Pins) apply(ref string) (name, at string, pinned bool) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", ref, false // the registry says what is wrong with it
	}
	if _, ok := named.(reference.Digested); ok {
		return "", ref, false
	}
	name = reference.TagNameOnly(named).String()
	d, ok := pins[name]
	if !ok {
		return name, ref, false
	}
	return name, byDigest(named.Name(), d), true
}
