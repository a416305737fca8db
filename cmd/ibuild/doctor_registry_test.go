package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/registry"
)

func TestDoctorTriesAPush(t *testing.T) {
	s := newShelf(t)
	repo, err := reference.ParseNormalizedNamed(s.host + "/app")
	s.check(err)
	four, chunk, no := 4, int64(100e6), false
	opts := registry.Options{Keychain: registry.StaticKeychain(nil), Profiles: map[string]registry.ProfileChange{s.host: {Parallel: &four, Chunk: &chunk, Resume: &no}}}
	var out bytes.Buffer
	d := &checkup{out: &out}
	d.push(t.Context(), &house{registry: registry.New(opts)}, repo)
	// This registry, ggcr's for tests, takes chunks, and knows neither the state of an upload nor how to end one.
	want := `ok    push         HOST/app may be pushed to, without credentials
note  uploads      it takes chunks, and does not say how much of them it has: what is cut is sent anew
note  uploads      whether an upload that was given up is gone cannot be seen; registries remove those by themselves
ok    profile      4 small blobs at a time, in chunks of 100 MB, uploads are not resumed (from the settings, else as for every host)
`
	if diff := cmp.Diff(want, strings.ReplaceAll(out.String(), s.host, "HOST")); diff != "" || d.bad {
		t.Error(d.bad, diff)
	}
	s.mu.Lock()
	s.refuse = true
	s.mu.Unlock()
	out.Reset()
	d.push(t.Context(), &house{registry: registry.New(opts)}, repo)
	if !d.bad || !strings.HasPrefix(out.String(), "FAIL  push ") || !strings.Contains(out.String(), "fix: ") {
		t.Errorf("%v %s", d.bad, &out)
	}
}

func TestDoctorOnUploads(t *testing.T) {
	resume := registry.Profile{Parallel: 16, Resume: true, Mount: true}
	for _, c := range []struct {
		t    registry.Trial
		want string
	}{
		{registry.Trial{Resumes: true, Profile: resume}, "ok    uploads      it takes chunks, and says how much of them it has: what is cut can go on from there\n"},
		{registry.Trial{Resumes: true, Least: 5e6}, "note  uploads      it takes chunks, of 5.0 MB or more, and says how much of them it has; the profile has it that uploads begin anew all the same\n"},
		{registry.Trial{Chunks: errors.New("no"), Profile: resume}, "note  uploads      a blob goes up in one request, and is sent anew when that is cut: it takes no chunks (no)\n"},
		{registry.Trial{Chunks: registry.ErrUntried, Least: 1e8}, "note  uploads      it wants chunks, of 100 MB or more: that was not tried\n"},
	} {
		var out bytes.Buffer
		(&checkup{out: &out}).uploads(c.t)
		if out.String() != c.want {
			t.Errorf("%+v: %s", c.t, &out)
		}
	}
	if got := profileText(resume); got != "16 small blobs at a time" {
		t.Error(got)
	}
	if got := profileText(registry.Profile{Parallel: 1, Compression: "gzip"}); got != "1 small blobs at a time, uploads are not resumed, nothing is mounted, layers are gzip" {
		t.Error(got)
	}
}
