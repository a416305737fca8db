package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Existence says whether an image is in a registry. What cannot be told is never a yes.
type Existence int

// The three answers.
const (
	Unknown Existence = iota // no answer that could be believed
	No
	Yes
)

// String is the answer in a word: "yes", "no" or "unknown".
func (e Existence) String() string {
	switch e {
	case Yes:
		return "yes"
	case No:
		return "no"
	}
	return "unknown"
}

// Presence is what a registry says about an image.
type Presence struct {
	Exists Existence
	// Reason says in one line why it is not a yes; "" for a yes.
	Reason string
	// Descriptor is the image or index of a yes.
	Descriptor ocispecs.Descriptor
	// ConfigDigest is the digest of the image config of a single image, "" for an index and when no platform
	// was asked for.
	ConfigDigest digest.Digest
}

// Exists asks the registry itself, never a mirror, whether it has an image of this name for all the platforms;
// none of them means any. It talks to the registry alone, with the caller's credentials: no builder, no daemon.
func (e *Engine) Exists(ctx context.Context, ref string, list []ocispecs.Platform) Presence {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return Presence{Exists: Unknown, Reason: fmt.Sprintf("%s: %v", ref, err)}
	}
	desc, first, err := e.Registry.Current(ctx, named.String())
	if err != nil {
		return absent(err)
	}
	if first { // its manifest is in the cache now, and may be gone from the registry, where a tag can outlive it
		if _, err := e.Registry.Head(ctx, byDigest(named.Name(), desc.Digest)); err != nil {
			return absent(err)
		}
	}
	p := Presence{Exists: Yes, Descriptor: desc}
	for _, want := range list {
		img, err := e.Registry.Resolve(ctx, byDigest(named.Name(), desc.Digest), want)
		if err != nil {
			return absent(err)
		}
		if img.Manifest.Digest == desc.Digest {
			p.ConfigDigest = img.ConfigDigest
		}
	}
	return p
}

// Find answers as [Engine.Exists] does, in the words of those who know nothing of this package
// (spec.Finder).
func (e *Engine) Find(ctx context.Context, ref reference.Named, list []ocispecs.Platform) (there, known bool, reason string) {
	p := e.Exists(ctx, ref.String(), list)
	return p.Exists == Yes, p.Exists != Unknown, p.Reason
}

// NamedPresence is what a registry says about one name.
type NamedPresence struct {
	Name string
	Presence
}

// Lookup asks for all names of a request, those made from its identity included, whether there is an image for
// all its platforms. No builder is asked. For a name of the first kind a yes says that there is an image of
// that name, for one of the second kind that it is the image that would be built.
func (e *Engine) Lookup(ctx context.Context, req Request) ([]NamedPresence, error) {
	req.Options.Native = false // as in Build
	rec, b, err := e.recording(ctx, req)
	if err != nil {
		return nil, err
	}
	graph, err := rec.Graph(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.name(graph); err != nil {
		return nil, err
	}
	var list []NamedPresence
	for _, n := range b.req.Outputs.Names {
		list = append(list, NamedPresence{n.String(), e.Exists(ctx, n.String(), rec.Platforms())})
	}
	return list, nil
}

// absent tells a registry that says no from one that does not say.
func absent(err error) Presence {
	var platform *registry.PlatformError
	if errors.Is(err, registry.ErrNotFound) || errors.As(err, &platform) {
		return Presence{Exists: No, Reason: err.Error()}
	}
	return Presence{Exists: Unknown, Reason: err.Error()}
}

// UnknownError says that a build with FailFast could not tell whether its image exists.
type UnknownError struct {
	Names  string
	Reason string
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("cannot tell whether %s exists: %s", e.Names, e.Reason)
}

// BuildMissing builds what is not there: it is forced, or the registry says that it does not have the image,
// or it cannot be told, where that is no error (Request.FailFast). The error is an *UnknownError.
func BuildMissing(ctx context.Context, req Request, exists func(context.Context) (Existence, string)) (bool, error) {
	if req.Force {
		return true, nil
	}
	switch is, reason := exists(ctx); {
	case is == Yes:
		return false, nil
	case is == Unknown && req.FailFast:
		return false, &UnknownError{Names: joinNames(req.Outputs), Reason: reason}
	}
	return true, ctx.Err()
}

// there ends a build whose names are all made from its identity and whose image the registries have already,
// whoever built it. A nil Result without an error says that it has to be built.
func (b *build) there(ctx context.Context, rec *llb.Recording) (*Result, error) {
	out := b.req.Outputs
	if len(b.asked.ByIdentity) == 0 || len(b.asked.Names) > 0 || !out.Push || len(out.Exports) > 0 || b.req.Options.NoCache {
		return nil, nil
	}
	should := b.provider.ShouldBuild
	if should == nil {
		should = BuildMissing
	}
	var found Presence
	asked := false
	ask := func(ctx context.Context) (Existence, string) {
		found, asked = b.everywhere(ctx, rec.Platforms()), true
		return found.Exists, found.Reason
	}
	build, err := should(ctx, b.req, ask)
	if build || err != nil {
		return nil, err
	}
	if !asked {
		ask(ctx)
	}
	if found.Exists != Yes {
		return nil, fmt.Errorf("the builder %s does not build %s, which is not there: %s", b.provider.Name, joinNames(out), found.Reason)
	}
	b.Progress.Known("the registry has it already: nothing to build, nothing to push")
	return b.standingResult(found.Descriptor, found.ConfigDigest.String()), nil
}

// everywhere asks for all names. They have to stand for the same image.
func (b *build) everywhere(ctx context.Context, list []ocispecs.Platform) Presence {
	var first Presence
	for i, n := range b.req.Outputs.Names {
		p := b.Exists(ctx, n.String(), list)
		switch {
		case p.Exists != Yes:
			return p
		case i == 0:
			first = p
		case p.Descriptor.Digest != first.Descriptor.Digest:
			return Presence{Exists: No, Reason: fmt.Sprintf("%s is another image than %s", n, b.req.Outputs.Names[0])}
		}
	}
	return first
}
