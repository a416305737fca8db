package registry

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestProfile(t *testing.T) {
	usual := usualProfile()
	with := func(f func(*Profile)) Profile { p := usual; f(&p); return p }
	noResume := with(func(p *Profile) { p.Resume = false })
	for host, want := range map[string]Profile{
		"registry.example.com":        usual,
		"localhost:5000":              usual,
		"docker.io":                   with(func(p *Profile) { p.Parallel = 8 }),
		"quay.io":                     with(func(p *Profile) { p.Parallel = 8 }),
		"ghcr.io":                     noResume,
		"GHCR.io":                     noResume,
		"gcr.io":                      noResume,
		"eu.gcr.io":                   noResume,
		"europe-west1-docker.pkg.dev": noResume,
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com": noResume,
		"public.ecr.aws":      with(func(p *Profile) { p.Resume, p.Mount = false, false }),
		"team.azurecr.io":     noResume,
		"registry.gitlab.com": noResume,
		"notghcr.io":          usual,
	} {
		if got := New(Options{}).Profile(host); got != want {
			t.Errorf("%s: %+v, want %+v", host, got, want)
		}
	}
}

func TestProfileChange(t *testing.T) {
	all := ProfileChange{Parallel: new(0), Chunk: new(int64(5)), Resume: new(true), Mount: new(false), Compression: new("gzip"), Stall: new(time.Second), Answer: new(time.Minute)}
	c := New(Options{Profiles: map[string]ProfileChange{"ghcr.io": all}})
	want := Profile{Parallel: 1, Chunk: 5, Resume: true, Mount: false, Compression: "gzip", Stall: time.Second, Answer: time.Minute}
	if got := c.Profile("ghcr.io"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := c.Profile("docker.io"); got != knownProfile("docker.io") {
		t.Errorf("got %+v", got)
	}
}

// TestGate: small blobs take a place each, large ones as many as leave room for four of them.
func TestGate(t *testing.T) {
	for _, c := range []struct {
		parallel int
		size     int64
		want     int
	}{
		{16, 1000, 16}, {16, largeBlob / 2, 8}, {16, largeBlob, 4}, {16, -1, 4}, {8, largeBlob, 4}, {4, largeBlob, 4}, {2, largeBlob, 2}, {1, -1, 1},
	} {
		g := newGate(c.parallel)
		full, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		n := 0
		var err error
		var leave func()
		for err == nil && n <= c.parallel {
			if leave, err = g.enter(full, g.places(c.size)); err == nil {
				n++
				defer leave()
			}
		}
		cancel()
		if n != c.want || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d places, blobs of %d: %d at a time, want %d; %v", c.parallel, c.size, n, c.want, err)
		}
	}
}

// TestGateSlowsDown: answers that come together count once, and there is always room for one.
func TestGateSlowsDown(t *testing.T) {
	g := newGate(8)
	g.slowDown()
	g.slowDown()
	if g.limit != 4 {
		t.Errorf("%d places after two answers at a time", g.limit)
	}
	for range 5 {
		g.slowed = time.Time{}
		g.slowDown()
	}
	leave, err := g.enter(t.Context(), g.places(-1))
	if err != nil || g.limit != 1 {
		t.Fatalf("%d places, %v", g.limit, err)
	}
	leave()
}
