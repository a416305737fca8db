package llb

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/platforms"
	"github.com/google/go-cmp/cmp"
	bk "github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/solver/result"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/proto"
)

var (
	amd64 = platforms.MustParse("linux/amd64")
	arm64 = platforms.MustParse("linux/arm64")
)

func TestWhatOnlyABuilderCanTell(t *testing.T) {
	dir := t.TempDir()
	step, err := bk.Image("x@sha256:" + strings.Repeat("1", 64)).Run(bk.Args([]string{"true"})).Root().Marshal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		what string
		do   func(ctx context.Context, c gateway.Client) error
	}{
		"a foreign frontend": {"what the frontend example.org/evil:1 makes of the source", func(ctx context.Context, c gateway.Client) error {
			_, err := c.Solve(ctx, gateway.SolveRequest{Frontend: "gateway.v0", FrontendOpt: map[string]string{"source": "example.org/evil:1"}})
			return err
		}},
		"a frontend of the builder": {"what the frontend dockerfile.v0 makes of the source", func(ctx context.Context, c gateway.Client) error {
			_, err := c.Solve(ctx, gateway.SolveRequest{Frontend: "dockerfile.v0"})
			return err
		}},
		"an OCI layout": {"the OCI layout x", func(ctx context.Context, c gateway.Client) error {
			_, _, _, err := c.ResolveImageConfig(ctx, "x", sourceresolver.Opt{OCILayoutOpt: &sourceresolver.ResolveOCILayoutOpt{}})
			return err
		}},
		"a git repository": {"git://example.org/x", func(ctx context.Context, c gateway.Client) error {
			_, err := c.ResolveSourceMetadata(ctx, &pb.SourceOp{Identifier: "git://example.org/x"}, sourceresolver.Opt{})
			return err
		}},
		"a URL": {"https://example.org/x", func(ctx context.Context, c gateway.Client) error {
			_, err := c.ResolveSourceMetadata(ctx, &pb.SourceOp{Identifier: "https://example.org/x"}, sourceresolver.Opt{})
			return err
		}},
		"a container": {"a container that the frontend wants to run", func(ctx context.Context, c gateway.Client) error {
			_, err := c.NewContainer(ctx, gateway.NewContainerRequest{})
			return err
		}},
		"a file of a step": {"a file of a build step's result", func(ctx context.Context, c gateway.Client) error {
			res, err := c.Solve(ctx, gateway.SolveRequest{Definition: step.ToPB()})
			if err != nil {
				return err
			}
			_, err = res.Ref.ReadFile(ctx, gateway.ReadRequest{Filename: "/etc/passwd"})
			return err
		}},
	} {
		rec := NewRecorder(fixedImages{}, &Plan{Locals: map[string]Local{"context": {Dir: dir}}}, amd64)
		_, err := rec.Record(t.Context(), func(ctx context.Context, g gateway.Client) (*gateway.Result, error) {
			return gateway.NewResult(), c.do(ctx, g)
		})
		var needs *NeedsBuilderError
		if !errors.As(err, &needs) || needs.What != c.what {
			t.Errorf("%s: %v, want %q", name, err, c.what)
		}
	}
}

func TestRecorderErrors(t *testing.T) {
	plan := &Plan{Locals: map[string]Local{"context": {Dir: t.TempDir()}}}
	def, err := bk.Local("other").Marshal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var read error
	rec, err := NewRecorder(fixedImages{}, plan, amd64).Record(t.Context(), func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
		res, err := c.Solve(ctx, gateway.SolveRequest{Definition: def.ToPB()})
		if err == nil {
			_, read = res.Ref.ReadFile(ctx, gateway.ReadRequest{Filename: "a"})
		}
		return res, err
	})
	if err != nil || !errors.Is(read, errNoLocal) {
		t.Fatalf("a local source that nobody gave: %v, %v", read, err)
	}
	if _, err := rec.Graph(t.Context()); !errors.Is(err, errNoLocal) || !strings.Contains(err.Error(), "other") {
		t.Errorf("its graph: %v", err)
	}

	for name, build := range map[string]gateway.BuildFunc{
		"an image that is missing": func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
			_, _, _, err := c.ResolveImageConfig(ctx, "missing", sourceresolver.Opt{})
			return nil, err
		},
		"its metadata": func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
			_, err := c.ResolveSourceMetadata(ctx, &pb.SourceOp{Identifier: "docker-image://missing"}, sourceresolver.Opt{})
			return nil, err
		},
		"a foreign reference": func(context.Context, gateway.Client) (*gateway.Result, error) {
			res := gateway.NewResult()
			res.SetRef(&builtRef{})
			return res, nil
		},
		"platforms that are none": func(context.Context, gateway.Client) (*gateway.Result, error) {
			res := gateway.NewResult()
			res.AddMeta("refs.platforms", []byte("{"))
			return res, nil
		},
		"attestations": func(context.Context, gateway.Client) (*gateway.Result, error) {
			res := gateway.NewResult()
			res.AddAttestation("linux/amd64", result.Attestation[gateway.Reference]{})
			return res, nil
		},
		// what is missing must not become the empty image
		"a platform without a result": func(context.Context, gateway.Client) (*gateway.Result, error) {
			res := gateway.NewResult()
			res.AddMeta("refs.platforms", []byte(`{"Platforms":[{"ID":"linux/amd64","Platform":{"os":"linux","architecture":"amd64"}},{"ID":"linux/arm64","Platform":{"os":"linux","architecture":"arm64"}}]}`))
			res.AddRef("linux/amd64", &recordedRef{def: chain(t, source("docker-image://a@sha256:1", nil))})
			return res, nil
		},
		"one result for two platforms": func(context.Context, gateway.Client) (*gateway.Result, error) {
			res := gateway.NewResult()
			res.AddMeta("refs.platforms", []byte(`{"Platforms":[{"ID":"linux/amd64","Platform":{"os":"linux","architecture":"amd64"}},{"ID":"linux/arm64","Platform":{"os":"linux","architecture":"arm64"}}]}`))
			res.SetRef(&recordedRef{def: chain(t, source("docker-image://a@sha256:1", nil))})
			return res, nil
		},
	} {
		if rec, err := NewRecorder(fixedImages{}, plan, amd64).Record(t.Context(), build); err == nil {
			t.Errorf("%s: recorded %+v", name, rec.Images)
		}
	}
}

func TestRecorderAnswers(t *testing.T) {
	plan := &Plan{Attrs: map[string]string{"filename": "Dockerfile"}}
	rec := NewRecorder(fixedImages{}, plan, arm64)
	opts := rec.BuildOpts()
	if opts.Opts["filename"] != "Dockerfile" || len(opts.Workers) != 1 || opts.Workers[0].Platforms[0].Architecture != "arm64" {
		t.Errorf("options %+v", opts)
	}
	opts.Opts["filename"] = "changed"
	if plan.Attrs["filename"] != "Dockerfile" {
		t.Error("a frontend can change the plan")
	}
	if err := opts.LLBCaps.Supports(pb.CapMergeOp); err != nil {
		t.Errorf("merge: %v", err)
	}
	ref, dgst, config, err := rec.ResolveImageConfig(t.Context(), "debian:12", sourceresolver.Opt{})
	if err != nil || ref != "debian:12" || dgst == "" || !strings.Contains(string(config), "arm64") {
		t.Errorf("%s, %s, %s, %v", ref, dgst, config, err)
	}
	_, _, config, err = rec.ResolveImageConfig(t.Context(), "debian:12", sourceresolver.Opt{ImageOpt: &sourceresolver.ResolveImageOpt{Platform: &amd64}})
	if err != nil || !strings.Contains(string(config), "amd64") {
		t.Errorf("for a platform: %s, %v", config, err)
	}
	meta, err := rec.ResolveSourceMetadata(t.Context(), &pb.SourceOp{Identifier: "docker-image://debian:12"}, sourceresolver.Opt{})
	if err != nil || meta.Image == nil || meta.Image.Digest != dgst {
		t.Errorf("metadata %+v, %v", meta, err)
	}
	meta, err = rec.ResolveSourceMetadata(t.Context(), &pb.SourceOp{Identifier: "local://context"}, sourceresolver.Opt{})
	if err != nil || meta.Op.Identifier != "local://context" {
		t.Errorf("metadata of a local source %+v, %v", meta, err)
	}
	if in, err := rec.Inputs(t.Context()); len(in) != 0 || err != nil {
		t.Errorf("inputs %v, %v", in, err)
	}
	res, err := rec.Solve(t.Context(), gateway.SolveRequest{})
	if err != nil || res.Ref != nil {
		t.Errorf("the empty image is %v, %v", res, err)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { rec.Warn(context.Background(), "", "careful", gateway.WarnOpts{Level: 1}) })
	}
	wg.Wait()
	out, err := rec.Record(t.Context(), func(context.Context, gateway.Client) (*gateway.Result, error) { return gateway.NewResult(), nil })
	if err != nil || len(out.Warnings) != 10 || out.Warnings[0].Message != "careful" {
		t.Errorf("warnings %v, %v", out.Warnings, err)
	}
	if len(out.Images) != 1 || out.Images[0].ID != "linux/arm64" || out.Images[0].Definition != nil {
		t.Errorf("the empty image is recorded as %+v", out.Images)
	}
}

// What a recorded reference becomes part of is the same as what the builder's would.
func TestReferencesAsStates(t *testing.T) {
	state, err := bk.Image("a@sha256:"+strings.Repeat("1", 64)).Marshal(t.Context(), bk.Platform(amd64))
	if err != nil {
		t.Fatal(err)
	}
	def := state.ToPB()
	ref := &recordedRef{def: def}
	if err := ref.Evaluate(t.Context()); err != nil {
		t.Error(err)
	}
	st, err := ref.ToState()
	if err != nil {
		t.Fatal(err)
	}
	again, err := st.Marshal(t.Context(), bk.Platform(amd64))
	if err != nil {
		t.Fatal(err)
	}
	if string(again.ToPB().Def[0]) != string(def.Def[0]) {
		t.Error("the operation is another one")
	}
	if _, err := (&recordedRef{def: &pb.Definition{Def: [][]byte{{0xff}}}}).ToState(); err == nil {
		t.Error("a broken definition is a state")
	}
}

// fakeBuilder is a gateway client that builds: it hands out references and remembers what for.
type fakeBuilder struct {
	gateway.Client
	mu     sync.Mutex
	solved []*pb.Definition
	fail   error
}

type builtRef struct {
	gateway.Reference
	def *pb.Definition
}

func (b *fakeBuilder) Solve(_ context.Context, req gateway.SolveRequest) (*gateway.Result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.solved = append(b.solved, req.Definition)
	res := gateway.NewResult()
	res.SetRef(&builtRef{def: req.Definition})
	return res, b.fail
}

// Replay answers as BuildKit's image exporter reads it.
func TestReplay(t *testing.T) {
	one := record(t, sample(folder(t)), Options{})
	two := record(t, sample(folder(t)), Options{Platforms: []ocispecs.Platform{amd64, arm64}})
	for name, c := range map[string]struct {
		rec  *Recording
		keys []string
	}{
		"one platform":  {one, []string{"containerimage.config", "refs.platforms"}},
		"two platforms": {two, []string{"containerimage.config/linux/amd64", "containerimage.config/linux/arm64", "refs.platforms"}},
	} {
		b := &fakeBuilder{}
		res, err := c.rec.Replay(nil, nil)(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		if keys := slices.Sorted(maps.Keys(res.Metadata)); !slices.Equal(keys, c.keys) {
			t.Errorf("%s: metadata %v, want %v", name, keys, c.keys)
		}
		var sent []*pb.Definition
		for _, i := range c.rec.Images {
			sent = append(sent, i.Definition)
		}
		if !slices.EqualFunc(b.solved, sent, func(a, b *pb.Definition) bool { return proto.Equal(a, b) }) {
			t.Errorf("%s: other definitions than the recorded ones were solved", name)
		}
		if len(c.rec.Images) == 1 {
			if res.Ref == nil || len(res.Refs) != 0 {
				t.Errorf("%s: %+v", name, res)
			}
			continue
		}
		for _, i := range c.rec.Images {
			if ref, ok := res.Refs[i.ID].(*builtRef); !ok || !proto.Equal(ref.def, i.Definition) {
				t.Errorf("%s: the reference of %s is %v", name, i.ID, res.Refs[i.ID])
			}
		}
	}
}

func TestReplayHooks(t *testing.T) {
	rec := record(t, sample(folder(t)), Options{Platforms: []ocispecs.Platform{amd64, arm64}})
	m := Machine{Env: map[string]string{"HTTP_PROXY": "x"}}
	var mu sync.Mutex
	seen := map[string]bool{}
	b := &fakeBuilder{}
	_, err := rec.Replay(m.Apply, func(_ context.Context, img RecordedImage, ref gateway.Reference) error {
		mu.Lock()
		defer mu.Unlock()
		seen[img.ID] = proto.Equal(ref.(*builtRef).def, img.Definition) // it was rewritten
		return nil
	})(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]bool{"linux/amd64": false, "linux/arm64": false}, seen); d != "" {
		t.Errorf("inspected (-want +got):\n%s", d)
	}
	fail := errors.New("no")
	for name, f := range map[string]func() gateway.BuildFunc{
		"rewrite": func() gateway.BuildFunc {
			return rec.Replay(func(*pb.Definition) (*pb.Definition, error) { return nil, fail }, nil)
		},
		"inspect": func() gateway.BuildFunc {
			return rec.Replay(nil, func(context.Context, RecordedImage, gateway.Reference) error { return fail })
		},
	} {
		if _, err := f()(t.Context(), &fakeBuilder{}); !errors.Is(err, fail) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := rec.Replay(nil, nil)(t.Context(), &fakeBuilder{fail: fail}); !errors.Is(err, fail) {
		t.Errorf("solve: %v", err)
	}
	empty := &Recording{Images: []RecordedImage{{ID: "linux/amd64"}}}
	err = nil
	_, err = empty.Replay(m.Apply, func(_ context.Context, _ RecordedImage, ref gateway.Reference) error {
		if ref != nil {
			t.Errorf("the empty image has the reference %v", ref)
		}
		return nil
	})(t.Context(), &fakeBuilder{})
	if err != nil {
		t.Error(err)
	}
}

// An error of lowering shows the line that asked for it.
func TestErrorsHaveTheirLines(t *testing.T) {
	for what, change := range map[string]func(*Image) Lines{
		"the base": func(img *Image) Lines { return img.Base.Lines },
		"a mount": func(img *Image) Lines {
			img.Base.Ref = "debian:12"
			img.Steps = []Step{Command("true", Lines{First: 4, Last: 5}, Mount{Kind: ImageMount, Ref: "missing", Target: "/x"})}
			return Lines{First: 4, Last: 5}
		},
		"a step beside others": func(img *Image) Lines {
			img.Base.Ref = "debian:12"
			apt := Apt([]string{"git"}, Lines{First: 1, Last: 1})
			apt.Mounts = append(apt.Mounts, Mount{Kind: 99, Target: "/x"})
			apt.Lines = Lines{First: 6, Last: 6}
			img.Steps = []Step{Env{Key: "VIRTUAL_ENV", Value: "/v"}, apt, Pip{Packages: []string{"a"}, WheelsOnly: true, Lines: Lines{First: 3, Last: 3}}.Step()}
			return Lines{First: 6, Last: 6}
		},
	} {
		img := sample(folder(t))
		img.Base.Ref, img.Base.Lines = "missing", Lines{First: 2, Last: 3}
		want := change(img)
		_, err := NewRecorder(fixedImages{}, &Plan{Image: img}, amd64).Record(t.Context(), img.BuildFunc(Options{}))
		src := errdefs.Sources(err)
		if err == nil || len(src) == 0 || src[0].Info.Filename != "image.yaml" || int(src[0].Ranges[0].Start.Line) != want.First || int(src[0].Ranges[0].End.Line) != want.Last {
			t.Errorf("%s: %v is at %v, want %v", what, err, src, want)
		}
		if len(src) > 1 {
			t.Errorf("%s: %d places are shown", what, len(src))
		}
	}
}
