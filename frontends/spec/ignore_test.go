package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/patternmatcher"

	"github.com/ibuild/ibuild/frontends/source"
)

func TestIgnoresBelow(t *testing.T) {
	for _, test := range []struct {
		file, dir string
		want      []string
	}{
		{"*.log\n", "a", nil},
		{"**/*.log\n", "a", []string{"**/*.log"}},
		{"a/*.log\n/a/b\n./a/c/\nb\n", "a", []string{"*.log", "b", "c"}},
		{"*/x\n?/y\n[ab]/z\n", "a", []string{"x", "y", "z"}},
		{"a\n", "a", []string{"**"}},
		{"a\n", "a/b", []string{"**"}},
		{"a/b\n!a/b/c\n", "a/b", []string{"**", "!c"}},
		{"*\n!src\n", "src", nil},
		{"*\n!src/*.py\n", "src", []string{"**", "!*.py"}},
		{"**\n!a/x\n", "a", []string{"**", "!x"}},
		{"x\n**/b\n", "a/b/c", []string{"**"}},
		{"**/b/*.log\n", "a/b", []string{"**/b/*.log", "*.log"}},
		{"**.log\n", "a", []string{"**/*.log"}},
		{"**.lo?\n", "a", []string{"**/.lo?"}},
		{"a**\n", "abc", []string{"**"}},
		{"a/b**\n", "a", []string{"b*"}},
		{"# c\n\n!a\n", "a", nil},
		{"*/ x\n*/!y\n", "a", []string{"[ ]x", "[!]y"}},
	} {
		ig, err := parseIgnores(".dockerignore", []byte(test.file))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ig.below(test.dir)
		if err != nil {
			t.Errorf("%q below %s: %v", test.file, test.dir, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q below %s:\n%s", test.file, test.dir, diff)
		}
	}
}

func TestIgnoreErrors(t *testing.T) {
	for text, want := range map[string]string{
		"ok\n[\n":                      `p/.dockerignore:2:1: "[" is not an ignore pattern`,
		"\xff":                         "p/.dockerignore:1:1: the byte 0xff is not UTF-8; save the file as UTF-8",
		"a\tb\n":                       `p/.dockerignore:1:1: "a\tb" is not an ignore pattern`,
		strings.Repeat("x", maxPath+1): `p/.dockerignore:1:1: "` + strings.Repeat("x", 40) + `…" is not an ignore pattern`,
		distinct(maxPatterns + 1):      "p/.dockerignore:10001:1: more than 10000 patterns; ignore folders instead of the files in them",
	} {
		if _, err := parseIgnores("p/.dockerignore", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	ig, err := parseIgnores("p/.dockerignore", []byte("x\na**b/c\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := `p/.dockerignore:2:1: the pattern "a**b/c" cannot be applied to a folder below; write ** between slashes, e.g. a/**/b`
	if _, err := ig.below("a"); err == nil || err.Error() != want {
		t.Error(err)
	}
}

// distinct are n patterns.
func distinct(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "**/x%d\n", i)
	}
	return b.String()
}

// A pattern counts once, as long as no exception stands between it and its repetition.
func TestRepeatedPatterns(t *testing.T) {
	ig, err := parseIgnores("x", []byte("a\nb\na\n!a\n!a\nb\na\n# "+strings.Repeat("x", maxPath)+"\n"+strings.Repeat("a\n", 2*maxPatterns)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "!a", "b", "a"}, ig.texts()); diff != "" {
		t.Error(diff)
	}
}

// Many patterns and many sources are a finding, not minutes of work and gigabytes.
func TestPatternsOfManySources(t *testing.T) {
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, ".dockerignore"), distinct(maxPatterns))
	img := DebianBase("")
	for i := range 150 {
		name := fmt.Sprintf("d%d/f", i)
		writeTo(t, filepath.Join(dir, name), "")
		img = img.WithSourceFolder(filepath.Dir(name), "").WithSourceFile(name, fmt.Sprintf("/x%d", i))
	}
	want := ".dockerignore:1:1: 10000 patterns are too many for so many sources; ignore folders instead of the files in them, or copy the folder that holds the sources"
	if err := img.Validate(dir); err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	if err := DebianBase("").WithSourceFolder("d1", "").WithSourceFile("d1/f", "/x").Validate(dir); err != nil {
		t.Error(err)
	}
}

// A link to a name that no builder can be asked for is refused.
func TestLinkToControlCharacters(t *testing.T) {
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, "a\nb/f"), "")
	if err := os.Symlink("a\nb", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	err := DebianBase("").WithSourceFolder("link", "/x").Validate(dir)
	if err == nil || !strings.HasSuffix(err.Error(), `"link" is a link to "a\nb", which has control characters in its name; rename it`) {
		t.Errorf("%v", err)
	}
}

// FuzzIgnoresBelow compares the translated patterns with Docker's own matching of the whole path.
func FuzzIgnoresBelow(f *testing.F) {
	f.Add("a/*.log\n!a/b.log\n", "a", "b.log")
	f.Add("**/b\n!**/b/c\n", "a/b", "c/d")
	f.Add("*\n!a\na/x**\n", "a", "xy/z")
	f.Add("**/a/**/a\n**c\n", "a/a/b", "a/c")
	f.Add("*/**.", "a", "a")
	f.Add("a /\n/ /\nb/ /\n", "a", "a")
	f.Add("a / /", "a", "a")
	f.Add("/ /a\n!b / /\n", "a", "a")
	f.Fuzz(func(t *testing.T, text, dir, file string) {
		// The matcher takes other punctuation for its own regular expressions: "a|" matches everything.
		if !plain(dir) || !plain(file) || strings.Trim(text, "abcdxyz.*?!/- \n") != "" {
			return
		}
		ig, err := parseIgnores("x", []byte(text))
		if err != nil {
			return
		}
		list, err := ig.below(dir)
		if err != nil {
			return
		}
		whole, err := patternmatcher.New(ig.texts())
		if err != nil {
			return
		}
		below, err := patternmatcher.New(list)
		if err != nil {
			t.Fatalf("%q below %s is %q: %v", text, dir, list, err)
		}
		want, err := whole.MatchesOrParentMatches(dir + "/" + file)
		if err != nil {
			return
		}
		got, err := below.MatchesOrParentMatches(file)
		if err != nil || got != want {
			t.Errorf("%q: %s/%s is ignored: %v; below %s it is %q: %v, %v", text, dir, file, want, dir, list, got, err)
		}
	})
}

func plain(p string) bool {
	return filepath.IsLocal(p) && filepath.Clean(p) == p && p != "." && strings.Trim(p, "abcdxyz./-") == ""
}

func TestLinksStayInside(t *testing.T) {
	src := folderFor(t)
	for from, to := range map[string]string{"inside": "app", "out": "/etc", "app/out": "../../.."} {
		if err := os.Symlink(to, filepath.Join(src.Dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	plan, err := DebianBase("").WithSourceFile("inside/main.py", "").Plan(src)
	if err != nil {
		t.Fatal(err)
	}
	if got := copies(plan); len(got) != 1 || got[0].Src != "app/main.py" || got[0].Dst != "main.py" {
		t.Errorf("%+v", got)
	}
	for _, p := range []string{"out", "app/out", "out/passwd"} {
		err := DebianBase("").WithSourceFolder(p, "/x").Validate(src.Dir)
		if err == nil || !strings.Contains(err.Error(), "leaves the spec's folder") {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// FuzzParse reads anything as YAML: no panic, no hang, and an error that says where.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*/image.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(asYAML))
	f.Add([]byte("a: &a [*a]\npackages: *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		src, err := source.New("image.yaml", "", data)
		if err != nil {
			return
		}
		if _, err := Parse(src); err != nil && !strings.HasPrefix(err.Error(), "image.yaml") {
			t.Fatalf("no place: %v", err)
		}
	})
}
