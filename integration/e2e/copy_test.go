//go:build integration

package e2e

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// twoPlatforms pushes an index of two images that no registry has seen, and returns its name and digest.
func twoPlatforms(t *testing.T, repo string, size int64) (ref, dgst string) {
	t.Helper()
	index := v1.ImageIndex(empty.Index)
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := random.Image(size, 3)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config = config.DeepCopy()
		config.OS, config.Architecture = "linux", arch
		if img, err = mutate.ConfigFile(img, config); err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	ref = shared.env.Registry.Ref(repo)
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(parsed, index, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	return ref, digestOf(t, ref)
}

// craneValidates lets another program look at all of an image.
func craneValidates(t *testing.T, ref string) {
	t.Helper()
	crane, err := shared.env.Tool(t.Context(), "crane")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), crane, "validate", "--remote", ref).CombinedOutput(); err != nil {
		t.Errorf("crane validate %s: %v\n%s", ref, err, out)
	}
}

// TestCopyWithinRegistry moves no byte of a layer, however large the image.
func TestCopyWithinRegistry(t *testing.T) {
	e := engineNamed(t, "root").fresh(t)
	ref, want := twoPlatforms(t, "copy/large:1", 32<<20)
	mark := shared.env.Registry.Mark()
	to := shared.env.Registry.Ref("copy/elsewhere:1")
	if o := e.ibuild(t, "copy", "-q", ref, to); strings.TrimSpace(o.stdout) != want {
		t.Errorf("it says %q, not %s", o.stdout, want)
	}
	mounts := 0
	for _, r := range shared.env.Registry.Requests(mark) {
		if r.Sent+r.Received > 64<<10 || strings.Contains(r.Path, "/blobs/") && (r.Sent > 0 || r.Method == http.MethodGet) {
			t.Errorf("bytes were moved: %s", r)
		}
		if r.Method == http.MethodPost && r.Status == http.StatusCreated {
			mounts++
		}
	}
	if mounts != 8 || digestOf(t, to) != want {
		t.Errorf("%d mounts, not 2 configs and 6 layers; %s is %s, not %s", mounts, to, digestOf(t, to), want)
	}
	craneValidates(t, to)
}

// TestCopyAround: registry, folder, registry, archive, registry: the same image everywhere, for other programs, too.
func TestCopyAround(t *testing.T) {
	e := engineNamed(t, "root").fresh(t)
	ref, want := twoPlatforms(t, "copy/around:1", 1<<20)
	dir := folder(t)
	oci, archive, docker := filepath.Join(dir, "layout"), filepath.Join(dir, "image.tar"), filepath.Join(dir, "docker.tar")
	second, third := shared.env.Registry.Ref("copy/second:1"), shared.env.Registry.Ref("copy/third:1")
	e.ibuild(t, "copy", ref, "oci:"+oci+":one")
	e.ibuild(t, "copy", "oci:"+oci+":one", second)
	e.ibuild(t, "save", "-o", archive, second)
	e.ibuild(t, "load", "-i", archive, third)
	for _, ref := range []string{second, third} {
		if got := digestOf(t, ref); got != want {
			t.Errorf("%s is %s, not %s", ref, got, want)
		}
		craneValidates(t, ref)
	}
	path, err := layout.FromPath(oci)
	if err != nil {
		t.Fatal(err)
	}
	index, err := path.ImageIndex()
	if err == nil {
		err = validate.Index(index)
	}
	if err != nil {
		t.Errorf("ggcr reads the layout: %v", err)
	}

	e.ibuild(t, "save", "-o", docker, "--format", "docker", "--platform", "linux/arm64", third)
	tag, err := name.NewTag(third)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(docker, &tag)
	if err == nil {
		err = validate.Image(img)
	}
	if err != nil {
		t.Fatalf("ggcr reads the docker archive: %v", err)
	}
	one := shared.env.Registry.Ref("copy/one:1")
	e.ibuild(t, "load", "-i", docker, one)
	parts, err := pullIndex(t, ref).IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if got := digestOf(t, one); got != parts.Manifests[1].Digest.String() {
		t.Errorf("the image for arm64 became %s", got)
	}
	if o := end(t, e.command(t, "save", "-o", docker, "--format", "docker", third)); o.code != 2 || !strings.Contains(o.stderr, "room for one platform") {
		t.Errorf("two platforms in a docker archive: exit code %d\n%s", o.code, o.stderr)
	}
}

func pullIndex(t *testing.T, ref string) v1.ImageIndex {
	t.Helper()
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(parsed, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return index
}
