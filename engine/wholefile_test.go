package engine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestCreateFile(t *testing.T) {
	dir := t.TempDir()
	name, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	write := func(text string) *WholeFile {
		t.Helper()
		f, err := CreateFile(link)
		if err == nil {
			_, err = f.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	is := func(want string) {
		t.Helper()
		data, err := os.ReadFile(name)
		if want == "" && !errors.Is(err, fs.ErrNotExist) || want != "" && string(data) != want {
			t.Errorf("got %q, %v, want %q", data, err, want)
		}
		list, err := os.ReadDir(dir)
		if err != nil || len(list) > 2 {
			t.Errorf("%v, %v", list, err)
		}
	}
	f := write("never")
	f.Discard()
	is("")
	f = write("one")
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there before it is whole: %v", err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Discard()
	is("one")
	f = write("two")
	f.Discard()
	is("one")
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
	if _, err := CreateFile(dir); err == nil {
		t.Error("a folder was opened as a file")
	}
}
