package llb

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What happens to files between the identity and the end of a build is named, and nothing else is.
func TestChanged(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(dir string) error
		want string
	}{
		"nothing":             {func(string) error { return nil }, ""},
		"a new file":          {func(dir string) error { return os.WriteFile(filepath.Join(dir, "src/new.txt"), nil, 0o644) }, "src/new.txt"},
		"one that counts not": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "src/new.pyc"), nil, 0o644) }, ""},
		"a file is gone":      {func(dir string) error { return os.Remove(filepath.Join(dir, "src/app.py")) }, "src/app.py"},
		"other content": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "src/app.py"), []byte("print(2)\n"), 0o644)
		}, "src/app.py"},
		"it can be run": {func(dir string) error { return os.Chmod(filepath.Join(dir, "src/app.py"), 0o755) }, "src/app.py"},
		"a link":        {func(dir string) error { return os.Symlink("app.py", filepath.Join(dir, "src/link")) }, "src/link"},
		"a link moves": {func(dir string) error {
			link := filepath.Join(dir, "src/here")
			if err := os.Remove(link); err != nil {
				return err
			}
			return os.Symlink("deep/a.txt", link)
		}, "src/here"},
		"a folder": {func(dir string) error { return os.MkdirAll(filepath.Join(dir, "src/deep/er"), 0o755) }, "src/deep/er"},
		"two": {func(dir string) error {
			return os.Rename(filepath.Join(dir, "src/app.py"), filepath.Join(dir, "src/b.py"))
		}, "src/app.py src/b.py"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t)
			if err := os.Symlink("app.py", filepath.Join(dir, "src/here")); err != nil {
				t.Fatal(err)
			}
			plan := (&Plan{Image: sample(dir), Locals: sample(dir).Locals}).WithSums(nil)
			rec, err := NewRecorder(fixedImages{}, plan, amd64).Record(t.Context(), plan.Image.BuildFunc(Options{}))
			if err != nil {
				t.Fatal(err)
			}
			before := graph(t, rec).Stamp
			time.Sleep(20 * time.Millisecond) // longer than a tick of the clock that files have
			if err := c.do(dir); err != nil {
				t.Fatal(err)
			}
			list, err := rec.Changed(t.Context())
			if got := strings.Join(list, " "); err != nil || got != c.want {
				t.Errorf("%q, %v", got, err)
			}
			if after, err := rec.Stamp(t.Context()); err != nil || c.want != "" && after == before {
				t.Errorf("the stamp does not show it: %v", err)
			}
		})
	}
}
