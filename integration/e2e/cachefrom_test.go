//go:build integration

package e2e

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec"
	"github.com/ibuild/ibuild/integration/imagetest"
	"github.com/ibuild/ibuild/llb"
)

// mirror resolves names as ibuild does here, at the environment's registry.
type mirror struct{ t *testing.T }

func (m mirror) ResolveImage(_ context.Context, ref string, p ocispecs.Platform) (digest.Digest, []byte, error) {
	_, path, _ := strings.Cut(ref, "/")
	ref = shared.env.Registry.Ref(path)
	config, err := pull(m.t, ref, p.OS+"/"+p.Architecture).RawConfigFile()
	return digest.Digest(digestOf(m.t, ref)), config, err
}

// buildWithCache has buildctl make what a spec says, and push it with its cache inside, as an image that ibuild did not
// make.
func buildWithCache(t *testing.T, file, ref string) {
	t.Helper()
	src, err := source.Read(file, source.SpecLimit)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := spec.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	platform := ocispecs.Platform{OS: "linux", Architecture: "amd64"}
	rec, err := llb.NewRecorder(mirror{t}, plan, platform).Record(t.Context(), plan.Image.BuildFunc(llb.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	// as ibuild sends it from a machine that has settings for packages
	def, err := llb.Machine{Env: map[string]string{"PIP_INDEX_URL": shared.env.Sites.Open.Index()}}.Apply(rec.Images[0].Definition)
	if err != nil {
		t.Fatal(err)
	}
	data, err := def.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeLimit)
	defer cancel()
	b := shared.env.Buildkitd
	cmd := shared.env.Command(ctx, shared.env.User, shared.buildctl, "--addr", b.Addr, "--tlscacert", b.CACert, "--tlscert", b.Cert, "--tlskey", b.Key,
		"build", "--progress", "plain", "--no-cache", "--local", spec.ContextName+"="+filepath.Dir(file), "--export-cache", "type=inline",
		"--output", "type=image,push=true,oci-mediatypes=true,name="+ref)
	cmd.Stdin = bytes.NewReader(data)
	mustEnd(t, cmd)
}

// TestCacheFrom: a builder that has never seen a step takes what it made from the image that cache_from names. Where
// that image is not there, the step is run.
func TestCacheFrom(t *testing.T) {
	cache := shared.env.Registry.Ref("cache-from/cache:1")
	write := func(cacheFrom string) string {
		return filepath.Join(files(t, "code/main.txt", "code\n", "image.yaml", "tensorflow_cloud: {parent_image: busybox, context: code, cache_from: '"+cacheFrom+"'}\n"+
			"commands: [head -c 16 /dev/urandom | sha256sum > /random]\nentrypoint: [cat, /random]\n"), "image.yaml")
	}
	file := write(cache)
	buildWithCache(t, file, cache)
	want := fileOf(t, pull(t, cache, amd64), "/random")
	for _, name := range []string{"root", "user"} {
		t.Run(name, func(t *testing.T) {
			for what, c := range map[string]struct {
				file string
				hit  bool
			}{"the cache": {file, true}, "no cache": {write(shared.env.Registry.Ref("cache-from/none:1")), false}} {
				e := engineNamed(t, name).fresh(t)
				ref := shared.env.Registry.Ref("cache-from/" + name)
				cmd := e.command(t, "build", "--progress", "plain", "--push", "-t", ref, "--force", c.file)
				cmd.Env = append(cmd.Env, "PIP_INDEX_URL="+shared.env.Sites.Open.Index())
				o := mustEnd(t, cmd)
				if got := fileOf(t, pull(t, ref, amd64), "/random"); (got == want) != c.hit {
					t.Errorf("with %s: the image has %q, the cached one %q\n%s", what, got, want, o.stderr)
				}
			}
		})
	}
}

// fileOf is the text of a file of an image.
func fileOf(t *testing.T, img v1.Image, path string) string {
	t.Helper()
	res, err := imagetest.Run(t.Context(), img, imagetest.RunOptions{Entrypoint: []string{"/bin/cat", path}})
	if err != nil || res.Stdout == "" {
		t.Fatalf("%q, %v", res.Stdout, err)
	}
	return res.Stdout
}
