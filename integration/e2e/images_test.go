//go:build integration

package e2e

import (
	"bytes"
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/ibuild/ibuild/integration/imagetest"
)

const (
	amd64 = "linux/amd64"
	arm64 = "linux/arm64"
)

// noOptions runs an image as it wants to be run.
var noOptions imagetest.RunOptions

func pull(t *testing.T, ref, platform string) v1.Image {
	t.Helper()
	img, err := shared.images.Pull(t.Context(), ref, platform)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// look is what images are compared by.
type look struct {
	config string
	files  []imagetest.File
}

func lookInto(t *testing.T, img v1.Image) look {
	t.Helper()
	config, err := imagetest.Config(img)
	if err != nil {
		t.Fatal(err)
	}
	files, err := imagetest.Files(img)
	if err != nil {
		t.Fatal(err)
	}
	return look{config, files}
}

// same compares another image's config and file tree.
func (l look) same(t *testing.T, img v1.Image) {
	t.Helper()
	got := lookInto(t, img)
	if diff := cmp.Diff(l.config, got.config); diff != "" {
		t.Errorf("configs differ (- is wanted, + is there):\n%s", diff)
	}
	l.sameFiles(t, got.files)
}

func (l look) sameFiles(t *testing.T, got []imagetest.File) {
	t.Helper()
	if diff := imagetest.Diff(l.files, got); diff != "" {
		t.Errorf("file trees differ (- is wanted, + is there):\n%s", diff)
	}
}

// withParents adds the folders that no layer names, which an unpacked tree has all the same.
func (l look) withParents() look {
	has := map[string]bool{}
	for _, f := range l.files {
		has[f.Path] = true
	}
	files := slices.Clone(l.files)
	for _, f := range l.files {
		for dir := path.Dir(f.Path); dir != "." && !has[dir]; dir = path.Dir(dir) {
			has[dir] = true
			files = append(files, imagetest.File{Path: dir, Type: "dir", Mode: 0o755})
		}
	}
	return look{l.config, files}
}

// agreement is what the images that several builders make of one source have to agree on. Its first image, of each
// platform, is the one that the others have to be like.
type agreement struct {
	filesOnly bool // configs may differ
	mu        sync.Mutex
	looks     map[string]look // by platform
}

// add compares an image with the first one; of that, first looks at more.
func (a *agreement) add(t *testing.T, img v1.Image, platform string, first func()) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if want, ok := a.looks[platform]; ok {
		if a.filesOnly {
			want.sameFiles(t, lookInto(t, img).files)
		} else {
			want.same(t, img)
		}
		return
	}
	if a.looks == nil {
		a.looks = map[string]look{}
	}
	a.looks[platform] = lookInto(t, img)
	first()
}

// prints runs an image and looks at what it prints.
func prints(t *testing.T, img v1.Image, o imagetest.RunOptions, want string) {
	t.Helper()
	res, err := imagetest.Run(t.Context(), img, o)
	if err != nil {
		t.Fatal(err)
	}
	if res.ExitCode != 0 || res.Stdout != want {
		t.Errorf("the image printed %q (exit code %d), want %q\n%s", res.Stdout, res.ExitCode, want, res.Stderr)
	}
}

// digestOf asks the registry what a name stands for; "" when it has no such name.
func digestOf(t *testing.T, ref string) string {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Head(r, remote.WithContext(t.Context()))
	if err != nil {
		if isNotFound(err) {
			return ""
		}
		t.Fatal(err)
	}
	return d.Digest.String()
}

func isNotFound(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// expectPlatforms looks at the list of platforms in an index.
func expectPlatforms(t *testing.T, ref, want string) {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(r, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, m := range manifest.Manifests {
		list = append(list, m.Platform.String())
	}
	if got := strings.Join(list, " "); got != want {
		t.Errorf("%s is for %q, want %q", ref, got, want)
	}
}

// holds says in which part of an image a text is, "" for none: manifest, config, or a file of a layer.
func holds(t *testing.T, img v1.Image, text string) string {
	t.Helper()
	manifest, err := img.RawManifest()
	config, err2 := img.RawConfigFile()
	layers, err3 := img.Layers()
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(manifest, []byte(text)) {
		return "manifest"
	}
	if bytes.Contains(config, []byte(text)) {
		return "config"
	}
	for _, l := range layers {
		archive, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		at, err := newSearch([]byte(text)).scan(archive)
		if err := errors.Join(err, archive.Close()); err != nil {
			t.Fatal(err)
		}
		if at != "" {
			return "layer"
		}
	}
	return ""
}
