package llb

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestImageID(t *testing.T) {
	id := digest.FromString("an image")
	for _, list := range [][]ocispecs.Platform{{amd64}, {amd64, arm64}} {
		img := sample(folder(t))
		img.Steps = append(img.Steps, Env{Key: ImageIDVariable, Value: "mine"}, Env{Key: "LAST", Value: "1"})
		rec := record(t, img, Options{Platforms: list})
		before, err := rec.Graph(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		stamped, err := rec.WithImageID(id)
		if err != nil {
			t.Fatal(err)
		}
		for i, img := range stamped.Images {
			key := exptypes.ExporterImageConfigKey
			if len(list) > 1 {
				key += "/" + img.ID
			}
			if string(stamped.meta[key]) != string(img.Config) {
				t.Errorf("%s: the builder would be given another config", img.ID)
			}
			var c dockerspec.DockerOCIImage
			if err := json.Unmarshal(img.Config, &c); err != nil {
				t.Fatal(err)
			}
			if got := c.Config.Env[len(c.Config.Env)-1]; got != "IBUILD_IMAGE_ID="+id.String() {
				t.Errorf("%s: the last variable is %s", img.ID, got)
			}
			if n := len(slices.DeleteFunc(c.Config.Env, func(kv string) bool { return !strings.HasPrefix(kv, "IBUILD_IMAGE_ID=") })); n != 1 {
				t.Errorf("%s: the variable is there %d times", img.ID, n)
			}
			if strings.Contains(string(rec.Images[i].Config), id.String()) {
				t.Error("the recording itself was changed")
			}
		}
		after, err := rec.Graph(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if before.Identity() != after.Identity() {
			t.Error("the identity changed with its stamp")
		}
	}
}

// A base that ibuild made has an identity; the image on top of it, and its steps, do not have that one.
func TestBaseIdentityIsDropped(t *testing.T) {
	c, err := ParseConfig([]byte(`{"config":{"Env":["A=1","IBUILD_IMAGE_ID=sha256:1","B=2"]}}`), amd64)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.img.Config.Env; !slices.Equal(got, []string{"A=1", "B=2"}) {
		t.Errorf("the environment is %q", got)
	}
}

func TestIdentityTag(t *testing.T) {
	id := digest.FromString("x")
	hash := id.Encoded()[:32]
	for format, want := range map[string]string{
		"": hash, "{spec_hash}": hash, "{spec_hash}-dev": hash + "-dev", "v1_{spec_hash}": "v1_" + hash, "{spec_hash}.{spec_hash}": hash + "." + hash,
	} {
		if got, err := IdentityTag(format, id); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", format, got, err, want)
		}
	}
	for format, want := range map[string]string{
		"dev":                                   `the tag format "dev" has no {spec_hash}, so the tag would stay when the image changes`,
		"{spec_hash}-{date}":                    `the tag format "{spec_hash}-{date}" has a placeholder other than {spec_hash}`,
		"-{spec_hash}":                          "makes no valid tag",
		"{spec_hash} dev":                       "makes no valid tag",
		"{spec_hash}/dev":                       "makes no valid tag",
		"{spec_hash}" + strings.Repeat("x", 97): "makes no valid tag",
		"{spec_hash}\n":                         "makes no valid tag",
		"{spec_hash":                            "has no {spec_hash}",
		"{{spec_hash}}":                         "a placeholder other than",
		strings.Repeat("{spec_hash}", 5) + "-dev": "makes no valid tag",
	} {
		if tag, err := IdentityTag(format, id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want %q", format, tag, err, want)
		}
	}
	for _, id := range []digest.Digest{"", "sha256:1", "x"} {
		if tag, err := IdentityTag("", id); err == nil {
			t.Errorf("the identity %q makes the tag %q", id, tag)
		}
	}
}

func FuzzIdentityTag(f *testing.F) {
	for _, s := range []string{"", "{spec_hash}", "{spec_hash}-dev", "{{spec_hash}}", "dev"} {
		f.Add(s)
	}
	name, err := reference.ParseNormalizedNamed("example.com/app")
	if err != nil {
		f.Fatal(err)
	}
	id := digest.FromString("x")
	f.Fuzz(func(t *testing.T, format string) {
		tag, err := IdentityTag(format, id)
		if (err == nil) != (CheckTagFormat(format) == nil) {
			t.Fatalf("%q: %v", format, err)
		}
		if err != nil {
			return
		}
		if _, err := reference.WithTag(name, tag); err != nil || !strings.Contains(tag, id.Encoded()[:32]) {
			t.Fatalf("%q makes the tag %q: %v", format, tag, err)
		}
	})
}
