package main

import (
	"bytes"
	"debug/elf"
	"os"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// Sizes in bytes that the program may have: it is in every image of a job, and twice in ibuild.
const (
	mostPlain  = 12 << 20
	mostPacked = 4 << 20
)

// TestPack builds the program of this machine, which has to be small, static and the same each time.
func TestPack(t *testing.T) {
	t.Chdir("..") // where go generate runs it
	data, err := build(t.TempDir()+"/a", runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	again, err := build(t.TempDir()+"/b", runtime.GOARCH)
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("it is not the same bytes: %v", err)
	}
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it is not static: %v", p.Type)
		}
	}
	name := t.TempDir() + "/program.zst"
	if err := pack(name, data); err != nil {
		t.Fatal(err)
	}
	packed, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, %d packed", len(data), len(packed))
	if len(data) > mostPlain || len(packed) > mostPacked {
		t.Errorf("it has grown to %d bytes, %d packed", len(data), len(packed))
	}
	r, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if back, err := r.DecodeAll(packed, nil); err != nil || !bytes.Equal(back, data) {
		t.Errorf("%v", err)
	}
	wd, err := os.Getwd()
	if err != nil || bytes.Contains(data, []byte(wd)) {
		t.Errorf("it has the path %s of this machine in it: %v", wd, err)
	}
}

func TestReplaceKeepsWhatIsSame(t *testing.T) {
	name := t.TempDir() + "/x"
	for _, text := range []string{"one", "one", "two"} {
		before, _ := os.Stat(name)
		if err := replace(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
		after, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if same := before != nil && before.ModTime().Equal(after.ModTime()); same && text == "two" {
			t.Error("another content was not written")
		}
		if data, _ := os.ReadFile(name); string(data) != text {
			t.Errorf("%q", data)
		}
	}
	if err := os.Chmod(name, 0o444); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(name)
	if err := replace(name, []byte("two")); err != nil {
		t.Error(err)
	}
	if after, _ := os.Stat(name); !after.ModTime().Equal(before.ModTime()) {
		t.Error("the same content was written again")
	}
}
