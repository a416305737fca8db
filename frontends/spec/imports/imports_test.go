package imports

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ibuild/ibuild/frontends/source"
)

// tree makes a folder of "path: text" and opens it as Find wants it. A text that begins with -> is a
// symbolic link.
func tree(t *testing.T, files map[string]string) (string, fs.FS) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(text, "->"); ok {
			err = os.Symlink(target, file)
		} else {
			err = os.WriteFile(file, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return dir, root.FS()
}

// TestFind has main.py and one other thing each; "want" are the files beside main.py, then the notes.
func TestFind(t *testing.T) {
	for _, test := range []struct {
		name, main string
		files      string // separated by spaces, all empty, or name=text
		want       string
	}{
		{"libraries", "import os, numpy.linalg\nfrom x import y", "other.py", ""},
		{"modules", "import a\nimport b as c, d", "a.py b.py c.py d.py", "a.py b.py d.py"},
		{"dotted", "import a.b.c as d, e", "a/__init__.py a/b/__init__.py a/b/c.py a/b/x.py e.py", "a/__init__.py a/b/__init__.py a/b/c.py e.py"},
		{"from module", "from a.b import c", "a/__init__.py a/b.py a/c.py", "a/__init__.py a/b.py"},
		{"from package", "from a import (b as x,\n c,)", "a/__init__.py a/b.py a/c/__init__.py a/d.py", "a/__init__.py a/b.py a/c/__init__.py"},
		{"package before module", "import a", "a/__init__.py a.py", "a/__init__.py"},
		{"namespace package", "import a.b.c", "a/b/c.py a/b/d.py", "a/b/c.py"},
		{"module before namespace package", "import a.b", "a/b.py a.py", "a.py main.py:1: a.b is not in this source"},
		{"conditions", "if x: import a\ntry:\n  import b\nexcept ImportError: import c\nelse:\n  def f():\n    import d; import e", "a.py b.py c.py d.py e.py", "a.py b.py c.py d.py e.py"},
		{"type checking", "if TYPE_CHECKING:\n  from a import B", "a.py", "a.py"},
		{"stubs", "import a, b", "a.pyi b.pyi b.py", "b.py"},
		{"texts and comments", "'''\nimport a\n'''\n# import b\nx = f'''\nimport c {1}\n'''\nyield_ = 'from d import e'", "a.py b.py c.py d.py", ""},
		{"indirect", "import a", "a.py=from~b~import~x b.py=import~c.d c/__init__.py=import~e c/d.py e.py f.py", "a.py b.py c/__init__.py c/d.py e.py"},
		{"circles", "import a", "a.py=import~b b.py=import~a,main", "a.py b.py"},
		{"relative", "import a.b", "a/__init__.py=from~.c~import~x a/b.py=from~.~import~d,e;from~.f.g~import~h;from~..a~import~i a/c.py a/d.py a/f/__init__.py a/f/g.py a/i.py a/x.py", "a/__init__.py a/b.py a/c.py a/d.py a/f/__init__.py a/f/g.py a/b.py:1: ..a is above the outermost package"},
		{"relative in deep packages", "import a.b.c", "a/__init__.py a/b/__init__.py=from~..d~import~x a/b/c.py=from~...~import~q;from~..~import~e a/d.py a/e.py", "a/__init__.py a/b/__init__.py a/b/c.py a/d.py a/e.py a/b/c.py:1: ... is above the outermost package"},
		{"star", "from a import *", "a/__init__.py=__all__~=~['b','c'] a/b.py a/c.py a/d.py", "a/__init__.py a/b.py a/c.py"},
		{"import_module", "import importlib\nimportlib.import_module('a.b')\n__import__(\"c\")", "a/__init__.py a/b.py c.py", "a/__init__.py a/b.py c.py"},
		{"import_module by another name", "from importlib import import_module as load\nload('a')", "a.py", "a.py"},
		{"relative import_module", "import a", "a/__init__.py=import_module('.b',__package__);import_module('..c',package='a.d');import_module('.e',x) a/b.py a/c.py a/e.py", "a/__init__.py a/b.py a/c.py a/__init__.py:1: import_module with a package that is known only when the program runs"},
		{"computed names", "import_module(x)\n__import__('a' + y)\nimportlib.import_module(f'{x}')", "a.py", "main.py:1: import_module with a name that is known only when the program runs main.py:2: __import__ with a name that is known only when the program runs main.py:3: import_module with a name that is known only when the program runs"},
		{"path and exec", "import sys\nsys.path.insert(0, 'x')\nsys.path += y\nprint(sys.path)\nexec('import a')\ncursor.exec(1)", "a.py", "main.py:2: sys.path is changed; if that is a folder of this source, name it as a root main.py:3: sys.path is changed; if that is a folder of this source, name it as a root main.py:5: exec may import modules that are not seen here"},
		{"extension modules", "import a, b.c, d", "a.cpython-312-x86_64-linux-gnu.so a.py b/__init__.py b/c.abi3.so d.pyx=import~e d.pxd e.pyd", "a.cpython-312-x86_64-linux-gnu.so a.py b/__init__.py b/c.abi3.so d.pxd d.pyx e.pyd"},
		{"missing in a package", "import a.b\nfrom a.c import d\nfrom a import e", "a/__init__.py", "a/__init__.py main.py:1: a.b is not in this source main.py:2: a.c is not in this source"},
		{"a link to a module", "import a", "a.py=->lib/b.py lib/b.py=import~c c.py", "a.py c.py lib/b.py"},
		{"a link to a package", "import a.b", "a=->lib/x lib/x/__init__.py lib/x/b.py=from~.~import~c lib/x/c.py", "a lib/x/__init__.py lib/x/b.py lib/x/c.py"},
		{"a link to nothing", "import a, b", "a.py=->no.py b=->no", ""},
		{"no Python", "import\nfrom\nfrom x\nfrom . \nimport a.\nfrom import b\nimport 1, b", "b.py", ""},
		{"byte order mark", "\ufeffimport a", "a.py", "a.py"},
		{"not UTF-8", "x = '\xe4'\nimport a", "a.py", "a.py"},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := map[string]string{"main.py": test.main}
			for _, f := range strings.Fields(test.files) {
				name, text, _ := strings.Cut(f, "=")
				files[name] = strings.ReplaceAll(text, "~", " ")
			}
			_, fsys := tree(t, files)
			got, err := Find(fsys, []string{"main.py"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			var shown []string
			for _, f := range got.Files {
				if f != "main.py" {
					shown = append(shown, f)
				}
			}
			for _, n := range got.Notes {
				shown = append(shown, n.String())
			}
			if diff := cmp.Diff(test.want, strings.Join(shown, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRootsAndEntries(t *testing.T) {
	files := map[string]string{
		"app/main.py": "import near, top, lib.x, both", "app/near.py": "", "top.py": "", "src/lib/x.py": "", "app/both.py": "", "both.py": "", "src/both.py": "",
		"pkg/__init__.py": "", "pkg/sub/__init__.py": "import top", "pkg/sub/run.py": "from . import a\nfrom ..b import c", "pkg/sub/a.py": "", "pkg/b.py": "",
		"deep/er/p/__init__.py": "", "deep/er/p/run.py": "import p.q", "deep/er/p/q.py": "", "tool": "import top",
	}
	_, fsys := tree(t, files)
	for _, test := range []struct{ entries, roots, want string }{
		{"app/main.py", "", "app/both.py app/main.py app/near.py top.py"},
		{"app/main.py", "src", "app/both.py app/main.py app/near.py src/lib/x.py top.py"},
		{"./app/../app/main.py", "src/", "app/both.py app/main.py app/near.py src/lib/x.py top.py"},
		{"pkg/sub/run.py", "", "pkg/__init__.py pkg/b.py pkg/sub/__init__.py pkg/sub/a.py pkg/sub/run.py top.py"},
		{"deep/er/p/run.py", "", "deep/er/p/__init__.py deep/er/p/q.py deep/er/p/run.py"},
		{"tool app/near.py tool", "", "app/near.py tool top.py"},
		{"", "", ""},
	} {
		got, err := Find(fsys, strings.Fields(test.entries), strings.Fields(test.roots))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, strings.Join(got.Files, " ")); diff != "" {
			t.Errorf("%s with %s:\n%s", test.entries, test.roots, diff)
		}
	}
}

func TestErrors(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "x.py"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, fsys := tree(t, map[string]string{
		"main.py": "import a", "a.py": "->" + filepath.Join(outside, "x.py"), "pkg.py": "import b.x", "b": "->" + outside, "up.py": "import c", "c.py": "->../x.py",
		"other.py": "import fine", "fine.py": "", "loop.py": "import l", "l.py": "->m.py", "m.py": "->l.py", "large.py": strings.Repeat("#", source.ScriptLimit+1),
	})
	const leaves = ": this is a symbolic link that leaves the source folder; put the file into the folder"
	for _, test := range []struct{ entries, roots, want string }{
		{"main.py", "", "a.py" + leaves},
		{"pkg.py", "", "b" + leaves},
		{"up.py", "", "c.py" + leaves},
		{"a.py", "", "a.py" + leaves},
		{"loop.py", "", "l.py: too many symbolic links"},
		{"large.py", "", "large.py: larger than the limit of 16 MiB"},
		{"no.py . other.py", "main.py no ../x", "main.py: this is a file, not a folder\nno: there is no such file\n../x: this is not a path below the source folder\nno.py: there is no such file\n.: this is a folder, not a file"},
		{"/etc/passwd", "", "/etc/passwd: this is not a path below the source folder"},
	} {
		_, err := Find(fsys, strings.Fields(test.entries), strings.Fields(test.roots))
		if err == nil {
			t.Errorf("%s: no error", test.entries)
			continue
		}
		if diff := cmp.Diff(test.want, err.Error()); diff != "" {
			t.Errorf("%s:\n%s", test.entries, diff)
		}
	}
	// Links that lead out are of no interest where nothing imports them.
	if _, err := Find(fsys, []string{"other.py"}, nil); err != nil {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	files := map[string]string{}
	var imports strings.Builder
	for i := range fileLimit + 1 {
		files[fmt.Sprintf("m%d.py", i)] = ""
		fmt.Fprintf(&imports, "import m%d\n", i)
	}
	files["main.py"] = imports.String()
	_, fsys := tree(t, files)
	_, err := Find(fsys, []string{"main.py"}, nil)
	if err == nil || !strings.HasSuffix(err.Error(), "more than 20000 files are imported; copy the folder instead") {
		t.Errorf("%v", err)
	}

	large, sameData := fstest.MapFS{}, make([]byte, source.ScriptLimit)
	for i := range sameData {
		sameData[i] = '#'
	}
	for i := range byteLimit/len(sameData) + 1 {
		large[fmt.Sprintf("m%d.py", i)] = &fstest.MapFile{Data: sameData}
	}
	large["main.py"] = &fstest.MapFile{Data: []byte(imports.String()[:400])}
	if _, err = Find(large, []string{"main.py"}, nil); err == nil || !strings.HasSuffix(err.Error(), "the imported modules have more than 256 MiB; copy the folder instead") {
		t.Errorf("%v", err)
	}
}

// FuzzFind wants files that are there, and the entry among them.
func FuzzFind(f *testing.F) {
	for _, s := range []string{
		"import a.b as c, d", "from . import a", "from .. import *", "from a import *", "import_module('..a', 'b.c')", "__import__('')", "from a.b import (\nc", "if x: import a; from d import e",
		"import_module('.', 'a')", "import_module('a..b')", "import_module('../x')",
	} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, main, other string) {
		fsys := fstest.MapFS{}
		for name, text := range map[string]string{"main.py": main, "a/__init__.py": other, "a/b.py": other, "a/d/c.py": other, "d.py": other, "e/main.py": main} {
			fsys[name] = &fstest.MapFile{Data: []byte(text)}
		}
		got, err := Find(fsys, []string{"main.py", "e/main.py"}, []string{"a"})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, file := range got.Files {
			if fsys[file] == nil || seen[file] {
				t.Fatalf("%s in %v", file, got.Files)
			}
			seen[file] = true
		}
		if !seen["main.py"] || !seen["e/main.py"] {
			t.Fatalf("%v", got.Files)
		}
	})
}

// TestPipes: a link to a pipe that nobody writes to, in place of a module and of a package's folder.
func TestPipes(t *testing.T) {
	dir, fsys := tree(t, map[string]string{"main.py": "import a", "pkg.py": "import b.x", "a.py": "->pipe", "b": "->pipe"})
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(fsys, []string{"main.py"}, nil); err == nil || err.Error() != "a.py: this is not a regular file" {
		t.Errorf("%v", err)
	}
	if _, err := Find(fsys, []string{"pkg.py"}, nil); err != nil {
		t.Errorf("%v", err)
	}
}
