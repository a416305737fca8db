package llb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	bk "github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	gwpb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Resolver answers what an image reference is. It is the only I/O beside local files that recording does.
type Resolver interface {
	// ResolveImage returns the digest that ref points to now (of the index, where it is one) and the
	// config of the image for the platform. Safe for concurrent use.
	ResolveImage(ctx context.Context, ref string, platform ocispecs.Platform) (digest.Digest, []byte, error)
}

// Recorder is a gateway client that records instead of building: definitions are kept, images are
// resolved by a Resolver, and local sources are read from disk. It is safe for concurrent use, and good
// for one recording.
type Recorder struct {
	resolver  Resolver
	locals    map[string]Local
	attrs     map[string]string
	platform  ocispecs.Platform
	cacheFrom []string

	mu       sync.Mutex
	warnings []Warning
}

// Warning is something a frontend wants to say about the source.
type Warning struct {
	Message string
	Opts    gateway.WarnOpts
}

// NeedsBuilderError says that a build function asked for something that only a builder can answer.
type NeedsBuilderError struct{ What string }

func (e *NeedsBuilderError) Error() string { return "only a builder can tell: " + e.What }

// NewRecorder returns a recorder for one plan. The platform is the one that the builder will build for
// when nobody names one.
func NewRecorder(r Resolver, plan *Plan, platform ocispecs.Platform) *Recorder {
	return &Recorder{resolver: r, locals: plan.Locals, attrs: plan.Attrs, platform: platform, cacheFrom: plan.CacheFrom}
}

// Record runs build and returns what it would have asked a builder to do.
func (r *Recorder) Record(ctx context.Context, build gateway.BuildFunc) (*Recording, error) {
	res, err := build(ctx, r)
	if err != nil {
		return nil, err
	}
	rec, err := newRecording(res, r.locals, r.platform)
	if err != nil {
		return nil, err
	}
	rec.Warnings, rec.CacheFrom = r.warnings, r.cacheFrom
	return rec, nil
}

// BuildOpts implements gateway.Client with the capabilities of the BuildKit that ibuild is built with.
func (r *Recorder) BuildOpts() gateway.BuildOpts {
	return gateway.BuildOpts{
		Opts:    maps.Clone(r.attrs),
		Product: "ibuild",
		Workers: []gateway.WorkerInfo{{Platforms: []ocispecs.Platform{r.platform}}},
		LLBCaps: pb.Caps.CapSet(pb.Caps.All()),
		Caps:    gwpb.Caps.CapSet(gwpb.Caps.All()),
	}
}

// Solve implements gateway.Client: it keeps the definition and answers with a reference to it.
func (r *Recorder) Solve(ctx context.Context, req gateway.SolveRequest) (*gateway.Result, error) {
	if req.Frontend != "" {
		return nil, &NeedsBuilderError{"what the frontend " + frontendName(req) + " makes of the source"}
	}
	res := gateway.NewResult()
	if req.Definition == nil || len(req.Definition.Def) == 0 {
		return res, nil // the empty image
	}
	res.SetRef(&recordedRef{recorder: r, def: req.Definition})
	return res, nil
}

func frontendName(req gateway.SolveRequest) string {
	if src := req.FrontendOpt["source"]; src != "" {
		return src
	}
	return req.Frontend
}

// ResolveImageConfig implements gateway.Client.
func (r *Recorder) ResolveImageConfig(ctx context.Context, ref string, opt sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	if opt.OCILayoutOpt != nil {
		return "", "", nil, &NeedsBuilderError{"the OCI layout " + ref}
	}
	p := r.platform
	if opt.ImageOpt != nil && opt.ImageOpt.Platform != nil {
		p = *opt.ImageOpt.Platform
	}
	dgst, config, err := r.resolver.ResolveImage(ctx, ref, p)
	if err != nil {
		return "", "", nil, err
	}
	return ref, dgst, config, nil
}

// ResolveSourceMetadata implements gateway.Client for images; everything else needs a builder.
func (r *Recorder) ResolveSourceMetadata(ctx context.Context, op *pb.SourceOp, opt sourceresolver.Opt) (*sourceresolver.MetaResponse, error) {
	ref, ok := strings.CutPrefix(op.Identifier, "docker-image://")
	if !ok {
		if scheme, _, _ := strings.Cut(op.Identifier, "://"); scheme == "local" {
			return &sourceresolver.MetaResponse{Op: op}, nil
		}
		return nil, &NeedsBuilderError{op.Identifier}
	}
	_, dgst, config, err := r.ResolveImageConfig(ctx, ref, opt)
	if err != nil {
		return nil, err
	}
	return &sourceresolver.MetaResponse{
		Op:    op,
		Image: &sourceresolver.ResolveImageResponse{Digest: dgst, Config: config},
	}, nil
}

// Inputs implements gateway.Client; there are none.
func (r *Recorder) Inputs(context.Context) (map[string]bk.State, error) { return nil, nil }

// NewContainer implements gateway.Client; recording never runs anything.
func (r *Recorder) NewContainer(context.Context, gateway.NewContainerRequest) (gateway.Container, error) {
	return nil, &NeedsBuilderError{"a container that the frontend wants to run"}
}

// Warn implements gateway.Client.
func (r *Recorder) Warn(_ context.Context, _ digest.Digest, msg string, opts gateway.WarnOpts) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.warnings = append(r.warnings, Warning{Message: msg, Opts: opts})
	return nil
}

// recordedRef is a result that does not exist yet. Files can be read from it when it is a local source.
type recordedRef struct {
	recorder *Recorder
	def      *pb.Definition
}

func (r *recordedRef) ToState() (bk.State, error) {
	op, err := bk.NewDefinitionOp(r.def)
	if err != nil {
		return bk.State{}, err
	}
	return bk.NewState(op), nil
}

func (r *recordedRef) Evaluate(context.Context) error { return nil }

// source is the local source that the reference is, if it is nothing but that.
func (r *recordedRef) source() (*localSource, error) {
	ops, root, err := parseDefinition(r.def)
	if err != nil {
		return nil, err
	}
	src := ops[root].op.GetSource()
	if src == nil || !strings.HasPrefix(src.Identifier, "local://") {
		return nil, &NeedsBuilderError{"a file of a build step's result"}
	}
	return newLocalSource(src, r.recorder.locals)
}

var errNoLocal = errors.New("the definition reads a local source that nobody gave")

func newLocalSource(src *pb.SourceOp, locals map[string]Local) (*localSource, error) {
	name := strings.TrimPrefix(src.Identifier, "local://")
	l, ok := locals[name]
	if !ok {
		return nil, fmt.Errorf("%q: %w", name, errNoLocal)
	}
	return &localSource{name: name, local: l.withSums(), attrs: src.Attrs}, nil
}
