package llb

import (
	"strings"

	bk "github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/apicaps"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// imageState is BuildKit's Image, which brings a reference into its full form by parsing it. One that is in this form,
// as those of specs are, need not be parsed again: who resolved it has done so.
func imageState(ref string, p ocispecs.Platform, name string) bk.State {
	if !fullReference(ref) {
		return bk.Image(ref, bk.Platform(p), bk.WithCustomName(name))
	}
	c := bk.Constraints{Platform: &p}
	bk.WithCustomName(name).SetConstraintsOption(&c)
	c.Metadata.Caps = map[apicaps.CapID]bool{pb.CapSourceImage: true}
	return bk.NewState(bk.NewSource("docker-image://"+ref, map[string]string{}, c).Output())
}

// fullReference says that a reference with a digest is certainly in its full form: it names its registry, and
// Docker Hub's has a folder.
func fullReference(ref string) bool {
	host, rest, _ := strings.Cut(ref, "/")
	if !strings.Contains(rest, "@") || !strings.ContainsAny(host, ".:") || host == "index.docker.io" {
		return false
	}
	return host != "docker.io" || strings.Contains(rest, "/")
}
