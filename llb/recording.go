package llb

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/solver/result"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Recording is what a build function would have a builder do: one definition and one image config per
// platform. What is recorded is what is built ([Recording.Replay]), printed and identified, so they
// cannot drift.
type Recording struct {
	Images   []RecordedImage
	Warnings []Warning
	// CacheFrom are images whose cache a builder may use; they are in no identity.
	CacheFrom []string

	meta   map[string][]byte
	multi  bool // the build function answered with a map of platforms: the result is an index
	locals map[string]Local
}

// RecordedImage is one platform of a recording.
type RecordedImage struct {
	ID         string // key of the platform in BuildKit's results
	Platform   ocispecs.Platform
	Definition *pb.Definition // nil for the empty image
	Config     []byte         // image config as the frontend wants it; nil when it says nothing
}

func newRecording(res *gateway.Result, locals map[string]Local, fallback ocispecs.Platform) (*Recording, error) {
	if len(res.Attestations) > 0 {
		return nil, &NeedsBuilderError{"attestations"}
	}
	rec := &Recording{meta: res.Metadata, locals: locals, multi: len(res.Refs) > 0}
	var list exptypes.Platforms
	if data, ok := res.Metadata[exptypes.ExporterPlatformsKey]; ok {
		if err := json.Unmarshal(data, &list); err != nil {
			return nil, fmt.Errorf("platforms of the result: %w", err)
		}
	}
	if len(list.Platforms) == 0 {
		p := platforms.Normalize(fallback)
		list.Platforms = []exptypes.Platform{{ID: platforms.FormatAll(p), Platform: p}}
	}
	if !rec.multi && len(list.Platforms) > 1 {
		return nil, fmt.Errorf("one result for %d platforms", len(list.Platforms))
	}
	for _, p := range list.Platforms {
		ref := res.Ref
		if rec.multi {
			var there bool
			if ref, there = res.Refs[p.ID]; !there {
				return nil, fmt.Errorf("no result for the platform %s", p.ID)
			}
		}
		def, err := definition(ref)
		if err != nil {
			return nil, err
		}
		img := RecordedImage{ID: p.ID, Platform: p.Platform, Definition: def}
		img.Config = res.Metadata[rec.configKey(img)]
		rec.Images = append(rec.Images, img)
	}
	return rec, nil
}

// configKey is where the image's config is in the result.
func (r *Recording) configKey(img RecordedImage) string {
	if r.multi {
		return exptypes.ExporterImageConfigKey + "/" + img.ID
	}
	return exptypes.ExporterImageConfigKey
}

func definition(ref gateway.Reference) (*pb.Definition, error) {
	if ref == nil {
		return nil, nil
	}
	r, ok := ref.(*recordedRef)
	if !ok {
		return nil, errors.New("the result holds a reference that was not recorded")
	}
	return r.def, nil
}

// Platforms lists what the recording builds for, in its order.
func (r *Recording) Platforms() []ocispecs.Platform {
	var list []ocispecs.Platform
	for _, i := range r.Images {
		list = append(list, i.Platform)
	}
	return list
}

// Replay is the build function that has a builder do what was recorded. Each definition goes through
// rewrite first (nil for none), and after it was solved its reference is shown to inspect (nil for none).
func (r *Recording) Replay(rewrite func(*pb.Definition) (*pb.Definition, error), inspect func(context.Context, RecordedImage, gateway.Reference) error) gateway.BuildFunc {
	return func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
		res := gateway.NewResult()
		res.Metadata = maps.Clone(r.meta)
		for _, img := range r.Images {
			ref, err := r.replay(ctx, c, img, rewrite)
			if err != nil {
				return nil, err
			}
			if r.multi {
				res.AddRef(img.ID, ref)
			} else {
				res.SetRef(ref)
			}
		}
		return res, r.evaluate(ctx, res, inspect)
	}
}

func (r *Recording) replay(ctx context.Context, c gateway.Client, img RecordedImage, rewrite func(*pb.Definition) (*pb.Definition, error)) (gateway.Reference, error) {
	def := img.Definition
	if def == nil {
		return nil, nil
	}
	if rewrite != nil {
		var err error
		if def, err = rewrite(def); err != nil {
			return nil, err
		}
	}
	req := gateway.SolveRequest{Definition: def}
	for _, ref := range r.CacheFrom {
		req.CacheImports = append(req.CacheImports, gateway.CacheOptionsEntry{Type: "registry", Attrs: map[string]string{"ref": ref}})
	}
	out, err := c.Solve(ctx, req)
	if err != nil {
		return nil, err
	}
	return out.SingleRef()
}

// evaluate solves all platforms side by side and shows what came out.
func (r *Recording) evaluate(ctx context.Context, res *result.Result[gateway.Reference], inspect func(context.Context, RecordedImage, gateway.Reference) error) error {
	if inspect == nil {
		return nil // the exporter asks for what it needs
	}
	eg, ctx := errgroup.WithContext(ctx)
	for _, img := range r.Images {
		ref := res.Ref
		if r.multi {
			ref = res.Refs[img.ID]
		}
		eg.Go(func() error { return inspect(ctx, img, ref) })
	}
	return eg.Wait()
}

// parsedImage is one platform's definition; ops is nil for the empty image.
type parsedImage struct {
	ops  map[digest.Digest]vertex
	root digest.Digest
}

func (r *Recording) parse() ([]parsedImage, error) {
	list := make([]parsedImage, len(r.Images))
	for i, img := range r.Images {
		if img.Definition == nil {
			continue
		}
		var err error
		if list[i].ops, list[i].root, err = parseDefinition(img.Definition); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// eachLocal calls do for every local source that the images read, each once, side by side. It returns what do
// did, by the key of the source.
func eachLocal[T any](ctx context.Context, images []parsedImage, locals map[string]Local, do func(context.Context, *localSource) (T, error)) (map[string]T, error) {
	sources := map[string]*localSource{}
	for _, img := range images {
		for _, v := range img.ops {
			src := v.op.GetSource()
			if src == nil || !isLocal(src) {
				continue
			}
			s, err := newLocalSource(src, locals)
			if err != nil {
				return nil, err
			}
			sources[sourceKey(src)] = s
		}
	}
	var mu sync.Mutex
	out := make(map[string]T, len(sources))
	eg, ctx := errgroup.WithContext(ctx)
	eg.SetLimit(runtime.GOMAXPROCS(0))
	for key, s := range sources {
		eg.Go(func() error {
			v, err := do(ctx, s)
			mu.Lock()
			defer mu.Unlock()
			out[key] = v
			return err
		})
	}
	return out, eg.Wait()
}

// Stamp changes when a local file that the recording reads is written to. It reads none. Compared with
// [Graph.Stamp] after a build it tells whether what was built is what the recording's identity says.
func (r *Recording) Stamp(ctx context.Context) (digest.Digest, error) {
	images, err := r.parse()
	if err != nil {
		return "", err
	}
	stamps, err := eachLocal(ctx, images, r.locals, func(ctx context.Context, s *localSource) (digest.Digest, error) { return s.stamp(ctx) })
	if err != nil {
		return "", err
	}
	return joinStamps(stamps), nil
}

// joinStamps makes one stamp of those of all sources.
func joinStamps(stamps map[string]digest.Digest) digest.Digest {
	h := fieldHash{Hash: sha256.New()}
	for _, key := range slices.Sorted(maps.Keys(stamps)) {
		h.text(key)
		h.text(string(stamps[key]))
	}
	return h.digest()
}
