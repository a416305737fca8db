package gotool

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// writeModule makes a module with one command that prints a word.
func writeModule(t *testing.T, word string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":        "module example.com/m\n\ngo 1.24\n",
		"go.sum":        "",
		"hello/main.go": "package main\n\nfunc main() { println(\"" + word + "\") }\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestBuildOnceForManyCallers(t *testing.T) {
	var log strings.Builder
	var lock sync.Mutex
	b := Builder{Module: writeModule(t, "hello"), Cache: t.TempDir(), Log: lockedWriter{&lock, &log}}

	var callers sync.WaitGroup
	for range 3 {
		callers.Go(func() {
			tool, err := b.Build(context.Background(), "example.com/m/hello")
			if err != nil {
				t.Error(err)
				return
			}
			if out, err := exec.Command(tool).CombinedOutput(); err != nil || string(out) != "hello\n" {
				t.Errorf("tool printed %q, %v", out, err)
			}
		})
	}
	callers.Wait()
	if built := strings.Count(log.String(), "built hello"); built != 1 {
		t.Errorf("built %d times, want once; log:\n%s", built, log.String())
	}
	leftovers, _ := filepath.Glob(filepath.Join(b.Cache, "*", ".build-*"))
	if len(leftovers) > 0 {
		t.Errorf("temporary folders left: %v", leftovers)
	}
}

type lockedWriter struct {
	lock *sync.Mutex
	to   *strings.Builder
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.to.Write(p)
}

func TestVariablesAreSetAndKeyed(t *testing.T) {
	b := Builder{Module: writeModule(t, "hello"), Cache: t.TempDir()}
	main := "package main\n\nvar word = \"unset\"\n\nfunc main() { println(word) }\n"
	if err := os.WriteFile(filepath.Join(b.Module, "hello", "main.go"), []byte(main), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"unset", "one", "two"} {
		if word != "unset" {
			b.Variables = []string{"main.word=" + word}
		}
		tool, err := b.Build(context.Background(), "example.com/m/hello")
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(tool).CombinedOutput(); err != nil || string(out) != word+"\n" {
			t.Errorf("tool printed %q, %v; want %s", out, err, word)
		}
	}
}

func TestKeyFollowsVersions(t *testing.T) {
	b := Builder{Module: writeModule(t, "hello")}
	before, err := b.key(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.Module, "go.sum"), []byte("x v1.0.0 h1:y\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	after, err := b.key(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if before == after {
		t.Error("the key did not change with go.sum")
	}
}

func TestBuildErrorShowsCompilerOutput(t *testing.T) {
	b := Builder{Module: writeModule(t, "hello"), Cache: t.TempDir()}
	_, err := b.Build(context.Background(), "example.com/m/missing")
	if err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("error = %v, want one that names the package", err)
	}
}

func TestFindModule(t *testing.T) {
	root := t.TempDir()
	module := filepath.Join(root, "integration", "tools")
	deep := filepath.Join(root, "a", "b")
	for _, dir := range []string{module, deep} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(module, "go.mod"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := FindModule(deep, "integration/tools")
	if err != nil || got != module {
		t.Errorf("FindModule = %q, %v, want %q", got, err, module)
	}
	if _, err := FindModule(t.TempDir(), "integration/tools"); err == nil {
		t.Error("FindModule outside of a checkout succeeded")
	}
}
