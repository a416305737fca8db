package imagelock

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/opencontainers/go-digest"
)

var (
	one = digest.FromString("1")
	two = digest.FromString("2")
)

const (
	debian = "docker.io/library/debian:12"
	python = "docker.io/library/python:3.12-slim-bookworm"
	uv     = "ghcr.io/astral-sh/uv:0.13.9"
)

func put(t *testing.T, dir, name, data string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, l Lock) string {
	t.Helper()
	data, err := l.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func read(t *testing.T, dir string) Lock {
	t.Helper()
	l, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"image.yaml", "train.py", "Dockerfile"} {
		put(t, dir, name, "")
	}
	empty := read(t, dir)
	if empty.Exists || empty.Pins() != nil || empty.File != filepath.Join(dir, "ibuild.lock") {
		t.Errorf("no file: %+v", empty)
	}
	l := empty.With("train.py", []Image{{uv, one}, {python, one}}, false).With("image.yaml", []Image{{python, two}}, false)
	want := header + `version = 1

[images]
[images.'docker.io/library/python:3.12-slim-bookworm']
digest = '` + one.String() + `'
sources = ['image.yaml', 'train.py']

[images.'ghcr.io/astral-sh/uv:0.13.9']
digest = '` + one.String() + `'
sources = ['train.py']
`
	if d := cmp.Diff(want, text(t, l)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if len(empty.images) != 0 {
		t.Error("the first lock changed")
	}
	put(t, dir, FileName, want)
	again := read(t, dir)
	if !reflect.DeepEqual(again, l) {
		t.Errorf("read %+v, wrote %+v", again, l)
	}
	if d := cmp.Diff(map[string]digest.Digest{python: one, uv: one}, again.Pins()); d != "" {
		t.Errorf("pins (-want +got):\n%s", d)
	}
}

func TestMoveAndDrop(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "train.py", "")
	put(t, dir, "image.yaml", "")
	l := read(t, dir).With("train.py", []Image{{python, one}, {uv, one}}, false).With("image.yaml", []Image{{python, one}, {debian, one}}, false)
	moved := l.With("train.py", []Image{{python, two}}, true)
	if d := cmp.Diff(map[string]digest.Digest{python: two, debian: one}, moved.Pins()); d != "" {
		t.Errorf("the source's images move, those of others stay, what nobody uses goes (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]Difference{{python, one, two}, {uv, one, ""}}, l.Changes(moved)); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]Difference{{debian, "", one}, {python, "", two}}, Lock{}.Changes(moved)); d != "" {
		t.Errorf("changes from nothing (-want +got):\n%s", d)
	}
	kept := l.With("train.py", []Image{{python, two}}, false)
	if d := cmp.Diff(map[string]digest.Digest{python: one, debian: one}, kept.Pins()); d != "" {
		t.Errorf("nothing moves (-want +got):\n%s", d)
	}
	if err := os.Remove(filepath.Join(dir, "image.yaml")); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]digest.Digest{python: one, uv: one}, l.With("train.py", []Image{{python, two}, {uv, one}}, false).Pins()); d != "" {
		t.Errorf("a source that is gone (-want +got):\n%s", d)
	}
}

func TestDifferences(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a", "")
	put(t, dir, "b", "")
	l := read(t, dir).With("a", []Image{{python, one}, {uv, one}}, false).With("b", []Image{{debian, one}}, false)
	if got := l.Differences("a", []Image{{python, one}, {uv, one}}); len(got) != 0 {
		t.Errorf("nothing changed: %v", got)
	}
	want := []Difference{{debian, one, two}, {python, one, two}, {"docker.io/library/x:1", "", one}, {uv, one, ""}}
	if d := cmp.Diff(want, l.Differences("a", []Image{{python, two}, {debian, two}, {"docker.io/library/x:1", one}})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestFindings(t *testing.T) {
	d := one.String()
	for name, c := range map[string]struct{ in, want string }{
		"syntax":       {"version = 1\n[images\n", "ibuild.lock:2:8: the lock is not valid toml: "},
		"a merge":      {"version = 1\n<<<<<<< HEAD\n", "ibuild.lock:2:1: the lock is not valid toml: "},
		"twice":        {"version = 1\n[images.'" + debian + "']\ndigest='" + d + "'\n[images.'" + debian + "']\n", "ibuild.lock:4:"},
		"empty":        {"", "ibuild.lock: the version of this lock is not 1; take the ibuild that wrote it"},
		"version":      {"# x\nversion = 2\n", "ibuild.lock:2:1: the version of this lock is not 1"},
		"version text": {"version = '1'\n", "ibuild.lock:1:1: the version"},
		"key":          {"version = 1\nimage = 1\n", "ibuild.lock:2:1: unknown key image; the keys are version and images"},
		"images":       {"version = 1\nimages = []\n", "ibuild.lock:2:1: images takes one table per image"},
		"a short name": {"version = 1\n[images.'debian:12']\ndigest='" + d + "'\n", `ibuild.lock:2:10: "debian:12" is not the whole name of an image with its tag; write it like docker.io/library/debian:12`},
		"a digest":     {"version = 1\n[images.'" + debian + "@" + d + "']\ndigest='" + d + "'\n", "is not the whole name"},
		"no table":     {"version = 1\n[images]\n'" + debian + "' = 'x'\n", "ibuild.lock:3:2: " + debian + " takes digest and sources"},
		"no digest":    {"version = 1\n[images.'" + debian + "']\n", "ibuild.lock:2:10: " + debian + " has no valid digest; write sha256: and 64"},
		"bad digest":   {"version = 1\n[images.'" + debian + "']\ndigest='sha256:12'\n", "has no valid digest"},
		"digest kind":  {"version = 1\n[images.'" + debian + "']\ndigest=12\n", "has no valid digest"},
		"entry's key":  {"version = 1\n[images.'" + debian + "']\ndigest='" + d + "'\nsource='x'\n", "unknown key source of " + debian},
		"sources":      {"version = 1\n[images.'" + debian + "']\ndigest='" + d + "'\nsources='x'\n", "takes a list of names of files in this folder"},
		"a path":       {"version = 1\n[images.'" + debian + "']\ndigest='" + d + "'\nsources=['../x']\n", "takes a list of names"},
		"two findings": {"version = 1\nx = 1\n[images.'" + debian + "']\n", "unknown key x; the keys are version and images\nibuild.lock:3:10: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(source.Source{Name: "ibuild.lock", Data: []byte(c.in)})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, FileName), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a pipe: %v", err)
	}
	dir = t.TempDir()
	put(t, dir, FileName, "version = 1\n#"+strings.Repeat("x", source.SpecLimit))
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "larger than the limit") {
		t.Errorf("a large file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("version = 1\n[images.'" + debian + "']\ndigest='" + one.String() + "'\nsources=['a']\n"))
	f.Add([]byte("version = 1\nimages = {'x' = {}}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		src, err := source.New("ibuild.lock", ".", data)
		if err != nil || len(data) > source.SpecLimit {
			return
		}
		l, err := parse(src)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "ibuild.lock") {
				t.Fatalf("a finding without its file: %v", err)
			}
			return
		}
		written, err := l.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse(source.Source{Name: "ibuild.lock", Data: written})
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, written)
		}
		if d := cmp.Diff(l.Pins(), again.Pins()); d != "" {
			t.Fatalf("(-read +written and read):\n%s", d)
		}
	})
}
