package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/ibuild/ibuild/llb"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/opencontainers/go-digest"
)

// nativeFirst solves a recording of img with its Python steps running on the builder's own platform where they
// are for another one (see llb.Native), and once more, with emulation, when a package has no wheel. Any other
// failure is the build's. plain is the recording without native steps, from which the identity is made.
func nativeFirst[T any](ctx context.Context, b *build, img *llb.Image, plain *llb.Recording, solve func(*llb.Recording) (T, error)) (T, error) {
	rec, err := b.recordNative(ctx, img, plain)
	if err != nil || rec == nil { // what is wrong stops the plain one as well, if it needs it
		return solve(plain)
	}
	b.steps = &stepOutputs{}
	defer func() { b.steps = nil }()
	res, err := solve(rec)
	if why := b.steps.needsEmulation(err); why != "" && ctx.Err() == nil {
		b.Progress.Known(why)
		return solve(plain)
	}
	return res, err
}

// recordNative records the image with native steps; nil when there are none, or when the request wants none.
func (b *build) recordNative(ctx context.Context, img *llb.Image, plain *llb.Recording) (*llb.Recording, error) {
	if img == nil || b.req.Emulate {
		return nil, nil
	}
	opt := b.req.Options
	opt.Native = true
	rec, err := b.record(ctx, img.BuildFunc(opt))
	if err != nil {
		return nil, err
	}
	return plain.WithNative(rec), nil
}

// maxOutput is how much of a step's output is kept, its end. What uv says of a failure is shorter.
const maxOutput = 32 << 10

// stepOutputs keeps what the steps of a solve print.
type stepOutputs struct {
	mu    sync.Mutex
	texts map[digest.Digest][]byte
	done  sync.WaitGroup
}

// tee returns a channel for a solve; what is sent there is kept and goes on to next, which it closes.
func (o *stepOutputs) tee(next chan *client.SolveStatus) chan *client.SolveStatus {
	in := make(chan *client.SolveStatus)
	o.done.Go(func() {
		defer close(next)
		for s := range in {
			o.keep(s.Logs)
			next <- s
		}
	})
	return in
}

func (o *stepOutputs) keep(logs []*client.VertexLog) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.texts == nil {
		o.texts = map[digest.Digest][]byte{}
	}
	for _, l := range logs {
		text := append(o.texts[l.Vertex], l.Data...)
		o.texts[l.Vertex] = text[max(0, len(text)-maxOutput):]
	}
}

// needsEmulation says why a solve that ended with err has to be done again with emulation; "" when it has not.
func (o *stepOutputs) needsEmulation(err error) string {
	var step *errdefs.SolveError
	var vertex *errdefs.VertexError
	if !errors.As(err, &step) || !errors.As(err, &vertex) {
		return ""
	}
	platform, native := llb.NativeFor(step.Op)
	if !native {
		return ""
	}
	o.done.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	why := llb.WhyEmulate(o.texts[digest.Digest(vertex.Vertex.Digest)])
	if why == "" {
		return ""
	}
	return why + ": " + platform + " is built again with emulation"
}
