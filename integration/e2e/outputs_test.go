//go:build integration

package e2e

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// TestOutputs writes every kind of output in one build of a Dockerfile, and pushes two names: they all hold the
// same image.
func TestOutputs(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) { testOutputs(t, e, dockerfileSubject(t, e).source) })
}

// TestOutputsOfSpec does so for an image whose code is put on by ibuild itself.
func TestOutputsOfSpec(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) { testOutputs(t, e, specSubject(t, e).source) })
}

func testOutputs(t *testing.T, e engine, source string) {
	one, two := shared.env.Registry.Ref("outputs/one-"+e.name+":v1"), shared.env.Registry.Ref("outputs/two-"+e.name)
	dir := folder(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	e.ibuild(t, "build", "--progress", "plain", "--push", "-t", one, "-t", two,
		"-o", "type=oci,dest="+at("oci.tar"), "-o", "type=docker,dest="+at("docker.tar"),
		"-o", "type=tar,dest="+at("tree.tar"), "-o", "type=local,dest="+at("tree"),
		"--metadata-file", at("metadata.json"), "--iidfile", at("iid"), source)
	const all = "docker.tar iid metadata.json oci.tar tree tree.tar"
	if got := listing(t, dir); got != all {
		t.Errorf("the folder has %q, want %q", got, all)
	}

	img := pull(t, one, amd64)
	want := lookInto(t, img)
	if a, b := digestOf(t, one), digestOf(t, two); a == "" || a != b {
		t.Errorf("two names stand for %q and %q", a, b)
	}
	want.same(t, onlyImage(t, unpackOCI(t, at("oci.tar"))))
	docker, err := tarball.ImageFromPath(at("docker.tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want.same(t, docker)
	want.withParents().sameFiles(t, filesOfTar(t, at("tree.tar")))
	if got := read(t, at("tree/made")); got != "made\n" {
		t.Errorf("the folder has %q in made", got)
	}
	checkMetadata(t, read(t, at("metadata.json")), one, two, digestOf(t, one))
	config, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(read(t, at("iid"))); got != config.String() {
		t.Errorf("iidfile has %q, want the config's digest %q as docker's", got, config)
	}
}

// TestArchives writes archives without a push: for a spec they are assembled out of the local store.
func TestArchives(t *testing.T) {
	for kind, subject := range map[string]func(*testing.T, engine) subject{"spec": specSubject, "dockerfile": dockerfileSubject} {
		t.Run(kind, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, e engine) {
				s := subject(t, e)
				dir := folder(t)
				oci, docker := filepath.Join(dir, "oci.tar"), filepath.Join(dir, "docker.tar")
				e.ibuild(t, "build", "--progress", "plain", "-t", "team/app:v1", "-o", "type=oci,dest="+oci, "-o", "type=docker,dest="+docker, s.source)
				tag, err := name.NewTag("team/app:v1")
				if err != nil {
					t.Fatal(err)
				}
				img, err := tarball.ImageFromPath(docker, &tag)
				if err != nil {
					t.Fatal(err)
				}
				lookInto(t, img).same(t, onlyImage(t, unpackOCI(t, oci)))
				prints(t, img, noOptions, s.prints)
			})
		})
	}
}

// TestIndexInArchive: an OCI archive of two platforms is one index.
func TestIndexInArchive(t *testing.T) {
	for kind, subject := range map[string]func(*testing.T, engine) subject{"spec": specSubject, "dockerfile": dockerfileSubject} {
		t.Run(kind, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, e engine) {
				archive := filepath.Join(folder(t), "oci.tar")
				e.ibuild(t, "build", "--progress", "plain", "--platform", amd64, "--platform", arm64, "-o", "type=oci,dest="+archive, subject(t, e).source)
				var list []string
				for _, img := range imagesIn(t, unpackOCI(t, archive)) {
					config, err := img.ConfigFile()
					if err != nil {
						t.Fatal(err)
					}
					list = append(list, config.Platform().String())
				}
				if got := strings.Join(list, " "); got != amd64+" "+arm64 {
					t.Errorf("the archive has %q", got)
				}
			})
		})
	}
}

// TestOutputOnStandardOutput: an archive can go into a pipe, with nothing else in it.
func TestOutputOnStandardOutput(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		o := e.ibuild(t, "build", "--progress", "plain", "-o", "type=tar,dest=-", dockerfileSubject(t, e).source)
		archive := filepath.Join(folder(t), "tree.tar")
		write(t, archive, o.stdout)
		for _, f := range filesOfTar(t, archive) {
			if f.Path == "text" {
				return
			}
		}
		t.Error("the archive has no text")
	})
}

// TestQuietPrintsTheDigest, and nothing else.
func TestQuietPrintsTheDigest(t *testing.T) {
	e := engineNamed(t, "root")
	ref := shared.env.Registry.Ref("outputs/quiet")
	o := e.ibuild(t, "build", "-q", "--push", "-t", ref, dockerfileSubject(t, e).source)
	if o.stdout != digestOf(t, ref)+"\n" || o.stderr != "" {
		t.Errorf("stdout %q, stderr %q", o.stdout, o.stderr)
	}
}

func checkMetadata(t *testing.T, text, one, two, digest string) {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	if m["containerimage.digest"] != digest {
		t.Errorf("metadata has the digest %v, want %s", m["containerimage.digest"], digest)
	}
	if want := one + "," + two + ":latest"; m["image.name"] != want {
		t.Errorf("metadata has the name %v, want %s", m["image.name"], want)
	}
	if d, ok := m["containerimage.descriptor"].(map[string]any); !ok || d["digest"] != digest || d["size"] == nil || d["mediaType"] == nil {
		t.Errorf("metadata has the descriptor %v", m["containerimage.descriptor"])
	}
}

// unpackOCI opens the OCI layout in a tar archive.
func unpackOCI(t *testing.T, archive string) v1.ImageIndex {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir := t.TempDir()
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, h.Name), string(data))
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// imagesIn lists the images of an index and of the indexes in it, each once: every name has an entry.
func imagesIn(t *testing.T, index v1.ImageIndex) []v1.Image {
	t.Helper()
	seen := map[v1.Hash]bool{}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var found []v1.Image
	for _, m := range manifest.Manifests {
		if seen[m.Digest] {
			continue
		}
		seen[m.Digest] = true
		if m.MediaType.IsIndex() {
			inner, err := index.ImageIndex(m.Digest)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, imagesIn(t, inner)...)
			continue
		}
		img, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, img)
	}
	return found
}

func onlyImage(t *testing.T, index v1.ImageIndex) v1.Image {
	t.Helper()
	images := imagesIn(t, index)
	if len(images) != 1 {
		t.Fatalf("%d images, want one", len(images))
	}
	return images[0]
}
