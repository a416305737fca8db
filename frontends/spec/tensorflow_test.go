package spec

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ibuild/ibuild/llb"
)

// holed is a registry that has an error for one reference.
type holed struct {
	registryOf
	ref string
	err error
}

func (r holed) ResolveImage(ctx context.Context, ref string, p ocispecs.Platform) (digest.Digest, []byte, error) {
	if ref == r.ref {
		return "", nil, r.err
	}
	return r.registryOf.ResolveImage(ctx, ref, p)
}

func recordIn(t *testing.T, img Image, r llb.Resolver) (*llb.Recording, error) {
	t.Helper()
	at := placeOf(t.TempDir())
	plan, err := img.Plan(at.Source)
	if err != nil {
		t.Fatal(err)
	}
	return llb.NewRecorder(r, plan, at.Platform).Record(t.Context(), plan.Image.BuildFunc(llb.Options{Platforms: plan.Platforms}))
}

// base is the image that a recording starts from.
func base(t *testing.T, rec *llb.Recording) string {
	t.Helper()
	var out strings.Builder
	g, err := rec.Graph(t.Context())
	if err == nil {
		err = g.WriteJSON(&out)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(out.String(), "docker-image://docker.io/tensorflow/")
	ref, _, _ := strings.Cut(rest, "@")
	if !ok {
		t.Fatalf("the image is not TensorFlow's:\n%s", out.String())
	}
	return ref
}

// TestParentThatIsNotThere: a tag that TensorFlow has no image for becomes the latest, with a warning. Other errors
// stay errors, and so does an image that was named.
func TestParentThatIsNotThere(t *testing.T) {
	t.Setenv("KAGGLE_DOCKER_IMAGE", "")
	for want, c := range map[string]struct {
		config DockerConfig
		gone   string
	}{
		"tensorflow:2.16.2":     {DockerConfig{TensorFlow: "2.16.2"}, ""},
		"tensorflow:2.16.2-gpu": {DockerConfig{TensorFlow: "2.16.2", GPU: true}, "docker.io/tensorflow/tensorflow:2.16.2"},
		"tensorflow:latest":     {DockerConfig{TensorFlow: "2.16.2"}, "docker.io/tensorflow/tensorflow:2.16.2"},
		"tensorflow:latest-gpu": {DockerConfig{TensorFlow: "2.16.2", GPU: true}, "docker.io/tensorflow/tensorflow:2.16.2-gpu"},
	} {
		rec, err := recordIn(t, TensorFlow(c.config), holed{ref: c.gone, err: cerrdefs.ErrNotFound})
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		if got := base(t, rec); got != want {
			t.Errorf("starts from %s, want %s", got, want)
		}
		if fell := strings.Contains(want, "latest"); fell != (len(rec.Warnings) == 1) || fell && !strings.Contains(rec.Warnings[0].Message, "there is no image "+strings.TrimPrefix(c.gone, "docker.io/")) {
			t.Errorf("%s: the warnings are %+v", want, rec.Warnings)
		}
	}
	const named = "docker.io/tensorflow/tensorflow:2.16.2"
	for what, c := range map[string]struct {
		config DockerConfig
		err    error
	}{
		"another error":  {DockerConfig{TensorFlow: "2.16.2"}, cerrdefs.ErrPermissionDenied},
		"a named parent": {DockerConfig{ParentImage: named}, cerrdefs.ErrNotFound},
	} {
		if _, err := recordIn(t, TensorFlow(c.config), holed{ref: named, err: c.err}); !errors.Is(err, c.err) {
			t.Errorf("%s: got %v, want %v", what, err, c.err)
		}
	}
}

// TestCodeOfTensorFlow: the code comes without what .dockerignore and the standard ignores leave out, and a link that
// leads out of the folder is an error.
func TestCodeOfTensorFlow(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"src/main.py": "", "src/data/big.bin": "x", "src/.git/config": "x", ".dockerignore": "**/*.bin\n"} {
		writeTo(t, filepath.Join(dir, name), text)
	}
	img := TensorFlow(DockerConfig{ParentImage: "busybox", Context: "src", EntryPoint: "main.py"})
	before := identify(t, img, placeOf(dir))
	for name, counts := range map[string]bool{"src/data/big.bin": false, "src/.git/config": false, "src/main.py": true} {
		writeTo(t, filepath.Join(dir, name), "changed")
		if changed := identify(t, img, placeOf(dir)) != before; changed != counts {
			t.Errorf("%s is brought: %v, want %v", name, changed, counts)
		}
		before = identify(t, img, placeOf(dir))
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if err := TensorFlow(DockerConfig{ParentImage: "busybox", Context: "out"}).Validate(dir); err == nil || !strings.Contains(err.Error(), "leaves the spec's folder") {
		t.Errorf("a link out of the folder: %v", err)
	}
}

// solver is a builder that remembers which caches it was to import.
type solver struct {
	gateway.Client
	imports []string
}

func (s *solver) Solve(_ context.Context, req gateway.SolveRequest) (*gateway.Result, error) {
	for _, c := range req.CacheImports {
		s.imports = append(s.imports, c.Type+" "+c.Attrs["ref"])
	}
	return gateway.NewResult(), nil
}

// TestCacheFrom: the builder is asked to import the cache of the image that cache_from names, else of the one that is
// made, for each platform.
func TestCacheFrom(t *testing.T) {
	for what, c := range map[string]struct {
		config DockerConfig
		want   []string
	}{
		"named":     {DockerConfig{ParentImage: "busybox", Image: "gcr.io/p/x", CacheFrom: "gcr.io/p/cache:1"}, []string{"registry gcr.io/p/cache:1"}},
		"the image": {DockerConfig{ParentImage: "busybox", Image: "gcr.io/p/x"}, []string{"registry gcr.io/p/x"}},
		"none":      {DockerConfig{ParentImage: "busybox"}, nil},
	} {
		for _, platforms := range [][]string{{"linux/amd64"}, {"linux/amd64", "linux/arm64"}} {
			rec, err := recordIn(t, TensorFlow(c.config).WithPlatforms(platforms...).WithCommands("true"), registryOf{})
			if err != nil {
				t.Fatal(err)
			}
			s := &solver{}
			if _, err := rec.Replay(nil, nil)(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if want := slices.Repeat(c.want, len(platforms)); !slices.Equal(s.imports, want) {
				t.Errorf("%s, %v: imports %q, want %q", what, platforms, s.imports, want)
			}
		}
	}
}
