package anatomy

import (
	"errors"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

// TestReviewBadDigests: whoever shows a layer takes its digest apart, which panics for what is none.
func TestReviewBadDigests(t *testing.T) {
	good := digest.FromString("x")
	for _, bad := range []digest.Digest{"", "x", "sha256:", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e"} {
		for name, pair := range map[string][2]digest.Digest{"layer": {bad, good}, "diff ID": {good, bad}} {
			w := newWriter(t)
			config := dockerspec.DockerOCIImage{}
			config.Platform = ocispecs.Platform{OS: "linux", Architecture: "amd64"}
			config.RootFS.DiffIDs = []digest.Digest{pair[1]}
			m := ocispecs.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, Config: w.json(ocispecs.MediaTypeImageConfig, config)}
			m.Layers = []ocispecs.Descriptor{{MediaType: ocispecs.MediaTypeImageLayer, Digest: pair[0], Size: 1}}
			src := w.index(w.json(ocispecs.MediaTypeImageManifest, m)).open()
			_, err := Read(t.Context(), src)
			var format *FormatError
			if !errors.As(err, &format) {
				t.Errorf("%s %q: %v", name, bad, err)
			}
		}
	}
}
