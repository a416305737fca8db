package engine

import (
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/llb"
)

// TestReviewSharedThatCannotBeCopied: an image that is found in another repository, but not with all its layers, is
// no reason to fail.
func TestReviewSharedThatCannotBeCopied(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.onlyEnvironment("app:1")
	req.Outputs.EnvRepo = f.repo("environments")
	f.share(req)
	there := newServer(t) // no layer is mounted from another registry
	elsewhere, err := reference.ParseNormalizedNamed(there.host + "/team/app:1")
	check(t, err)
	req.Outputs.Names = []reference.NamedTagged{elsewhere.(reference.NamedTagged)}
	layers, err := f.image(t, f.host+"/app:built", amd64).Layers()
	check(t, err)
	lost, err := layers[0].Digest()
	check(t, err)
	f.newMachine()
	f.refuse("/v2/environments/blobs/" + lost.String())
	f.needs(req, "an image with a layer that cannot be read")
	if !strings.Contains(f.said(), "cannot be copied, so it is built") {
		t.Errorf("said %s", f.said())
	}
	f.refuse("")
	f.must(req, HowKnown)
	there.image(t, elsewhere.String(), amd64)
}

// TestReviewEnvironmentOfOtherFiles: files that appear after the identity was made, and before the builder is
// asked, are in the environment, and so it may not be kept under that identity.
func TestReviewEnvironmentOfOtherFiles(t *testing.T) {
	f := newFixture(t)
	f.base()
	dir := source(t, map[string]string{"lib/one.py": "1", "main.py": "print(1)"})
	req := Request{Plan: f.plan(dir, llb.Copy{Local: "context", Src: "lib", Dst: "/lib", Dir: true}), Outputs: Outputs{Push: true, Names: f.names("app:1")}}
	b := f.start(req)
	rec, err := b.record(t.Context(), b.buildFunc())
	check(t, err)
	graph, err := rec.Graph(t.Context())
	check(t, err)
	e := newEnvironment(rec, req.Plan.Image, nil, graph, req.Outputs.form(b.codec))
	if still, err := e.stillTrue(t.Context()); !still || err != nil {
		t.Errorf("nothing changed: %v, %v", still, err)
	}
	plant(t, dir, map[string]string{"main.py": "print(2)"})
	if still, err := e.stillTrue(t.Context()); !still || err != nil {
		t.Errorf("a file that it does not see changed: %v, %v", still, err)
	}
	plant(t, dir, map[string]string{"lib/two.py": "2"})
	if still, err := e.stillTrue(t.Context()); still || err != nil {
		t.Errorf("a file appeared: %v, %v", still, err)
	}
}

// TestReviewRefusedEnvironmentOfTwoRepositories: what a tag stood for is remembered for each repository. The first
// one has an old environment under an immutable tag, the second has none.
func TestReviewRefusedEnvironmentOfTwoRepositories(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1", "second/app:1")
	b := f.start(req)
	e := f.environment(req)
	f.server.push(t, f.host+"/app:"+e.tag(), baseImage(t, arm64, nil)) // not for this platform: of no use
	b.findEnvironment(t.Context(), e)
	if e.found() {
		t.Fatal("it was found")
	}
	if at := f.digest(t, f.host+"/app:"+e.tag()); e.seen[f.host+"/app"].String() != at || at == "" || e.seen[f.host+"/second/app"] != "" {
		t.Errorf("seen %v, want %s in the first", e.seen, at)
	}
}
