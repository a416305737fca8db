package spec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibuild/ibuild/frontends/source"
)

// badFolder is a folder with everything that can be wrong with a spec's files.
func badFolder(t *testing.T) string {
	t.Helper()
	dir, outside := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		"file.txt": "x", "folder/a.txt": "x", "other/folder/b.txt": "x", "other/file.txt": "x",
		"ignored.txt": "x", "ignored/a.txt": "x", ".dockerignore": "ignored*\n",
		"uv.lock": "", "bad.txt": "numpy\n-e .\nx=>1\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	canary := filepath.Join(outside, "canary.txt")
	if err := os.WriteFile(canary, []byte("numpy"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"leaving", "leaving.txt"} {
		if err := os.Symlink(canary, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestErrors compares the exact text of every complaint with testdata/errors.txt.
func TestErrors(t *testing.T) {
	const path = "testdata/errors.txt"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(data), "### ")
	out := []string{head}
	dir := badFolder(t)
	for _, c := range strings.Split(rest, "### ") {
		if says, ok := strings.CutPrefix(c, "says\n"); ok {
			name, text, _ := strings.Cut(strings.TrimPrefix(out[len(out)-1], "### "), "\n")
			got := complain(t, dir, text)
			if diff := cmp.Diff(says, got); diff != "" && !*update {
				t.Errorf("%s (run the test with -update when this is meant):\n%s", name, diff)
			}
			c = "says\n" + got
		}
		out = append(out, "### "+c)
	}
	if len(out) < 120 {
		t.Errorf("%d sections only", len(out))
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(out, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// complain is what is wrong with a spec.
func complain(t *testing.T, dir, text string) string {
	t.Helper()
	src, err := source.New("image.yaml", dir, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Load(src)
	if err == nil || plan != nil {
		t.Errorf("no error for\n%s", text)
		return ""
	}
	if parsed, perr := Parse(src); perr == nil {
		// What Parse lets pass, the plan has to refuse with the same words.
		if _, planErr := parsed.Plan(src); planErr == nil || planErr.Error() != err.Error() {
			t.Errorf("Plan says %v, Load says %v", planErr, err)
		}
	}
	return err.Error() + "\n"
}

// TestFindingsShowNoPasswords looks for the password in all that a finding carries.
func TestFindingsShowNoPasswords(t *testing.T) {
	text := "packages: ['x @ https://u:geheim@h/x.whl']\nenv: {URL: 'https://u:geheim@h'}\nbase_image: https://u:geheim@h/x\n" +
		"registry: https://u:geheim@h\nname: x\nlayers: [{pip: {packages: [y], index_url: 'https://u:geheim@h'}}, {run: 'curl https://u:geheim@h'}]\n"
	src, err := source.New("image.yaml", t.TempDir(), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Load(src)
	var found source.Errors
	if !errors.As(err, &found) || len(found) < 6 {
		t.Fatal(err)
	}
	for _, e := range found {
		if strings.Contains(e.Error()+string(e.Data), "geheim") {
			t.Errorf("%v", e)
		}
	}
}

func TestPlainCredentialsAreAChoice(t *testing.T) {
	text := "allow_plain_credentials: true\nenv: {DB_PASSWORD: correcthorse}\npackages: [x]\npip_index: https://u:pw@h/simple\n"
	src, err := source.New("image.yaml", t.TempDir(), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(src); err != nil {
		t.Error(err)
	}
}

// TestLimits gives the parser what is small on disk and large in memory.
func TestLimits(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	wide := "packages: &p [" + strings.Repeat("x,", 60_000) + "]\nlayers:\n" + strings.Repeat("  - pip: *p\n  - apt: {packages: *p}\n", 10_000)
	unknown := "env: {A: &p [" + strings.Repeat("x,", 60_000) + "]}\nlayers:\n" + strings.Repeat("  - pip: {oops: *p}\n", 5_000)
	for name, text := range map[string]string{
		"bomb": bomb + "packages: *j\n", "wide": wide, "unknown": unknown,
		"deep": strings.Repeat("[", 100_000), "deeper": "packages: " + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000),
		"self": "packages: &a [*a]\n", "large": strings.Repeat("#", source.SpecLimit+1),
	} {
		t.Run(name, func(t *testing.T) {
			src, err := source.New("image.yaml", t.TempDir(), []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			ends(t, func() {
				if _, err := Load(src); err == nil {
					t.Error("no error")
				}
			})
		})
	}
}
