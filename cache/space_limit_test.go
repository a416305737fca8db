package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// blob is random data, by a seed.
func blob(seed uint64, size int) []byte {
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(data)
	return data
}

func put(t *testing.T, s *Store, data []byte) ocispecs.Descriptor {
	t.Helper()
	desc, err := s.WriteBlob(t.Context(), "x", data)
	if err != nil {
		t.Fatal(err)
	}
	return desc
}

// inCache says whether the cache folder has the blob, without a use of it.
func inCache(dir string, d digest.Digest) bool {
	_, err := os.Stat(blobFile(dir, d))
	return err == nil
}

// onDisk is what the cache folder takes.
func onDisk(t testing.TB, dir string) (sum int64) {
	t.Helper()
	for _, below := range []string{"blobs", "ingest", foldersDir} {
		_ = filepath.WalkDir(filepath.Join(dir, below), func(_ string, e os.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				if info, err := e.Info(); err == nil {
					sum += info.Size()
				}
			}
			return nil
		})
	}
	return sum
}

// aged closes a Store and makes what is in its folder some time older.
func aged(t *testing.T, dir string, s *Store, ages map[digest.Digest]time.Duration) {
	t.Helper()
	must(t, s.Close())
	for d, age := range ages {
		at := time.Now().Add(-age)
		must(t, os.Chtimes(blobFile(dir, d), at, at))
	}
}

func TestLimitEvictsTheLeastUseful(t *testing.T) {
	dir := t.TempDir()
	first, _ := open(t, dir)
	oldSmall, oldBig, newBig, newSmall := put(t, first, blob(1, 1000)), put(t, first, blob(2, 40_000)), put(t, first, blob(3, 40_000)), put(t, first, blob(4, 1000))
	aged(t, dir, first, map[digest.Digest]time.Duration{
		oldSmall.Digest: 30 * time.Hour, oldBig.Digest: 30 * time.Hour, newBig.Digest: time.Hour, newSmall.Digest: time.Hour,
	})
	s, w := open(t, dir, WithMaxSize(100_000))
	added := put(t, s, blob(5, 30_000))
	for name, c := range map[string]struct {
		desc ocispecs.Descriptor
		want bool
	}{"old and small": {oldSmall, true}, "old and big": {oldBig, false}, "new and big": {newBig, true}, "new and small": {newSmall, true}, "added": {added, true}} {
		if got := inCache(dir, c.desc.Digest); got != c.want {
			t.Errorf("%s: there is %v", name, got)
		}
	}
	if w.count() != 0 {
		t.Error(w.all())
	}
}

func TestLimitKeepsWhatProcessesNeed(t *testing.T) {
	dir := t.TempDir()
	first, _ := open(t, dir)
	read, had, opened, idle := put(t, first, blob(1, 20_000)), put(t, first, blob(2, 20_000)), put(t, first, blob(3, 20_000)), put(t, first, blob(4, 10_000))
	ages := map[digest.Digest]time.Duration{}
	for _, d := range []ocispecs.Descriptor{read, had, opened} {
		ages[d.Digest] = 1000 * time.Hour
	}
	aged(t, dir, first, ages)

	other, _ := open(t, dir, WithMaxSize(100_000)) // stands for another process
	if _, err := other.ReadBlob(read.Digest, 1<<20); err != nil || !other.HasBlob(had) {
		t.Fatal(err)
	}
	store, err := other.Content()
	must(t, err)
	ra, err := store.ReaderAt(t.Context(), opened)
	must(t, err)
	defer ra.Close()
	written := put(t, other, blob(5, 20_000))
	for d, age := range ages { // a clock that jumps: none of this depends on it
		at := time.Now().Add(-age)
		must(t, os.Chtimes(blobFile(dir, d), at, at))
	}

	s, w := open(t, dir, WithMaxSize(100_000))
	fits := put(t, s, blob(6, 15_000)) // in the place of the idle one
	none := put(t, s, blob(7, 15_000)) // nothing more may go
	for name, d := range map[string]ocispecs.Descriptor{"read": read, "had": had, "opened": opened, "written": written, "fits": fits} {
		if !inCache(dir, d.Digest) {
			t.Errorf("%s: it is gone", name)
		}
	}
	if inCache(dir, idle.Digest) || inCache(dir, none.Digest) {
		t.Error("the limit was broken")
	}
	if got, err := s.ReadBlob(none.Digest, 1<<20); err != nil || !bytes.Equal(got, blob(7, 15_000)) {
		t.Errorf("what did not fit cannot be read by the build that needs it: %v", err)
	}
	if sum := onDisk(t, dir); sum > 100_000 {
		t.Errorf("%d bytes", sum)
	}
	if w.count() != 1 || !strings.Contains(w.all(), "limit of 100 kB") || !strings.Contains(w.all(), "ibuild cache prune") {
		t.Errorf("warnings: %s", w.all())
	}
	temp := s.standIn.dir
	must(t, s.Close())
	must(t, other.Close())
	if _, err := os.Stat(temp); !os.IsNotExist(err) {
		t.Error("the stand-in is left")
	}
	last, _ := open(t, dir, WithMaxSize(100_000)) // nobody needs anything now
	if !inCache(dir, put(t, last, blob(8, 90_000)).Digest) {
		t.Error("what processes needed that have ended was not let go")
	}
}

// TestLimitCountsFacts: facts about files count, and go as blobs do.
func TestLimitCountsFacts(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir, WithMaxSize(100_000))
	must(t, Folders(s).Save("/old", make([]byte, 30_000)))
	at := time.Now().Add(-100 * time.Hour)
	must(t, os.Chtimes(filepath.Join(dir, folderFile("/old")), at, at))
	must(t, Folders(s).Save("/new", make([]byte, 30_000)))
	first := put(t, s, blob(1, 30_000))
	second := put(t, s, blob(2, 30_000))
	if !inCache(dir, first.Digest) || !inCache(dir, second.Digest) || Folders(s).Load("/old") != nil || Folders(s).Load("/new") == nil {
		t.Errorf("blobs: %v %v, old facts: %v, new ones: %v", inCache(dir, first.Digest), inCache(dir, second.Digest), Folders(s).Load("/old") != nil, Folders(s).Load("/new") != nil)
	}
}

// TestLimitHoldsForFacts: there is room for them before they are written, or they are not.
func TestLimitHoldsForFacts(t *testing.T) {
	dir := t.TempDir()
	first, _ := open(t, dir)
	idle := put(t, first, blob(1, 60_000))
	must(t, first.Close())
	s, w := open(t, dir, WithMaxSize(100_000))
	must(t, Folders(s).Save("/a", make([]byte, 70_000)))
	if inCache(dir, idle.Digest) || Folders(s).Load("/a") == nil {
		t.Error("no room was made for the facts")
	}
	must(t, Folders(s).Save("/a", make([]byte, 50_000))) // in the place of the old ones
	needed := put(t, s, blob(2, 45_000))
	if !inCache(dir, needed.Digest) || Folders(s).Load("/a") == nil {
		t.Error("the old facts count still")
	}
	if err := Folders(s).Save("/b", make([]byte, 60_000)); !errors.Is(err, errNoRoom) || Folders(s).Load("/b") != nil {
		t.Errorf("the limit was broken: %v", err)
	}
	if sum := onDisk(t, dir); sum > 100_000 || !inCache(dir, needed.Digest) {
		t.Errorf("%d bytes", sum)
	}
	if w.count() != 1 || !strings.Contains(w.all(), "facts about files are not remembered") || !strings.Contains(w.all(), "ibuild cache prune") {
		t.Errorf("warnings: %s", w.all())
	}
}

// TestLimitOfGrowingBlob: a write whose size is not known moves when there is no more room.
func TestLimitOfGrowingBlob(t *testing.T) {
	dir := t.TempDir()
	s, w := open(t, dir, WithMaxSize(100_000))
	store, err := s.Content()
	must(t, err)
	for _, c := range []struct {
		name  string
		size  int
		there bool
	}{{"fits", 50_000, true}, {"does not", 70_000, false}} {
		data := blob(uint64(c.size), c.size)
		cw, err := content.OpenWriter(t.Context(), store, content.WithRef(c.name))
		must(t, err)
		for part := range slices.Chunk(data, 7000) {
			if _, err := cw.Write(part); err != nil {
				t.Fatal(err)
			}
			if sum := onDisk(t, dir); sum > 101_000 { // and the little files of a write
				t.Fatalf("%d bytes", sum)
			}
		}
		must(t, cw.Commit(t.Context(), int64(c.size), digest.FromBytes(data)))
		must(t, cw.Close())
		if got := inCache(dir, digest.FromBytes(data)); got != c.there {
			t.Errorf("%s: in the cache: %v", c.name, got)
		}
		got, err := content.ReadBlob(t.Context(), store, ocispecs.Descriptor{Digest: digest.FromBytes(data), Size: int64(c.size)})
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %v", c.name, err)
		}
		if info, err := store.Info(t.Context(), digest.FromBytes(data)); err != nil || info.Size != int64(c.size) {
			t.Errorf("%s: %+v, %v", c.name, info, err)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "ingest")); len(left) > 0 || w.count() != 1 {
		t.Errorf("%d half-written blobs are left; warnings: %s", len(left), w.all())
	}
}

// TestFullDisk: at every write of the cache the disk is full.
func TestFullDisk(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		for _, op := range []string{"lease", "ingest", "blob", "commit", "index", "seal", "rename", "folder"} {
			t.Run(op+" "+errno.Error(), func(t *testing.T) { fullDisk(t, op, errno) })
		}
	}
}

func fullDisk(t *testing.T, op string, errno syscall.Errno) {
	dir := t.TempDir()
	before, _ := open(t, dir)
	must(t, Results(before).Put("known", result(1)))
	old := put(t, before, blob(1, 5000))
	must(t, before.Close())

	s, w := open(t, dir)
	hit := 0
	s.fault = func(at string) error {
		if at != op {
			return nil
		}
		hit++
		return &os.PathError{Op: "write", Path: dir, Err: errno}
	}
	putErr := Results(s).Put("new", result(2))
	saveErr := Folders(s).Save("/folder", blob(4, 5000))
	_, pruneErr := s.Prune(PruneOptions{All: true, Kinds: []Kind{KindRegistries}})
	if op == "rename" {
		pruneErr = s.removeRecords(map[string]bool{record{bucket: []byte(bucketResults), key: []byte("new")}.id(): true})
	}
	data := blob(2, 200_000)
	desc, err := s.WriteBlob(t.Context(), "x", data)
	if err != nil {
		t.Fatalf("a build that needs the blob cannot go on: %v", err)
	}
	if got, err := s.ReadBlob(desc.Digest, 1<<20); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("the blob that was written: %v", err)
	}
	if hit == 0 {
		t.Fatal("there was no such write")
	}
	inIndex := op == "index" || op == "seal"
	noFacts := op == "folder" || op == "lease"
	if (putErr != nil) != inIndex || (pruneErr != nil) != (op == "rename") || (saveErr != nil) != noFacts || (Folders(s).Load("/folder") == nil) != noFacts {
		t.Errorf("put: %v, prune: %v, save: %v", putErr, pruneErr, saveErr)
	}
	said := w.all() + fmt.Sprint(pruneErr)
	if !strings.Contains(said, dir+" is ") || !strings.Contains(said, "of it are ibuild's cache") || op != "rename" && !strings.Contains(said, "ibuild cache prune") {
		t.Errorf("it does not say what fills the disk: %q", said)
	}
	if inCache(dir, desc.Digest) != (inIndex || op == "rename" || op == "folder") {
		t.Error("the blob is at the wrong place")
	}
	must(t, s.Close())

	after, w := open(t, dir)
	if got, ok := Results(after).Get("known"); op != "seal" && (!ok || !same(got, result(1))) {
		t.Error("a record was lost")
	}
	if got, ok := Results(after).Get("new"); ok && !same(got, result(2)) {
		t.Error("a wrong record")
	}
	if !after.HasBlob(old) || op != "seal" && w.count() != 0 {
		t.Errorf("the old blob: %v, warnings: %s", after.HasBlob(old), w.all())
	}
	for _, half := range []string{filepath.Join("ingest", "*"), filepath.Join(foldersDir, ".*")} {
		if left, _ := filepath.Glob(filepath.Join(dir, half)); len(left) > 0 {
			t.Errorf("half-written: %q", left)
		}
	}
	if d := put(t, after, data); !inCache(dir, d.Digest) {
		t.Error("the next run does not work")
	}
}

// TestFullDiskInTheMiddle: a write that stops after some bytes, as a full disk does it.
func TestFullDiskInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	writes := 0
	s.fault = func(at string) error {
		if at == "blob" {
			writes++
			if writes > 1 {
				return syscall.ENOSPC
			}
		}
		return nil
	}
	data := blob(3, 5<<20)
	desc := ocispecs.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
	must(t, s.WriteBlobFrom(t.Context(), desc, io.MultiReader(bytes.NewReader(data[:1000]), bytes.NewReader(data[1000:]))))
	if got, err := s.ReadBlob(desc.Digest, desc.Size); err != nil || !bytes.Equal(got, data) {
		t.Fatal(err)
	}
	if inCache(dir, desc.Digest) || onDisk(t, dir) > 0 {
		t.Errorf("something stays on the full disk: %v, %d bytes", inCache(dir, desc.Digest), onDisk(t, dir))
	}
}

func TestFullError(t *testing.T) {
	for _, c := range []struct {
		err  FullError
		want string
	}{
		{FullError{Path: "/c", Used: 12_345_678, Err: syscall.ENOSPC}, "the disk of /c is full: 12.3 MB of it are ibuild's cache"},
		{FullError{Path: "/c", Err: fmt.Errorf("x: %w", syscall.EDQUOT)}, "the quota on the disk of /c is used up"},
	} {
		if got := c.err.Error(); got != c.want || !IsFull(&c.err) || !strings.Contains(c.err.Hint(), "ibuild cache prune") {
			t.Errorf("%q", got)
		}
	}
	if IsFull(errors.New("no space left on device")) || IsFull(nil) {
		t.Error("a text is no cause")
	}
}

func TestDefaultLimit(t *testing.T) {
	s, _ := open(t, filepath.Join(t.TempDir(), "not", "there"))
	if n := s.MaxSize(); n < defaultLeast || n > defaultMost {
		t.Errorf("%d bytes", n)
	}
}

// BenchmarkLease is what a process pays for reading three small blobs, beside reading them.
func BenchmarkLease(b *testing.B) {
	dir := b.TempDir()
	first, err := Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	var list []ocispecs.Descriptor
	for i := range 3 {
		d, err := first.WriteBlob(b.Context(), "x", blob(uint64(i), 2000))
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, d)
	}
	if err := first.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, _ := open(b, dir)
		for _, d := range list {
			if !s.HasBlob(d) {
				b.Fatal("not there")
			}
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
