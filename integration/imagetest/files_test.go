package imagetest

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// image makes an image with a layer for each list of entries.
func image(t *testing.T, layers ...[]tar.Header) v1.Image {
	t.Helper()
	img := empty.Image
	for _, entries := range layers {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for _, h := range entries {
			content := ""
			if h.Typeflag == tar.TypeReg {
				content = h.Uname // the tests put a file's content there
				h.Uname, h.Size = "", int64(len(content))
			}
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, content); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

func dir(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}
}

func reg(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Uname: content}
}

func sym(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}
}

func hard(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}
}

func TestFiles(t *testing.T) {
	for _, test := range []struct {
		name   string
		layers [][]tar.Header
		want   string // paths, with => target for links
	}{
		{"later layer wins", [][]tar.Header{{dir("a"), reg("a/x", "1")}, {reg("a/x", "22")}}, "a a/x(2)"},
		{"whiteout", [][]tar.Header{{dir("a"), reg("a/x", "1"), reg("a/y", "1")}, {reg("a/.wh.x", "")}}, "a a/y(1)"},
		{"whiteout of a folder", [][]tar.Header{{dir("a"), reg("a/x", "1"), reg("ab", "1")}, {reg(".wh.a", "")}}, "ab(1)"},
		{"opaque folder keeps its own layer's files",
			[][]tar.Header{{dir("a"), reg("a/x", "1")}, {dir("a"), reg("a/z", "1"), reg("a/.wh..wh..opq", "")}}, "a a/z(1)"},
		{"file replaces folder", [][]tar.Header{{dir("a"), reg("a/x", "1")}, {reg("a", "1")}}, "a(1)"},
		{"folder replaces symlink", [][]tar.Header{{dir("usr"), sym("lib", "usr")}, {dir("lib")}}, "lib usr"},
		{"parents are followed through symlinks",
			[][]tar.Header{{dir("usr"), dir("usr/lib"), sym("lib", "usr/lib")}, {reg("lib/x", "1")}}, "lib=>usr/lib usr usr/lib usr/lib/x(1)"},
		{"absolute and climbing symlinks",
			[][]tar.Header{{dir("b"), dir("b/c"), sym("a", "/b"), sym("b/up", "../b/c")}, {reg("a/up/x", "1")}},
			"a=>/b b b/c b/c/x(1) b/up=>../b/c"},
		{"hard links, whichever comes first", [][]tar.Header{{reg("y", "1"), hard("x", "y")}}, "x(1) y(1)=>x"},
		{"hard link across layers", [][]tar.Header{{reg("y", "1")}, {hard("x", "./y"), reg(".wh.y", "")}}, "x(1)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			files, err := Files(image(t, test.layers...))
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(files); got != test.want {
				t.Errorf("files = %s, want %s", got, test.want)
			}
		})
	}
}

func summary(files []File) string {
	var words []string
	for _, f := range files {
		word := f.Path
		if f.Type == "file" {
			word += "(" + string(rune('0'+f.Size)) + ")"
		}
		if f.Link != "" {
			word += "=>" + f.Link
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestFilesRefusesWhatCannotBeUnpacked(t *testing.T) {
	for name, layer := range map[string][]tar.Header{
		"link loop":         {sym("a", "b"), sym("b", "a"), reg("a/x", "")},
		"missing hard link": {hard("x", "nowhere")},
	} {
		if _, err := Files(image(t, layer)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDiff(t *testing.T) {
	want := []File{{Path: "a", Type: "dir", Mode: 0o755}, {Path: "b", Type: "file", SHA256: "1"}, {Path: "gone", Type: "dir"}}
	got := []File{{Path: "a", Type: "dir", Mode: 0o700}, {Path: "b", Type: "file", SHA256: "1"}, {Path: "new", Type: "fifo"}}
	const diff = `- a dir 0755 0:0
+ a dir 0700 0:0
- gone dir 0000 0:0
+ new fifo 0000 0:0
`
	if got := Diff(want, got); got != diff {
		t.Errorf("Diff =\n%swant\n%s", got, diff)
	}
	if got := Diff(want, want); got != "" {
		t.Errorf("Diff of the same = %q", got)
	}
}

func TestConfigLeavesTimesOut(t *testing.T) {
	a, err := canonicalConfig([]byte(`{"os":"linux","created":"2020-01-01T00:00:00Z","config":{"Env":["A=1"]},"history":[{"created":"x","created_by":"y"}],"rootfs":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := canonicalConfig([]byte(`{"history":[{"created_by":"y"}],"config":{"Env":["A=1"]},"os":"linux","created":"2021-01-01T00:00:00Z"}`))
	if err != nil {
		t.Fatal(err)
	}
	if a != b {
		t.Errorf("configs differ:\n%s\n%s", a, b)
	}
	if strings.Contains(a, "created\"") || !strings.Contains(a, "A=1") {
		t.Errorf("config = %s", a)
	}
}

func TestCommandLine(t *testing.T) {
	config := v1.Config{Entrypoint: []string{"/e"}, Cmd: []string{"c"}}
	for _, test := range []struct {
		options RunOptions
		want    string
	}{
		{RunOptions{}, "/e c"},
		{RunOptions{Args: []string{"x"}}, "/e x"},
		{RunOptions{Entrypoint: []string{"sh"}}, "sh"},
		{RunOptions{Entrypoint: []string{"sh"}, Args: []string{"-c"}}, "sh -c"},
	} {
		if got := strings.Join(commandLine(config, test.options), " "); got != test.want {
			t.Errorf("commandLine(%+v) = %q, want %q", test.options, got, test.want)
		}
	}
}

func TestCompare(t *testing.T) {
	a, b := image(t, []tar.Header{reg("x", "1")}), image(t, []tar.Header{reg("x", "2")})
	diff, err := Compare(a, b)
	if err != nil || !strings.Contains(diff, "- x file") || !strings.Contains(diff, "+ x file") {
		t.Errorf("Compare = %q, %v", diff, err)
	}
	if diff, err := Compare(a, a); err != nil || diff != "" {
		t.Errorf("Compare of the same = %q, %v", diff, err)
	}
}
