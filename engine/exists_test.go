package engine

import (
	"errors"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestExists(t *testing.T) {
	f := newFixture(t)
	f.base(amd64, arm64) // base:1, an index
	f.server.push(t, f.host+"/one:1", baseImage(t, amd64, nil))
	f.server.push(t, f.host+"/hollow:1", f.hollowIndex())
	digest := f.digest(t, f.host+"/base:1")
	both := []ocispecs.Platform{amd64, arm64}
	for _, c := range []struct {
		ref       string
		platforms []ocispecs.Platform
		want      Existence
		reason    string
	}{
		{"/base:1", both, Yes, ""},
		{"/base:1", both[1:], Yes, ""},
		{"/base:1", nil, Yes, ""},
		{"/base@" + digest, both, Yes, ""},
		{"/base:2", both, No, "not found"},
		{"/none:1", nil, No, "not found"},
		{"/base@sha256:" + strings.Repeat("0", 64), nil, No, "not found"},
		{"/base:1", []ocispecs.Platform{amd64, {OS: "linux", Architecture: "s390x"}}, No, "no image for linux/s390x; it has: linux/amd64, linux/arm64"},
		{"/one:1", both[:1], Yes, ""},
		{"/one:1", both, No, "no image for linux/arm64"},
		{"/hollow:1", both[:1], No, "not found"}, // the index is there, its image is not
		{"/Upper:1", nil, Unknown, "must be lowercase"},
	} {
		p := f.engine.Exists(t.Context(), f.host+c.ref, c.platforms)
		if p.Exists != c.want || !strings.Contains(p.Reason, c.reason) || (p.Reason == "") != (c.want == Yes) {
			t.Errorf("%s for %d platforms: %s %q, want %s %q", c.ref, len(c.platforms), p.Exists, p.Reason, c.want, c.reason)
		}
		if (p.Descriptor.Digest != "") != (c.want == Yes) {
			t.Errorf("%s: digest %q", c.ref, p.Descriptor.Digest)
		}
	}
	if p := f.engine.Exists(t.Context(), f.host+"/one:1", both[:1]); p.ConfigDigest == "" {
		t.Error("the config of a single image is not named")
	}
	if p := f.engine.Exists(t.Context(), f.host+"/base:1", both); p.ConfigDigest != "" {
		t.Error("an index has a config")
	}
	if f.opened.Load() != 0 {
		t.Error("a builder was opened")
	}
}

// hollowIndex names an image that the registry does not have.
func (f *fixture) hollowIndex() remote.Taggable {
	idx := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: baseImage(f.t, amd64, nil),
		Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	return bareIndex{idx}
}

// bareIndex is pushed without what it names.
type bareIndex struct{ index v1.ImageIndex }

func (b bareIndex) RawManifest() ([]byte, error) { return b.index.RawManifest() }

func (b bareIndex) MediaType() (string, error) {
	m, err := b.index.MediaType()
	return string(m), err
}

// A registry that refuses, fails or is not there has not said no.
func TestExistsCannotTell(t *testing.T) {
	f := newFixture(t)
	f.server.push(t, f.host+"/one:1", baseImage(t, amd64, nil))
	f.refuse("/v2/one/")
	if p := f.engine.Exists(t.Context(), f.host+"/one:1", nil); p.Exists != Unknown || !strings.Contains(p.Reason, "access denied") {
		t.Errorf("refused: %s %q", p.Exists, p.Reason)
	}
	f.refuse("")
	f.Close()
	if p := f.engine.Exists(t.Context(), f.host+"/one:1", nil); p.Exists != Unknown || !strings.Contains(p.Reason, "out of reach") {
		t.Errorf("gone: %s %q", p.Exists, p.Reason)
	}
	for e, want := range map[Existence]string{Yes: "yes", No: "no", Unknown: "unknown"} {
		if e.String() != want {
			t.Errorf("%d is %q", e, e)
		}
	}
	if absent(errors.New("anything")).Exists != Unknown {
		t.Error("an unknown error is a no")
	}
}
