package spec

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ibuild/ibuild/frontends/source"
)

// registryOf answers for every reference; what a tag stands for is the digest of its text.
type registryOf struct{ moved string }

func (r registryOf) ResolveImage(_ context.Context, ref string, p ocispecs.Platform) (digest.Digest, []byte, error) {
	config, err := json.Marshal(ocispecs.Image{Platform: p, RootFS: ocispecs.RootFS{Type: "layers"}})
	if _, pinned, ok := strings.Cut(ref, "@"); ok {
		return digest.Digest(pinned), config, err
	}
	if ref == r.moved {
		ref += " moved"
	}
	return digest.FromString(ref), config, err
}

func placeOf(dir string) Place {
	return Place{Source: source.Source{Dir: dir}, Resolver: registryOf{}, Platform: ocispecs.Platform{OS: "linux", Architecture: "amd64"}}
}

func identify(t *testing.T, img Image, at Place) digest.Digest {
	t.Helper()
	id, err := img.Identifier(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// checkout is a folder with all files that [oneOfEach] reads.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"requirements.txt": "rich\n-r more/more.txt\n", "more/more.txt": "attrs\n", "requirements2.txt": "rich\n",
		"app/main.py": "import lib.a\nimport rooted\n", "app/lib/rooted.py": "y = 1\n", "app/lib/__init__.py": "", "app/lib/a.py": "x = 1\n", "app/other.py": "import lib\n", "app/run.sh": "#!/bin/sh\n",
		"app2/main.py": "print(2)\n", "app2/lib/a.py": "", "config.json": "{}", "secret.txt": "s", "secret2.txt": "s",
		"environment.yml": "name: x\nchannels: [conda-forge]\ndependencies: [zlib]\n", "environment2.yml": "name: x\ndependencies: [xz]\n",
	} {
		writeTo(t, filepath.Join(dir, name), text)
	}
	for _, project := range []string{"uvproject", "poetry", "pixi"} {
		for _, name := range []string{project, project + "2"} {
			if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join("testdata", project))); err != nil {
				t.Fatal(err)
			}
		}
		writeTo(t, filepath.Join(dir, project+"2", "letters/extra.py"), "z = 1\n")
		manifest := filepath.Join(dir, project+"2", "pyproject.toml")
		data, err := os.ReadFile(manifest)
		if err != nil {
			t.Fatal(err)
		}
		writeTo(t, manifest, "# no change for the lock\n"+string(data))
	}
	return dir
}

func writeTo(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// oneOfEach has one layer of every kind, each with a value in every field.
func oneOfEach() []Layer {
	mounts := []Secret{{ID: "token", Env: "TOKEN"}}
	return []Layer{
		Apt{Packages: []string{"git"}, Secrets: mounts},
		Pip{PipOptions: PipOptions{
			IndexURL: "https://h/simple", ExtraIndexURLs: []string{"https://i/simple"}, Pre: true, ExtraArgs: []string{"--no-deps"}, Secrets: mounts,
		}, Packages: []string{"numpy"}, Requirements: "requirements.txt"},
		UVProject{ProjectOptions: ProjectOptions{
			Path: "uvproject", Lock: "uvproject/uv.lock", InstallProject: true, Groups: []string{"serve"}, Extras: []string{"fast"}, ExtraArgs: []string{"--no-cache"}, Secrets: mounts,
		}},
		PoetryProject{ProjectOptions: ProjectOptions{
			Path: "poetry", Lock: "poetry/poetry.lock", InstallProject: true, Groups: []string{"docs"}, ExtraArgs: []string{"--no-cache"}, Secrets: mounts,
		}},
		Conda{Packages: []string{"zlib"}, Channels: []string{"conda-forge"}, Secrets: mounts},
		Conda{File: "environment.yml"},
		Conda{Packages: []string{"zlib"}, NoPython: true},
		PixiProject{PixiOptions: PixiOptions{Path: "pixi", Lock: "pixi/pixi.lock", Environment: "default", ExtraArgs: []string{"-v"}, Secrets: mounts}},
		Commands{Commands: []string{"echo a"}, Secrets: mounts},
		Env{Vars: map[string]string{"A": "1"}},
		Workdir{Path: "/srv"},
		User{Name: "app"},
		Shell{Args: []string{"/bin/bash", "-c"}},
		SourceFolder{Src: "app", Dst: "/opt/app", Exclude: []string{"*.log"}, Owner: "1000"},
		SourceFolder{Src: "app", Contents: true},
		SourceFile{Src: "app/main.py", Dst: "/opt/main.py", Owner: "1000"},
		CodeBundle{Src: "app", Dst: "/opt/code", Imported: true, Entries: []string{"main.py"}, Roots: []string{"lib"}},
		CodeBundle{Src: "app", Dst: "/opt/code", Exclude: []string{"*.log"}},
		Copy{Path: "app"},
	}
}

// otherValues are for fields whose other value cannot be guessed.
func otherValues() map[string]any {
	return map[string]any{
		"Pip.IndexURL": "https://other/simple", "Pip.ExtraIndexURLs": []string{"https://other/simple"}, "Pip.ExtraArgs": []string{"--compile"},
		"Pip.Requirements": "requirements2.txt", "Conda.File": "environment2.yml", "Shell.Args": []string{"/bin/bash", "-e", "-c"},
		"Env.Vars": map[string]string{"A": "2"}, "SourceFolder.Src": "app2", "SourceFile.Src": "app/other.py", "Copy.Path": "app2",
		"UVProject.Path": "uvproject2", "UVProject.Groups": []string{"dev"}, "UVProject.Extras": []string{}, "UVProject.ExtraArgs": []string{"--offline"},
		"UVProject.Secrets": []Secret{{ID: "token", File: "/x"}}, "PoetryProject.Secrets": []Secret{{ID: "token", File: "/x"}},
		"PoetryProject.Path": "poetry2", "PoetryProject.Groups": []string{}, "PoetryProject.ExtraArgs": []string{"-v"},
		"PixiProject.Environment": "test", "PixiProject.ExtraArgs": []string{"-q"}, "PixiProject.Secrets": []Secret{{ID: "token", File: "/x"}},
		"CodeBundle.Src": "app2", "CodeBundle.Entries": []string{"other.py"}, "Commands.Secrets": []Secret{{ID: "token", File: "/x"}},
		"Apt.Secrets": []Secret{{ID: "token", File: "/x"}}, "Pip.Secrets": []Secret{{ID: "token", File: "/x"}},
		"Conda.Secrets": []Secret{{ID: "token", File: "/x"}}, "User.Name": "1000", "SourceFolder.Owner": "1001", "SourceFile.Owner": "1001",
		"SourceFolder.Contents": false, "CodeBundle.Roots": []string{},
	}
}

// pairs are fields that cannot be changed alone, or have one right value: see the end of the test.
func pairs() []string {
	return []string{"PixiProject.Lock", "PixiProject.Path", "UVProject.Lock", "PoetryProject.Lock", "CodeBundle.Imported", "PoetryProject.Extras", "Pip.WheelsOnly", "Pip.Edited", "SourceFolder.AllFiles"}
}

func otherValue(t *testing.T, name string, v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.String:
		return reflect.ValueOf(v.String() + "2")
	case reflect.Bool:
		return reflect.ValueOf(!v.Bool())
	case reflect.Slice:
		if list, ok := v.Interface().([]string); ok {
			return reflect.ValueOf(append(slices.Clone(list), "extra"))
		}
	}
	t.Fatalf("%s: no other value is known for a %s", name, v.Type())
	return v
}
