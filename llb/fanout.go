package llb

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Options are the caller's part of a definition.
type Options struct {
	// Platforms to build for; none means the builder's own.
	Platforms []ocispecs.Platform
	// CacheNamespace goes in front of the names of cache mounts, so that tenants of one builder do not share them.
	CacheNamespace string
	// Epoch is SOURCE_DATE_EPOCH, nil when it is not set.
	Epoch *time.Time
	// NoCache makes every step run.
	NoCache bool
	// Native runs Python steps for another platform than the builder's without emulation where that can be
	// done (see [Native]). The files are the same, the definition is not: identities are made without it.
	Native bool
}

func (o Options) prefix(p ocispecs.Platform) string {
	if len(o.Platforms) < 2 {
		return ""
	}
	return "[" + platforms.Format(p) + "] "
}

// BuildFunc is the BuildKit build function of the image: run by a [Recorder] it tells what would be built.
func (img *Image) BuildFunc(opt Options) gateway.BuildFunc {
	return func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
		opt := opt
		if len(opt.Platforms) == 0 {
			p, err := defaultPlatform(c)
			if err != nil {
				return nil, err
			}
			opt.Platforms = []ocispecs.Platform{p}
		}
		res := gateway.NewResult()
		list := make([]exptypes.Platform, len(opt.Platforms))
		eg, ctx := errgroup.WithContext(ctx)
		for i, p := range opt.Platforms {
			p = platforms.Normalize(p)
			list[i] = exptypes.Platform{ID: platforms.FormatAll(p), Platform: p}
			if len(list) == 1 {
				if err := img.solve(ctx, c, list[i], opt, res); err != nil {
					return nil, err
				}
				break
			}
			eg.Go(func() error { return img.solve(ctx, c, list[i], opt, res) })
		}
		if err := eg.Wait(); err != nil {
			return nil, err
		}
		data, err := json.Marshal(exptypes.Platforms{Platforms: list})
		if err != nil {
			return nil, err
		}
		res.AddMeta(exptypes.ExporterPlatformsKey, data)
		return res, nil
	}
}

// solve asks c for one platform and puts what comes back into res, the way BuildKit's image exporter reads it.
func (img *Image) solve(ctx context.Context, c gateway.Client, p exptypes.Platform, opt Options, res *gateway.Result) error {
	l, err := img.lower(ctx, c, p.Platform, opt)
	if err != nil {
		return err
	}
	def, err := marshal(ctx, l.state.State, 2*len(img.Steps), l.forImage)
	if err != nil {
		return fmt.Errorf("%s for %s: %w", img.Name, p.ID, err)
	}
	l.config.SetCreated(opt.Epoch)
	config, err := l.config.Marshal()
	if err != nil {
		return err
	}
	out, err := c.Solve(ctx, gateway.SolveRequest{Definition: def})
	if err != nil {
		return err
	}
	ref, err := out.SingleRef()
	if err != nil {
		return err
	}
	if len(opt.Platforms) == 1 {
		res.SetRef(ref)
		res.AddMeta(exptypes.ExporterImageConfigKey, config)
		return nil
	}
	res.AddRef(p.ID, ref)
	res.AddMeta(exptypes.ExporterImageConfigKey+"/"+p.ID, config)
	return nil
}

func defaultPlatform(c gateway.Client) (ocispecs.Platform, error) {
	for _, w := range c.BuildOpts().Workers {
		if len(w.Platforms) > 0 {
			return w.Platforms[0], nil
		}
	}
	return ocispecs.Platform{}, fmt.Errorf("the builder names no platform that it builds for")
}
