package project

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

func shown(fsys fstest.MapFS) python.Tree {
	return python.Tree{FS: fsys, Show: func(p string) string { return "p/" + p }}
}

func tree(files ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1]), Mode: 0o644}
	}
	return m
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestReadPoetry(t *testing.T) {
	for dir, want := range map[string]Poetry{
		"legacy":       {Dir: ".", Package: true, Pythons: []string{">=3.10,<4"}},
		"legacygroups": {Dir: ".", Groups: []string{"docs", "test"}, OptionalGroups: []string{"docs"}, Extras: []string{"names"}, Pythons: []string{">=3.10,<4.0"}},
		"devdeps":      {Dir: ".", Package: true, Groups: []string{"dev"}, Pythons: []string{">=3.10,<3.11", ">=3.11,<3.12"}},
		"pep735":       {Dir: ".", Groups: []string{"all", "dev"}, Pythons: []string{">=3.10"}},
		"pep621":       {Dir: ".", Package: true, Extras: []string{"extra-one"}, Pythons: []string{">=3.10"}},
	} {
		got, err := ReadPoetry(python.Tree{FS: load(t, "testdata/poetry/"+dir)}, PoetryOptions{Manifest: "pyproject.toml"})
		if err != nil {
			t.Errorf("%s: %v", dir, err)
		}
		if diff := cmp.Diff([]string{"pyproject.toml", "poetry.lock"}, paths(got.Files)); diff != "" {
			t.Errorf("%s: %s", dir, diff)
		}
		got.Files = nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", dir, diff)
		}
	}
	got, err := ReadPoetry(python.Tree{FS: with(t, "testdata/poetry/paths", "poetry.toml", "[virtualenvs]\n")}, PoetryOptions{Manifest: "pyproject.toml"})
	if diff := cmp.Diff([]string{"project folder libs/lib editable", "project folder libs/other"}, locals(got.Locals)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if got := paths(got.Files); len(got) != 3 || got[2] != "poetry.toml" {
		t.Errorf("%v", got)
	}
}

func TestPoetryErrors(t *testing.T) {
	head := "[project]\nname = \"x\"\n"
	for _, test := range []struct {
		name  string
		files []string
		o     PoetryOptions
		want  string
	}{
		{"no manifest", nil, PoetryOptions{}, `there is no project file "p/pyproject.toml"`},
		{"no tables", []string{"pyproject.toml", ""}, PoetryOptions{}, "p/pyproject.toml: the file has neither [project] nor [tool.poetry]; add one of them"},
		{"no lock", []string{"pyproject.toml", head}, PoetryOptions{}, `there is no lock "p/poetry.lock" for p/pyproject.toml; make it with poetry lock`},
		{"old lock", []string{"pyproject.toml", head, "poetry.lock", "[metadata]\n"}, PoetryOptions{}, "p/poetry.lock: this is not a lock of poetry 1 or later: it has no lock-version or content-hash; make it again with poetry lock"},
		{"new lock", []string{"pyproject.toml", head, "poetry.lock", "[metadata]\nlock-version = \"3.0\"\ncontent-hash = \"x\"\n"}, PoetryOptions{}, "p/poetry.lock:2:16: the lock has version 3.0 of its format, and 1 and 2 are supported; make it again with poetry 2: poetry lock"},
		{"stale", []string{"pyproject.toml", head, "poetry.lock", "[metadata]\nlock-version = \"2.1\"\ncontent-hash = \"x\"\n"}, PoetryOptions{}, "p/pyproject.toml: p/poetry.lock is out of date: the dependencies, groups, extras, sources or requires-python of pyproject.toml are not those that it was made for; run poetry lock"},
		{"names", []string{"pyproject.toml", head + "[dependency-groups]\ntest = []\n"}, PoetryOptions{Groups: []string{"tset", "main"}, Extras: []string{"x"}}, "there is no extra \"x\"; p/pyproject.toml has none\nthere is no dependency group \"tset\"; did you mean \"test\"?\nthere is no lock \"p/poetry.lock\" for p/pyproject.toml; make it with poetry lock"},
		{"python", []string{"pyproject.toml", "[tool.poetry.dependencies]\npython = \"^three\"\n", "poetry.lock", "x"}, PoetryOptions{}, "p/pyproject.toml:2:10: the python of [tool.poetry.dependencies]: \"three\" is not a version; write e.g. ^3.11\np/poetry.lock:1:1: this is not a valid poetry.lock: expected '=' after key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.o.Manifest = "pyproject.toml"
			_, err := ReadPoetry(shown(tree(test.files...)), test.o)
			if diff := cmp.Diff(test.want, text(err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPoetryPython(t *testing.T) {
	for constraint, want := range map[string]string{
		"": "", "*": "", "^3.10": ">=3.10,<4", "^3": ">=3,<4", "^0.2.3": ">=0.2.3,<0.3", "^0.0.3": ">=0.0.3,<0.0.4", "^0.0": ">=0.0,<0.1", "~3.10": ">=3.10,<3.11",
		"~3": ">=3,<4", "~3.10.2": ">=3.10.2,<3.11", "3.11": "==3.11", "3.11.*": "==3.11.*", ">=3.8,<4.0": ">=3.8,<4.0", ">=3.8 <4": ">=3.8,<4", ">= 3.8, < 4": ">=3.8,<4",
		"~3.8 || ~3.9": ">=3.8,<3.9 | >=3.9,<3.10", "~=3.9": "~=3.9", "!=3.9.*": "!=3.9.*", "^x": "error", "3.x": "error", ">=": "error",
	} {
		got, err := PoetryPython(constraint)
		text := strings.Join(got, " | ")
		if err != nil {
			text = "error"
		}
		if text != want {
			t.Errorf("%q: got %q, want %q (%v)", constraint, text, want, err)
		}
	}
}

const pylockText = `lock-version = "1.0"
requires-python = ">=3.11"
dependency-groups = ["dev"]
extras = ["x"]
[[packages]]
name = "a"
version = "1"
[[packages.wheels]]
url = "https://h/a-1-py3-none-any.whl"
hashes = {sha256 = "00"}
[[packages]]
name = "b"
wheels = [{path = "wheels/b-1-py3-none-any.whl", hashes = {}}]
sdist = {path = "b-1.tar.gz"}
[[packages]]
name = "c"
directory = {path = "c", editable = true}
`

func TestReadPylock(t *testing.T) {
	files := []string{"wheels/b-1-py3-none-any.whl", "", "b-1.tar.gz", "", "c/setup.py", ""}
	got, err := ReadPylock(shown(tree(append(files, "pylock.dev.toml", pylockText)...)), "pylock.dev.toml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"source archive b-1.tar.gz", "wheel wheels/b-1-py3-none-any.whl", "project folder c editable"}, locals(got.Locals)); diff != "" {
		t.Error(diff)
	}
	if got.RequiresPython != ">=3.11" || got.File.Path != "pylock.dev.toml" || len(got.Groups) != 1 || len(got.Extras) != 1 {
		t.Errorf("%+v", got)
	}
	for _, test := range []struct{ name, text, want string }{
		{"lock.toml", "", `"p/lock.toml" is not the name of a lock by PEP 751; call it pylock.toml or pylock.<name>.toml`},
		{"pylock.toml", "", "p/pylock.toml:1:1: this is not a lock by PEP 751: it has no lock-version"},
		{"pylock.toml", "lock-version = \"2.0\"", "p/pylock.toml:1:16: the lock has version 2.0 of its format, and 1.0 is supported; make it with a tool that writes 1.0"},
		{"pylock.toml", "lock-version = \"1.0\"\nrequires-python = \"3\"\n[[packages]]\nversion = \"1\"\n[[packages]]\nname = \"x\"\n[[packages]]\nname = \"y\"\nwheels = [{}]\n",
			"p/pylock.toml:2:19: requires-python: \"3\" does not begin with one of === ~= == != <= >= < >\np/pylock.toml:3:3: a package has no name\np/pylock.toml:5:3: nothing says where x comes from\np/pylock.toml:9:1: the wheels of y has neither a path nor a URL"},
		{"pylock.toml", pylockText, "p/pylock.toml:13:1: a package comes from a local path: there is no wheel \"p/wheels/b-1-py3-none-any.whl\"; put it there, or change the project and lock again\np/pylock.toml:14:1: a package comes from a local path: there is no source archive \"p/b-1.tar.gz\"; put it there, or change the project and lock again\np/pylock.toml:17:1: a package comes from a local path: there is no project folder \"p/c\"; put it there, or change the project and lock again"},
	} {
		_, err := ReadPylock(shown(tree(test.name, test.text)), test.name)
		if diff := cmp.Diff(test.want, text(err)); diff != "" {
			t.Error(diff)
		}
	}
}

const pixiText = `[workspace]
name = "x"
channels = ["conda-forge"]
platforms = ["linux-64", "osx-arm64", {name = "arm", platform = "linux-aarch64"}]
[dependencies]
python = "3.12.*"
src = {path = "src"}
[pypi-dependencies]
app = {path = ".", editable = true}
[feature.gpu]
platforms = ["linux-64"]
[feature.gpu.target.linux-64.pypi-dependencies]
lib = {path = "lib"}
[environments]
gpu = ["gpu"]
both = {features = ["gpu"], no-default-feature = true}
`

const pixiLockText = `version: 6
environments:
  default:
    channels: []
    packages:
      linux-64: [{conda: x}]
      arm: [{conda: x}]
      osx-arm64: [{conda: x}]
  gpu:
    packages:
      linux-64: [{conda: x}]
`

func TestReadPixi(t *testing.T) {
	files := []string{"pixi.lock", pixiLockText, "src/pixi.toml", "", "lib/pyproject.toml", "", "setup.py", ""}
	got, err := ReadPixi(shown(tree(append(files, "pixi.toml", pixiText)...)), PixiOptions{Manifest: "pixi.toml", Environment: "gpu"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"project folder . editable", "project folder src", "project folder lib"}, locals(got.Locals)); diff != "" {
		t.Error(diff)
	}
	got.Files, got.Locals = nil, nil
	if diff := cmp.Diff(Pixi{Dir: ".", Environments: []string{"both", "default", "gpu"}, Platforms: []string{"linux-64"}}, got); diff != "" {
		t.Error(diff)
	}
	got, err = ReadPixi(shown(tree(append(files, "pixi.toml", pixiText)...)), PixiOptions{Manifest: "pixi.toml"})
	if diff := cmp.Diff([]string{"linux-64", "osx-arm64", "linux-aarch64"}, got.Platforms); diff != "" || err != nil {
		t.Error(err, diff)
	}
	inner := "[tool.pixi.workspace]\nchannels = []\nplatforms = [\"linux-64\"]\n[tool.pixi.environments]\ntest = [\"an-extra\"]\n"
	got, err = ReadPixi(shown(tree("a/pyproject.toml", inner, "a/pixi.lock", pixiLockText)), PixiOptions{Manifest: "a/pyproject.toml"})
	if err != nil || got.Dir != "a" || !cmp.Equal(paths(got.Files), []string{"a/pyproject.toml", "a/pixi.lock"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestPixiErrors(t *testing.T) {
	small := "[workspace]\nchannels = []\nplatforms = [\"linux-64\"]\n"
	for _, test := range []struct {
		name  string
		files []string
		env   string
		want  string
	}{
		{"no manifest", nil, "", `there is no project file "p/pixi.toml"`},
		{"no workspace", []string{"pixi.toml", ""}, "", "p/pixi.toml: the file has no [workspace]; add one with channels and platforms"},
		{"no platforms", []string{"pixi.toml", "[workspace]\n", "pixi.lock", "version: 3"}, "", "p/pixi.toml:1:2: the workspace names no platforms; add platforms = [\"linux-64\", \"linux-aarch64\"]"},
		{"no lock", []string{"pixi.toml", small}, "", "there is no lock \"p/pixi.lock\" for p/pixi.toml; make it with pixi lock"},
		{"environment", []string{"pixi.toml", small, "pixi.lock", "version: 6"}, "defualt", "there is no environment \"defualt\"; did you mean \"default\"?"},
		{"feature", []string{"pixi.toml", small + "[environments]\nx = [\"y\"]\n", "pixi.lock", pixiLockText}, "", "p/pixi.toml:5:1: the environment x has a feature \"y\" that there is not; the features are default"},
		{"new lock", []string{"pixi.toml", small, "pixi.lock", "version: 8"}, "", "p/pixi.lock:1:1: the lock has version 8 of its format, and version 7 is the newest that is supported; make it with an older pixi"},
		{"not a lock", []string{"pixi.toml", small, "pixi.lock", "x: 8"}, "", "p/pixi.lock: this is not a lock of pixi: it has no version; make it with pixi lock"},
		{"yaml", []string{"pixi.toml", small, "pixi.lock", "\tx"}, "", "p/pixi.lock: this is not a valid pixi.lock: found character that cannot start any token"},
		{"locked environment", []string{"pixi.toml", small, "pixi.lock", "version: 6\nenvironments: {}"}, "", "p/pixi.lock: p/pixi.lock is out of date: it has no environment default; run pixi lock"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ReadPixi(shown(tree(test.files...)), PixiOptions{Manifest: "pixi.toml", Environment: test.env})
			if diff := cmp.Diff(test.want, text(err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadConda(t *testing.T) {
	good := "name: x\nchannels: [conda-forge, https://h/c]\ndependencies:\n- python=3.12\n- conda-forge::numpy >=2,<3\n- scipy 1.*\n- 'pytorch[version=\">=2\"]'\n- _libgcc_mutex=0.1=conda_forge\n- pip\n- pip:\n  - six>=1\n  - -r r.txt\n  - -e ./pkg\nvariables: {A: b}\n"
	got, err := ReadConda(shown(tree("e/env.yml", good, "e/r.txt", "idna\n", "e/pkg/setup.py", "")), "e/env.yml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"e/env.yml", "e/r.txt"}, paths(got.Files)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"project folder e/pkg editable"}, locals(got.Locals)); diff != "" {
		t.Error(diff)
	}
	got.Files, got.Locals = nil, nil
	want := Conda{Name: "x", Channels: []string{"conda-forge", "https://h/c"}, Env: map[string]string{"A": "b"}, Pip: []string{"six>=1", "-r r.txt", "-e ./pkg"},
		Packages: []string{"python=3.12", "conda-forge::numpy >=2,<3", "scipy 1.*", `pytorch[version=">=2"]`, "_libgcc_mutex=0.1=conda_forge", "pip"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	bad := "channels: [[], https://u:geheim@h]\ndependencies:\n- num py\n- -x\n- {pip: six}\n- {pip: [numpy=>2, -e ../x, -r no.txt]}\nvariables: {API_TOKEN: abcdefgh1}\n"
	_, err = ReadConda(shown(tree("env.yml", bad)), "env.yml")
	findings := `p/env.yml: the variable API_TOKEN is a credential, going by its name, which would end up in the image; take it out, and give it as a secret
p/env.yml:1:1: a URL has a password in it, which would end up in the image's cache and history; take it out, run the lock again, and give the password as a secret
p/env.yml:1:12: a channel has to be a name or a URL
p/env.yml:3:3: "num py" is not a conda package; write e.g. numpy>=2 or conda-forge::numpy=2.1
p/env.yml:4:3: "-x" is not a conda package; write e.g. numpy>=2 or conda-forge::numpy=2.1
p/env.yml:5:3: a dependency is neither a text nor a list under pip
p/env.yml:6:10: "=>2" does not begin with one of === ~= == != <= >= < >; a line is a requirement (PEP 508), e.g. numpy>=2, or an option
p/env.yml:6:20: the project folder "../x" is outside the folder of the spec; move it into the folder and write a relative path, with /
p/env.yml:6:29: there is no requirements file "p/no.txt"`
	if diff := cmp.Diff(findings, text(err)); diff != "" {
		t.Error(diff)
	}
	_, err = ReadConda(shown(tree("env.yml", "dependencies: [")), "env.yml")
	if text(err) == "" {
		t.Error("no error")
	}
}
