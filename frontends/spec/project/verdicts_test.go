package project

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/python"
)

// verdict is what uv said to one edit of one project; see testdata/uv/generate.py.
type verdict struct {
	Project, File string
	Old, New      *string
	UV            string // "current", "stale" or "error"
}

// load copies a folder of testdata into memory.
func load(t testing.TB, dir string) fstest.MapFS {
	t.Helper()
	m := fstest.MapFS{}
	root := os.DirFS(dir)
	err := fs.WalkDir(root, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, name)
		m[name] = &fstest.MapFile{Data: data, Mode: 0o644}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestVerdicts holds our verdicts against uv's. A lock that uv finds current must be current for us; what
// we say of the others is in verdicts.golden.
func TestVerdicts(t *testing.T) {
	list := verdicts(t, "testdata/uv")
	var golden strings.Builder
	found, stale := 0, 0
	for _, v := range list {
		fsys := load(t, path.Join("testdata/uv", v.Project))
		change := "as locked"
		if v.File != "" {
			change = edit(t, fsys, v)
		}
		err := check(fsys)
		if v.UV == "current" && outOfDate(err) {
			t.Errorf("%s, %s: uv finds the lock current, we say\n%v", v.Project, change, err)
		}
		if v.UV == "stale" {
			stale++
			if outOfDate(err) {
				found++
			}
		}
		if v.UV == "stale" || err != nil {
			fmt.Fprintf(&golden, "# %s: %s (uv: %s)\n%v\n", v.Project, change, v.UV, err)
		}
	}
	if len(list) < 200 || stale < 100 {
		t.Errorf("only %d cases, %d of them stale", len(list), stale)
	}
	fmt.Fprintf(&golden, "# found %d of %d\n", found, stale)
	compareGolden(t, "testdata/uv/verdicts.golden", golden.String())
}

func verdicts(t *testing.T, dir string) []verdict {
	t.Helper()
	data, err := os.ReadFile(path.Join(dir, "verdicts.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []verdict
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestPoetryVerdicts holds our verdicts against poetry's. The rule is the same, so all of them agree.
func TestPoetryVerdicts(t *testing.T) {
	stale := 0
	for _, v := range verdicts(t, "testdata/poetry") {
		fsys := load(t, path.Join("testdata/poetry", v.Project))
		change := "as locked"
		if v.File != "" {
			change = edit(t, fsys, v)
		}
		_, err := ReadPoetry(python.Tree{FS: fsys}, PoetryOptions{Manifest: "pyproject.toml"})
		if outOfDate(err) != (v.UV == "stale") || err != nil && !outOfDate(err) {
			t.Errorf("%s, %s: poetry says %s, we say %v", v.Project, change, v.UV, err)
		}
		if v.UV == "stale" {
			stale++
		}
	}
	if stale < 15 {
		t.Errorf("only %d stale locks", stale)
	}
}

// TestOlderPoetry reads locks of poetry 1.8.5 and 2.2.1, made by hand from the projects of the same names.
func TestOlderPoetry(t *testing.T) {
	for _, name := range []string{"18-legacy", "18-legacygroups", "22-pep621", "22-pep735"} {
		fsys := load(t, "testdata/poetry/older/poetry"+name)
		read := func() error {
			_, err := ReadPoetry(python.Tree{FS: fsys}, PoetryOptions{Manifest: "pyproject.toml"})
			return err
		}
		if err := read(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		text := strings.Replace(string(fsys["pyproject.toml"].Data), "six", "seven", 1)
		fsys["pyproject.toml"] = &fstest.MapFile{Data: []byte(text)}
		if err := read(); !outOfDate(err) {
			t.Errorf("%s, changed: %v", name, err)
		}
	}
}

func edit(t *testing.T, fsys fstest.MapFS, v verdict) string {
	t.Helper()
	if v.Old == nil {
		fsys[v.File] = &fstest.MapFile{Data: []byte(*v.New), Mode: 0o644}
		return fmt.Sprintf("new %s", v.File)
	}
	before := string(fsys[v.File].Data)
	after := strings.Replace(before, *v.Old, *v.New, 1)
	if after == before {
		t.Fatalf("%s: %q is not in %s", v.Project, *v.Old, v.File)
	}
	fsys[v.File] = &fstest.MapFile{Data: []byte(after), Mode: 0o644}
	return fmt.Sprintf("%s %q -> %q", v.File, *v.Old, *v.New)
}

// check reads a project of testdata/uv by the reader that is for it.
func check(fsys fs.FS) error {
	if script, err := fs.ReadFile(fsys, "s.py"); err == nil {
		var header []string
		for _, line := range strings.Split(string(script), "\n") {
			if text, ok := strings.CutPrefix(line, "# "); ok && !strings.HasPrefix(text, "///") {
				header = append(header, text)
			}
		}
		_, found, err := ReadScriptLock(python.Tree{FS: fsys}, "s.py", []byte(strings.Join(header, "\n")))
		if !found {
			return errors.New("no lock")
		}
		return err
	}
	_, err := ReadUV(python.Tree{FS: fsys}, UVOptions{Manifest: "pyproject.toml", Version: "0.13.9"})
	return err
}

func outOfDate(err error) bool {
	var es source.Errors
	return errors.As(err, &es) && strings.Contains(err.Error(), "is out of date")
}

// compareGolden compares with a file; UPDATE_GOLDEN=1 writes it. The flag -update belongs to other packages.
func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("UPDATE_GOLDEN=1 accepts this:\n%s", diff)
	}
}
