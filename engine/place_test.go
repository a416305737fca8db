package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func readText(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	check(t, err)
	return string(data)
}

// growTree makes a tree of "PATH/" for folders, "PATH -> TARGET" for links, and "PATH = TEXT" for files.
func growTree(t *testing.T, dir string, list ...string) {
	t.Helper()
	for _, e := range list {
		if p, to, ok := strings.Cut(e, " -> "); ok {
			check(t, os.Symlink(to, filepath.Join(dir, p)))
		} else if p, text, ok := strings.Cut(e, " = "); ok {
			check(t, os.WriteFile(filepath.Join(dir, p), []byte(text), 0o644))
		} else {
			check(t, os.MkdirAll(filepath.Join(dir, e), 0o755))
		}
	}
}

// treeOf lists a tree as growTree takes it.
func treeOf(t *testing.T, dir string) (list []string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, name)
		switch {
		case err != nil || rel == ".":
			return err
		case d.IsDir():
			rel += "/"
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(name)
			check(t, err)
			rel += " -> " + to
		default:
			rel += " = " + readText(t, name)
		}
		list = append(list, rel)
		return nil
	}))
	return list
}

func TestTreeIsMerged(t *testing.T) {
	outside := t.TempDir()
	growTree(t, outside, "kept = mine")
	for _, c := range []struct {
		name              string
		there, tree, want []string
	}{
		{"into nothing", nil, []string{"a/", "a/f = new"}, []string{"a/", "a/f = new"}},
		{"beside", []string{"a/", "a/mine = old"}, []string{"a/", "a/f = new"}, []string{"a/", "a/f = new", "a/mine = old"}},
		{"over", []string{"f = old", "l -> f"}, []string{"f = new", "l -> g"}, []string{"f = new", "l -> g"}},
		{"file for folder", []string{"a/", "a/mine = old"}, []string{"a = new"}, []string{"a = new"}},
		{"folder for file", []string{"a = old"}, []string{"a/", "a/f = new"}, []string{"a/", "a/f = new"}},
		{"no link is followed", []string{"a -> " + outside}, []string{"a/", "a/kept = new"}, []string{"a/", "a/kept = new"}},
		{"link for folder", []string{"a/", "a/mine = old"}, []string{"a -> b"}, []string{"a -> b"}},
		{"any name", nil, []string{"\xff/", "\xff/\xfe = new"}, []string{"\xff/", "\xff/\xfe = new"}},
		{"empty", []string{"mine = old"}, nil, []string{"mine = old"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			growTree(t, dir, c.there...)
			o := opened(t, Outputs{Exports: []Export{{Type: LocalExport, Dest: dir}}})
			defer o.discard()
			if len(c.tree) > 0 {
				check(t, os.Mkdir(o.entries[0].OutputDir, 0o700))
				growTree(t, o.entries[0].OutputDir, c.tree...)
			}
			check(t, o.commit())
			if d := cmp.Diff(c.want, treeOf(t, dir)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	if readText(t, filepath.Join(outside, "kept")) != "mine" {
		t.Error("a file outside of the folder was written")
	}
}

// Folders that their owner may not write to, as /proc of most images, are merged with their modes and times.
func TestMergedModes(t *testing.T) {
	dir, at := t.TempDir(), time.Unix(1_000_000, 0)
	growTree(t, dir, "both/", "both/mine = old")
	check(t, os.Chmod(filepath.Join(dir, "both"), 0o500))
	o := opened(t, Outputs{Exports: []Export{{Type: LocalExport, Dest: dir}}})
	tree := o.entries[0].OutputDir
	check(t, os.Mkdir(tree, 0o700))
	growTree(t, tree, "both/", "both/f = new", "proc/", "proc/f = new")
	for _, n := range []string{"both", "proc"} {
		check(t, os.Chmod(filepath.Join(tree, n), 0o555))
		check(t, os.Chtimes(filepath.Join(tree, n), at, at))
	}
	check(t, o.commit())
	for _, n := range []string{"both", "proc"} {
		info, err := os.Stat(filepath.Join(dir, n))
		check(t, err)
		if info.Mode() != fs.ModeDir|0o555 || !info.ModTime().Equal(at) {
			t.Errorf("%s: %v, %v", n, info.Mode(), info.ModTime())
		}
		check(t, os.Chmod(filepath.Join(dir, n), 0o755)) // to be removed
	}
	if got, want := treeOf(t, dir), []string{"both/", "both/f = new", "both/mine = old", "proc/", "proc/f = new"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// What a killed build left goes with the next one, and what another one is writing stays.
func TestUnfinishedOutputsAreSwept(t *testing.T) {
	dir := t.TempDir()
	left := []string{unfinished + "1 = half", unfinished + "2/", unfinished + "2/f = half", ".ibuild-mine = mine"}
	growTree(t, dir, left...)
	check(t, os.Chmod(filepath.Join(dir, unfinished+"2"), 0o500))
	out := Outputs{Exports: []Export{{Type: TarExport, Dest: filepath.Join(dir, "x.tar")}, {Type: LocalExport, Dest: filepath.Join(dir, "tree")}}}
	sweepOutputs(out)
	if got := names(t, dir); !slices.Equal(got, []string{".ibuild-mine"}) {
		t.Errorf("there is %q", got)
	}
	writing := opened(t, out)
	w, err := writing.entries[0].Output(nil)
	check(t, err)
	check(t, os.Mkdir(writing.entries[1].OutputDir, 0o700))
	sweepOutputs(out)
	other := opened(t, Outputs{Exports: []Export{{Type: LocalExport, Dest: filepath.Join(dir, "other")}}})
	other.discard()
	if got := names(t, dir); len(got) != 3 {
		t.Errorf("what is being written was removed: %q", got)
	}
	check(t, w.Close())
	check(t, writing.commit())
	if got := names(t, dir); !slices.Equal(got, []string{".ibuild-mine", "tree", "x.tar"}) {
		t.Errorf("there is %q", got)
	}
}

// Nothing is beside a destination before it is written: the folder may be the one that is built from.
func TestPlacesAreMadeLate(t *testing.T) {
	dir := t.TempDir()
	o := opened(t, Outputs{Exports: []Export{{Type: TarExport, Dest: filepath.Join(dir, "x.tar")}, {Type: LocalExport, Dest: filepath.Join(dir, "tree")}, {Type: LocalExport, Dest: dir}}})
	defer o.discard()
	if got := names(t, dir); len(got) > 0 {
		t.Errorf("there is %q", got)
	}
}

// TestFullOutput writes to the device that is always full.
func TestFullOutput(t *testing.T) {
	const dest = "/dev/full"
	o := opened(t, Outputs{Exports: []Export{{Type: TarExport, Dest: dest}}})
	defer o.discard()
	w, err := o.entries[0].Output(nil)
	check(t, err)
	_, err = w.Write([]byte("x"))
	check(t, w.Close())
	var full *FullError
	for what, err := range map[string]error{"writer": err, "solve": o.why(t.Context(), errors.New("rpc error: something else")), "file": WriteFile(dest, []byte("x"))} {
		if !errors.As(err, &full) || full.Output != dest || !errors.Is(err, unix.ENOSPC) || err.Error() != "cannot write /dev/full: its disk is full" {
			t.Errorf("%s: %v", what, err)
		}
	}
	good := opened(t, Outputs{Exports: []Export{{Type: LocalExport, Dest: t.TempDir()}}})
	defer good.discard()
	if err := good.why(t.Context(), errors.New("EOF")); errors.As(err, &full) {
		t.Errorf("a disk with room: %v", err)
	}
	quota := &FullError{Output: "x", Err: fmt.Errorf("write: %w", unix.EDQUOT)}
	if quota.Error() != "cannot write x: the quota on its disk is used up" {
		t.Error(quota)
	}
}
