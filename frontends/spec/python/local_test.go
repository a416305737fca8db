package python

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestParseLocal(t *testing.T) {
	for text, want := range map[string]string{
		"./pkg": "project folder ./pkg", "pkg/": "project folder pkg/", ".": "project folder .", ".[ci]": "project folder .", "./pkg[x,y]": "project folder ./pkg",
		"./pkg[x] ; python_version > '3'": "project folder ./pkg", "pkg @ ./pkg": "project folder ./pkg", "pkg[x]@./pkg": "project folder ./pkg",
		"x-1-py3-none-any.whl": "wheel x-1-py3-none-any.whl", "x @ file:wheels/x.whl": "wheel wheels/x.whl", "file:./a%20b/x.WHL": "wheel ./a b/x.WHL",
		"x.tar.gz": "source archive x.tar.gz", "a/x.zip#egg=x": "source archive a/x.zip", "x @ file:///abs/x.whl": "wheel /abs/x.whl",
		"x @ file:///${PROJECT_ROOT}/x.whl": "wheel ./x.whl", "x @ file://${PROJECT_ROOT}/pkg": "project folder ./pkg", "./a@b/pkg": "project folder ./a@b/pkg",
		"numpy": "", "numpy>=2": "", "numpy[x]>=2; os_name=='nt'": "", "x @ https://h/x.whl": "", "https://h/x.tar.gz": "", "git+https://h/x.git": "", "": "",
	} {
		got := ""
		if ref, ok := ParseLocal(text); ok {
			got = fmt.Sprintf("%s %s", ref.Kind, ref.Path)
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// written writes a list down as "kind path editable@file:line:column".
func written(list []Local) []string {
	var out []string
	for _, l := range list {
		text := fmt.Sprintf("%s %s", l.Kind, l.Path)
		if l.Editable {
			text += " editable"
		}
		out = append(out, fmt.Sprintf("%s@%s:%d:%d", text, l.File, l.Line, l.Column))
	}
	return out
}

func TestReadAll(t *testing.T) {
	sources := "[project]\nname = \"a\"\ndependencies = [\"b[x]>1\"]\n[project.optional-dependencies]\no = [\"w\"]\n" +
		"[tool.uv.sources]\nB = {path = \"../b\", editable = true}\nw = [{path = \"w.whl\", marker = \"os_name == 'nt'\"}, {index = \"i\"}]\nunused = {path = \"../../gone\"}\n"
	fsys := tree(
		"requirements.txt", "numpy\n-r reqs/more.txt\n./pkgs/a[o] ; python_version > '3'\n-e pkgs/b # in place\n",
		"reqs/more.txt", "  -f wheels\ntiny @ wheels/tiny-1-py3-none-any.whl\n./old.tar.gz --hash=sha256:00\npkgs/member\n-f https://h/links\n",
		"reqs/wheels/x.whl", "", "wheels/tiny-1-py3-none-any.whl", "", "old.tar.gz", "", "pkgs/a/pyproject.toml", sources, "pkgs/a/w.whl", "", "pkgs/b/setup.py", "",
		"pkgs/member/pyproject.toml", "[project]\nname='m'\ndependencies=['x']\n[tool.uv.sources]\nx={workspace=true}\n", "pkgs/pyproject.toml", "[tool.uv.workspace]\nmembers=['*']\n",
	)
	got, err := Tree{FS: fsys, Show: func(p string) string { return "p/" + p }}.ReadAll("requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"find-links folder reqs/wheels@p/reqs/more.txt:1:3",
		"wheel wheels/tiny-1-py3-none-any.whl@p/reqs/more.txt:2:1",
		"source archive old.tar.gz@p/reqs/more.txt:3:1",
		"project folder pkgs/member@p/reqs/more.txt:4:1",
		"project folder pkgs@p/pkgs/member/pyproject.toml:0:0",
		"project folder pkgs/a@p/requirements.txt:3:1",
		"project folder pkgs/b editable@p/pkgs/a/pyproject.toml:0:0",
		"wheel pkgs/a/w.whl@p/pkgs/a/pyproject.toml:0:0",
	}
	if diff := cmp.Diff(want, written(got.Locals)); diff != "" {
		t.Error(diff)
	}
	if got.Dir != "." || len(got.Files) != 2 {
		t.Errorf("%q, %d files", got.Dir, len(got.Files))
	}
}

// TestBase has the two ways in which people run pip: from the top, and from beside the file.
func TestBase(t *testing.T) {
	for _, test := range []struct {
		name, text, want string
		files            []string
	}{
		{"beside", "-e .\n./lib", "svc", []string{"svc/setup.py", "", "svc/lib/setup.py", ""}},
		{"top", "-e ./svc", ".", []string{"svc/setup.py", ""}},
		{"both", "-e .", ".", []string{"setup.py", "", "svc/setup.py", ""}},
		{"none local", "numpy", ".", nil},
	} {
		got, err := Tree{FS: tree(append(test.files, "svc/r.txt", test.text)...)}.ReadAll("svc/r.txt")
		if err != nil || got.Dir != test.want {
			t.Errorf("%s: %q, %v", test.name, got.Dir, err)
		}
	}
}

func TestReadAllErrors(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"missing", "ok\n ./no", `p/a/r.txt:2:2: there is no project folder "p/no"; paths begin in the folder of the spec`},
		{"missing wheel", "-r r2.txt", `p/a/r2.txt:1:1: there is no wheel "p/x.whl"; paths begin in the folder of the spec`},
		{"outside", "../x", `p/a/r.txt:1:1: the project folder "../x" is outside the folder of the spec; move it into the folder and write a relative path, with /`},
		{"absolute", "x @ file:///x.whl", `p/a/r.txt:1:1: the wheel "/x.whl" is outside the folder of the spec; move it into the folder and write a relative path, with /`},
		{"home", "-e ~/x", `p/a/r.txt:1:1: the project folder "~/x" is outside the folder of the spec; move it into the folder and write a relative path, with /`},
		{"backslash", `.\x`, `p/a/r.txt:1:1: the project folder ".\\x" is outside the folder of the spec; move it into the folder and write a relative path, with /`},
		{"variable", "${X}/x.whl", `p/a/r.txt:1:1: the path "${X}/x.whl" has a variable in it, so it cannot be found before the build; write the path out`},
		{"quotes", `-e "./pkg"`, `p/a/r.txt:1:1: the path "./pkg" is in quotes, which uv takes for a part of it; write it without quotes`},
		{"no project", "./empty", `p/a/r.txt:1:1: the project folder "p/empty" cannot be used: it has neither a pyproject.toml nor a setup.py`},
		{"file", "./empty/f", `p/a/r.txt:1:1: the project folder "p/empty/f" cannot be used: it is neither a folder nor a wheel or source archive`},
		{"folder as wheel", "./dir.whl", `p/a/r.txt:1:1: the wheel "p/dir.whl" cannot be used: it is not a regular file`},
		{"editable wheel", "-e x.whl", `p/a/r.txt:1:1: -e names the wheel "x.whl", and only folders can be editable; write the requirement without -e`},
		{"editable url", "-e git+https://h/x", `p/a/r.txt:1:1: -e git+https://h/x is a URL, and only folders can be editable; write the requirement without -e`},
		{"links", "-f no", `p/a/r.txt:1:1: there is no find-links folder "p/a/no"; paths begin in the folder of the spec`},
		{"links url", "-f file:x", `p/a/r.txt:1:1: --find-links file:x is a file URL, which uv cannot follow; write the path without file:`},
		{"links file", "-f r2.txt", `p/a/r.txt:1:1: the find-links folder "p/a/r2.txt" cannot be used: it is not a folder`},
		{"toml", "./bad", `p/bad/pyproject.toml:1:1: this is not a valid pyproject.toml: expected '=' after key`},
		{"source", "./src", `p/src/pyproject.toml: the source of y in [tool.uv.sources]: there is no project folder "p/src/y"; paths begin in the folder of the spec
p/src/pyproject.toml: the source of z in [tool.uv.sources]: the workspace that it is a member of is not in the folder of the spec; move the spec to the root of the workspace`},
	} {
		t.Run(test.name, func(t *testing.T) {
			fsys := tree("a/r.txt", test.text, "a/r2.txt", "x.whl", "empty/f", "", "dir.whl/f", "", "bad/pyproject.toml", "x",
				"src/pyproject.toml", "[project]\ndependencies = ['y', 'z']\n[tool.uv.sources]\ny = {path = 'y'}\nz = {workspace = true}\n")
			_, err := Tree{FS: fsys, Show: func(p string) string { return "p/" + p }}.ReadAll("a/r.txt")
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	fsys := tree("pkg/setup.py", "", "x.whl", "")
	got, err := Tree{FS: fsys}.Resolve(LocalRef{Path: "./pkg", Kind: Folder}, true)
	if diff := cmp.Diff([]string{"project folder pkg editable@:0:0"}, written(got)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	_, err = Tree{FS: fsys}.Resolve(LocalRef{Path: "y.whl", Kind: Wheel}, false)
	if err == nil || err.Error() != `there is no wheel "y.whl"; paths begin in the folder of the spec` {
		t.Error(err)
	}
}

func TestSameSpecifier(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"", "", true}, {">=1", ">= 1.0.0", true}, {">=1,<2", "<2,>=1", true}, {">=1", ">1", false}, {">=1", "", false}, {"==1.*", "==1.0.*", false},
		{"~=1.0", "~=1.0.0", false}, {"~=1.0", "~= 1.0", true}, {"==1.0.post1", "==1.0-1", true}, {"==1!2", "==2", false}, {">=1,>=1", ">=1", true},
	} {
		if got := SameSpecifier(test.a, test.b); got != test.want {
			t.Errorf("%q, %q: %v", test.a, test.b, got)
		}
	}
}

func TestNormalName(t *testing.T) {
	for name, want := range map[string]string{"A": "a", "a__b.-C": "a-b-c", "zope.interface": "zope-interface"} {
		if got := NormalName(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestMarkerEval(t *testing.T) {
	env := map[string]string{"python_version": "3.12", "python_full_version": "3.12.3", "sys_platform": "linux", "os_name": "posix", "extra": "my-x"}
	for text, want := range map[string]Truth{
		"": True, "python_version >= '3.9'": True, "python_version < '3.9'": False, "'3.9' < python_version": True, "python_full_version == '3.12.*'": True,
		"sys_platform == 'linux' and os_name == 'nt'": False, "sys_platform == 'win32' or os_name == 'posix'": True, "extra == 'My_X'": True,
		"sys_platform == 'win32' and os_name == 'nt' or os_name == 'posix'": True, "sys_platform == 'win32' and (os_name == 'nt' or os_name == 'posix')": False,
		"platform_machine == 'x'": Unknown, "platform_machine == 'x' and os_name == 'nt'": False, "platform_machine == 'x' or os_name == 'posix'": True,
		"python_version in '3.12 3.13'": Unknown, "sys_platform in 'linux darwin'": True, "sys_platform not in 'linux darwin'": False, "sys.platform == 'linux'": True,
		"os_name > 'a'": Unknown, "python_version == 'x'": Unknown, "'a' == 'a'": Unknown,
	} {
		m, err := ParseMarker(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Eval(env); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if _, err := ParseMarker("os_name == 'a' x"); err == nil {
		t.Error("no error")
	}
}

func FuzzReadAll(f *testing.F) {
	for _, s := range []string{"./pkg\n-e ./pkg[x]\n", "-f wheels\nx @ file:///${PROJECT_ROOT}/x.whl", "pkg @ ./pkg ; os_name == 'nt'"} {
		f.Add(s, "[project]\ndependencies=['y']\n[tool.uv.sources]\ny={path='../pkg'}\n")
	}
	f.Fuzz(func(t *testing.T, text, manifest string) {
		got, err := Tree{FS: fstest.MapFS{
			"r.txt": {Data: []byte(text)}, "pkg/pyproject.toml": {Data: []byte(manifest)}, "wheels/x.whl": {}, "pyproject.toml": {Data: []byte("[tool.uv.workspace]")}}}.ReadAll("r.txt")
		if err != nil && err.Error() == "" {
			t.Fatal("an error says nothing")
		}
		for _, l := range got.Locals {
			if strings.HasPrefix(l.Path, "/") || strings.HasPrefix(l.Path, "..") {
				t.Fatalf("%q leaves the tree", l.Path)
			}
		}
	})
}

func FuzzMarker(f *testing.F) {
	for _, s := range []string{"python_version < '3.9'", "(os_name=='a' or extra in 'b') and sys_platform != 'c'", "'3' < python_full_version"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseMarker(text)
		if err == nil {
			m.Eval(map[string]string{"python_version": "3.12", "os_name": "posix"})
			m.Literals("extra")
		}
	})
}
