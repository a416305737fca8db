package llb

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// seen are the files that a step sees.
func seen(t *testing.T, dir string, s Copy) []string {
	t.Helper()
	files, err := (&Image{Locals: map[string]Local{"": {Dir: dir, PlainModes: true}}}).SourceFiles(t.Context(), s)
	if err != nil {
		t.Fatalf("%q: %v", s.Src, err)
	}
	var out []string
	for _, f := range files.List {
		if !f.Mode.IsDir() {
			out = append(out, f.Path)
		}
	}
	return out
}

// oneFile brings a file by its name, as a file, below a folder of that name, and in a list of files.
func oneFile(t *testing.T, name string) {
	t.Helper()
	dir := t.TempDir()
	if strings.ContainsAny(name, "/\x00") || name == "" || name == "." || name == ".." || !utf8.ValidString(name) || len(name) > 100 {
		return
	}
	for _, p := range []string{name, "other", "xx", filepath.Join("sub", name), filepath.Join("sub", "other"), filepath.Join(name+".d", "in")} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, p)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, p), []byte(p), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		step Copy
		want string
	}{
		{Copy{Src: name}, name},
		{Copy{Src: "sub/" + name}, "sub/" + name},
		{Copy{Src: name + ".d", Dir: true}, name + ".d/in"},
		{Copy{Src: ".", Dir: true, Only: []string{name}}, name},
		{Copy{Src: "sub", Dir: true, Only: []string{name}}, "sub/" + name},
	} {
		got := seen(t, dir, c.step)
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%q (dir %v, only %q) sees %q", c.step.Src, c.step.Dir, c.step.Only, got)
		}
	}
}

// TestReviewOddNames: what a step names is what it sees, whatever the name is.
func TestReviewOddNames(t *testing.T) {
	for _, name := range []string{
		"a b", " a", "a ", "!a", "#a", "[a]", "a[b", "{a,b}", "(a)", "a|b", "a+b", "a^b", "$a", "a.b", "-a", "--", "é", "e\u0301", "日本", "a*b", "a?b", "**", `a\b`, `\`, "~a", "a&b", "'a'", `"a"`,
		"\u00a0a", "a\u00a0", "a\u3000", "\u2003", "a\u0085", "a\nb", "a\n", "\ta", "a\r", "...", "\u200b", "👍", "a;b", "a=b", "%41", "\x1b[2J", "^", "$", "|", "+", "]", "}", ")",
	} {
		oneFile(t, name)
	}
}

// FuzzReviewNames brings files of any name.
func FuzzReviewNames(f *testing.F) {
	for _, name := range []string{"a b", "[a]", "!a", " ", `\`, "a\u00a0", "**", "é"} {
		f.Add(name)
	}
	f.Fuzz(oneFile)
}
