package registry

import (
	"errors"
	"net/http"
	"testing"

	resolverconfig "github.com/moby/buildkit/util/resolver/config"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestMirrors(t *testing.T) {
	up, m1, m2 := newServer(t), newServer(t), newServer(t)
	index := testIndex(t, amd64)
	push(t, m2.host+"/hub/library/debian:12", index)
	push(t, up.host+"/only/here:1", index)
	hosts := map[string]resolverconfig.RegistryConfig{
		"docker.io": {Mirrors: []string{m1.host, m2.host + "/hub"}},
		up.host:     {Mirrors: []string{"127.0.0.1:1", m1.host}},
	}
	c := newClient(t, Options{Hosts: hosts})
	m1.be(nil)
	m2.be(nil)
	img, err := c.Resolve(ctx(t), "debian:12", amd64)
	if err != nil {
		t.Fatal(err)
	}
	if want := "docker.io/library/debian@" + digestOf(t, index); img.Ref != want {
		t.Errorf("got %s, want %s", img.Ref, want)
	}
	if got := m1.requests(); len(got) == 0 || got[0] != "HEAD /v2/library/debian/manifests/12?ns=docker.io" {
		t.Errorf("first mirror: %q", got)
	}
	if got := m2.requests(); len(got) == 0 || got[0] != "HEAD /v2/hub/library/debian/manifests/12?ns=docker.io" {
		t.Errorf("second mirror: %q", got)
	}
	if _, err := c.Resolve(ctx(t), up.host+"/only/here:1", amd64); err != nil {
		t.Errorf("mirrors without it: %v", err)
	}

	// A mirror that lies, and one that is broken, are passed over.
	push(t, up.host+"/app:1", index)
	push(t, m1.host+"/app:1", index)
	m1.be(manifestMood([]byte(`{}`), ocispecs.MediaTypeImageIndex))
	if _, err := c.Resolve(ctx(t), up.host+"/app:1", amd64); err != nil {
		t.Errorf("lying mirror: %v", err)
	}
	m1.be(func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(500); return true })
	if _, err := newClient(t, Options{Hosts: hosts}).Resolve(ctx(t), up.host+"/app:1", amd64); err != nil {
		t.Errorf("broken mirror: %v", err)
	}

	// Questions about targets, and writes, go to the host itself.
	m1.be(nil)
	if _, err := c.Head(ctx(t), up.host+"/app:1"); err != nil {
		t.Error(err)
	}
	desc := ocispecs.Descriptor{MediaType: "text/plain", Digest: digest.FromString("x"), Size: 1}
	if err := c.PushBlob(ctx(t), up.host+"/app", Blob{Descriptor: desc, Open: opener("x")}, nil); err != nil {
		t.Error(err)
	}
	if got := m1.requests(); len(got) != 0 {
		t.Errorf("a mirror was asked: %q", got)
	}
}

// TestMirrorMiss: if nobody has it, the error is about the host itself.
func TestMirrorMiss(t *testing.T) {
	up, m := newServer(t), newServer(t)
	c := newClient(t, Options{Hosts: map[string]resolverconfig.RegistryConfig{up.host: {Mirrors: []string{m.host}}}})
	_, err := c.Resolve(ctx(t), up.host+"/app:1", amd64)
	var e *Error
	if !errors.As(err, &e) || e.Kind != ErrNotFound || e.Host != up.host {
		t.Errorf("got %v", err)
	}
}
