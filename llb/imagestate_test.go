package llb

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	bk "github.com/moby/buildkit/client/llb"
	"google.golang.org/protobuf/testing/protocmp"
)

// A reference that is not parsed makes what BuildKit's own package makes of it.
func TestImageState(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0", 64)
	for ref, full := range map[string]bool{
		"docker.io/library/debian:12" + digest: true, "ghcr.io/astral-sh/uv:1" + digest: true, "ghcr.io/uv" + digest: true,
		"127.0.0.1:5000/a/b:c" + digest: true, "host:5000/a" + digest: true,
		"debian:12" + digest: false, "docker.io/debian:12" + digest: false, "index.docker.io/library/debian" + digest: false,
		"localhost/a" + digest: false, "me/app" + digest: false, "ghcr.io/uv:1": false, "ghcr.io/uv": false, "debian" + digest: false, "": false,
	} {
		if fullReference(ref) != full {
			t.Errorf("%q in its full form: %v", ref, !full)
		}
		theirs, err := bk.Image(ref, bk.Platform(arm64), bk.WithCustomName("base")).Marshal(t.Context(), bk.Platform(amd64))
		if ref == "" {
			continue // an error of theirs, and nobody gets as far as this
		}
		if err != nil {
			t.Fatal(ref, err)
		}
		ours, err := imageState(ref, arm64, "base").Marshal(t.Context(), bk.Platform(amd64))
		if err != nil {
			t.Fatal(ref, err)
		}
		if d := cmp.Diff(theirs.ToPB(), ours.ToPB(), protocmp.Transform()); d != "" {
			t.Errorf("%s:\n%s", ref, d)
		}
	}
}
