package bootstrap

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// carried is a file system as the generator makes it.
func carried(t *testing.T, content string) fstest.MapFS {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{
		"programs/linux-arm64.zst":    {Data: w.EncodeAll([]byte(content), nil)},
		"programs/linux-arm64.digest": {Data: []byte(digest.FromString(content).String() + "\n")},
	}
}

func TestFile(t *testing.T) {
	p := program{carried(t, "the program"), "arm64"}
	cache := t.TempDir() + "/not/there/yet"
	check := func(name string, err error) {
		t.Helper()
		data, readErr := os.ReadFile(name)
		info, statErr := os.Stat(name)
		if err != nil || readErr != nil || statErr != nil || string(data) != "the program" || info.Mode() != 0o755 {
			t.Errorf("%q, %v, %v, %v", data, err, readErr, info)
		}
	}
	name, err := p.file(cache)
	check(name, err)
	if filepath.Base(name) != digest.FromString("the program").Encoded() {
		t.Error(name)
	}
	before, _ := os.Stat(name)
	again, err := p.file(cache)
	if after, _ := os.Stat(again); err != nil || !os.SameFile(before, after) {
		t.Error("it was written twice", err)
	}
	for _, damage := range []string{"", "another program", "the programs"} {
		if err := os.WriteFile(name, []byte(damage), 0o755); err != nil {
			t.Fatal(err)
		}
		check(p.file(cache))
	}
	if left, err := os.ReadDir(filepath.Dir(name)); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestFileByMany(t *testing.T) {
	p := program{carried(t, "the program"), "arm64"}
	cache := t.TempDir()
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			name, err := p.file(cache)
			if data, readErr := os.ReadFile(name); err != nil || readErr != nil || string(data) != "the program" {
				t.Errorf("%q, %v, %v", data, err, readErr)
			}
		})
	}
	group.Wait()
}

func TestFileErrors(t *testing.T) {
	var missing *MissingError
	if _, err := (program{fstest.MapFS{"programs/README.md": {}}, "amd64"}).file(t.TempDir()); !errors.As(err, &missing) || missing.Arch != "amd64" {
		t.Errorf("without programs: %v", err)
	}
	var unknown *ArchError
	for _, arch := range []string{"s390x", "", "../arm64"} {
		if _, err := (program{carried(t, "x"), arch}).file(t.TempDir()); !errors.As(err, &unknown) {
			t.Errorf("%q: %v", arch, err)
		}
	}
	from := carried(t, "the program")
	from["programs/linux-arm64.zst"].Data = bytes.ToUpper(from["programs/linux-arm64.zst"].Data)
	cache := t.TempDir()
	if _, err := (program{from, "arm64"}).file(cache); err == nil {
		t.Error("a damaged program is taken")
	}
	if list, _ := os.ReadDir(cache); len(list) > 0 {
		t.Error(list)
	}
	if _, err := (program{carried(t, "x"), "arm64"}).file("/proc/no"); err == nil {
		t.Error("a folder that cannot be made")
	}
}
