package workfolder

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestSweepRemovesOnlyWhatIsLeftOver(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var before []string
	kind := Kind{Prefix: "ibuild-x-", Before: func(dir string) error { before = append(before, dir); return nil }}
	used, err := kind.New()
	if err != nil {
		t.Fatal(err)
	}
	leftover := filepath.Join(temp, "ibuild-x-1")
	if err := os.MkdirAll(filepath.Join(leftover, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(leftover+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	kind.sweep(temp)
	if _, err := os.Stat(leftover); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("leftover folder: %v", err)
	}
	if _, err := os.Stat(used.Path); err != nil {
		t.Errorf("folder in use: %v", err)
	}
	if err := used.Remove(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(temp); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if want := []string{leftover, used.Path}; !slices.Equal(before, want) {
		t.Errorf("told of %v, want %v", before, want)
	}
}
