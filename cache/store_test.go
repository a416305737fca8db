package cache

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"
)

// warnings collects what a Store has to say.
type warnings struct {
	mu   sync.Mutex
	msgs []string
}

func (w *warnings) add(msg string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.msgs = append(w.msgs, msg)
}

func (w *warnings) all() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.msgs, "\n")
}

func (w *warnings) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.msgs)
}

func open(t testing.TB, dir string, opts ...Option) (*Store, *warnings) {
	t.Helper()
	w := &warnings{}
	s, err := Open(dir, append([]Option{WithWarn(w.add)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, w
}

func result(n int) Result {
	return Result{
		Descriptor: ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageIndex, Digest: digest.FromString(fmt.Sprint(n)), Size: int64(n)},
		Repository: "example.com/app",
		Platforms:  []string{"linux/amd64"},
	}
}

func same(a, b Result) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

func TestOpenDoesNoIO(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, _ := open(t, dir)
	if _, ok := Results(s).Get("x"); ok {
		t.Fatal("a hit in an empty cache")
	}
	if _, err := s.ReadBlob(digest.FromString("x"), 10); !errors.Is(err, ErrMiss) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(filepath.Dir(dir)); !os.IsNotExist(err) {
		t.Fatal("reading made the folder")
	}
	if _, err := Open("relative"); err == nil {
		t.Fatal("a relative folder was taken")
	}
}

func TestRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ibuild")
	s, w := open(t, dir)
	if err := Results(s).PutAll(map[string]Result{"a": result(1), "b": result(2)}); err != nil {
		t.Fatal(err)
	}
	if err := Builders(s).Put("tcp://x", Builder{Platform: "linux/arm64"}); err != nil {
		t.Fatal(err)
	}
	if err := Facts[map[string]int](s).Put("a", map[string]int{"uid": 7}); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, dir)
	if got, ok := Results(again).Get("b"); !ok || !same(got, result(2)) {
		t.Fatalf("got %v %v", got, ok)
	}
	if got := Results(again).GetAll("a", "b", "c"); len(got) != 2 {
		t.Fatalf("got %v", got)
	}
	if got, ok := Builders(again).Get("tcp://x"); !ok || got.Platform != "linux/arm64" {
		t.Fatalf("got %v %v", got, ok)
	}
	if got, ok := Facts[map[string]int](again).Get("a"); !ok || got["uid"] != 7 {
		t.Fatalf("got %v %v", got, ok)
	}
	if _, ok := Facts[[]string](again).Get("a"); ok {
		t.Fatal("a record of another type is no miss")
	}
	if err := Results(again).Delete("a"); err != nil {
		t.Fatal(err)
	}
	if _, ok := Results(s).Get("a"); ok {
		t.Fatal("deleted, and still there")
	}
	if err := Results(s).Put("", result(1)); err == nil {
		t.Fatal("an empty key was taken")
	}
	if err := Facts[string](s).Put("big", strings.Repeat("x", maxValue)); err == nil {
		t.Fatal("a huge record was taken")
	}
	if w.count() != 0 {
		t.Fatal(w.all())
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Fatalf("the folder is open to others: %v %v", fi.Mode(), err)
	}
}

// TestRecordMoved: a value found under another key is a miss.
func TestRecordMoved(t *testing.T) {
	stored, err := encode([]byte("results/1"), "a", result(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := decode[Result]([]byte("results/1"), "a", stored); !ok {
		t.Fatal("not a hit")
	}
	if _, ok := decode[Result]([]byte("results/1"), "b", stored); ok {
		t.Fatal("a hit under another key")
	}
	if _, ok := decode[Result]([]byte("results/2"), "a", stored); ok {
		t.Fatal("a hit in another bucket")
	}
}

func TestDamagedIndexIsPutAside(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string){
		"garbage": func(t *testing.T, path string) {
			write(t, path, bytes.Repeat([]byte("garbage!"), 8192))
		},
		"short": func(t *testing.T, path string) { write(t, path, []byte("x")) },
		"truncated": func(t *testing.T, path string) {
			if err := os.Truncate(path, 2*int64(os.Getpagesize())+100); err != nil {
				t.Fatal(err)
			}
		},
		"pages": func(t *testing.T, path string) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := 2 * os.Getpagesize(); i < len(data); i++ {
				data[i] = 0xa5
			}
			write(t, path, data)
		},
		"foreign database": func(t *testing.T, path string) {
			os.Remove(path)
			foreign(t, path, "somebody", "else")
		},
		"other version": func(t *testing.T, path string) {
			os.Remove(path)
			foreign(t, path, metaBucket, schemaKey)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, w := open(t, dir)
			for i := range 200 {
				if err := Results(s).Put(fmt.Sprint(i), result(i)); err != nil {
					t.Fatal(err)
				}
				if i > 20 && name != "truncated" {
					break
				}
			}
			spoil(t, filepath.Join(dir, indexFile))
			if _, ok := Results(s).Get("1"); ok {
				t.Fatal("a hit in a damaged index")
			}
			if err := Results(s).Put("1", result(7)); err != nil {
				t.Fatal(err)
			}
			if got, ok := Results(s).Get("1"); !ok || !same(got, result(7)) {
				t.Fatalf("got %v %v", got, ok)
			}
			if _, err := os.Stat(filepath.Join(dir, "index.db.damaged-1")); err != nil {
				t.Fatal(err)
			}
			if w.count() != 1 || !strings.Contains(w.all(), "damaged-1") {
				t.Fatalf("warnings: %s", w.all())
			}
		})
	}
}

// TestDamageFoundByWrite: a Put that meets a damaged file still succeeds.
func TestDamageFoundByWrite(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	write(t, filepath.Join(dir, indexFile), bytes.Repeat([]byte{1}, 50000))
	if err := Results(s).Put("a", result(1)); err != nil {
		t.Fatal(err)
	}
	if _, ok := Results(s).Get("a"); !ok {
		t.Fatal("not there")
	}
}

func TestDamagedFilesAreFew(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	for range 2 * maxAside {
		write(t, filepath.Join(dir, indexFile), []byte("x"))
		Results(s).Get("a")
	}
	found, _ := filepath.Glob(filepath.Join(dir, "*damaged*"))
	if len(found) != maxAside {
		t.Fatalf("%d files are kept", len(found))
	}
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func foreign(t *testing.T, path, bucket, key string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte(bucket))
		if err != nil {
			return err
		}
		return b.Put([]byte(key), []byte("99"))
	})
	if err != nil {
		t.Fatal(err)
	}
	// With a seal, so that the version is what is wrong with it.
	db.Close()
	s, _ := open(t, filepath.Dir(path))
	if err := s.writeSeal(); err != nil {
		t.Fatal(err)
	}
}

// TestInterruptedWrite: what a killed process left is not trusted.
func TestInterruptedWrite(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	if err := Results(s).Put("a", result(1)); err != nil {
		t.Fatal(err)
	}
	if err := s.transact(false, func(tx *bolt.Tx) error { return tx.Bucket([]byte(bucketResults)).Put([]byte("b"), nil) }); err != nil {
		t.Fatal(err)
	}
	again, w := open(t, dir)
	if _, ok := Results(again).Get("a"); ok {
		t.Fatal("a hit in a file without its seal")
	}
	if w.count() != 1 {
		t.Fatal(w.all())
	}
}

func TestLockedIndexIsAMiss(t *testing.T) {
	dir := t.TempDir()
	s, w := open(t, dir, withLockTimeout(100*time.Millisecond))
	if err := Results(s).Put("a", result(1)); err != nil {
		t.Fatal(err)
	}
	holder := flock.New(filepath.Join(dir, lockFile))
	if err := holder.Lock(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, ok := Results(s).Get("a"); ok {
		t.Fatal("a hit without the lock")
	}
	if err := Results(s).Put("b", result(2)); err == nil {
		t.Fatal("written without the lock")
	}
	if d := time.Since(start); d > time.Second {
		t.Fatalf("waited %s", d)
	}
	holder.Close()
	if _, ok := Results(s).Get("a"); !ok {
		t.Fatal("the index was lost")
	}
	if w.count() != 1 || !strings.Contains(w.all(), "locked by another process") {
		t.Fatal(w.all())
	}
}
