package cache

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
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
	temp := s.standIn.dir
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

// TestLeftIngestsAreRemoved: what no living process writes goes with the next use of blobs, however new it is.
func TestLeftIngestsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	other, _ := open(t, dir)
	store, err := other.Content()
	must(t, err)
	w, err := store.Writer(t.Context(), content.WithRef("in use"))
	must(t, err)
	defer w.Close()
	_, err = w.Write([]byte("hello"))
	must(t, err)
	left := filepath.Join(dir, "ingest", "left")
	must(t, os.MkdirAll(left, 0o700))
	write(t, filepath.Join(left, "data"), []byte("x"))
	s, _ := open(t, dir)
	_, err = s.Content()
	must(t, err)
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Error("the half-written blob of a process that has ended is still there")
	}
	if err := w.Commit(t.Context(), 5, ""); err != nil {
		t.Errorf("the other process's write: %v", err)
	}
}
