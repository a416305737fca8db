package engine

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/engine/export"
	"github.com/ibuild/ibuild/llb"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/tonistiigi/fsutil"
	"golang.org/x/sync/errgroup"
)

// mayPush finds out before the build that its push would be refused.
func (b *build) mayPush(ctx context.Context) error {
	eg, ctx := errgroup.WithContext(ctx)
	for _, repo := range b.req.Outputs.repositories() {
		eg.Go(func() error { return b.Registry.CheckPush(ctx, repo) })
	}
	return eg.Wait()
}

// openToPush opens the builder while the registries are asked. A push that is refused is the error, whatever the
// builder says.
func (b *build) openToPush(ctx context.Context) (c *client.Client, err error) {
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		c, err = b.open(ctx)
	}()
	refused := b.mayPush(ctx)
	<-opened
	if refused != nil {
		return nil, refused
	}
	return c, err
}

// solve has the builder make the whole image and all outputs.
func (b *build) solve(ctx context.Context, rec *llb.Recording) (*Result, error) {
	return nativeFirst(ctx, b, b.req.Plan.Image, rec, func(rec *llb.Recording) (*Result, error) {
		return b.export(ctx, func(m llb.Machine) gateway.BuildFunc { return rec.Replay(m.Apply, nil) }, platformAttrs(rec))
	})
}

// direct runs the frontend against the builder, for what cannot be recorded.
func (b *build) direct(ctx context.Context) (*Result, error) {
	return b.export(ctx, func(m llb.Machine) gateway.BuildFunc {
		return func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
			return b.buildFunc()(ctx, &machineClient{Client: &pinnedClient{Client: c, build: b}, machine: m})
		}
	}, b.req.Plan.Attrs)
}

// platformAttrs tell the builder's checks which platforms were asked for.
func platformAttrs(rec *llb.Recording) map[string]string {
	var list []string
	for _, p := range rec.Platforms() {
		list = append(list, platforms.FormatAll(p))
	}
	return map[string]string{"platform": strings.Join(list, ",")}
}

// machineClient puts the machine's settings into what a frontend solves by itself.
type machineClient struct {
	gateway.Client
	machine llb.Machine
}

func (c *machineClient) Solve(ctx context.Context, req gateway.SolveRequest) (*gateway.Result, error) {
	if req.Definition != nil {
		def, err := c.machine.Apply(req.Definition)
		if err != nil {
			return nil, err
		}
		req.Definition = def
	}
	return c.Client.Solve(ctx, req)
}

// export solves what build makes of the machine's settings, into all outputs; then it moves the tags.
func (b *build) export(ctx context.Context, build func(llb.Machine) gateway.BuildFunc, attrs map[string]string) (*Result, error) {
	out, err := b.openOutputs()
	if err != nil {
		return nil, err
	}
	defer out.discard()
	resp, err := b.solveOnce(ctx, build, attrs, out.entries, b.links())
	if err != nil {
		return nil, out.why(ctx, err)
	}
	res := &Result{How: HowSolved}
	if res.Descriptor, err = descriptor(resp); err != nil {
		return nil, err
	}
	if !strings.Contains(res.Descriptor.MediaType, "index") && !strings.Contains(res.Descriptor.MediaType, "list") {
		res.ConfigDigest = resp[exptypes.ExporterImageConfigDigestKey]
	}
	if err := b.publish(ctx, res); err != nil {
		return nil, err
	}
	return res, out.commit()
}

// publish moves the names and, beside them, the tag by which others find what was built of files that are still the
// same: each of them is a request that a registry far away takes its time for.
func (b *build) publish(ctx context.Context, res *Result) error {
	var sharing sync.WaitGroup
	defer sharing.Wait()
	if b.shareable(b.id) {
		if changed, err := b.filesChanged(ctx); err == nil && !changed {
			sharing.Go(func() { b.share(ctx, b.id, res) })
		}
	}
	return b.moveTags(ctx, res)
}

func (b *build) moveTags(ctx context.Context, res *Result) error {
	if !b.req.Outputs.Push {
		return nil
	}
	if err := b.stillTrue(ctx); err != nil {
		return err
	}
	for _, n := range b.req.Outputs.Names {
		err := b.Progress.Step("tag "+reference.FamiliarString(n), func() error { return b.tag(ctx, n, res.Descriptor) })
		if err != nil {
			return err
		}
		res.Names = append(res.Names, n.String())
	}
	return nil
}

// solveOnce is one solve: a session with everything that the definition may ask for, the given exports, and the remote
// caches (nil for none).
func (b *build) solveOnce(ctx context.Context, build func(llb.Machine) gateway.BuildFunc, attrs map[string]string, exports []client.ExportEntry, links *linkUse) (map[string]string, error) {
	c, err := b.openToPush(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.checkPlatform(ctx); err != nil {
		return nil, err
	}
	b.solved = true
	machine, err := b.machine()
	if err != nil {
		return nil, err
	}
	sending, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	exports, taker := b.takeOver(b.withoutZstd(exports), stop)
	defer taker.end()
	if taker == nil && pushed(exports) >= 0 {
		b.moved.uncounted()
	}
	mounts := map[string]fsutil.FS{}
	for name, l := range b.req.Plan.Locals {
		if mounts[name], err = l.Transfer(stop); err != nil {
			return nil, err
		}
	}
	opt := client.SolveOpt{
		Exports:       exports,
		LocalMounts:   mounts,
		SharedKey:     b.sharedKey(),
		FrontendAttrs: maps.Clone(attrs),
		Session: []session.Attachable{
			secretsprovider.NewSecretProvider(secretStores{machineStore(machine.Secrets()), b.req.Secrets}),
		},
	}
	if b.Auth != nil {
		opt.Session = append(opt.Session, b.Auth)
	}
	if taker != nil {
		opt.Session = append(opt.Session, export.Attach(taker))
	}
	steps := cmp.Or(b.steps, &stepOutputs{})
	links.offer(ctx, &opt)
	resp, err := c.Build(sending, opt, "ibuild", links.ask(build(machine)), steps.tee(links.watch(b.Progress.Solve())))
	if failed := links.end(ctx, err); failed != nil {
		return nil, failed
	}
	if failed := taker.failure(); failed != nil && ctx.Err() == nil {
		return nil, failed
	}
	if cause := context.Cause(sending); cause != nil && ctx.Err() == nil {
		return nil, &SourceError{cause} // a file that is not what the identity was made of
	}
	if err != nil {
		return nil, steps.fullDisk(err)
	}
	return resp.ExporterResponse, nil
}

// sharedKey lets a builder send only what changed since the last build of the same folders by this user.
// It names no path in the clear and is part of no cache key.
func (b *build) sharedKey() string {
	host, _ := os.Hostname() // "" only makes transfers less incremental
	h := digest.Canonical.Digester()
	fmt.Fprintf(h.Hash(), "%s\x00%d\x00", host, os.Getuid())
	locals := b.req.Plan.Locals
	for _, name := range slices.Sorted(maps.Keys(locals)) {
		if dir, err := filepath.Abs(locals[name].Dir); err == nil && locals[name].Files == nil {
			fmt.Fprintf(h.Hash(), "%s\x00%s\x00", name, dir)
		}
	}
	return h.Digest().Encoded()
}

func descriptor(resp map[string]string) (ocispecs.Descriptor, error) {
	var d ocispecs.Descriptor
	enc, ok := resp[exptypes.ExporterImageDescriptorKey]
	if !ok {
		return d, nil
	}
	data, err := base64.StdEncoding.DecodeString(enc)
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	if err != nil {
		return d, fmt.Errorf("the builder's answer about the image: %w", err)
	}
	return ocispecs.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}, nil
}
