package llb

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	bk "github.com/moby/buildkit/client/llb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/testing/protocmp"
)

// What is sent to builders is what BuildKit's own package would send.
func TestMarshalAgainstBuildKit(t *testing.T) {
	whole := sample(folder(t))
	twice := *whole // the mounted file of two apt steps is one operation with two vertices
	twice.Steps = append(slices.Clone(whole.Steps), Apt([]string{"make"}, Lines{First: 2, Last: 2, File: 1}), Command("true", Lines{First: 1, File: 2}),
		Copy{Local: "context", Src: "src", Dst: "code", Dir: true, Exclude: []string{"**/*.pyc", "!deep"}})
	twice.Sources = append(slices.Clone(whole.Sources), &SourceFile{Name: "below.yaml", Language: "YAML", Data: []byte("1\n2\n")}, whole.Sources[0])
	for name, c := range map[string]struct {
		img *Image
		opt Options
	}{
		"empty":         {&Image{Base: Base{Ref: "scratch"}}, Options{}},
		"only a base":   {&Image{Base: Base{Ref: "docker.io/library/debian:12"}}, Options{}},
		"a file":        {&Image{Steps: []Step{WriteFile{Dst: "/a", Data: []byte("a")}}}, Options{}},
		"whole":         {whole, Options{}},
		"without cache": {whole, Options{NoCache: true}},
		"twice":         {&twice, Options{Platforms: []ocispecs.Platform{amd64, arm64}}},
		"two names":     {&Image{Base: Base{Ref: UVImage}, Steps: []Step{Command("true", Lines{})}}, Options{}},
		"native":        {pythonSteps(), native(arm64)},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewRecorder(fixedImages{}, &Plan{Image: c.img, Locals: c.img.Locals}, amd64)
			p := amd64
			if len(c.opt.Platforms) > 0 {
				p = c.opt.Platforms[len(c.opt.Platforms)-1]
			}
			l, err := c.img.lower(t.Context(), r, p, c.opt)
			if err != nil {
				t.Fatal(err)
			}
			opts := []bk.ConstraintsOpt{l.forImage, bk.LocalUniqueID("the same for both")}
			theirs, err := l.state.Marshal(t.Context(), opts...)
			if err != nil {
				t.Fatal(err)
			}
			ours, err := marshal(t.Context(), l.state.State, 0, opts...)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(theirs.ToPB(), ours, protocmp.Transform()); d != "" {
				t.Error(d)
			}
		})
	}
}
