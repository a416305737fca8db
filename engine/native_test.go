package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/ibuild/ibuild/llb"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/proto"
)

// noWheel is what uv says of a package that has none.
const noWheel = "error: No solution found\n  cause: Because numpy==1.2.3 has no usable wheels and you require it\n"

// pythonImage installs one package for a platform.
func pythonImage() *llb.Image {
	return &llb.Image{
		Name: "python", Base: llb.Base{Ref: llb.DebianPython("3.12"), Python: true},
		Steps: append(llb.DebianSetup("3.12", llb.Lines{}), llb.Pip{Packages: []string{"numpy"}}.Step()),
	}
}

// anyImage resolves every reference.
type anyImage struct{}

func (anyImage) ResolveImage(_ context.Context, ref string, p ocispecs.Platform) (digest.Digest, []byte, error) {
	return digest.FromString(ref), fmt.Appendf(nil, `{"architecture":%q,"os":%q}`, p.Architecture, p.OS), nil
}

func recordImage(t *testing.T, img *llb.Image, opt llb.Options) *llb.Recording {
	t.Helper()
	rec, err := llb.NewRecorder(anyImage{}, &llb.Plan{Image: img}, amd64).Record(t.Context(), img.BuildFunc(opt))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// pipStep is the operation that installs, and its digest.
func pipStep(t *testing.T, native bool) (*pb.Op, digest.Digest) {
	t.Helper()
	rec := recordImage(t, pythonImage(), llb.Options{Platforms: []ocispecs.Platform{arm64}, Native: native})
	for _, data := range rec.Images[0].Definition.Def {
		op := &pb.Op{}
		if err := proto.Unmarshal(data, op); err != nil {
			t.Fatal(err)
		}
		if slices.Contains(op.GetExec().GetMeta().GetArgs(), "numpy") {
			return op, digest.FromBytes(data)
		}
	}
	t.Fatal("nothing is installed")
	return nil, ""
}

// failed is the error of a step as a builder's client has it.
func failed(op *pb.Op, vertex digest.Digest) error {
	err := errdefs.WrapVertex(errors.New("exit code: 1"), vertex)
	return fmt.Errorf("failed to solve: %w", errdefs.WithSolveError(errdefs.WithOp(err, op, nil), nil, nil, nil))
}

func TestNeedsEmulation(t *testing.T) {
	op, vertex := pipStep(t, true)
	plain, plainVertex := pipStep(t, false)
	const again = ": linux/arm64 is built again with emulation"
	for what, c := range map[string]struct {
		err    error
		vertex digest.Digest // which printed
		output string
		want   string
	}{
		"no wheel":               {failed(op, vertex), vertex, noWheel, "numpy 1.2.3 has no wheel" + again},
		"a repository":           {failed(op, vertex), vertex, "error: Git operation failed\n", "a package comes from a git repository and has no wheel" + again},
		"no package":             {failed(op, vertex), vertex, "error: No solution found\n  cause: Because x was not found in the package registry\n", ""},
		"no network":             {failed(op, vertex), vertex, "error: Request failed after 3 retries\n", ""},
		"no output":              {failed(op, vertex), vertex, "", ""},
		"another step's output":  {failed(op, vertex), "sha256:other", noWheel, ""},
		"an emulated step":       {failed(plain, plainVertex), plainVertex, noWheel, ""},
		"a step of another kind": {failed(&pb.Op{}, vertex), vertex, noWheel, ""},
		"not a step's failure":   {errors.New("no builder"), vertex, noWheel, ""},
		"no failure":             {nil, vertex, noWheel, ""},
	} {
		o := &stepOutputs{}
		o.keep([]*client.VertexLog{{Vertex: c.vertex, Data: []byte(c.output)}})
		if got := o.needsEmulation(c.err); got != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}

// What a step says may come in pieces, and until the moment at which the solve ends.
func TestOutputOfSteps(t *testing.T) {
	op, vertex := pipStep(t, true)
	o, shown := &stepOutputs{}, make(chan *client.SolveStatus)
	in := o.tee(shown)
	go func() {
		defer close(in)
		send := func(text []byte) { in <- &client.SolveStatus{Logs: []*client.VertexLog{{Vertex: vertex, Data: text}}} }
		send(bytes.Repeat([]byte("a long line of output\n"), maxOutput))
		for _, r := range noWheel {
			send([]byte(string(r)))
		}
	}()
	n := 0
	for s := range shown {
		n += len(s.Logs)
	}
	if want := 1 + len(noWheel); n != want {
		t.Errorf("%d pieces were shown, want %d", n, want)
	}
	if why := o.needsEmulation(failed(op, vertex)); !strings.HasPrefix(why, "numpy 1.2.3 ") {
		t.Errorf("it says %q", why)
	}
	if kept := len(o.texts[vertex]); kept > maxOutput {
		t.Errorf("%d bytes are kept", kept)
	}
}

func TestNativeFirst(t *testing.T) {
	op, vertex := pipStep(t, true)
	for what, c := range map[string]struct {
		output   string // of the native step, which fails where there is one
		emulate  bool   // as the request wants it
		platform string
		solved   []string
		fails    bool
	}{
		"natively":               {"", false, "linux/arm64", []string{"native"}, false},
		"no wheel":               {noWheel, false, "linux/arm64", []string{"native", "emulated"}, false},
		"no network":             {"error: Request failed", false, "linux/arm64", []string{"native"}, true},
		"emulation is asked for": {noWheel, true, "linux/arm64", []string{"emulated"}, false},
		"the builder's own":      {noWheel, false, "linux/amd64", []string{"emulated"}, false},
	} {
		t.Run(what, func(t *testing.T) {
			f := newFixture(t)
			img := pythonImage()
			img.Base.Ref, img.Tools = f.host+"/python", map[string]string{llb.UVImage: f.host + "/uv"}
			for _, ref := range []string{img.Base.Ref, f.host + "/uv"} {
				f.push(t, ref, twoPlatforms(t))
			}
			opt := llb.Options{Platforms: []ocispecs.Platform{platforms.MustParse(c.platform)}}
			b := f.start(Request{Plan: &llb.Plan{Image: img}, Options: opt, Emulate: c.emulate})
			b.Progress = NewProgress()
			said := sayings(b.Progress)
			plain, err := b.record(t.Context(), img.BuildFunc(opt))
			check(t, err)
			var solved []string
			_, err = nativeFirst(t.Context(), b, img, plain, func(rec *llb.Recording) (int, error) {
				if rec == plain {
					solved = append(solved, "emulated")
					return 0, nil
				}
				solved = append(solved, "native")
				if c.output == "" {
					return 0, nil
				}
				b.steps.keep([]*client.VertexLog{{Vertex: vertex, Data: []byte(c.output)}})
				return 0, failed(op, vertex)
			})
			if !slices.Equal(solved, c.solved) || (err != nil) != c.fails {
				t.Errorf("solved %q with the error %v, want %q", solved, err, c.solved)
			}
			b.Progress.Close()
			if again := strings.Contains(<-said, "built again with emulation"); again != (len(c.solved) == 2) {
				t.Errorf("told about emulation: %v", again)
			}
		})
	}
}

// sayings collects the names of all steps until the progress ends.
func sayings(p *Progress) <-chan string {
	out := make(chan string, 1)
	go func() {
		var all []string
		for s := range p.Statuses() {
			for _, v := range s.Vertexes {
				all = append(all, v.Name)
			}
		}
		out <- strings.Join(all, "\n")
	}()
	return out
}

// twoPlatforms is an index of two images.
func twoPlatforms(t *testing.T) v1.ImageIndex {
	t.Helper()
	index := v1.ImageIndex(empty.Index)
	for _, p := range []ocispecs.Platform{amd64, arm64} {
		at := &v1.Platform{OS: p.OS, Architecture: p.Architecture}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: baseImage(t, p, nil), Descriptor: v1.Descriptor{Platform: at}})
	}
	return index
}
