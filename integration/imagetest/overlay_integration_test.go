//go:build integration

package imagetest

import (
	"archive/tar"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// seen is what a view has: paths, with contents and targets.
func seen(t *testing.T, img v1.Image) string {
	t.Helper()
	var lines []string
	err := View(t.Context(), img, func(root string) error {
		return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || p == root {
				return err
			}
			line := strings.TrimPrefix(p, root+"/")
			switch {
			case d.Type()&fs.ModeSymlink != 0:
				to, err := os.Readlink(p)
				lines = append(lines, line+"=>"+to)
				return err
			case d.Type().IsRegular():
				data, err := os.ReadFile(p)
				lines = append(lines, line+"="+string(data))
				return err
			}
			lines = append(lines, line+"/")
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, " ")
}

// TestView shows the same of an image out of a store, with and without overlays, and of one that is in none.
func TestView(t *testing.T) {
	base := []tar.Header{dir("usr"), dir("usr/lib"), sym("lib", "usr/lib"), reg("usr/lib/x", "1"), reg("usr/lib/y", "2"), dir("old"), reg("old/z", "3")}
	h, s, plain := newHub(t), openStore(t), openStore(t)
	if !s.overlays {
		t.Log("this file system has no overlays: images are unpacked one by one") // what follows holds all the same
	}
	plain.overlays = false
	for name, test := range map[string]struct {
		layers [][]tar.Header
		want   string
	}{
		"through a symlink": {[][]tar.Header{base, {reg("lib/x", "11"), hard("lib/w", "usr/lib/y")}},
			"lib=>usr/lib old/ old/z=3 usr/ usr/lib/ usr/lib/w=2 usr/lib/x=11 usr/lib/y=2"},
		"whiteouts": {[][]tar.Header{base, {reg("usr/lib/.wh.x", ""), dir("old"), reg("old/new", "4"), reg("old/.wh..wh..opq", "")}},
			"lib=>usr/lib old/ old/new=4 usr/ usr/lib/ usr/lib/y=2"},
		"back again": {[][]tar.Header{base, {reg(".wh.old", "")}, {dir("old"), reg("old/a", "5")}},
			"lib=>usr/lib old/ old/a=5 usr/ usr/lib/ usr/lib/x=1 usr/lib/y=2"},
	} {
		img := forLinux(t, test.layers...)
		ref := h.push(t, strings.ReplaceAll(name, " ", "-"), img)
		for how, img := range map[string]v1.Image{"a store": pullFrom(t, s, ref), "a plain store": pullFrom(t, plain, ref), "no store": img} {
			for range 2 { // what is unpacked by now is as good as new
				if got := seen(t, img); got != test.want {
					t.Errorf("%s out of %s: %s\nwant %s", name, how, got, test.want)
				}
			}
		}
	}
}

// TestViewIsPrivate: what one look writes no other one sees, no mount is left, and its error is the view's.
func TestViewIsPrivate(t *testing.T) {
	h, s := newHub(t), openStore(t)
	img := pullFrom(t, s, h.push(t, "private", forLinux(t, []tar.Header{dir("a"), reg("a/x", "1")})))
	sad, place := errors.New("sad"), ""
	err := View(t.Context(), img, func(root string) error {
		place = root
		return errors.Join(sad, os.WriteFile(filepath.Join(root, "a/x"), []byte("changed"), 0o600), os.Mkdir(filepath.Join(root, "b"), 0o755))
	})
	if !errors.Is(err, sad) {
		t.Errorf("the error of a look is %v", err)
	}
	if got := seen(t, img); got != "a/ a/x=1" {
		t.Errorf("after a look that wrote: %s", got)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), s.dir) || strings.Contains(string(mounts), place) {
		t.Errorf("a mount is left, %v:\n%s", err, mounts)
	}
	if _, err := os.Stat(filepath.Dir(place)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", place, err)
	}
}
