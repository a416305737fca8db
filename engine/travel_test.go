package engine

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/ibuild/ibuild/llb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// A machine that has nothing but the source finds what others have built, and asks no builder: one HEAD, and
// the index, the facts and one config for each platform.
func TestEnvironmentTravels(t *testing.T) {
	for _, platforms := range [][]ocispecs.Platform{{amd64}, {amd64, arm64}} {
		t.Run(fmt.Sprint(len(platforms), " platforms"), func(t *testing.T) {
			f := newFixture(t)
			blobs := f.scoped()
			f.base(platforms...)
			req := f.app("team/app:1")
			req.Options.Platforms = platforms
			e := f.know(req, "etc/")
			f.newMachine()
			f.on(nil)
			blobs.forget()
			f.must(req, HowAssembled)
			blobs.check(t, e)
			got := f.reads("team/app")
			slices.Sort(got)
			kept, err := e.document()
			check(t, err)
			want := []string{
				"HEAD /v2/team/app/manifests/" + e.tag(),
				"GET /v2/team/app/manifests/" + kept.Index.Digest.String(), "GET /v2/team/app/blobs/" + kept.Blobs[1].Digest.String(),
			}
			for _, img := range e.images {
				want = append(want, "GET /v2/team/app/blobs/"+img.ConfigDigest.String())
			}
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("asked\n%q, want\n%q", got, want)
			}
			// and once more, with other code: all of that is in the cache now
			plant(t, req.Plan.Locals["context"].Dir, map[string]string{"src/main.py": "print(2)\n"})
			f.on(nil)
			f.must(req, HowAssembled)
			if got := f.reads("team/app"); !slices.Equal(got, []string{want[len(want)-1]}) {
				t.Errorf("asked %q", got)
			}
		})
	}
}

// What stands under the tag is an index of images, for whoever pulls it.
func TestEnvironmentIsAnImage(t *testing.T) {
	f := newFixture(t)
	f.base(amd64, arm64)
	req := f.app("app:1")
	req.Options.Platforms = []ocispecs.Platform{amd64, arm64}
	e := f.know(req, "etc/")
	for _, p := range req.Options.Platforms {
		if c := config(t, f.image(t, f.host+"/app:"+e.tag(), p)); c.Architecture != p.Architecture {
			t.Errorf("the image for %s says %s", p.Architecture, c.Architecture)
		}
	}
	if p := f.engine.Exists(t.Context(), f.host+"/app:"+e.tag(), []ocispecs.Platform{{OS: "unknown", Architecture: "unknown"}}); p.Exists != No {
		t.Errorf("the facts are an image: %s", p.Exists)
	}
}

// EnvRepo keeps environments apart from images: on the same registry blobs are mounted, on another one copied.
func TestEnvironmentsElsewhere(t *testing.T) {
	f := newFixture(t)
	blobs := f.scoped()
	f.base()
	req := f.app("team/app:1", "other/app:1")
	req.Outputs.EnvRepo = f.repo("cache/environments")
	e := f.know(req, "etc/")
	f.newMachine()
	f.on(nil)
	blobs.forget()
	res := f.must(req, HowAssembled)
	blobs.check(t, e)
	for _, n := range res.Names {
		if d := added(t, f.image(t, n, amd64), 1); len(d) != len(wantCode) {
			t.Errorf("%s has %v", n, d)
		}
	}
	for _, r := range f.requests() {
		if strings.Contains(r, "/team/app/manifests/ibuild-env") || strings.Contains(r, "/other/app/manifests/ibuild-env") {
			t.Errorf("asked %s", r)
		}
	}

	there := newServer(t) // another registry
	elsewhere, err := reference.ParseNormalizedNamed(there.host + "/team/app:1")
	check(t, err)
	req.Outputs.Names = []reference.NamedTagged{elsewhere.(reference.NamedTagged)}
	plant(t, req.Plan.Locals["context"].Dir, map[string]string{"src/main.py": "print(2)\n"})
	f.must(req, HowAssembled)
	there.image(t, elsewhere.String(), amd64)
}

// An environment that one of the repositories has is good for all of them.
func TestEnvironmentIsBroughtToOtherRepositories(t *testing.T) {
	f := newFixture(t)
	blobs := f.scoped()
	f.base()
	req := f.app("app:1")
	e := f.know(req, "etc/")
	req.Outputs.Names = append(req.Outputs.Names, f.names("second/app:1")...)
	blobs.forget()
	f.must(req, HowAssembled)
	blobs.check(t, e)
	f.image(t, f.host+"/second/app:1", amd64)
}

// Where a tag cannot be written, or shall not be, this machine remembers the environment, and others do not
// find it.
func TestEnvironmentWithoutATag(t *testing.T) {
	for name, noTag := range map[string]bool{"refused": false, "not wanted": true} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.base()
			req := f.app("app:1")
			req.Outputs.NoEnvTag = noTag
			if !noTag {
				f.noEnvTags()
			}
			e := f.built(req, "etc/")
			said := f.remind(req, e)
			if told := strings.Contains(said, "only this machine will find the environment: "); told == noTag {
				t.Errorf("people are told %q", said)
			}
			if d := f.digest(t, f.host+"/app:"+e.tag()); d != "" {
				t.Errorf("the tag stands for %s", d)
			}
			f.on(nil)
			f.must(req, HowAssembled)
			for _, r := range f.requests() {
				if noTag && strings.Contains(r, "ibuild-env") {
					t.Errorf("asked %s", r)
				}
			}
			plant(t, req.Plan.Locals["context"].Dir, map[string]string{"src/main.py": "print(2)\n"})
			other := req
			f.remove(t, f.host+"/app@"+e.images[e.rec.Images[0].ID].Manifest.Digest.String())
			f.needs(other, "an environment image that is gone")
			f.newMachine()
			f.needs(other, "another machine")
		})
	}
}

// A tag that cannot be moved keeps the facts that it has; what this machine has learned beyond is not lost.
func TestImmutableTag(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1")
	f.know(req, "etc/?")
	f.needs(req, "facts that are not enough")
	f.noEnvTags()
	e := f.environment(req)
	for _, i := range e.rec.Images {
		more := listing("etc/")
		e.facts[i.ID] = e.facts[i.ID].merged(&more)
	}
	f.remind(req, e)
	f.must(req, HowAssembled)
	f.newMachine()
	plant(t, req.Plan.Locals["context"].Dir, map[string]string{"src/main.py": "print(2)\n"})
	f.needs(req, "another machine, which has the facts under the tag")
}

// Two machines learn about different folders at the same time: nothing of it is lost.
func TestFactsOfTwoMachines(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1")
	f.know(req, "etc/?", "srv/?")
	one, two := f.environment(req), f.environment(req)
	for e, tree := range map[*environment]string{one: "etc/", two: "srv/"} {
		for _, i := range e.rec.Images {
			more := Facts{Folders: map[string]map[string]Node{"/" + strings.TrimSuffix(tree, "/"): {}}}
			e.facts[i.ID] = e.facts[i.ID].merged(&more)
		}
	}
	f.remind(req, one)
	f.remind(req, two) // which has not seen what the first one wrote
	f.newMachine()
	e := f.environment(req)
	for id, known := range e.facts {
		if known.Folders["/etc"] == nil || known.Folders["/srv"] == nil {
			t.Errorf("%s: known are %v", id, known.Folders)
		}
	}
}

// What a registry has under the tag is read with care: what makes no sense is a reason to ask a builder, and
// never a layer that only looks right.
func TestWrongFacts(t *testing.T) {
	for name, c := range map[string]struct{ data []byte }{
		"no JSON":          {data: []byte("{")},
		"another image's":  {data: []byte(`{"images":{"` + digest.FromString("x").String() + `":{"folders":{"/":{}}}}}`)},
		"beyond the root":  {data: []byte(`{"images":{"IMAGE":{"folders":{"/":{"..":"d"}}}}}`)},
		"too large":        {data: []byte(strings.Repeat(" ", maxFacts) + "{}")},
		"nothing at all":   {data: []byte(`{}`)},
		"not what it says": {data: []byte(`{"images":{"IMAGE":{"folders":{"/app":{}}}}}`)},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.base()
			req := f.app("app:1")
			e := f.built(req)
			image := e.images[e.rec.Images[0].ID].Manifest.Digest.String()
			data := []byte(strings.ReplaceAll(string(c.data), "IMAGE", image))
			facts, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), static.NewLayer(data, factsType))
			check(t, err)
			idx := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
				mutate.IndexAddendum{Add: made(t, e.rec.Images[0]), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
				mutate.IndexAddendum{Add: facts, Descriptor: v1.Descriptor{ArtifactType: environmentType, Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}}})
			f.server.push(t, f.host+"/app:"+e.tag(), idx)
			f.needs(req, name)
			if d := f.digest(t, f.host+"/app:1"); d != "" {
				t.Errorf("the image is %s", d)
			}
		})
	}
}

// The image that the code makes is whole for everybody else's tools, and is made of the same bytes everywhere.
func TestAssembledIsValid(t *testing.T) {
	f := newFixture(t)
	f.base(amd64, arm64)
	req := f.app("app:1")
	req.Options.Platforms = []ocispecs.Platform{amd64, arm64}
	req.Outputs.EnvRepo = f.repo("environments")
	f.know(req, "lib@usr/lib", "usr/", "usr/lib/", "etc/")
	res := f.must(req, HowAssembled)
	for _, p := range req.Options.Platforms {
		check(t, validate.Image(f.image(t, res.Names[0], p)))
	}
	f.newMachine()
	if again := f.must(req, HowAssembled); again.Descriptor.Digest != res.Descriptor.Digest {
		t.Errorf("made again it is %s, not %s", again.Descriptor.Digest, res.Descriptor.Digest)
	}
}

// SOURCE_DATE_EPOCH is the time of everything that ibuild itself makes.
func TestEpochOfCode(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1")
	epoch := time.Date(2020, 5, 6, 7, 8, 9, 0, time.UTC)
	req.Options.Epoch = &epoch
	f.know(req, "etc/")
	f.must(req, HowAssembled)
	img := f.image(t, f.host+"/app:1", amd64)
	if got := config(t, img).Created.Time; !got.Equal(epoch) {
		t.Errorf("the image is of %s", got)
	}
	layers, err := img.Layers()
	check(t, err)
	for _, l := range layers[1:] {
		rc, err := l.Uncompressed()
		check(t, err)
		for tr := tar.NewReader(rc); ; {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			check(t, err)
			if !h.ModTime.Equal(epoch) {
				t.Errorf("%s is of %s", h.Name, h.ModTime)
			}
		}
		rc.Close()
	}
}

// Two names of one file are one file to BuildKit, which makes hard links of them.
func TestHardLinksAreTheBuilders(t *testing.T) {
	dir := source(t, map[string]string{"src/a": "1"})
	check(t, os.Link(filepath.Join(dir, "src/a"), filepath.Join(dir, "src/b")))
	img := codeOf(dir, llb.Copy{Local: "context", Src: "src", Dst: "/app", Dir: true})
	var needs *needsBuilder
	if _, err := lay(t, listing(), img); !errors.As(err, &needs) || needs.why != "src/b is another name of src/a" {
		t.Errorf("got %v", err)
	}
	img.Locals["context"] = llb.Local{Dir: dir, PlainModes: true} // which shows two files
	layers, err := lay(t, listing(), img)
	check(t, err)
	if got := paths(layers); len(got[0]) != 3 {
		t.Errorf("got %v", got)
	}
}
