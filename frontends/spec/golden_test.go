package spec

import (
	"flag"
	"path/filepath"
	"testing"

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

func TestGolden(t *testing.T) {
	specs, err := filepath.Glob("testdata/*/image.yaml")
	if err != nil || len(specs) < 8 {
		t.Fatalf("%d specs, %v", len(specs), err)
	}
	for _, path := range specs {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			golden := filepath.Join(filepath.Dir(path), "plan.golden.json")
			if err := plantest.Compare(golden, load(t, path), *update); err != nil {
				t.Error(err)
			}
		})
	}
}
