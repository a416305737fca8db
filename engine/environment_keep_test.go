package engine

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
)

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

// Two machines put their facts under the tag in the same moment, neither knowing of the other: what the second one
// finds there after it has put its own is merged, and what it has overwritten unseen comes back when it is needed.
func TestFactsPutInTheSameMoment(t *testing.T) {
	for name, method := range map[string]string{"before the other one's": http.MethodPut, "after the other one's": http.MethodHead} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.base()
			req := f.app("app:1")
			f.know(req, "etc/?", "srv/?")
			tag := f.environment(req).tag()
			learned := func(dir string) *environment {
				e := f.environment(req)
				for _, i := range e.rec.Images {
					e.facts[i.ID] = e.facts[i.ID].merged(&Facts{Folders: map[string]map[string]Node{dir: {}}})
				}
				return e
			}
			one, first := learned("/etc"), f.engine
			kept, err := one.document()
			check(t, err)
			b := f.start(req)
			b.keepLocally(t.Context(), one, kept)
			f.newMachine()
			two := learned("/srv")
			var put, done atomic.Bool // by the second machine; the first one's interruption
			f.on(func(r *http.Request) {
				if !strings.HasSuffix(r.URL.Path, tag) {
					return
				}
				if r.Method == method && (put.Load() || method == http.MethodPut) && !done.Swap(true) {
					// without a look at the tag: as if that had been before
					if err := first.Registry.Push(t.Context(), registry.Upload{Repository: one.repos[0], Blobs: []registry.Blob{kept.Blobs[0].Blob(), kept.Blobs[1].Blob()},
						Manifests: []registry.Content{kept.Manifest, kept.Index}, Tags: []string{one.repos[0] + ":" + tag}}); err != nil {
						t.Error(err)
					}
				}
				if r.Method == http.MethodPut {
					put.Store(true)
				}
			})
			f.remind(req, two)
			f.on(nil)
			if !done.Load() {
				t.Fatal("nobody came between")
			}
			if method == http.MethodPut { // the first machine's are lost at the registry, until it needs them
				f.engine, f.cache = first, first.Cache
				f.must(req, HowAssembled)
			}
			f.newMachine()
			for id, known := range f.environment(req).facts {
				if known.Folders["/etc"] == nil || known.Folders["/srv"] == nil {
					t.Errorf("%s: known are %v", id, known.Folders)
				}
			}
		})
	}
}

// What a registry has under the tag is read with care: what makes no sense is a reason to ask a builder, and
// never a layer that only looks right.
func TestWrongFacts(t *testing.T) {
	for name, c := range map[string]struct{ data []byte }{
		"no JSON":          {data: []byte("{")},
		"another image's":  {data: []byte(`{"images":{"` + digest.FromString("x").String() + `":{"folders":{"/":{}}}}}`)},
		"beyond the root":  {data: []byte(`{"images":{"IMAGE":{"folders":{"/":{"..":"d"}}}}}`)},
		"too large":        {data: []byte(strings.Repeat(" ", maxFactsText) + "{}")},
		"nothing at all":   {data: []byte(`{}`)},
		"not what it says": {data: []byte(`{"images":{"IMAGE":{"folders":{"/app":{}}}}}`)},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.base()
			req := f.app("app:1")
			e := f.built(req)
			image := e.images[e.rec.Images[0].ID].Manifest.Digest.String()
			data, err := compressFacts([]byte(strings.ReplaceAll(string(c.data), "IMAGE", image)))
			check(t, err)
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
