//go:build linux

package embed

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A database that was cut off while it was made is made anew, and a whole one stays.
func TestCutOffDatabases(t *testing.T) {
	root := t.TempDir()
	s := settings{root: root, dir: filepath.Join(root, "overlayfs")}
	page := os.Getpagesize()
	for name, size := range map[string]int{
		"cache.db": 4 * page, "history.db": 4*page - 1, "metadata_v2.db": page, "snapshots/metadata.db": 0, "workerid": 9, "content/blobs/x.db": 5,
	} {
		name = filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	removeCutOff(s.dir)
	var left []string
	for _, name := range []string{"cache.db", "history.db", "metadata_v2.db", "snapshots/metadata.db", "workerid", "content/blobs/x.db"} {
		if _, err := os.Stat(filepath.Join(s.dir, name)); err == nil {
			left = append(left, name)
		}
	}
	if want := []string{"cache.db", "workerid", "content/blobs/x.db"}; !slices.Equal(left, want) {
		t.Errorf("there is %q, want %q", left, want)
	}
}

// The engine's temporary files are in a folder of its own, and what a killed one left there goes unless it is mounted.
func TestTemporaryFolder(t *testing.T) {
	common := t.TempDir()
	t.Setenv("TMPDIR", common)
	dir := filepath.Join(t.TempDir(), "tmp")
	leave, err := enterTemp(dir)
	if err != nil {
		t.Fatal(err)
	}
	if os.TempDir() != dir {
		t.Errorf("temporary files are in %s", os.TempDir())
	}
	left, err := os.MkdirTemp("", "buildkit-mount")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	leave()
	if os.TempDir() != common {
		t.Errorf("temporary files stay in %s", os.TempDir())
	}
	removeTemp([]mountEntry{{point: "/proc"}, {point: left}}, dir)
	if _, err := os.Stat(filepath.Join(left, "file")); err != nil {
		t.Error("what is mounted was emptied")
	}
	removeTemp([]mountEntry{{point: "/proc"}, {point: dir + "2/x"}}, dir)
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("%d entries are left, %v", len(list), err)
	}
}
