package llb

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/platforms"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// locals are the vertices of a graph that have files.
func locals(g *Graph) []GraphVertex {
	var list []GraphVertex
	for _, img := range g.Images {
		for _, v := range img.Vertices {
			if v.Files != nil {
				list = append(list, v)
			}
		}
	}
	return list
}

func TestGraphListsFiles(t *testing.T) {
	dir := fill(t, map[string]string{"src/a": "1", "src/run": "22", "src/sub/l": "->../a", "other": "3"})
	for _, err := range []error{
		os.Chmod(filepath.Join(dir, "src/run"), 0o700), os.Link(filepath.Join(dir, "src/a"), filepath.Join(dir, "src/z")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	attr := digest.Digest("")
	if err := setxattr(filepath.Join(dir, "src/a"), "1"); err == nil {
		attr = digestOfXattrs(map[string][]byte{"user.ibuild": []byte("1")})
	} else if !errors.Is(err, unix.ENOTSUP) {
		t.Fatal(err)
	}
	img := &Image{Steps: []Step{Copy{Local: "context", Src: "src", Dst: "/app", Dir: true}}, Locals: map[string]Local{"context": {Dir: dir}}}
	both := []ocispecs.Platform{platforms.MustParse("linux/amd64"), platforms.MustParse("linux/arm64")}
	rec := record(t, img, Options{Platforms: both})
	g := graph(t, rec)
	list := locals(g)
	if len(list) != 2 || &list[0].Files[0] != &list[1].Files[0] {
		t.Fatalf("two platforms that read the same walk it %d times", len(list))
	}
	want := []LocalFile{
		{Path: "src", Mode: os.ModeDir | 0o755},
		{Path: "src/a", Mode: 0o644, Size: 1, Digest: digest.FromString("1"), Xattrs: attr},
		{Path: "src/run", Mode: 0o700, Size: 2, Digest: digest.FromString("22")},
		{Path: "src/sub", Mode: os.ModeDir | 0o755},
		{Path: "src/sub/l", Mode: os.ModeSymlink | 0o777, Linkname: "../a"},
		{Path: "src/z", Mode: 0o644, Linkname: "src/a", Xattrs: attr},
	}
	if d := cmp.Diff(want, list[0].Files); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	img.Locals["context"] = Local{Dir: dir, PlainModes: true}
	want[2].Mode = 0o755
	want[5].Linkname, want[5].Size, want[5].Digest = "", 1, want[1].Digest
	if d := cmp.Diff(want, locals(graph(t, record(t, img, Options{})))[0].Files); d != "" {
		t.Errorf("plain (-want +got):\n%s", d)
	}

	before, err := rec.Stamp(t.Context())
	if err != nil || before != g.Stamp {
		t.Errorf("the stamp is %s, the graph's %s, %v", before, g.Stamp, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other"), []byte("4"), 0o644); err != nil {
		t.Fatal(err)
	}
	if after, err := rec.Stamp(t.Context()); err != nil || after != before {
		t.Errorf("a file that nobody sees changed the stamp (%v)", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "src/run"), []byte("33"), 0o644); err != nil {
		t.Fatal(err)
	}
	if after, err := rec.Stamp(t.Context()); err != nil || after == before {
		t.Errorf("a changed file did not change the stamp (%v)", err)
	}
}

// The digests of local sources are part of identities that registries hold: they stay.
func TestDigestsStay(t *testing.T) {
	dir := fill(t, map[string]string{"a": "1", "sub/b": "22", "sub/l": "->b"})
	for name, c := range map[string]struct {
		l    Local
		want digest.Digest
	}{
		"folder": {Local{Dir: dir}, "sha256:4a174b50421348afec387846a10541bc0190aad4dbc79cb426a98aece3516fb8"},
		"memory": {Local{Files: map[string][]byte{"a": []byte("1"), "sub/b": []byte("22")}}, "sha256:1e9245e4723f5ecbf99c409e4f6e879f2fba504a4740bde7bfd7a176f784e7d7"},
	} {
		if got, err := localDigest(t, c.l, nil); err != nil || got != c.want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}
