package llb

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// readAll reads the files of a list by their paths.
func readAll(t *testing.T, files *SourceFiles) map[string]string {
	t.Helper()
	out := map[string]string{}
	for i, f := range files.List {
		if !f.Mode.IsRegular() {
			continue
		}
		r, err := files.Open(i)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		r.Close()
		if err != nil || digest.FromBytes(data) != f.Digest || int64(len(data)) != f.Size {
			t.Errorf("%s is %q, listed with %d bytes, %s (%v)", f.Path, data, f.Size, f.Digest, err)
		}
		out[f.Path] = string(data)
	}
	return out
}

func TestSourceFiles(t *testing.T) {
	dir := fill(t, map[string]string{"src/a": "A", "src/sub/b": "B", "src/empty": "", "src/c.pyc": "", "other": "O"})
	plan := (&Plan{Image: &Image{}, Locals: map[string]Local{"context": {Dir: dir}, "memory": {Files: map[string][]byte{"src/m": []byte("M")}}}}).WithSums(nil)
	step := Copy{Local: "context", Src: "src", Dir: true, Exclude: []string{"**/*.pyc"}}
	files, err := plan.Image.SourceFiles(t.Context(), step)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	for range 2 { // and once more, after Close
		if got := readAll(t, files); len(got) != 3 || got["src/a"] != "A" || got["src/sub/b"] != "B" {
			t.Errorf("got %q", got)
		}
		files.Close()
	}
	memory, err := plan.Image.SourceFiles(t.Context(), Copy{Local: "memory", Src: "src", Dir: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, memory); len(got) != 1 || got["src/m"] != "M" {
		t.Errorf("got %q", got)
	}
	memory.Close()
}

// The folder is listed once in a build, for each view of it; the next build lists it again.
func TestSourcesAreListedOnce(t *testing.T) {
	dir := fill(t, map[string]string{"src/a": "A"})
	plan := &Plan{Image: &Image{}, Locals: map[string]Local{"context": {Dir: dir}}}
	list := func(p *Plan, step Copy) (out []string) {
		t.Helper()
		files, err := p.Image.SourceFiles(t.Context(), step)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files.List {
			out = append(out, f.Path)
		}
		return out
	}
	all := Copy{Local: "context", Src: "src", Dir: true}
	some := Copy{Local: "context", Src: "src", Dir: true, Exclude: []string{"x"}}
	build := plan.WithSums(nil)
	before := list(build, all)
	if err := os.WriteFile(filepath.Join(dir, "src/b"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	with := []string{"src", "src/a", "src/b"}
	if got := list(build, all); !slices.Equal(got, before) || len(got) != 2 {
		t.Errorf("the same build sees %q, and saw %q", got, before)
	}
	if got := list(build, some); !slices.Equal(got, with) {
		t.Errorf("another view shows %q", got)
	}
	if got := list(plan.WithSums(nil), all); !slices.Equal(got, with) {
		t.Errorf("the next build sees %q", got)
	}
}

// Attributes that are looked up are those that were listed.
func TestSourceFileXattrs(t *testing.T) {
	dir := fill(t, map[string]string{"a": "A", "b": "B"})
	if err := unix.Setxattr(filepath.Join(dir, "b"), "user.two", []byte("2"), 0); err != nil {
		t.Fatal("the folder for temporary files has to take extended attributes:", err)
	}
	if err := unix.Setxattr(filepath.Join(dir, "b"), "user.one", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	files, err := (&Image{Locals: map[string]Local{"context": {Dir: dir}}}).SourceFiles(t.Context(), Copy{Local: "context", Src: ".", Dir: true})
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	for i, f := range files.List {
		got, err := files.Xattrs(i)
		if want := f.Path == "b"; err != nil || (f.Xattrs != "") != want || (strings.Join(got, " ") == "user.one user.two") != want {
			t.Errorf("%s has %q, listed as %q (%v)", f.Path, got, f.Xattrs, err)
		}
	}
}
