package llb

import (
	"context"
	"encoding/json"
	"slices"

	bk "github.com/moby/buildkit/client/llb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/proto"
)

// tree is what the steps have made so far. Where steps run natively there is a twin: the same steps on the base
// of the builder's own platform, so that programs of the base run there and every path is the same. What a native
// step writes there goes into the image, and what other steps write into the image goes into the twin. BuildKit
// makes a twin only as far as a native step needs it.
type tree struct {
	bk.State
	twin bk.State
}

// startTwin gives the tree a twin. Without a base for the builder's own platform there is none, and all steps
// are emulated.
func (l *lowering) startTwin(ctx context.Context) {
	if !l.opt.Native || !l.img.HasNative() {
		return
	}
	own, err := defaultPlatform(l.client)
	if err != nil || !Foreign(own, l.platform) {
		return
	}
	st, config, err := l.image(ctx, l.img.Base.Ref, "base image", own)
	if err != nil {
		return
	}
	var is ocispecs.Platform // a digest may name the image of one platform, whatever was asked for
	if json.Unmarshal(config, &is) != nil || is.OS != own.OS || is.Architecture != own.Architecture {
		return
	}
	l.native, l.state.twin = &own, st
}

// run executes a step in the image, or natively in its twin.
func (l *lowering) run(ctx context.Context, t tree, s Exec) (tree, error) {
	if l.native == nil || !s.isNative() {
		st, err := l.exec(ctx, t.State, s, l.platform)
		return l.follow(t, st), err
	}
	s.Args = s.native(l.platform)
	s.Title += ", natively"
	twin, err := l.exec(ctx, t.twin, s, *l.native)
	if err != nil {
		return t, err
	}
	added := bk.Diff(t.twin, twin, bk.Platform(l.platform))
	join := bk.WithCustomName(l.opt.prefix(l.platform) + "add what was installed natively")
	return tree{bk.Merge([]bk.State{t.State, added}, bk.Platform(l.platform), join), twin}, nil
}

// follow is the tree after a step that made st in the image; parts are the states that st joins, if it does.
func (l *lowering) follow(t tree, st bk.State, parts ...bk.State) tree {
	if l.native == nil {
		return tree{State: st}
	}
	if len(parts) == 0 {
		parts = []bk.State{st}
	}
	twin := []bk.State{t.twin}
	for _, p := range parts {
		twin = append(twin, bk.Diff(t.State, p, bk.Platform(*l.native)))
	}
	name := bk.WithCustomName(l.opt.prefix(l.platform) + "the same tree for native steps")
	return tree{st, bk.Merge(twin, bk.Platform(*l.native), name)}
}

// WithNative returns the recording with the definitions of the same image recorded with [Options].Native. It
// is nil when no step runs natively, so that there is nothing else to build.
func (r *Recording) WithNative(native *Recording) *Recording {
	out := *r
	out.Images = slices.Clone(r.Images)
	other := false
	for i, img := range native.Images {
		other = other || !proto.Equal(img.Definition, out.Images[i].Definition)
		out.Images[i].Definition = img.Definition
	}
	if !other {
		return nil
	}
	return &out
}
