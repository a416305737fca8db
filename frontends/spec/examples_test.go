package spec_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ibuild/ibuild/frontends"
	"github.com/ibuild/ibuild/llb"
)

const examples = "../../examples/"

// imagesOf answers for every reference, without a network: a digest of its text, and a config as such images
// have it.
type imagesOf struct{}

func (imagesOf) ResolveImage(_ context.Context, ref string, p ocispecs.Platform) (digest.Digest, []byte, error) {
	img := ocispecs.Image{Platform: p, RootFS: ocispecs.RootFS{Type: "layers"}}
	img.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	if strings.Contains(ref, "example/model-base") {
		img.Config.User, img.Config.WorkingDir = "model", "/srv/model"
	}
	config, err := json.Marshal(img)
	return digest.FromString(ref), config, err
}

// TestExamples compares the graph of every example that is not a Dockerfile alone with the one beside it, for amd64 and
// arm64, or the platforms that the example is made for.
func TestExamples(t *testing.T) {
	// TensorFlow's parent depends on both: Kaggle's image, and the local Python, of which there must be none here.
	t.Setenv("KAGGLE_DOCKER_IMAGE", "")
	t.Setenv("PATH", t.TempDir())
	checkout := checkoutOf(t, examples)
	for pattern, least := range map[string]int{"specs/*/*.yaml": 20, "scripts/tools.py": 1, "notebooks/*.ipynb": 1} {
		found, err := filepath.Glob(examples + pattern)
		if err != nil || len(found) < least {
			t.Fatalf("%s: %d examples, want at least %d (%v)", pattern, len(found), least, err)
		}
		for _, path := range found {
			name := strings.TrimPrefix(path, examples)
			t.Run(name, func(t *testing.T) { compareGraph(t, graphFile(path), graphOf(t, filepath.Join(checkout, name))) })
		}
	}
}

// graphFile is where the graph of an example is.
func graphFile(path string) string {
	stem := strings.TrimSuffix(path, filepath.Ext(path))
	if filepath.Base(path) == "image.yaml" {
		stem = filepath.Join(filepath.Dir(path), "llb")
	} else {
		stem += ".llb"
	}
	return stem + ".golden.json"
}

// checkoutOf copies a folder with the modes that files have after a checkout with umask 022: with a Dockerfile, modes
// are a part of what is built.
func checkoutOf(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if d.IsDir() || info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		return os.Chmod(path, mode)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func compareGraph(t *testing.T, golden string, got []byte) {
	t.Helper()
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatalf("%v (run the test with -update)", err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("%s (run the test with -update when this is meant):\n%s", golden, diff)
	}
}

// graphOf records what a builder would be asked for, in canonical form.
func graphOf(t *testing.T, path string) []byte {
	t.Helper()
	plan, err := frontends.Load(frontends.Options{Source: path})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range plan.Warnings {
		t.Errorf("an example should be above all doubt: %v", w)
	}
	platforms := plan.Platforms
	if len(platforms) == 0 {
		platforms = []ocispecs.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}
	}
	var all llb.Graph
	for _, p := range platforms {
		g := graphFor(t, plan, p)
		all.Version, all.Images = g.Version, append(all.Images, g.Images...)
	}
	var out bytes.Buffer
	if err := all.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func graphFor(t *testing.T, plan *llb.Plan, p ocispecs.Platform) *llb.Graph {
	t.Helper()
	build := plan.Build
	if plan.Image != nil {
		build = plan.Image.BuildFunc(llb.Options{Platforms: []ocispecs.Platform{p}})
	}
	rec, err := llb.NewRecorder(imagesOf{}, plan, p).Record(t.Context(), build)
	if err != nil {
		t.Fatal(err)
	}
	g, err := rec.Graph(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Images) != 1 || g.Images[0].Root == "" {
		t.Errorf("%d images for %s", len(g.Images), p.Architecture)
	}
	return g
}
