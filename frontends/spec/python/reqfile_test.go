package python

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func tree(files ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return m
}

func TestTree(t *testing.T) {
	fsys := tree(
		"requirements.txt", "\ufeff# comment\n-r reqs/base.txt\n--constraint=constraints.txt # why\nnumpy>=2\n",
		"reqs/base.txt", "-c ../constraints.txt\n-rmore.in\nx==1 \\\n    --hash=sha256:abc \\\n    --hash=sha256:def\n",
		"reqs/more.in", "--requirement \"base.txt\"\n--pre\n-i https://${USER}:${TOKEN}@h/simple\n${PKG}==1\nhttps://h/x.whl\ngit+https://h/x.git@v1#egg=x\n",
		"constraints.txt", "torch<3 ; os_name == 'posix' # c\r\n",
	)
	files, err := Tree{FS: fsys}.Read("requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	want := []string{"requirements.txt", "reqs/base.txt", "constraints.txt", "reqs/more.in"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Error(diff)
	}
	if string(files[0].Data[:3]) != "\ufeff" {
		t.Error("the bytes are not those of the file")
	}
}

func TestTreeErrors(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"local", "ok\n  ./pkg\n", `p/a/r.txt:2:3: local packages ("./pkg") are not supported yet; ` + localHint},
		{"wheel", "x-1.0-py3-none-any.whl", `p/a/r.txt:1:1: local packages ("x-1.0-py3-none-any.whl") are not supported yet; ` + localHint},
		{"file url", "x @ file:///tmp/x", `p/a/r.txt:1:1: local packages ("x @ file:///tmp/x") are not supported yet; ` + localHint},
		{"editable", "-e ./pkg", `p/a/r.txt:1:1: editable packages (-e ./pkg) are not supported yet; ` + localHint},
		{"find links", "-f wheels", `p/a/r.txt:1:1: the local folder "wheels" of --find-links is not supported yet; ` + localHint},
		{"password", "a\n--index-url https://u:geheim@h/simple", `p/a/r.txt:2:1: a URL has a password in it, which would end up in the image's cache and history; mount the password as a secret and write ${NAME} in its place`},
		{"requirement", "numpy\nnumpy=>2\n", `p/a/r.txt:2:6: "=>2" does not begin with one of === ~= == != <= >= < >; a line is a requirement (PEP 508), e.g. numpy>=2, or an option`},
		{"after continuation", "numpy \\\n  >=two", `p/a/r.txt:2:3: "two" is not a version (PEP 440); a line is a requirement (PEP 508), e.g. numpy>=2, or an option`},
		{"option", "--requirment x", `p/a/r.txt:1:1: "--requirment" is not an option of a requirements file; did you mean --requirement?`},
		{"short option", "-x y", `p/a/r.txt:1:1: "-x" is not an option of a requirements file`},
		{"no value", "-r", "p/a/r.txt:1:1: --requirement names nothing"},
		{"missing", "-r b.txt", `p/a/r.txt:1:1: there is no requirements file "p/a/b.txt"`},
		{"folder", "-r .", `p/a/r.txt:1:1: the requirements file "p/a" cannot be read: it is a folder`},
		{"outside", "-r ../../b.txt", `p/a/r.txt:1:1: the requirements file "../../b.txt" is outside the folder of the spec; move it into the folder`},
		{"absolute", "-c /etc/passwd", `p/a/r.txt:1:1: the requirements file "/etc/passwd" is outside the folder of the spec; move it into the folder`},
		{"url", "-r https://h/r.txt", `p/a/r.txt:1:1: the requirements file "https://h/r.txt" is a URL, so its content can change from build to build; download it and name the file`},
		{"variable", "-r ${X}.txt", `p/a/r.txt:1:1: the path "${X}.txt" has a variable in it, so the file cannot be found before the build; write the path out`},
		{"encoding", "a\n\xff", "p/a/r.txt:2:1: the byte 0xff is not UTF-8; save the file as UTF-8"},
		{"nested", "-r sub/c.txt", `p/a/sub/c.txt:1:1: editable packages (-e .) are not supported yet; ` + localHint},
	} {
		t.Run(test.name, func(t *testing.T) {
			fsys := tree("a/r.txt", test.text, "a/sub/c.txt", "-e .")
			_, err := Tree{FS: fsys, Show: func(p string) string { return "p/" + p }}.Read("a/r.txt")
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTreeTop(t *testing.T) {
	_, err := Tree{FS: tree()}.Read("r.txt")
	if err == nil || err.Error() != `there is no requirements file "r.txt"` {
		t.Error(err)
	}
	big := tree("r.txt", strings.Repeat("#", 1<<20+1))
	_, err = Tree{FS: big}.Read("r.txt")
	if err == nil || err.Error() != `the requirements file "r.txt" cannot be read: it is larger than the limit of 1 MiB` {
		t.Error(err)
	}
}

func TestTreeKeepsInside(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(out, "canary.txt"), []byte("numpy"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(out, "canary.txt"), filepath.Join(dir, "link.txt")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if files, err := (Tree{FS: root.FS()}).Read("link.txt"); err == nil {
		t.Errorf("read %v", files)
	}
}

func FuzzTree(f *testing.F) {
	for _, s := range []string{"numpy>=2\n", "-r b.txt\n", "-c a.txt \\\n x", "x # y\n--hash=a", "-e .", "https://u:p@h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := Tree{FS: tree("a.txt", text, "b.txt", "-r a.txt")}.Read("a.txt")
		if err != nil && err.Error() == "" {
			t.Fatal("an error says nothing")
		}
	})
}
