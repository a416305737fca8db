package bases

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOfPython(t *testing.T) {
	const libraries = "usr/lib/x86_64-linux-gnu"
	for name, want := range map[string]bool{
		"usr/bin/python3.11":                                true,
		"usr/lib/python3.11/asyncio/runners.py":             true,
		"usr/lib/python3.11/lib-dynload/_asyncio.so":        true,
		"usr/lib/python3.11/__pycache__/os.cpython-311.pyc": false,
		"usr/lib/python3.11/ensurepip/__init__.py":          false,
		"usr/lib/x86_64-linux-gnu/libc.so.6":                true,
		"usr/lib/x86_64-linux-gnu/libcap.so.2":              false,
		"usr/lib/x86_64-linux-gnu/gconv/libc.so":            false,
		"usr/bin/pip":                                       false,
		"etc/ssl/certs/ca-certificates.crt":                 true,
	} {
		if got := ofPython(name, libraries); got != want {
			t.Errorf("ofPython(%s) = %v", name, got)
		}
	}
}

// crateOf makes a crate of name and text pairs.
func crateOf(t *testing.T, texts ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	w := tar.NewWriter(compressed)
	for i := 0; i < len(texts); i += 2 {
		if err := w.WriteHeader(regular(texts[i], 0o644, len(texts[i+1]))); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, texts[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := compressed.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestUnpackCrate(t *testing.T) {
	dir := t.TempDir()
	if err := unpackCrate(crateOf(t, "a-1/src/main.rs", "fn main() {}", "a-1/rust-toolchain", "1.2"), dir); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "a-1/src/main.rs")); err != nil || string(text) != "fn main() {}" {
		t.Errorf("main.rs: %q, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a-1/rust-toolchain")); err == nil {
		t.Error("the crate keeps its own compiler")
	}
	if err := unpackCrate(crateOf(t, "../escaped", "x"), dir); err == nil {
		t.Error("a path out of the folder is no error")
	}
}

func TestProgramThatIsMissing(t *testing.T) {
	k := &kitchen{dir: t.TempDir()}
	if err := k.run(context.Background(), "", nil, "no-such-program"); err == nil || !strings.Contains(err.Error(), "no-such-program is missing") {
		t.Errorf("error = %v", err)
	}
	if err := k.run(context.Background(), "", []string{"A=b"}, "sh", "-c", "echo $A; exit 3"); err == nil || !strings.HasSuffix(err.Error(), "\nb") {
		t.Errorf("error = %v", err)
	}
}
