package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/containerd/platforms"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/engine/journal"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/registry/codec"
	"github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/session"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Engine runs builds. One engine serves one build after the other, or several at once.
type Engine struct {
	// Builders are the ways to build that there are; one of them is opened, and only when it is needed.
	Builders Builders
	Registry *registry.Client
	Cache    *cache.Store
	// Auth hands out registry credentials to the builder, for each host its own.
	Auth     session.Attachable
	Progress *Progress
	// Mask hides credentials in what is recorded of a build; without it no graph is recorded. It has no effect on
	// what is built.
	Mask llb.Mask
}

// build is the state of one request on its way.
type build struct {
	*Engine
	req      Request // its Outputs have all names once the identity is known
	asked    Outputs // as they were asked for
	provider Choice
	resolver *resolver
	machine  func() (llb.Machine, error) // asked once
	rec      *llb.Recording              // of the whole image
	graph    *llb.Graph                  // of rec
	codec    codec.Codec                 // of new layers
	stamp    digest.Digest               // of its files, before they were read
	id       digest.Digest               // what it would make is remembered by, "" when there is nothing
	imageID  digest.Digest               // the identity, "" when there is none

	stop     context.CancelFunc // of an opening that nobody waits for
	early    *early             // nil when the names are not asked for ahead
	assumed  ocispecs.Platform  // the builder's own platform, from memory
	solved   bool               // the builder was given something to do
	linked   bool               // the builder was given the remote caches of the request
	wrote    bool               // it wrote all of them
	steps    *stepOutputs       // of a solve with native steps
	began    time.Time
	warnings []string       // for the result
	moved    transfers      // of blobs, by this process
	seen     *journal.Steps // what progress said, for the record
	last     *journal.Build // the record before this one, nil for none

	opening sync.Once
	builder Builder
	client  *client.Client
	openErr error
}

// Build does what the request asks for, with as little work as possible: what is known costs one request
// per tag, code on a known environment needs no builder, and everything else is solved.
//
// Errors are those of the builder (with the source's positions, see BuildKit's errdefs.Sources), of the
// registry package, and context.Canceled. Names move after everything else is there, one after the other,
// and files appear after that: when a name cannot be moved, those before it have been.
func (e *Engine) Build(ctx context.Context, req Request) (res *Result, err error) {
	choice, err := e.Choose(ctx, req)
	if err != nil {
		return nil, err
	}
	if choice.Make != nil {
		return e.makeWith(ctx, choice, req)
	}
	req.Options.Native = false // see nativeFirst; the identity is made without
	sweepOutputs(req.Outputs)
	b := newBuild(e, req)
	b.provider = choice
	if _, err := req.Outputs.codec(e.wantsGzip); err != nil {
		return nil, err
	}
	b.watch()
	defer b.close()
	defer func() { b.writeRecord(ctx, res, err) }()
	b.early = askEarly(ctx, e.Registry, b.earlyNames())
	opening, stop := context.WithCancel(ctx)
	b.stop = stop
	if b.needsBuilder() {
		go b.open(opening) // while the frontend works
		go b.machine()
	}
	res, err = b.run(ctx)
	if errors.Is(err, errOtherPlatform) {
		res, err = b.run(ctx) // the right one is remembered now
	}
	if err != nil {
		return nil, err
	}
	if b.solved {
		res.Builder = b.builder.Name()
	}
	res.Identity = b.imageID
	res.Transferred = b.moved.total()
	b.tellUnwritten(res)
	b.nameOwnCache(ctx, res)
	res.Warnings = append(res.Warnings, b.warnings...)
	return res, nil
}

// makeWith has a provider without a BuildKit do the request.
func (e *Engine) makeWith(ctx context.Context, choice Choice, req Request) (*Result, error) {
	e.Progress.Known("builder: " + choice.Name + " (" + choice.Why + ")")
	res, err := choice.Make(ctx, e, req)
	if err == nil {
		res.Builder = choice.Name
	}
	return res, err
}

func newBuild(e *Engine, req Request) *build {
	req.Plan = req.Plan.WithSums(cache.Folders(e.Cache))
	machine := func() (llb.Machine, error) {
		m, err := req.Machine()
		return m.WithCA(req.Plan.CA).WithProxies(req.Plan.Attrs), err
	}
	way, _ := req.Outputs.codec(e.wantsGzip) // Build has looked at the error
	return &build{Engine: e, req: req, asked: req.Outputs, codec: way, resolver: newResolver(e, req.Pins), machine: sync.OnceValues(machine)}
}

func (b *build) run(ctx context.Context) (*Result, error) {
	if img := b.req.Plan.Image; img != nil {
		if err := img.CheckSources(); err != nil {
			return nil, &SourceError{err}
		}
	}
	rec, err := b.record(ctx, b.buildFunc())
	var needs *llb.NeedsBuilderError
	if errors.As(err, &needs) {
		if len(b.asked.ByIdentity) > 0 {
			return nil, &VolatileError{needs.What}
		}
		return b.direct(ctx)
	}
	if err != nil {
		return nil, err
	}
	b.rec = rec
	graph, err := rec.Graph(ctx)
	if err != nil {
		return nil, err
	}
	b.stamp = graph.Stamp // before the files were read: see below
	b.graph = graph
	b.id = b.identity(graph)
	if err := b.name(graph); err != nil {
		return nil, err
	}
	b.tellUnpinned()
	for _, w := range rec.Warnings {
		b.Progress.Warn(&client.VertexWarning{Level: w.Opts.Level, Short: []byte(w.Message), Detail: w.Opts.Detail,
			URL: w.Opts.URL, SourceInfo: w.Opts.SourceInfo, Range: w.Opts.Range})
	}
	if res, err := b.known(ctx, b.id); res != nil || err != nil {
		return res, err
	}
	res, err := b.there(ctx, rec)
	if err != nil {
		return nil, err
	}
	if res == nil {
		if res, err = b.shared(ctx, rec, b.id); err != nil {
			return nil, err
		}
	}
	if res == nil {
		res, err = b.make(ctx, rec)
	}
	if err != nil {
		return nil, err
	}
	changed, err := b.filesChanged(ctx)
	switch {
	case err != nil || changed:
		res.Warnings = append(res.Warnings, b.whatChanged(ctx)+": the image may have them or not, so it is not remembered")
	case res.Descriptor.Digest != "" && b.id != "" && b.req.Outputs.Push: // only what was pushed is found again
		b.remember("image", b.id, rec, res.Descriptor, res.ConfigDigest)
	}
	return res, nil
}

// make makes the image: by assembly where code comes last and the outputs are images, else by one solve.
func (b *build) make(ctx context.Context, rec *llb.Recording) (*Result, error) {
	img := b.req.Plan.Image
	if img != nil {
		var err error
		if rec, err = rec.WithImageID(b.imageID); err != nil {
			return nil, err
		}
	}
	if img == nil || !b.req.Outputs.assembled() || b.req.Options.NoCache {
		return b.solve(ctx, rec)
	}
	env, code := img.Split()
	if len(code) == 0 {
		return b.solve(ctx, rec)
	}
	res, err := b.assemble(ctx, env, code)
	var needs *needsBuilder
	if errors.As(err, &needs) {
		b.Progress.Known("code is put into the image by the builder: " + needs.why)
		return b.solve(ctx, rec)
	}
	return res, err
}

// assembled says that there are outputs, and that all of them are images in the form that this process
// makes: a tree, or layers in another compression, are made by a builder.
func (o Outputs) assembled() bool {
	other := slices.ContainsFunc(o.Exports, func(e Export) bool {
		return !e.Type.image() || slices.ContainsFunc(slices.Collect(maps.Keys(e.Attrs)), func(k string) bool { return k != "name" })
	})
	return !other && (o.Push || len(o.Exports) > 0)
}

func (b *build) record(ctx context.Context, build gateway.BuildFunc) (*llb.Recording, error) {
	p, err := b.platform(ctx)
	if err != nil {
		return nil, err
	}
	return b.recordFor(ctx, p, build)
}

func (b *build) recordFor(ctx context.Context, p ocispecs.Platform, build gateway.BuildFunc) (*llb.Recording, error) {
	b.prefetch(ctx, p)
	rec, err := llb.NewRecorder(b.resolver, b.req.Plan, p).Record(ctx, build)
	if err == nil || isOther(ctx, err) {
		return rec, err
	}
	return nil, &SourceError{err}
}

// SourceError says that a frontend does not take the source: nothing was built. It carries the positions
// that BuildKit's errdefs.Sources finds.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return e.Err.Error() }

// Unwrap returns the frontend's own error.
func (e *SourceError) Unwrap() error { return e.Err }

// isOther says that recording failed for a reason that is not the source's.
func isOther(ctx context.Context, err error) bool {
	var needs *llb.NeedsBuilderError
	var reg *registry.Error
	return ctx.Err() != nil || errors.As(err, &needs) || errors.As(err, &reg)
}

func (b *build) buildFunc() gateway.BuildFunc {
	if img := b.req.Plan.Image; img != nil {
		return img.BuildFunc(b.req.Options)
	}
	return b.req.Plan.Build
}

// identity is what the result is remembered under: what is built and in which form it is stored. It is
// "" when a source can change without notice, so that nothing is remembered.
func (b *build) identity(g *llb.Graph) digest.Digest {
	if v := g.Volatile(); len(v) > 0 {
		b.Progress.Known("only a builder can tell whether this changed: " + v[0])
		return ""
	}
	return digest.FromString("image/2 " + b.req.Outputs.form(b.codec) + "\n" + g.Identity().String())
}

// wantsGzip says that a registry, or who pulls from it, is known not to take zstd.
func (e *Engine) wantsGzip(host string) bool {
	return e.Registry.Profile(host).Compression == codec.Gzip
}

// platform is what the builder builds for by itself. Where that is not known yet it is asked and remembered.
func (b *build) platform(ctx context.Context) (ocispecs.Platform, error) {
	if p, ok := b.rememberedPlatform(); ok {
		b.assumed = p
		return p, nil
	}
	return b.askPlatform(ctx)
}

// errOtherPlatform says that a builder's own platform is not the one that was remembered of its address.
var errOtherPlatform = errors.New("the builder builds for another platform than it did before")

// checkPlatform asks the builder, once it is open, whether what was remembered of it still holds: an
// address like 127.0.0.1:1234 may lead to another one each day.
func (b *build) checkPlatform(ctx context.Context) error {
	if b.provider.Platform.OS != "" || b.assumed.OS == "" {
		return nil
	}
	p, err := b.askPlatform(ctx)
	if err == nil && platforms.FormatAll(p) != platforms.FormatAll(b.assumed) {
		err = errOtherPlatform
	}
	return err
}

func (b *build) askPlatform(ctx context.Context) (ocispecs.Platform, error) {
	c, err := b.open(ctx)
	if err != nil {
		return ocispecs.Platform{}, err
	}
	workers, err := c.ListWorkers(ctx)
	if err != nil {
		return ocispecs.Platform{}, fmt.Errorf("ask %s for its platforms: %w", b.builder.Name(), err)
	}
	if len(workers) == 0 || len(workers[0].Platforms) == 0 {
		return ocispecs.Platform{}, fmt.Errorf("%s names no platform that it builds for", b.builder.Name())
	}
	p := workers[0].Platforms[0]
	_ = cache.Builders(b.Cache).Put(b.provider.Key, cache.Builder{Platform: platforms.FormatAll(p)}) // only memory
	return p, nil
}

// needsBuilder says that no memory can answer the request: outputs of a Dockerfile other than a push are
// made by a builder, and so is what was asked for anew.
func (b *build) needsBuilder() bool {
	out := b.req.Outputs
	return b.req.Force || b.req.Options.NoCache || b.req.Plan.Image == nil && (!out.Push || len(out.Exports) > 0)
}

func (b *build) rememberedPlatform() (ocispecs.Platform, bool) {
	if b.provider.Platform.OS != "" {
		return b.provider.Platform, true
	}
	r, ok := cache.Builders(b.Cache).Get(b.provider.Key)
	if !ok {
		return ocispecs.Platform{}, false
	}
	p, err := platforms.Parse(r.Platform)
	return p, err == nil
}

// open starts or dials the builder once.
func (b *build) open(ctx context.Context) (*client.Client, error) {
	b.opening.Do(func() {
		if b.builder, b.openErr = b.provider.Open(ctx, b.provider.Why); b.openErr == nil {
			b.client, b.openErr = b.builder.Client(ctx)
		}
	})
	return b.client, b.openErr
}

func (b *build) close() {
	b.stop()
	b.early.close()
	b.opening.Do(func() {}) // waits for an opening that is on its way, and allows none after this
	if b.client != nil {
		b.client.Close()
	}
	if b.builder != nil {
		b.builder.Close()
	}
}
