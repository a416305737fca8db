package cache

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	s, w := open(t, filepath.Join(dir, "cache"))
	if got := Folders(s).Load("/a"); got != nil {
		t.Fatalf("an empty cache has %q", got)
	}
	if _, err := os.Stat(s.Dir()); !os.IsNotExist(err) {
		t.Fatal("reading made the folder")
	}
	for folder, record := range map[string]string{"/a": "one", "/b": "", "/a/b": strings.Repeat("x", 1<<20)} {
		for _, data := range []string{"before", record} {
			if err := Folders(s).Save(folder, []byte(data)); err != nil {
				t.Fatal(err)
			}
		}
		again, _ := open(t, s.Dir())
		if got := Folders(again).Load(folder); string(got) != record || got == nil {
			t.Errorf("%s has %d bytes", folder, len(got))
		}
	}
	if err := Folders(s).Save("/big", make([]byte, maxFolder)); err == nil {
		t.Error("a record without bounds was taken")
	}
	entries, _ := os.ReadDir(s.path(foldersDir))
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 || strings.HasPrefix(e.Name(), tempPrefix) {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if len(entries) != 3 || w.count() != 0 {
		t.Errorf("%d files; %s", len(entries), w.all())
	}
}

// Whatever happens to the file of a folder: it is its record or none.
func TestDamagedFolderIsAMiss(t *testing.T) {
	s, w := open(t, t.TempDir())
	if err := Folders(s).Save("/a", []byte("what is known")); err != nil {
		t.Fatal(err)
	}
	path := s.path(folderFile("/a"))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, data []byte) {
		t.Helper()
		write(t, path, data)
		if got := Folders(s).Load("/a"); got != nil {
			t.Errorf("%s: %q", what, got)
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 4
		try(fmt.Sprintf("byte %d is another", i), bad)
		try(fmt.Sprintf("%d bytes", i), good[:i])
	}
	try("one more byte", append(bytes.Clone(good), 0))
	try("another folder's", sealFolder("/b", []byte("what is known")))
	if err := os.Truncate(path, maxFolder+1); err != nil {
		t.Fatal(err)
	}
	if Folders(s).Load("/a") != nil {
		t.Error("a file without bounds was read")
	}
	if err := Folders(s).Save("/a", []byte("new")); err != nil || string(Folders(s).Load("/a")) != "new" {
		t.Errorf("it was not mended: %v", err)
	}
	if w.count() != 0 {
		t.Error(w.all())
	}
}

func TestFoldersAreFew(t *testing.T) {
	s, _ := open(t, t.TempDir())
	for i := range maxFolders + 10 {
		if err := Folders(s).Save(fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(1000+i), 0)
		if err := os.Chtimes(s.path(folderFile(fmt.Sprint(i))), at, at); err != nil {
			t.Fatal(err)
		}
	}
	left, _ := os.ReadDir(s.path(foldersDir))
	if len(left) != maxFolders || Folders(s).Load("9") != nil || Folders(s).Load("10") == nil {
		t.Errorf("%d records are left", len(left))
	}
	// by size: a sparse file stands for a large record
	if err := os.Truncate(s.path(folderFile("50")), maxFoldersSize); err != nil {
		t.Fatal(err)
	}
	old := time.Unix(2000, 0)
	if err := os.Chtimes(s.path(folderFile("50")), old, old); err != nil {
		t.Fatal(err)
	}
	if err := Folders(s).Save("new", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if left, _ = os.ReadDir(s.path(foldersDir)); len(left) != 1 {
		t.Errorf("%d records are left", len(left))
	}
}

// What a killed process left goes with its lease, and what a living one writes stays.
func TestHalfWrittenFoldersAreRemoved(t *testing.T) {
	dir := t.TempDir()
	living, _ := open(t, dir)
	if err := Folders(living).Save("/a", nil); err != nil {
		t.Fatal(err)
	}
	if err := living.makeRoom(living.lease, tempPrefix+"living", 4); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, leasesDir, "1-2"), []byte("\nwrite "+tempPrefix+"killed 4"))
	for _, name := range []string{"living", "killed"} {
		write(t, filepath.Join(dir, foldersDir, tempPrefix+name), []byte("half"))
	}
	items, err := living.Items()
	if err != nil || !slices.ContainsFunc(items, func(i Item) bool { return i.Kind == KindLeftovers && i.Name == tempPrefix+"killed" }) {
		t.Errorf("%q, %v", names(items), err)
	}
	write(t, filepath.Join(dir, leasesDir, "1-2"), nil) // Items has removed it
	next, _ := open(t, dir)
	if err := Folders(next).Save("/a", nil); err != nil {
		t.Fatal(err)
	}
	found, _ := filepath.Glob(filepath.Join(dir, foldersDir, tempPrefix+"*"))
	if len(found) != 1 || !strings.HasSuffix(found[0], "living") {
		t.Errorf("left: %v", found)
	}
}

func TestFoldersWithoutPlace(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "file")
	write(t, parent, nil)
	s, w := open(t, filepath.Join(parent, "ibuild"))
	for range 2 {
		if err := Folders(s).Save("/a", nil); err == nil {
			t.Error("no error")
		}
	}
	if Folders(s).Load("/a") != nil || w.count() != 1 {
		t.Error(w.all())
	}
}

func FuzzOpenFolder(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte(folderMagic))
	f.Add(sealFolder("/a", []byte("record")))
	f.Fuzz(func(t *testing.T, data []byte) {
		if record, ok := openFolder("/a", data); ok && !bytes.Equal(sealFolder("/a", record), data) {
			t.Errorf("%q has another form", data)
		}
	})
}

// BenchmarkFolder is a record of 10,000 files.
func BenchmarkFolder(b *testing.B) {
	s, _ := open(b, b.TempDir())
	record := bytes.Repeat([]byte("0123456789"), 100_000)
	b.Run("save", func(b *testing.B) {
		for b.Loop() {
			if err := Folders(s).Save("/a", record); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			if Folders(s).Load("/a") == nil {
				b.Fatal("miss")
			}
		}
	})
}
