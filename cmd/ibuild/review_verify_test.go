package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/engine/journal"
	"github.com/ibuild/ibuild/llb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestReviewVerifyWithoutTheOldImage: exit code 1 says that an image is not reproducible, so an image that is not
// there any more has another one, and no builder is asked for nothing.
func TestReviewVerifyWithoutTheOldImage(t *testing.T) {
	d := newDesk(t)
	docker := d.file(d.dir, "Dockerfile", "FROM scratch\nCOPY a.txt /\n")
	d.file(d.dir, "a.txt", "1")
	for name, names := range map[string][]string{"deleted in its registry": {d.host + "/gone:1"}, "never pushed": nil} {
		store, err := cache.Open(d.cache)
		d.check(err)
		_, err = journal.Open(store).Add(t.Context(), journal.Build{
			Name: docker, Source: docker, Kind: "Dockerfile", Start: time.Now(), How: "solved", Names: names,
			Result: &ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageManifest, Digest: digest.FromString("gone"), Size: 4},
		}, nil)
		d.check(err)
		d.check(store.Close())
		code, out, errs := d.run("verify", "--platform", "linux/amd64", docker)
		if code != exitReach || !strings.Contains(errs, "there is no image to compare with") {
			t.Errorf("%s: %d %s %s", name, code, out, errs)
		}
	}
}

// TestReviewExplainAfterAFailedPush: a build that failed had no names yet, and what it was to push cannot be
// "known" in no repository.
func TestReviewExplainAfterAFailedPush(t *testing.T) {
	d := newDesk(t)
	docker := d.file(d.dir, "Dockerfile", "FROM scratch\nCOPY a.txt /\n")
	d.file(d.dir, "a.txt", "1")
	ref := d.host + "/app:1"
	store, err := cache.Open(d.cache)
	d.check(err)
	_, err = journal.Open(store).Add(t.Context(), journal.Build{
		Name: ref, Source: docker, Kind: "Dockerfile", Start: time.Now(), Pushed: true, Error: "out of reach", Graph: digest.FromString("graph"),
	}, func() *llb.Outline { return &llb.Outline{} })
	d.check(err)
	d.check(store.Close())
	d.since()
	code, out, errs := d.run("explain", "--platform", "linux/amd64", docker)
	asked := strings.Join(d.since(), "\n")
	if code != 0 || !strings.Contains(out, "changed since build 1") || strings.Contains(out, "nothing to do") || !strings.Contains(asked, "/v2/app/manifests/") {
		t.Errorf("%d %s %s, asked %s", code, out, errs, asked)
	}
}

// TestReviewInspectBadDigest: a damaged archive is an error, and no panic.
func TestReviewInspectBadDigest(t *testing.T) {
	d := newDesk(t)
	blobs := filepath.Join(d.dir, "blobs/sha256")
	d.check(os.MkdirAll(blobs, 0o755))
	blob := func(text string) string {
		sum := digest.FromString(text)
		d.file(blobs, sum.Encoded(), text)
		return sum.String()
	}
	config := `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + digest.FromString("x").String() + `"]}}`
	manifest := `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + blob(config) + `","size":` + strconv.Itoa(len(config)) +
		`},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"short","size":1}]}`
	d.file(d.dir, "index.json", `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"`+blob(manifest)+`","size":`+strconv.Itoa(len(manifest))+`}]}`)
	if code, out, errs := d.run("inspect", d.dir); code != 1 || !strings.Contains(errs, "layer 1: ") {
		t.Errorf("%d %s %s", code, out, errs)
	}
}

// TestReviewHistoryOfEveryName: a build is found by each of its names, and not by the first alone.
func TestReviewHistoryOfEveryName(t *testing.T) {
	d := newDesk(t)
	store, err := cache.Open(d.cache)
	d.check(err)
	_, err = journal.Open(store).Add(t.Context(), journal.Build{
		Name: "me/app:1", Source: "/src/image.yaml", Kind: "image spec", Start: time.Now(), How: "solved",
		Names: []string{"docker.io/me/app:1", "docker.io/me/app:latest", d.host + "/app:1"},
	}, nil)
	d.check(err)
	d.check(store.Close())
	for _, name := range []string{"me/app:1", "me/app", "docker.io/me/app:1", d.host + "/app:1"} {
		if code, out, errs := d.run("history", name); code != 0 || !strings.Contains(out, "me/app:1") {
			t.Errorf("%s: %d %s %s", name, code, out, errs)
		}
	}
	if code, out, _ := d.run("history", "me/other"); code != exitUsage {
		t.Errorf("another image: %d %s", code, out)
	}
}
