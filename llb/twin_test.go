package llb

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/proto"
)

// pythonSteps has a step of every kind that matters to native steps, and ends with one that needs all before it.
func pythonSteps() *Image {
	steps := append(DebianSetup("3.12", Lines{First: 1, Last: 1}),
		Apt([]string{"git"}, Lines{First: 2, Last: 2}),
		Pip{Packages: []string{"numpy"}, WheelsOnly: true, Lines: Lines{First: 3, Last: 3}}.Step(),
		Command("true", Lines{First: 4, Last: 4}),
		WriteFile{Dst: "/etc/constraints.txt", Data: []byte("rich<15\n")},
		Pip{Packages: []string{"rich"}, Args: []string{"--constraint", "/etc/constraints.txt"}, Lines: Lines{First: 5, Last: 5}}.Step(),
		UVScript([]byte("# /// script\n"), nil, Lines{First: 6, Last: 6}))
	return &Image{Name: "python", Base: Base{Ref: DebianPython("3.12"), Python: true}, Steps: steps}
}

func native(platforms ...ocispecs.Platform) Options {
	return Options{Platforms: platforms, Native: true}
}

func TestNativeGolden(t *testing.T) {
	g := graph(t, record(t, pythonSteps(), native(arm64)))
	var js, dot bytes.Buffer
	if err := g.WriteJSON(&js); err != nil {
		t.Fatal(err)
	}
	if err := g.WriteDOT(&dot); err != nil {
		t.Fatal(err)
	}
	golden(t, "native.json", js.Bytes())
	golden(t, "native.dot", dot.Bytes())
}

// Only user commands and apt run on the foreign platform; all mounts of the others are the builder's.
func TestWhatRunsWhere(t *testing.T) {
	rec := record(t, pythonSteps(), native(arm64))
	ops, _, err := parseDefinition(rec.Images[0].Definition)
	if err != nil {
		t.Fatal(err)
	}
	var ran []string
	for _, v := range ops {
		if v.op.GetExec() == nil {
			continue
		}
		ran = append(ran, v.op.Platform.Architecture+" "+v.meta.Description["llb.customname"])
		for _, in := range v.op.Inputs {
			src := ops[digest.Digest(in.Digest)].op
			if src.GetSource() != nil && strings.HasPrefix(src.GetSource().Identifier, "docker-image://") && src.Platform.Architecture != v.op.Platform.Architecture {
				t.Errorf("%s uses %s for %s", ran[len(ran)-1], src.GetSource().Identifier, src.Platform.Architecture)
			}
		}
	}
	slices.Sort(ran)
	want := []string{
		"amd64 pip: numpy, natively", "amd64 pip: rich, natively", "amd64 python 3.12: virtual environment, user app, natively",
		"amd64 uv: dependencies of the script, natively", "arm64 apt: git", "arm64 run: true",
	}
	if !slices.Equal(ran, want) {
		t.Errorf("%q\nwant\n%q", ran, want)
	}
}

func TestConfigIsTheSameNatively(t *testing.T) {
	plain, native := record(t, pythonSteps(), Options{Platforms: []ocispecs.Platform{amd64, arm64}}), record(t, pythonSteps(), native(amd64, arm64))
	for i := range plain.Images {
		if !bytes.Equal(plain.Images[i].Config, native.Images[i].Config) {
			t.Errorf("%s: the config is\n%s\nand natively\n%s", plain.Images[i].ID, plain.Images[i].Config, native.Images[i].Config)
		}
	}
	if !proto.Equal(plain.Images[0].Definition, native.Images[0].Definition) {
		t.Error("the builder's own platform is built in another way")
	}
	mixed := plain.WithNative(native)
	if mixed == nil || !proto.Equal(mixed.Images[1].Definition, native.Images[1].Definition) || proto.Equal(mixed.Images[1].Definition, plain.Images[1].Definition) {
		t.Error("the recording has no native steps")
	}
}

// oneArchitecture resolves every reference to an image for arm64, as a digest of such an image does.
type oneArchitecture struct{}

func (oneArchitecture) ResolveImage(ctx context.Context, ref string, _ ocispecs.Platform) (digest.Digest, []byte, error) {
	return fixedImages{}.ResolveImage(ctx, ref, arm64)
}

// noNative has no image for the builder's own platform.
type noNative struct{}

func (noNative) ResolveImage(ctx context.Context, ref string, p ocispecs.Platform) (digest.Digest, []byte, error) {
	if p.Architecture == "amd64" {
		return "", nil, fmt.Errorf("%s: not for %s", ref, p.Architecture)
	}
	return fixedImages{}.ResolveImage(ctx, ref, p)
}

func TestAllIsEmulated(t *testing.T) {
	for what, c := range map[string]struct {
		resolver Resolver
		change   func(*Image)
		platform ocispecs.Platform
	}{
		"the builder's own platform":    {fixedImages{}, func(*Image) {}, amd64},
		"a platform without wheels":     {fixedImages{}, func(*Image) {}, ocispecs.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}},
		"a base of unknown contents":    {fixedImages{}, func(img *Image) { img.Base.Python = false }, arm64},
		"no Python steps":               {fixedImages{}, func(img *Image) { img.Steps = []Step{Command("true", Lines{})} }, arm64},
		"a base that is one image":      {oneArchitecture{}, func(*Image) {}, arm64},
		"no base for the builder's own": {noNative{}, func(*Image) {}, arm64},
		"a flag about building on itself": {fixedImages{}, func(img *Image) {
			img.Steps = []Step{Pip{Packages: []string{"a"}, Args: []string{"--no-binary", "a"}}.Step()}
		}, arm64},
	} {
		img := pythonSteps()
		c.change(img)
		rec := func(native bool) *Recording {
			rec, err := NewRecorder(c.resolver, &Plan{Image: img}, amd64).Record(t.Context(), img.BuildFunc(Options{Platforms: []ocispecs.Platform{c.platform}, Native: native}))
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			return rec
		}
		if mixed := rec(false).WithNative(rec(true)); mixed != nil {
			t.Errorf("%s: there are native steps", what)
		}
	}
}
