//go:build integration

package traffic

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ibuild/ibuild/integration/imagetest"
	"github.com/ibuild/ibuild/integration/testenv"
)

func platform() string { return "linux/" + runtime.GOARCH }

// bigLayer is large beside all that a build of code moves.
const bigLayer = 4 << 20

// pushBase pushes an image with layers that nobody else has, and returns its name by digest and its blobs.
func pushBase(t *testing.T, repo string) (ref string, blobs []v1.Hash) {
	t.Helper()
	img, err := imagetest.Pull(t.Context(), shared.env.Registry.Ref("library/busybox:latest"), platform())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		layer, err := random.Layer(bigLayer, types.OCILayer)
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			t.Fatal(err)
		}
	}
	tag, err := name.NewTag(shared.env.Registry.Ref(repo + ":1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, img, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		h, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, h)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return tag.Context().Digest(digest.String()).Name(), blobs
}

// smallTraffic is more than a build of code sends and gets, and far less than a layer of the base.
const smallTraffic = 256 << 10

// noBaseBytes fails when a request moved bytes of one of the blobs, or the requests moved so much that they may have
// done so in another way.
func noBaseBytes(t *testing.T, what string, requests []testenv.Request, blobs []v1.Hash) {
	t.Helper()
	var moved int64
	for _, r := range requests {
		moved += r.Sent + r.Received
		for _, b := range blobs {
			named := strings.Contains(r.Path+"?"+r.Query, b.Hex)
			if bytes := r.Sent > 0 || r.Received > 0 && r.Method != http.MethodHead && r.Method != http.MethodPost; named && bytes {
				t.Errorf("%s: bytes of the base's blob %s were moved: %s", what, b, r)
			}
		}
	}
	if moved > smallTraffic {
		t.Errorf("%s: %d bytes were moved, want at most %d\n%s", what, moved, smallTraffic, lines(requests))
	}
}

// changeOfCode is what a change of one file writes: a layer and a config, each begun and sent, and the name.
func changeOfCode() map[string]int {
	return map[string]int{"POST blob": 2, "PUT blob": 2, "PUT manifest": 1}
}

// writes fails unless the requests wrote that many blobs and manifests, and asked for no blob before.
func writes(t *testing.T, what string, requests []testenv.Request, want map[string]int) {
	t.Helper()
	got := map[string]int{}
	for _, r := range requests {
		kind := "manifest"
		if strings.Contains(r.Path, "/blobs/") {
			kind = "blob"
		}
		if r.Method != http.MethodGet && !(r.Method == http.MethodHead && kind == "manifest") {
			got[r.Method+" "+kind]++
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s: wrote %v, want %v\n%s", what, got, want, lines(requests))
	}
}

// hasFile fails unless the image has a file of that size, and the files of its base.
func hasFile(t *testing.T, ref, base, file string, size int) {
	t.Helper()
	byPath := func(ref string) map[string]imagetest.File {
		img, err := imagetest.Pull(t.Context(), ref, platform())
		if err != nil {
			t.Fatal(err)
		}
		list, err := imagetest.Files(img)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]imagetest.File{}
		for _, f := range list {
			found[f.Path] = f
		}
		return found
	}
	files := byPath(ref)
	if f, ok := files[file]; !ok || f.Size != int64(size) {
		t.Errorf("%s: %s has %d bytes (there: %t), want %d", ref, file, f.Size, ok, size)
	}
	for path, want := range byPath(base) {
		if got, ok := files[path]; !ok || got.String() != want.String() {
			t.Errorf("%s: %s is %q, in the base %q", ref, path, got, want)
		}
	}
}

// TestCodeChangeMovesNoBase changes code on a base that is in the registry alone: no builder, and not one byte of the
// base's blobs, neither on the machine that built before nor on one that never built.
func TestCodeChangeMovesNoBase(t *testing.T) {
	base, blobs := pushBase(t, "traffic/base")
	dir := source(t, "context/main.py", "print(1)\n", "image.yaml", "base_image: "+base+"\nlayers:\n  - source_folder: {src: context, dst: /app/}\n")
	ref := shared.env.Registry.Ref("traffic/code:1")
	m := newMachine(t, false)
	first := m.build(t, ref, dir)
	first.builder(t, "the first build")
	var got int64
	for _, r := range first.requests {
		got += r.Received
	}
	if got < bigLayer {
		t.Errorf("the first build got %d bytes: what is counted is not what a builder pulls\n%s", got, lines(first.requests))
	}

	main := filepath.Join(dir, "context", "main.py")
	write(t, main, "print(22)\n")
	v := m.build(t, ref, dir)
	v.noBuilder(t, "a change of code")
	noBaseBytes(t, "a change of code", v.requests, blobs)
	writes(t, "a change of code", v.requests, changeOfCode())
	hasFile(t, ref, base, "app/main.py", len("print(22)\n"))

	write(t, main, "print(333)\n")
	v = newMachine(t, false).build(t, ref, dir)
	v.noBuilder(t, "a change of code on a second machine")
	noBaseBytes(t, "a change of code on a second machine", v.requests, blobs)
	writes(t, "a change of code on a second machine", v.requests, changeOfCode())
	hasFile(t, ref, base, "app/main.py", len("print(333)\n"))
}

// TestFiftyClients builds what is known in fifty processes at once: no connection reaches the daemon, so no solve
// does, and the registry is asked for manifests only.
func TestFiftyClients(t *testing.T) {
	dir := source(t, "data/file", "text of "+t.Name()+"\n", "Dockerfile", "FROM busybox\nRUN echo made > /made\nCOPY data /data\n")
	ref := shared.env.Registry.Ref("traffic/clients:1")
	m := newMachine(t, true)
	m.build(t, ref, dir).builder(t, "the first build")

	registry, daemon := shared.env.Registry.Mark(), shared.env.Buildkitd.Mark()
	root := filepath.Join(m.dir, "no-engine")
	var all sync.WaitGroup
	failed := make([]string, 50)
	for i := range failed {
		cmd := m.command(t, root, ref, dir)
		all.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				failed[i] = fmt.Sprintf("%v\n%s", err, out)
			}
		})
	}
	all.Wait()
	for i, text := range failed {
		if text != "" {
			t.Errorf("client %d: %s", i, text)
		}
	}
	if conns := shared.env.Buildkitd.Connections(daemon); len(conns) > 0 {
		t.Errorf("%d connections reached the daemon, want none", len(conns))
	}
	requests := shared.env.Registry.Requests(registry)
	if len(requests) < len(failed) {
		t.Errorf("%d requests from %d clients: the registry was not asked by each", len(requests), len(failed))
	}
	for _, r := range requests {
		if r.Method != http.MethodHead || !strings.Contains(r.Path, "/manifests/") {
			t.Errorf("the registry was asked for %s", r)
		}
	}
	m.build(t, ref, "--force", dir).builder(t, "--force")
}

// TestSecondMachine builds on a machine that has built nothing what another one has pushed: no builder, the same
// image, with its tag and with one that the registry does not have yet.
func TestSecondMachine(t *testing.T) {
	dir := source(t, "context/main.sh", "cat /made\n", "image.yaml",
		"base_image: busybox\nlayers:\n  - run: echo made for "+t.Name()+" > /made\n  - source_folder: {src: context, dst: /app/}\n")
	repo := shared.env.Registry.Ref("traffic/second")
	newMachine(t, false).build(t, repo+":1", dir).builder(t, "the first machine")
	want := digestOf(t, repo+":1")
	for what, tag := range map[string]string{"the same tag": ":1", "a new tag": ":2"} {
		v := newMachine(t, false).build(t, repo+tag, dir)
		v.noBuilder(t, what+" on a second machine")
		if tag == ":1" {
			writes(t, what+" on a second machine", v.requests, nil)
		}
		if got := digestOf(t, repo+tag); got != want {
			t.Errorf("%s on a second machine: pushed %s, the first pushed %s", what, got, want)
		}
	}
	newMachine(t, false).build(t, repo+":3", "--no-env-tag", dir).builder(t, "a machine that may not look for environments")
}

func digestOf(t *testing.T, ref string) v1.Hash {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Head(r, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest
}
