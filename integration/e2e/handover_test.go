//go:build integration

package e2e

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A step that makes a layer of its own, large enough to be sent while it is compressed: numbers that zstd makes some
// 14 MB of.
const handedOver = `FROM python:3.11-slim-bookworm
RUN python -c "import random; random.seed(7); open('/numbers','w').writelines('%d\n' % random.getrandbits(60) for _ in range(1500000))"
`

// TestHandOver: what the engine in ibuild's process makes is pushed by ibuild, once, with layers of zstd; and an image
// that goes to a second repository is mounted there. A remote builder pushes by itself, in the same form.
func TestHandOver(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		source := files(t, "Dockerfile", handedOver)
		mark := shared.env.Registry.Mark()
		one, two := shared.env.Registry.Ref("handover/one-"+e.name+":1"), shared.env.Registry.Ref("handover/two-"+e.name+":1")
		o := e.ibuild(t, "build", "--progress", "plain", "--push", "-t", one, "-t", two, source)
		layers := layersOf(t, pull(t, one, amd64))
		last := layers[len(layers)-1]
		if last.MediaType != types.OCILayerZStd {
			t.Errorf("the step's layer is %s", last.MediaType)
		}
		if base := layers[0].MediaType; base != types.OCILayer {
			t.Errorf("the base's layer has become %s", base)
		}
		if a, b := digestOf(t, one), digestOf(t, two); a != b {
			t.Errorf("the repositories have %s and %s", a, b)
		}
		var sent, agents = int64(0), map[string]bool{}
		for _, r := range shared.env.Registry.Requests(mark) {
			if strings.HasPrefix(r.Path, "/v2/handover/") && strings.Contains(r.Path, "/blobs/uploads/") {
				sent += r.Sent
				agents[agent(r.UserAgent)] = agents[agent(r.UserAgent)] || r.Sent > 0
			}
		}
		var all int64
		for _, l := range layers {
			all += l.Size
		}
		if sent < last.Size || sent > all+all/20 {
			t.Errorf("%d bytes were sent of an image of %d", sent, all)
		}
		if agents["ibuild"] == e.remote || agents["buildkit"] != e.remote || len(agents) > 2 {
			t.Errorf("blobs were pushed by %v\n%s", agents, o.stderr)
		}
	})
}

// agent is the program of a User-Agent, of those that push here.
func agent(header string) string {
	if strings.HasPrefix(header, "ibuild/") {
		return "ibuild"
	}
	if strings.HasPrefix(header, "buildkit/") {
		return "buildkit"
	}
	return header
}

// TestCompression: asked for by name, all layers are gzip, also where they were made as zstd before, and the base's as
// they were; a second name for the same form builds nothing.
func TestCompression(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		source := files(t, "Dockerfile", "FROM busybox\nRUN echo "+e.name+" > /made\n")
		ref := shared.env.Registry.Ref("handover/forms-" + e.name)
		e.ibuild(t, "build", "--progress", "plain", "--push", "-t", ref+":zstd", source)
		e.ibuild(t, "build", "--progress", "plain", "--push", "--compression", "gzip", "-t", ref+":gzip", source)
		asZstd, asGzip := layersOf(t, pull(t, ref+":zstd", amd64)), layersOf(t, pull(t, ref+":gzip", amd64))
		if got := asZstd[len(asZstd)-1].MediaType; got != types.OCILayerZStd {
			t.Errorf("by default: %s", got)
		}
		for _, l := range asGzip {
			if l.MediaType != types.OCILayer {
				t.Errorf("with --compression gzip: %s", l.MediaType)
			}
		}
		o := e.ibuild(t, "build", "--progress", "plain", "--push", "--compression", "gzip", "-t", ref+":again", source)
		if !strings.Contains(o.stderr, "nothing to build") {
			t.Errorf("built again:\n%s", o.stderr)
		}
	})
}

func layersOf(t *testing.T, img v1.Image) []v1.Descriptor {
	t.Helper()
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	return m.Layers
}
