package spec

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/plantest"
	"github.com/ibuild/ibuild/llb"
)

var update = flag.Bool("update", false, "write the golden files")

func read(t testing.TB, path string) source.Source {
	t.Helper()
	src, err := source.Read(path, source.SpecLimit)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func load(t *testing.T, path string) *llb.Plan {
	t.Helper()
	plan, err := Load(read(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestGolden compares what specs are lowered to, and the LLB of that for two platforms, with golden files.
func TestGolden(t *testing.T) {
	specs, err := filepath.Glob("testdata/*/image.yaml")
	if err != nil || len(specs) < 20 {
		t.Fatalf("%d specs, %v", len(specs), err)
	}
	for _, path := range specs {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			plan := load(t, path)
			if err := plantest.Compare(filepath.Join(filepath.Dir(path), "plan.golden.json"), plan, *update); err != nil {
				t.Error(err)
			}
			compareLLB(t, filepath.Join("testdata/llb", filepath.Base(filepath.Dir(path))+".json"), plan)
		})
	}
}

// compareLLB compares the recorded LLB for amd64 and arm64 with a golden file.
func compareLLB(t *testing.T, golden string, plan *llb.Plan) {
	t.Helper()
	opt := llb.Options{Platforms: []ocispecs.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}}
	rec, err := llb.NewRecorder(registryOf{}, plan, opt.Platforms[0]).Record(t.Context(), plan.Image.BuildFunc(opt))
	if err != nil {
		t.Fatal(err)
	}
	g, err := rec.Graph(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := g.WriteJSON(&got); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (run the test with -update when this is meant):\n%s", golden, diff)
	}
}
