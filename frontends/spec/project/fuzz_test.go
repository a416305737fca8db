package project

import (
	"testing"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

// sound fails on an error that says nothing.
func sound(t *testing.T, err error) {
	t.Helper()
	if err != nil && err.Error() == "" {
		t.Fatal("an error says nothing")
	}
}

func FuzzUV(f *testing.F) {
	for _, dir := range []string{"workspace", "markers", "extras", "groups", "git", "manifest", "conflicts", "options"} {
		fsys := load(f, "testdata/uv/"+dir)
		f.Add(string(fsys["pyproject.toml"].Data), string(fsys["uv.lock"].Data))
	}
	f.Add("[tool.uv.workspace]\nmembers=['**/*']\nexclude=['**']\n", "version=1\n")
	f.Fuzz(func(t *testing.T, manifest, lock string) {
		fsys := tree("pyproject.toml", manifest, "uv.lock", lock, "a/b/pyproject.toml", "[project]\nname='b'\n", "x.whl", "")
		_, err := ReadUV(python.Tree{FS: fsys}, UVOptions{Manifest: "pyproject.toml", Extras: []string{"a"}, Version: "0.13.9"})
		sound(t, err)
	})
}

func FuzzScriptLock(f *testing.F) {
	fsys := load(f, "testdata/uv/script")
	f.Add("requires-python = \">=3.11\"\ndependencies = [\"six>=1\"]", string(fsys["s.py.lock"].Data))
	f.Fuzz(func(t *testing.T, header, lock string) {
		_, _, err := ReadScriptLock(python.Tree{FS: tree("s.py.lock", lock)}, "s.py", []byte(header))
		sound(t, err)
	})
}

func FuzzPoetry(f *testing.F) {
	for _, dir := range []string{"legacy", "mixed", "paths", "unicode"} {
		fsys := load(f, "testdata/poetry/"+dir)
		f.Add(string(fsys["pyproject.toml"].Data), string(fsys["poetry.lock"].Data))
	}
	f.Fuzz(func(t *testing.T, manifest, lock string) {
		_, err := ReadPoetry(python.Tree{FS: tree("pyproject.toml", manifest, "poetry.lock", lock)}, PoetryOptions{Manifest: "pyproject.toml"})
		sound(t, err)
	})
}

func FuzzPoetryPython(f *testing.F) {
	for _, s := range []string{"^3.10", "~3.8 || ~3.9", ">=3.8 <4", "*", "3.*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, constraint string) {
		list, err := PoetryPython(constraint)
		for _, s := range list {
			if _, err := python.ParseSpecifier(s); err != nil {
				t.Fatalf("%q became %q: %v", constraint, s, err)
			}
		}
		sound(t, err)
	})
}

func FuzzPylock(f *testing.F) {
	f.Add(pylockText)
	f.Fuzz(func(t *testing.T, text string) {
		_, err := ReadPylock(python.Tree{FS: tree("pylock.toml", text)}, "pylock.toml")
		sound(t, err)
	})
}

func FuzzPixi(f *testing.F) {
	f.Add(pixiText, pixiLockText)
	f.Fuzz(func(t *testing.T, manifest, lock string) {
		_, err := ReadPixi(python.Tree{FS: tree("pixi.toml", manifest, "pixi.lock", lock)}, PixiOptions{Manifest: "pixi.toml", Environment: "gpu"})
		sound(t, err)
	})
}

func FuzzConda(f *testing.F) {
	f.Add("name: x\nchannels: [a]\ndependencies:\n- python=3\n- pip:\n  - six\n  - -e .\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := ReadConda(python.Tree{FS: tree("env.yml", text)}, "env.yml")
		sound(t, err)
	})
}
