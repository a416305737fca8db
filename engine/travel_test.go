package engine

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/llb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// A machine that has nothing but the source finds what others have built, and asks no builder: one request for the tag
// and its index, then the facts, one config for each platform, and what the image's name stands for, side by side.
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
				"GET /v2/team/app/manifests/" + e.tag(), "HEAD /v2/team/app/manifests/1", "GET /v2/team/app/blobs/" + kept.Blobs[1].Digest.String(),
			}
			for _, img := range e.images {
				want = append(want, "GET /v2/team/app/blobs/"+img.ConfigDigest.String())
			}
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("asked\n%q, want\n%q", got, want)
			}
			// and once more, with other code: all of that is in the cache now, and the name could have been right
			plant(t, req.Plan.Locals["context"].Dir, map[string]string{"src/main.py": "print(2)\n"})
			f.on(nil)
			f.must(req, HowAssembled)
			got = f.reads("team/app")
			slices.Sort(got)
			if want := []string{"HEAD /v2/team/app/manifests/1", "HEAD /v2/team/app/manifests/" + e.tag()}; !slices.Equal(got, want) {
				t.Errorf("asked %q, want %q", got, want)
			}
		})
	}
}

// What somebody else has pushed under the same name is not pushed again, and under another name only the name is.
func TestImageOfAnotherMachineIsNotPushedAgain(t *testing.T) {
	for _, platforms := range [][]ocispecs.Platform{{amd64}, {amd64, arm64}} {
		f := newFixture(t)
		f.base(platforms...)
		req := f.app("team/app:1")
		req.Options.Platforms = platforms
		f.know(req, "etc/")
		first := f.must(req, HowAssembled)
		for _, c := range []struct {
			names []string
			puts  []string
		}{
			{[]string{"team/app:1"}, nil},
			{[]string{"team/app:1", "team/app:2"}, []string{"PUT /v2/team/app/manifests/2"}},
		} {
			f.newMachine()
			req.Outputs.Names = f.names(c.names...)
			f.on(nil)
			res := f.must(req, HowAssembled)
			var sent []string
			for _, r := range f.requests() {
				if strings.HasPrefix(r, "PUT ") || strings.HasPrefix(r, "POST ") {
					sent = append(sent, r)
				}
			}
			if !slices.Equal(sent, c.puts) || res.Descriptor.Digest != first.Descriptor.Digest || len(res.Names) != len(c.names) {
				t.Errorf("%v: sent %q, want %q; %s with the names %q, first %s", c.names, sent, c.puts, res.Descriptor.Digest, res.Names, first.Descriptor.Digest)
			}
			f.image(t, res.Names[len(res.Names)-1], platforms[0])
		}
		f.newMachine() // whose code is another
		plant(t, req.Plan.Locals["context"].Dir, map[string]string{"src/main.py": "print(2)\n"})
		if res := f.must(req, HowAssembled); f.digest(t, res.Names[0]) != res.Descriptor.Digest.String() || res.Descriptor.Digest == first.Descriptor.Digest {
			t.Errorf("%s stands for %s, made is %s", res.Names[0], f.digest(t, res.Names[0]), res.Descriptor.Digest)
		}
	}
}

// A change of code costs four requests one after the other: the tag of the environment, then the beginning and the bytes
// of layer and config side by side, then the name. (What the name stands for is asked meanwhile, for an unchanged build.)
func TestRequestsOfAChangeOfCode(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("team/app:1")
	e := f.know(req, "etc/")
	f.must(req, HowAssembled)
	plant(t, req.Plan.Locals["context"].Dir, map[string]string{"src/main.py": "print(2)\n"})
	f.on(nil)
	f.must(req, HowAssembled)
	count := map[string]int{}
	for _, r := range f.requests() {
		method, path, _ := strings.Cut(r, " ")
		switch {
		case strings.Contains(path, "/base/"): // the base's tag is resolved anew
		case strings.Contains(path, "/blobs/"):
			count[method+" blob"]++
		default:
			count[r]++
		}
	}
	want := map[string]int{"HEAD /v2/team/app/manifests/" + e.tag(): 1, "HEAD /v2/team/app/manifests/1": 1, "PUT /v2/team/app/manifests/1": 1}
	// the layer with the file, and the config; the other layers are as they were, which this process knows
	want["POST blob"], want["PUT blob"] = 2, 2
	if !maps.Equal(count, want) {
		t.Errorf("asked %v, want %v", count, want)
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
		f.image(t, res.Names[0], p) // checks it
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
