package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	containerdarchive "github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/continuity/sysx"
	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
)

// assembled puts the code on the tree in root as ibuild does without a builder: facts, layers, unpacking.
func assembled(t *testing.T, img *llb.Image, root string) error {
	t.Helper()
	ctx := t.Context()
	facts := &Facts{}
	check(t, facts.explore(ctx, &diskRef{dir: root}, llb.RecordedImage{Platform: amd64}, img, img.Steps))
	layers, err := lay(t, *facts, img)
	if err != nil {
		return err
	}
	blobs, err := cache.Open(t.TempDir())
	check(t, err)
	store, err := blobs.Content()
	check(t, err)
	for _, l := range layers {
		if len(l.entries) == 0 {
			continue
		}
		layer, err := registry.BuildLayer(ctx, store, l.entries, registry.LayerOptions{ModTime: llb.CodeTime(nil)})
		check(t, err)
		r, err := store.ReaderAt(ctx, layer.Descriptor)
		check(t, err)
		plain, err := compression.DecompressStream(content.NewReader(r))
		check(t, err)
		var opts []containerdarchive.ApplyOpt
		if os.Getuid() != 0 {
			opts = append(opts, containerdarchive.WithNoSameOwner())
		}
		_, err = containerdarchive.Apply(ctx, root, plain, opts...)
		check(t, err)
		r.Close()
	}
	return nil
}

// fileEntry is what an image says about a file, folder or link.
type fileEntry struct {
	What string
	Time time.Time
}

// tree lists a folder with all that an image says about its files.
func tree(t *testing.T, root string) map[string]fileEntry {
	t.Helper()
	out := map[string]fileEntry{}
	check(t, filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		check(t, err)
		info, err := e.Info()
		check(t, err)
		st := info.Sys().(*syscall.Stat_t)
		what := fmt.Sprintf("%v %d:%d", info.Mode(), st.Uid, st.Gid)
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(p)
			check(t, err)
			what += " " + string(data)
			if v, err := sysx.LGetxattr(p, "user.ibuild"); err == nil {
				what += " user.ibuild=" + string(v)
			}
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			check(t, err)
			what += " -> " + to
		}
		rel, err := filepath.Rel(root, p)
		check(t, err)
		out[rel] = fileEntry{what, info.ModTime().UTC()}
		return nil
	}))
	return out
}

// sameTime says whether two entries have the same time, where one can be had: a folder gets the time of the
// moment whenever something is put into it, by BuildKit and by whoever unpacks a layer.
func sameTime(a, b fileEntry, start time.Time) bool {
	folder := strings.HasPrefix(a.What, "d")
	if folder && (!a.Time.Before(start) || !b.Time.Before(start)) {
		return true
	}
	return a.Time.Equal(b.Time) || !a.Time.Before(start) && !b.Time.Before(start)
}

// Where ibuild puts code on an environment by itself, the file tree is the one that a builder makes of the
// same definition; where that cannot be, it is left to the builder.
func TestAssembledEqualsBuilt(t *testing.T) {
	cases := differentialCases()
	if len(cases) < 60 {
		t.Errorf("%d cases, fewer than 60", len(cases))
	}
	names := map[string]bool{}
	for _, c := range cases {
		if names[c.name] {
			t.Errorf("two cases are called %q", c.name)
		}
		names[c.name] = true
		t.Run(c.name, c.run)
	}
}

// differentialCase is code, and an environment to put it on.
type differentialCase struct {
	name    string
	env     map[string]string
	modes   map[string]fs.FileMode // of the environment
	owners  map[string][2]int      // of the environment; needs root
	local   map[string]string      // beside codeFiles
	sources map[string]fs.FileMode // of the local folder
	attr    string                 // a file with an extended attribute
	root    bool                   // needs to be root
	steps   []llb.Step
	builder string // why this is the builder's, "" for what is not
	refused bool   // and the builder refuses it
}

func (c differentialCase) run(t *testing.T) {
	if (c.root || len(c.owners) > 0) && os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := source(t, codeFiles())
	plant(t, dir, c.local)
	for p, m := range c.sources {
		check(t, os.Chmod(filepath.Join(dir, p), m))
	}
	if c.attr != "" {
		if err := sysx.LSetxattr(filepath.Join(dir, c.attr), "user.ibuild", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	one, two := c.environment(t), c.environment(t)
	start := time.Now().Add(-time.Minute)
	img := codeOf(dir, c.steps...)
	in := &interpreter{t: t, img: img, root: two, sources: map[digest.Digest]string{}}
	err := assembled(t, img, one)
	var needs *needsBuilder
	if errors.As(err, &needs) {
		if needs.unknown || c.builder == "" || !strings.Contains(needs.why, c.builder) {
			t.Errorf("left to the builder (facts are unknown: %v): %v, want %q", needs.unknown, err, c.builder)
		}
		if err := in.run(); (err != nil) != c.refused {
			t.Errorf("the builder says %v, refused: %v", err, c.refused)
		}
		return
	}
	check(t, err)
	if c.builder != "" {
		t.Errorf("it was not left to the builder, because: %s", c.builder)
	}
	check(t, in.run())
	compareTrees(t, two, one, start)
}

// compareTrees compares what a builder made with what was assembled, both after start.
func compareTrees(t *testing.T, built, assembled string, start time.Time) {
	t.Helper()
	got, want := tree(t, assembled), tree(t, built)
	for p, w := range want {
		if g, ok := got[p]; ok && sameTime(w, g, start) {
			w.Time = g.Time
			want[p] = w
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the tree is another (-builder +assembled):\n%s", d)
	}
}

func (c differentialCase) environment(t *testing.T) string {
	t.Helper()
	root := source(t, c.env)
	for p, o := range c.owners {
		check(t, os.Chown(filepath.Join(root, p), o[0], o[1]))
	}
	for p, m := range c.modes {
		check(t, os.Chmod(filepath.Join(root, p), m))
	}
	return root
}

// A source that is of another kind than the step says must not become a layer that only looks right.
func TestKindOfTheSource(t *testing.T) {
	dir := source(t, map[string]string{"folder/a": "1", "file": "2"})
	for name, s := range map[string]llb.Copy{
		"a folder as a file": {Local: "context", Src: "folder", Dst: "/x"},
		"a file as a folder": {Local: "context", Src: "file", Dst: "/x", Dir: true},
	} {
		layers, err := lay(t, listing(), codeOf(dir, s))
		if err == nil {
			t.Errorf("%s becomes the layer %v", name, paths(layers))
		}
	}
}

// A path can be longer than a tar header has room for, and have any name.
func TestOddNames(t *testing.T) {
	long := strings.Repeat("long/", 60) + "file"
	dir := source(t, map[string]string{"src/" + long: "1", "src/ü \n\t": "2", "src/!x": "3", "src/#y": "4"})
	root := t.TempDir()
	check(t, assembled(t, codeOf(dir, llb.Copy{Local: "context", Src: "src", Dst: "/app", Dir: true}), root))
	for p, want := range map[string]string{long: "1", "ü \n\t": "2", "!x": "3", "#y": "4"} {
		if data, err := os.ReadFile(filepath.Join(root, "app", p)); err != nil || string(data) != want {
			t.Errorf("%q: %q, %v", p, data, err)
		}
	}
	for _, name := range []string{"!x", " x", "#y", "x "} {
		d := source(t, map[string]string{name: "1", "x": "2"})
		root := t.TempDir()
		check(t, assembled(t, codeOf(d, llb.Copy{Local: "context", Src: name, Dst: "/f"}), root))
		if data, err := os.ReadFile(filepath.Join(root, "f")); err != nil || string(data) != "1" {
			t.Errorf("the file %q alone: %q, %v", name, data, err)
		}
	}
	// a name that would delete a file when the image is unpacked
	d := source(t, map[string]string{"src/.wh.passwd": ""})
	layers, err := lay(t, listing("etc/", "etc/passwd"), codeOf(d, llb.Copy{Local: "context", Src: "src", Dst: "/etc", Dir: true}))
	check(t, err)
	blobs, err := cache.Open(t.TempDir())
	check(t, err)
	store, err := blobs.Content()
	check(t, err)
	if _, err := registry.BuildLayer(t.Context(), store, layers[0].entries, registry.LayerOptions{}); err == nil {
		t.Error("a whiteout was made of a file")
	}
}
