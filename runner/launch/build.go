package launch

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/runner/bootstrap/contract"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Means is what images are made with.
type Means struct {
	Engine *engine.Engine
	// Request has what a build takes besides its plan, platform and names: secrets, machine, builder, caches, compression.
	Request engine.Request
	// CacheFolder is where the bootstrap is unpacked to.
	CacheFolder string
}

// Launch is what a job runs.
type Launch struct {
	Image string // NAME@sha256:…
	// Container is what the bootstrap is asked to do; nil when there is none.
	Container *contract.Request
	// Program is the command where there is no bootstrap; nil is the image's own entry point. Args are for either.
	Program, Args []string
	Dir           string // working folder; "" is the image's
	Facts         map[string]string
	Warnings      []string
	// Base is what came out of the build of the base; nil when none was built.
	Base *engine.Result
}

// Prepare is [NewPlan] and [Plan.Build].
func Prepare(ctx context.Context, o Options, m Means) (*Launch, error) {
	p, err := NewPlan(o)
	if err != nil {
		return nil, err
	}
	return p.Build(ctx, m)
}

// Build makes the image, as far as it is not there, and pushes it. What is known costs a question per image: a base
// that was built from the same needs is taken as it is, and so is an image with the same code.
// Errors: those of engine.Build and of package registry; *source.Error for what the user can mend.
func (p *Plan) Build(ctx context.Context, m Means) (*Launch, error) {
	l := p.Launch("")
	base, err := p.base(ctx, m, l)
	if err != nil {
		return nil, err
	}
	if l.Container != nil && l.Container.Program == nil {
		if l.Container.Program, err = ownProgram(base, p.Args); err != nil {
			return nil, err
		}
	}
	l.Image, err = p.finish(ctx, m, base)
	return l, err
}

// Launch is what the job runs once there is the image, as far as that can be told before it is there: of an image that
// says itself what it runs, the bootstrap's program is missing.
func (p *Plan) Launch(image string) *Launch {
	l := &Launch{Image: image, Container: p.Container(), Dir: p.Dir(), Facts: p.Facts(), Warnings: slices.Clone(p.Warnings)}
	if l.Container == nil { // else they are in the bootstrap's program
		l.Program, l.Args = slices.Clone(p.Program), slices.Clone(p.Args)
	}
	return l
}

// Command is the container's command; nil is the image's own entry point.
func (l *Launch) Command() []string {
	if l.Container == nil {
		return l.Program
	}
	return l.Container.Command()
}

// base is the image that the code goes onto.
func (p *Plan) base(ctx context.Context, m Means, l *Launch) (registry.Image, error) {
	if p.build == nil {
		img, err := m.Engine.Registry.Resolve(ctx, p.Base, p.Platform)
		return img, p.explain(err)
	}
	req := m.Request
	req.Plan, req.Source = p.build, p.source
	req.Options.Platforms = []ocispecs.Platform{p.Platform}
	req.Outputs.Push = true
	req.Outputs.ByIdentity = []engine.IdentityName{{Name: p.repository}}
	res, err := m.Engine.Build(ctx, req)
	if err != nil {
		return registry.Image{}, err
	}
	l.Base = res
	l.Warnings = append(l.Warnings, res.Warnings...)
	if len(res.Names) == 1 && res.Descriptor.Digest == "" { // a builder that takes the base as it is
		return m.Engine.Registry.Resolve(ctx, res.Names[0], p.Platform)
	}
	named, err := reference.WithDigest(reference.TrimNamed(p.repository), res.Descriptor.Digest)
	if err != nil {
		return registry.Image{}, err
	}
	return m.Engine.Registry.Resolve(ctx, named.String(), p.Platform)
}

// explain says what to do about a base that cannot be had.
func (p *Plan) explain(err error) error {
	var platform *registry.PlatformError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &platform):
		return &source.Error{Msg: fmt.Sprintf("the accelerator's machines are %s/%s: %v", p.Platform.OS, p.Platform.Architecture, err), Hint: "build the image for that platform, too", Err: err}
	case p.Mode == Prebuilt && (errors.Is(err, registry.ErrNotFound) || errors.Is(err, registry.ErrDenied)):
		from := ""
		if p.baseBy != "" {
			from = " (its repository is named by " + p.baseBy + ")"
		}
		return &source.Error{Msg: fmt.Sprintf("there is no base image %s%s: %v", p.Base, from, err),
			Hint: fmt.Sprintf("publish one with ibuild build-image --category %s --repo REPOSITORY, and set %s=REPOSITORY; or take the mode bundled", p.kind, BaseRepoVariable), Err: err}
	}
	return fmt.Errorf("image %s: %w", p.Base, err)
}
