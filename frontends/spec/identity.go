package spec

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
)

// Place is what an image's identifier depends on besides the image.
type Place struct {
	// Source says where the image's files are, as for [Image.Plan].
	Source source.Source
	// Resolver tells which digest a tag stands for. Pinned references are not asked for.
	Resolver llb.Resolver
	// Platform is what the image is made for when it names no platforms.
	Platform ocispecs.Platform
}

// Identifier is a digest of all that decides what is in the image, and of nothing else: the base and helper
// images by their digests, every layer with its options, the contents of every file that is used, the
// platforms, ibuild's own recipe. Registry, name, tag, builder, credentials and the machine are not in it.
// It is the digest of the recorded LLB, the same that a build goes by. No builder is asked.
func (img Image) Identifier(ctx context.Context, at Place) (digest.Digest, error) {
	plan, err := img.Plan(at.Source)
	if err != nil {
		return "", err
	}
	return identifier(ctx, plan, at)
}

func identifier(ctx context.Context, plan *llb.Plan, at Place) (digest.Digest, error) {
	build := plan.Build
	if plan.Image != nil {
		build = plan.Image.BuildFunc(llb.Options{Platforms: plan.Platforms})
	}
	rec, err := llb.NewRecorder(at.Resolver, plan, at.Platform).Record(ctx, build)
	if err != nil {
		return "", err
	}
	g, err := rec.Graph(ctx)
	if err != nil {
		return "", err
	}
	if v := g.Volatile(); len(v) > 0 {
		return "", fmt.Errorf("the image has no identifier: only a builder can tell whether this changed: %s", v[0])
	}
	return g.Identity(), nil
}

// URI is the name that the image is pushed as: <registry>/<name>:<tag>, with the tag that was given, or one
// that is made of the identifier.
func (img Image) URI(ctx context.Context, at Place) (string, error) {
	plan, err := img.Plan(at.Source)
	if err != nil {
		return "", err
	}
	return uri(ctx, plan, at)
}

func uri(ctx context.Context, plan *llb.Plan, at Place) (string, error) {
	if plan.Tag == "" {
		return "", errors.New("the image has no name: say WithName, and WithRegistry")
	}
	named, err := reference.ParseNormalizedNamed(plan.Tag)
	if err != nil || !reference.IsNameOnly(named) {
		return plan.Tag, err
	}
	id, err := identifier(ctx, plan, at)
	if err != nil {
		return "", err
	}
	tag, err := llb.IdentityTag(plan.TagFormat, id)
	return plan.Tag + ":" + tag, err
}

// Existence is an answer to the question whether an image is in its registry.
type Existence struct {
	// Known says that the question could be answered; There is the answer.
	Known, There bool
	// Reason says in words why it cannot be told, or which platform is missing.
	Reason string
}

// A Finder looks for an image in a registry. The engine is one.
type Finder interface {
	// Find says whether ref is there for all the platforms. What it cannot tell is not known;
	// it never guesses. Safe for concurrent use.
	Find(ctx context.Context, ref reference.Named, platforms []ocispecs.Platform) (there, known bool, reason string)
}

// Exists says whether the image is in its registry, with all platforms that it names: yes, no, or that it
// cannot be told and why. No builder is asked.
func (img Image) Exists(ctx context.Context, at Place, f Finder) Existence {
	plan, err := img.Plan(at.Source)
	if err != nil {
		return Existence{Reason: err.Error()}
	}
	name, err := uri(ctx, plan, at)
	if err != nil {
		return Existence{Reason: err.Error()}
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return Existence{Reason: err.Error()}
	}
	list := plan.Platforms
	if len(list) == 0 {
		list = []ocispecs.Platform{at.Platform}
	}
	var e Existence
	e.There, e.Known, e.Reason = f.Find(ctx, named, list)
	return e
}

// IsContainer says whether this program runs in the image: every image that ibuild makes of a spec has its
// identifier in its environment ([llb.ImageIDVariable]), written last.
func (img Image) IsContainer(ctx context.Context, at Place) (bool, error) {
	own := os.Getenv(llb.ImageIDVariable)
	if own == "" {
		return false, nil
	}
	id, err := img.Identifier(ctx, at)
	return err == nil && id.String() == own, err
}
