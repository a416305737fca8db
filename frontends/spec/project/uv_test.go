package project

import (
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

func paths(files []python.File) []string {
	var out []string
	for _, f := range files {
		out = append(out, f.Path)
	}
	return out
}

func locals(list []python.Local) []string {
	var out []string
	for _, l := range list {
		text := l.Kind.String() + " " + l.Path
		if l.Editable {
			text += " editable"
		}
		out = append(out, text)
	}
	return out
}

func TestReadUV(t *testing.T) {
	for _, test := range []struct {
		dir, manifest string
		want          UV
		files, locals []string
	}{
		{dir: "workspace", manifest: "pyproject.toml",
			want:  UV{Root: ".", Dir: ".", Name: "root", Sources: []string{".", "packages/alpha", "packages/beta"}, Package: true, RequiresPython: ">=3.10,>=3.11"},
			files: []string{"deep/a/b/lib/pyproject.toml", "packages/alpha/pyproject.toml", "packages/beta/pyproject.toml", "pyproject.toml", "uv.lock"}},
		{dir: "workspace", manifest: "deep/a/b/lib/pyproject.toml",
			want:  UV{Root: ".", Dir: "deep/a/b/lib", Name: "deep", Sources: []string{"packages/alpha", "packages/beta"}, RequiresPython: ">=3.10,>=3.11", Groups: []string{"dev"}, DefaultGroups: []string{"dev"}},
			files: []string{"deep/a/b/lib/pyproject.toml", "packages/alpha/pyproject.toml", "packages/beta/pyproject.toml", "pyproject.toml", "uv.lock"}},
		{dir: "virtualroot", manifest: "pyproject.toml",
			want:  UV{Root: ".", Dir: ".", Sources: []string{"a"}, RequiresPython: ">=3.10", Groups: []string{"dev"}, DefaultGroups: []string{"dev"}},
			files: []string{"a/pyproject.toml", "b/pyproject.toml", "pyproject.toml", "uv.lock"}},
		{dir: "paths", manifest: "pyproject.toml",
			want:   UV{Root: ".", Dir: ".", Name: "app", RequiresPython: ">=3.10"},
			files:  []string{"pyproject.toml", "uv.lock"},
			locals: []string{"project folder lib editable", "project folder lib2", "wheel wheels/tiny-1.0-py3-none-any.whl", "project folder virt"}},
		{dir: "dyndeps", manifest: "pyproject.toml",
			want:  UV{Root: ".", Dir: ".", Name: "app", Sources: []string{"."}, Builds: []string{"."}, Package: true, RequiresPython: ">=3.10"},
			files: []string{"pyproject.toml", "uv.lock"}},
		{dir: "indexes", manifest: "pyproject.toml",
			want:  UV{Root: ".", Dir: ".", Name: "app", RequiresPython: ">=3.10", Indexes: []Index{{"my-index.2", "https://pypi.org/simple/"}}},
			files: []string{"pyproject.toml", "uv.lock"}},
		{dir: "nopython", manifest: "pyproject.toml",
			want:  UV{Root: ".", Dir: ".", Name: "app", RequiresPython: ">=3.11"},
			files: []string{"pyproject.toml", "uv.lock"}},
		{dir: "extras", manifest: "pyproject.toml",
			want:  UV{Root: ".", Dir: ".", Name: "my-app", RequiresPython: ">=3.10", Extras: []string{"Col_or", "all", "ids", "none"}},
			files: []string{"pyproject.toml", "uv.lock"}},
	} {
		got, err := ReadUV(python.Tree{FS: load(t, path.Join("testdata/uv", test.dir))}, UVOptions{Manifest: test.manifest})
		if err != nil {
			t.Errorf("%s: %v", test.dir, err)
			continue
		}
		if diff := cmp.Diff(test.files, paths(got.Files)); diff != "" {
			t.Errorf("%s, files: %s", test.dir, diff)
		}
		if diff := cmp.Diff(test.locals, locals(got.Locals)); diff != "" {
			t.Errorf("%s, locals: %s", test.dir, diff)
		}
		got.Files, got.Locals = nil, nil
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s, %s: %s", test.dir, test.manifest, diff)
		}
	}
}

func TestIndexVariables(t *testing.T) {
	for name, want := range map[string]string{"x": "X", "my-index.2": "MY_INDEX_2", "a_b": "A_B", "ä--b": "___B"} {
		user, password := Index{Name: name}.Variables()
		if user != "UV_INDEX_"+want+"_USERNAME" || password != "UV_INDEX_"+want+"_PASSWORD" {
			t.Errorf("%s: %s, %s", name, user, password)
		}
	}
}

// with is a project of testdata with files replaced; a text of "-" removes the file.
func with(t *testing.T, dir string, files ...string) fstest.MapFS {
	t.Helper()
	fsys := load(t, dir)
	for i := 0; i < len(files); i += 2 {
		fsys[files[i]] = &fstest.MapFile{Data: []byte(files[i+1]), Mode: 0o644}
		if files[i+1] == "-" {
			delete(fsys, files[i])
		}
	}
	return fsys
}

const plainProject = "[project]\nname = \"app\"\nversion = \"1\"\nrequires-python = \">=3.10\"\n"

func TestUVErrors(t *testing.T) {
	empty := "version = 1\nrevision = 3\nrequires-python = \">=3.10\"\n[[package]]\nname = \"app\"\nversion = \"1\"\nsource = { virtual = \".\" }\n"
	for _, test := range []struct {
		name  string
		files []string
		o     UVOptions
		want  string
	}{
		{"no manifest", nil, UVOptions{}, `there is no project file "p/pyproject.toml"`},
		{"no lock", []string{"pyproject.toml", plainProject}, UVOptions{}, `there is no lock "p/uv.lock" for p/pyproject.toml; make it with uv lock, and put the spec at the root of the workspace`},
		{"no project", []string{"pyproject.toml", "[tool.black]\n", "uv.lock", empty}, UVOptions{}, `p/pyproject.toml: the file has no [project]; add one with a name and dependencies; a project of poetry needs a poetry layer`},
		{"other lock", []string{"pyproject.toml", plainProject, "uv.lock", empty}, UVOptions{Lock: "x/uv.lock"}, `uv reads the lock "p/uv.lock", not "p/x/uv.lock"; leave the lock out, or name the project that it belongs to`},
		{"extra", []string{"pyproject.toml", plainProject, "uv.lock", empty}, UVOptions{Extras: []string{"gpu"}}, `there is no extra "gpu"; p/pyproject.toml has none`},
		{"group", []string{"pyproject.toml", plainProject + "[dependency-groups]\ntest = []\n", "uv.lock", empty}, UVOptions{Groups: []string{"tets"}}, `there is no dependency group "tets"; did you mean "test"?`},
		{"version", []string{"pyproject.toml", plainProject + "[tool.uv]\nrequired-version = \">=0.20\"\n", "uv.lock", empty}, UVOptions{Version: "0.13.9"},
			`p/pyproject.toml:6:20: the project requires uv >=0.20, and uv 0.13.9 would install it; widen required-version`},
		{"bare version", []string{"pyproject.toml", plainProject, "uv.toml", "required-version = \"0.13.8\"\n", "uv.lock", empty}, UVOptions{Version: "0.13.9"},
			"the project requires uv 0.13.8, and uv 0.13.9 would install it; widen required-version in uv.toml"},
		{"password", []string{"pyproject.toml", plainProject + "[[tool.uv.index]]\nname = \"x\"\nurl = \"https://u:geheim@h/simple\"\n", "uv.lock", empty}, UVOptions{},
			`p/pyproject.toml:7:1: a URL has a password in it, which would end up in the image's cache and history; take it out, run the lock again, and give the password as a secret`},
		{"password in lock", []string{"pyproject.toml", plainProject, "uv.lock", empty + "# https://u:geheim@h/simple\n"}, UVOptions{},
			`p/uv.lock:8:1: a URL has a password in it, which would end up in the image's cache and history; take it out, run the lock again, and give the password as a secret`},
		{"outside", []string{"pyproject.toml", plainProject, "uv.lock", empty + "[[package]]\nname = \"x\"\nsource = { directory = \"../x\" }\n"}, UVOptions{},
			`p/uv.lock:10:1: a package comes from a local path: the project folder "../x" is outside the folder of the spec; put it there, or change the project and lock again`},
		{"absolute", []string{"pyproject.toml", plainProject, "uv.lock", empty + "[[package]]\nname = \"x\"\nsource = { path = \"/x.whl\" }\n"}, UVOptions{},
			`p/uv.lock:10:1: a package comes from "/x.whl", which is outside the folder of the spec; move it into the folder and lock again`},
		{"missing wheel", []string{"pyproject.toml", plainProject, "uv.lock", empty + "[[package]]\nname = \"x\"\nsource = { path = \"x.whl\" }\n"}, UVOptions{},
			`p/uv.lock:10:1: a package comes from a local path: there is no wheel "p/x.whl"; put it there, or change the project and lock again`},
		{"new format", []string{"pyproject.toml", plainProject, "uv.lock", "version = 2\n"}, UVOptions{},
			`p/uv.lock:1:1: the lock has version 2 of its format, and version 1 is the newest that is supported; make it with an older uv: remove it and run uv lock`},
		{"revision", []string{"pyproject.toml", plainProject, "uv.lock", "version = 1\nrevision = -1\n"}, UVOptions{}, `p/uv.lock:2:1: -1 is not a revision of the lock format; make the lock again: remove it and run uv lock`},
		{"not a lock", []string{"pyproject.toml", plainProject, "uv.lock", "x = 1\n"}, UVOptions{}, `p/uv.lock:1:1: this is not a lock of uv: it has no version; make it with uv lock`},
		{"old lock", []string{"pyproject.toml", plainProject, "uv.lock", "version = 1\n[[distribution]]\nname = \"x\"\n"}, UVOptions{}, `p/uv.lock:2:3: the lock was made by a uv before 0.3; make it again with uv lock`},
		{"toml", []string{"pyproject.toml", plainProject, "uv.lock", "version = \n"}, UVOptions{}, `p/uv.lock:1:11: this is not a valid uv.lock: unexpected character U+000A at start of value`},
		{"type", []string{"pyproject.toml", plainProject + "dependencies = \"x\"\n"}, UVOptions{}, `p/pyproject.toml:5:16: this is not a valid pyproject.toml: project.dependencies has a value of the wrong type`},
		{"requirement", []string{"pyproject.toml", plainProject + "dependencies = [\"a\", \"numpy=>2\"]\n", "uv.lock", empty}, UVOptions{},
			`p/pyproject.toml:5:22: "numpy=>2" is not a requirement: "=>2" does not begin with one of === ~= == != <= >= < >; write e.g. numpy>=2 (PEP 508)`},
		{"file", []string{"pyproject.toml", plainProject + "dependencies = [\"a @ file:///a.whl\"]\n", "uv.lock", empty}, UVOptions{},
			`p/pyproject.toml:5:17: "a @ file:///a.whl" is a path of this machine; give it by [tool.uv.sources] with a relative path`},
		{"include", []string{"pyproject.toml", plainProject + "[dependency-groups]\na = [{include-group = \"b\"}]\n", "uv.lock", empty}, UVOptions{},
			`p/pyproject.toml:6:23: the group a includes a group "b" that there is not`},
		{"default group", []string{"pyproject.toml", plainProject + "[tool.uv]\ndefault-groups = [\"b\"]\n", "uv.lock", empty}, UVOptions{},
			`p/pyproject.toml:6:19: default-groups names a group "b" that there is not`},
		{"managed", []string{"pyproject.toml", plainProject + "[tool.uv]\nmanaged = false\n", "uv.lock", empty}, UVOptions{},
			`p/pyproject.toml:6:1: managed = false says that uv does not install this project; remove it, or use a requirements layer`},
		{"member", []string{"pyproject.toml", plainProject + "[tool.uv.workspace]\nmembers = [\"x\", \"../y\", \"[\"]\n", "x/a.py", "", "uv.lock", empty}, UVOptions{},
			"p/pyproject.toml:6:1: the workspace member \"p/x\" has no pyproject.toml; add one, or name the folder in [tool.uv.workspace] exclude\n" +
				"p/pyproject.toml:6:17: the workspace member \"../y\" is outside the folder of the spec; move the spec to the root of the workspace\n" +
				"p/pyproject.toml:6:25: \"[\" is not a pattern"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.o.Manifest = "pyproject.toml"
			_, err := ReadUV(python.Tree{FS: with(t, t.TempDir(), test.files...), Show: func(p string) string { return "p/" + p }}, test.o)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestScriptLock(t *testing.T) {
	fsys := load(t, "testdata/uv/script")
	if _, found, err := ReadScriptLock(python.Tree{FS: fsys}, "other.py", nil); found || err != nil {
		t.Errorf("found %v, %v", found, err)
	}
	lock, found, err := ReadScriptLock(python.Tree{FS: fsys}, "s.py", []byte("requires-python = \">=3.11\"\ndependencies = [\"six>=2\"]"))
	if !found || lock.RequiresPython != ">=3.11" || lock.File.Path != "s.py.lock" {
		t.Errorf("%v, %+v", found, lock)
	}
	want := "s.py: s.py.lock is out of date: s.py asks for six>=2, the lock was made for six>=1; run uv lock --script s.py"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Error(err)
	}
}

// TestExcludeNewer has what uv 0.13.9 says to times and spans.
func TestExcludeNewer(t *testing.T) {
	lock := "version = 1\nrevision = 3\nrequires-python = \">=3.10\"\n%[[package]]\nname = \"app\"\nversion = \"1\"\nsource = { virtual = \".\" }\n"
	at := "[options]\nexclude-newer = \"2026-01-01T00:00:00Z\"\n"
	span := "[options]\nexclude-newer = \"0001-01-01T00:00:00Z\"\nexclude-newer-span = \"P5D\"\n"
	for _, test := range []struct{ manifest, options, want string }{
		{"", "", ""}, {"", span, ""}, {"5 days", span, ""}, {"5 days", "", ""}, {"2026-01-01T00:00:00Z", at, ""}, {"2026-02-01T00:00:00Z", at, ""}, {"2025-01-01", at, ""},
		{"", at, "it was made with exclude-newer 2026-01-01T00:00:00Z"}, {"2026-01-01T00:00:00Z", "", "it was made without exclude-newer"},
		{"2025-01-01T00:00:00Z", at, "exclude-newer is 2025-01-01T00:00:00Z, the lock was made with 2026-01-01T00:00:00Z"},
	} {
		manifest := plainProject
		if test.manifest != "" {
			manifest += "[tool.uv]\nexclude-newer = \"" + test.manifest + "\"\n"
		}
		_, err := ReadUV(shown(tree("pyproject.toml", manifest, "uv.lock", strings.Replace(lock, "%", test.options, 1))), UVOptions{Manifest: "pyproject.toml"})
		if test.want == "" && err != nil || !strings.Contains(text(err), test.want) {
			t.Errorf("%q, %q: %v", test.manifest, test.options, err)
		}
	}
}

// TestNested has a member in the folder of another one: uv locks its dependency on a third without the source
// that the root has for it, as in the lock of modelcontextprotocol/python-sdk.
func TestNested(t *testing.T) {
	member := func(name string) string {
		return strings.Replace(plainProject, "app", name, 1) + "dependencies = [\"app\"]\n"
	}
	lock := "version = 1\nrevision = 3\nrequires-python = \">=3.10\"\n[manifest]\nmembers = [\"app\", \"in\", \"out\"]\n" +
		"[[package]]\nname = \"app\"\nversion = \"1\"\nsource = { editable = \".\" }\n" +
		"[[package]]\nname = \"out\"\nversion = \"1\"\nsource = { virtual = \"out\" }\n[package.metadata]\nrequires-dist = [{ name = \"app\", editable = \".\" }]\n" +
		"[[package]]\nname = \"in\"\nversion = \"1\"\nsource = { virtual = \"out/in\" }\n[package.metadata]\nrequires-dist = [{ name = \"app\" }]\n"
	root := plainProject + "[tool.uv.workspace]\nmembers = [\"out\", \"out/*\"]\n[tool.uv.sources]\napp = { workspace = true }\n"
	fsys := tree("pyproject.toml", root, "out/pyproject.toml", member("out"), "out/in/pyproject.toml", member("in"), "uv.lock", lock)
	if _, err := ReadUV(shown(fsys), UVOptions{Manifest: "pyproject.toml"}); err != nil {
		t.Error(err)
	}
	// From the nested project, uv sees the project around it and no workspace.
	_, err := ReadUV(shown(fsys), UVOptions{Manifest: "out/in/pyproject.toml"})
	if !strings.HasPrefix(text(err), `there is no lock "p/out/in/uv.lock"`) {
		t.Error(err)
	}
}

func TestMatchPath(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"a/*", "a/b", true}, {"a/*", "a/b/c", false}, {"**/c", "a/b/c", true}, {"**/c", "c", true}, {"a/**", "a", true}, {"a/**/d", "a/b/c/d", true},
		{"a/**/d", "a/b/c", false}, {"*", "a", true}, {"a?", "ab", true}, {"[", "a", false},
	} {
		if got := matchPath(strings.Split(test.pattern, "/"), strings.Split(test.name, "/")); got != test.want {
			t.Errorf("%s, %s: %v", test.pattern, test.name, got)
		}
	}
}
