package cache

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestUnwritableFolder(t *testing.T) {
	// A file where the folder should be: works as root too, who may write
	// everywhere.
	parent := filepath.Join(t.TempDir(), "file")
	write(t, parent, nil)
	s, w := open(t, filepath.Join(parent, "ibuild"))
	if err := Results(s).Put("a", result(1)); err == nil {
		t.Fatal("no error")
	}
	if _, ok := Results(s).Get("a"); ok {
		t.Fatal("a hit")
	}
	ctx := context.Background()
	desc, err := s.WriteBlob(ctx, "text/plain", []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.ReadBlob(desc.Digest, 10); err != nil || string(got) != "hello" {
		t.Fatalf("got %q, %v", got, err)
	}
	temp := s.tempDir
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(temp); !os.IsNotExist(err) {
		t.Fatal("the stand-in folder was left behind")
	}
	if w.count() != 1 {
		t.Fatalf("warnings:\n%s", w.all())
	}
}

func TestBlobs(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s, w := open(t, dir)
	desc, err := s.WriteBlob(ctx, "text/plain", []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteBlob(ctx, "text/plain", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ReadBlob(desc.Digest, 5); err != nil || string(got) != "hello" {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := s.ReadBlob(desc.Digest, 4); err == nil || errors.Is(err, ErrMiss) {
		t.Fatalf("limit: %v", err)
	}
	if _, err := s.ReadBlob("sha256:../../etc/passwd", 4); err == nil {
		t.Fatal("an invalid digest was taken")
	}
	if !s.HasBlob(desc) {
		t.Fatal("not there")
	}
	// Damage of the same size, then of another one.
	path := filepath.Join(dir, "blobs", "sha256", desc.Digest.Encoded())
	for _, bad := range []string{"jello", "he"} {
		os.Remove(path)
		write(t, path, []byte(bad))
		if _, err := s.ReadBlob(desc.Digest, 10); !errors.Is(err, ErrMiss) {
			t.Fatalf("got %v", err)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Fatal("the damaged blob is still there")
		}
	}
	write(t, path, []byte("he"))
	if _, err := s.WriteBlob(ctx, "text/plain", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ReadBlob(desc.Digest, 10); err != nil || string(got) != "hello" {
		t.Fatalf("got %q, %v", got, err)
	}
	if w.count() != 1 {
		t.Fatal(w.all())
	}
}

func TestWriteBlobFromVerifies(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s, _ := open(t, dir)
	desc := ocispecs.Descriptor{Digest: digest.FromString("hello"), Size: 5}
	if err := s.WriteBlobFrom(ctx, desc, strings.NewReader("jello")); err == nil {
		t.Fatal("wrong bytes were taken")
	}
	if err := s.WriteBlobFrom(ctx, desc, io.MultiReader(strings.NewReader("he"), failing{})); err == nil {
		t.Fatal("a failed read was taken")
	}
	if s.HasBlob(desc) {
		t.Fatal("it is there")
	}
	left, _ := os.ReadDir(filepath.Join(dir, "ingest"))
	if len(left) != 0 {
		t.Fatalf("%d half-written blobs are left", len(left))
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestStaleIngestsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-2 * staleIngest)
	for _, name := range []string{"old", "new"} {
		path := filepath.Join(dir, "ingest", name)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(path, "data"), []byte("x"))
	}
	if err := os.Chtimes(filepath.Join(dir, "ingest", "old", "data"), old, old); err != nil {
		t.Fatal(err)
	}
	s, _ := open(t, dir)
	if _, err := s.Content(); err != nil {
		t.Fatal(err)
	}
	left, _ := os.ReadDir(filepath.Join(dir, "ingest"))
	if len(left) != 1 || left[0].Name() != "new" {
		t.Fatalf("left: %v", left)
	}
}
