//go:build integration

package e2e

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// copyTree copies a folder with modes that let every user read it, whatever the umask of the checkout.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		return os.WriteFile(filepath.Join(to, rel), data, mode)
	})
}

// example is a private copy of an example, to be changed by a test.
func example(t *testing.T, path string) string {
	t.Helper()
	dir := folder(t)
	to := filepath.Join(dir, filepath.Base(path))
	from := filepath.Join(shared.examples, path)
	info, err := os.Stat(from)
	if err == nil && info.IsDir() {
		err = copyTree(from, to)
	} else if err == nil {
		err = copyFile(from, to)
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// folder is a new folder that every user can write to; t.TempDir's parents are closed to others.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(shared.env.Dir, "test-")
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// files makes a folder with files, given as name and text in turn.
func files(t *testing.T, list ...string) string {
	t.Helper()
	dir := folder(t)
	for i := 0; i < len(list); i += 2 {
		write(t, filepath.Join(dir, list[i]), list[i+1])
	}
	return dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func appendTo(t *testing.T, name, text string) {
	t.Helper()
	write(t, name, read(t, name)+text)
}

// listing is what a folder contains, as one line.
func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// fileWith finds a file below dir that contains a text; "" when there is none. The folder need not exist.
func fileWith(t *testing.T, dir, text string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "grep", "--recursive", "--files-with-matches", "--fixed-strings", "--no-messages",
		"--devices=skip", "--max-count=1", "-e", text, dir).Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return first
}
