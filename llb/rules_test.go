package llb

import (
	"math/rand"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/moby/patternmatcher"
)

func TestPatternsInAFolder(t *testing.T) {
	for _, c := range []struct{ src, pattern, want string }{
		{"context", "**/.git", "**/.git"},
		{"context", "**/*.pyc", "**.pyc"},
		{"context", "**/.env.*.local", "**/.env.*.local"},
		{"context", "**/.git/", "**/.git"},
		{".", "**/*.pyc", "**.pyc"},
		{".", "*.pyc", "*.pyc"},
		{".", "a/**/b", "a/**/b"},
		{"a/b", "data", "a/b/data"},
		{"a/b", "*.pyc", "a/b/*.pyc"},
		{"a/b", "**", "a/b/**"},
		{"[a]", "x/y", `\[a\]/x/y`},
		{"[a]", "**/x", "**/x"},
		// they would take in the folder itself, or one above it
		{"venv", "**/venv", "venv/**/venv"},
		{"venv/lib", "**/venv", "venv/lib/**/venv"},
		{"lib.pyc/x", "**/*.pyc", "lib.pyc/x/**/*.pyc"},
		{"x", "**/*", "x/**/*"},
		{"x", "**/?", "x/**/?"},
		// they can take in a part of the folder's path and a part of what is below it
		{"x/a", "**/a/b", "x/a/**/a/b"},
		{"x", "**/[^b]", "x/**/[^b]"},
		{"x", `**/\Sa`, `x/**/\Sa`},
		{"x", "**/a**", "x/**/a**"},
		{"x", "**/a|b", "x/**/a|b"},
		{"x", "**/a^", "x/**/a^"},
		{"x", "**/* ", "x/**/* "},
		{"x", "**/\xff", "x/**/\xff"},
	} {
		if got := inFolder(c.src, c.pattern); got != c.want {
			t.Errorf("%q in %s is %q, want %q", c.pattern, c.src, got, c.want)
		}
	}
}

// behind is the pattern behind the folder, as it always is right.
func behind(src, pattern string) string { return path.Join(literal(path.Clean(src)), pattern) }

// samePaths says whether both lists of patterns hide the same of some paths in a folder, and neither the folder nor
// one above it.
func samePaths(t *testing.T, src string, patterns []string, names []string) {
	t.Helper()
	short := rulesFor(src, true, patterns).exclude
	long := make([]string, len(patterns))
	for i, p := range patterns {
		name, not := strings.CutPrefix(p, "!")
		if long[i] = behind(src, name); not {
			long[i] = "!" + long[i]
		}
	}
	a, errA := patternmatcher.New(short)
	b, errB := patternmatcher.New(long)
	if errA != nil || errB != nil {
		if (errA == nil) != (errB == nil) {
			t.Fatalf("%q in %q is %q (%v), and %q is %v", patterns, src, short, errA, long, errB)
		}
		return
	}
	paths := []string{}
	for dir := path.Clean(src); dir != "."; dir = path.Dir(dir) {
		paths = append(paths, dir)
	}
	for _, name := range names {
		paths = append(paths, path.Join(src, name))
	}
	for _, p := range paths {
		gotA, errA := a.MatchesOrParentMatches(p)
		gotB, errB := b.MatchesOrParentMatches(p)
		if gotA != gotB || (errA == nil) != (errB == nil) {
			t.Fatalf("%q in %q: %q says %v (%v) of %q, %q says %v (%v)", patterns, src, short, gotA, errA, p, long, gotB, errB)
		}
	}
}

// Lists of patterns hide the same in both forms.
func TestShortPatternsHideTheSame(t *testing.T) {
	parts := []string{"a", "b", ".a", "ab", "a.b", ".git", "venv", "x.pyc", ".pyc", "b.a.b", "é", "$a", "(a)", "a+"}
	segments := append(slices.Clone(parts), "*", "?", "*a", "a*", "*.pyc", "*.?", "**", "a**", "**a", "[^a]", "[ab]", `\a`, "a^", "*.*", ".a.*.b")
	r := rand.New(rand.NewSource(1))
	some := func(of []string, most int) string {
		var list []string
		for range 1 + r.Intn(most) {
			list = append(list, of[r.Intn(len(of))])
		}
		return strings.Join(list, "/")
	}
	changed := 0
	for range 20_000 {
		src := some(parts, 3)
		var patterns, names []string
		for range 1 + r.Intn(4) {
			p := some(segments, 2)
			if r.Intn(4) > 0 {
				p = "**/" + p
			}
			if inFolder(src, p) != behind(src, p) {
				changed++
			}
			if r.Intn(3) == 0 {
				p = "!" + p
			}
			patterns = append(patterns, p)
		}
		for range 8 {
			names = append(names, some(parts, 4))
		}
		samePaths(t, src, patterns, names)
	}
	if changed < 5000 {
		t.Errorf("only %d patterns had another form: this compares nothing", changed)
	}
}

// FuzzShortPatterns compares both forms for any folder, pattern and path.
func FuzzShortPatterns(f *testing.F) {
	f.Add("context", "**/.git", "!**/*.pyc", "a/.git/b.pyc")
	f.Add("venv/x", "**/venv", "**/?", "venv")
	f.Add("a", "**/* ", "**/a|b", "a b")
	f.Fuzz(func(t *testing.T, src, one, two, name string) {
		src, name = path.Clean(src), path.Clean(name)
		for _, s := range []string{src, name} {
			if len(s) > 100 || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "..") || strings.ContainsAny(s, "\x00\n") {
				return
			}
		}
		// "!" alone and patterns of spaces are none, and some others are no regular expressions: both forms fail then
		// when they are used, and none gets so far.
		for _, p := range []string{one, two} {
			p = strings.TrimPrefix(p, "!")
			if len(p) > 100 || strings.TrimSpace(p) == "" || strings.HasPrefix(path.Clean(p), "..") || strings.ContainsRune(p, 0) {
				return
			}
		}
		samePaths(t, src, []string{one, two}, []string{name, path.Join(name, name), "x"})
	})
}
