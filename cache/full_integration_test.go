//go:build integration && linux

package cache

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of some bytes.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatalf("a small disk needs root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestSmallDisk fills a real disk from the first byte to the last one: with each size of what somebody else has
// there, the disk is full at another write of the cache.
func TestSmallDisk(t *testing.T) {
	const size = 1 << 20
	disk := smallDisk(t, size)
	dir, others := filepath.Join(disk, "cache"), filepath.Join(disk, "others")
	met := 0
	for free := 0; free < 400_000; free += 4096 {
		must(t, os.RemoveAll(dir))
		_ = os.Remove(others)
		before, _ := open(t, dir)
		must(t, Results(before).Put("known", result(1)))
		old := put(t, before, blob(1, 20_000))
		must(t, before.Close())
		fillUp(t, disk, others, int64(free))

		s, w := open(t, dir)
		data := blob(2, 200_000)
		desc := put(t, s, data) // in the stand-in, when it has to be
		if got, err := s.ReadBlob(desc.Digest, 1<<20); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes free: the blob that the build needs: %v", free, err)
		}
		for i := range 50 {
			_ = Results(s).Put(fmt.Sprint(i), result(i)) // may fail, and may not harm
		}
		_ = Folders(s).Save("/folder", bytes.Repeat([]byte("x"), 30_000))
		must(t, s.Close())
		if w.count() > 0 {
			met++
			if !strings.Contains(w.all(), "ibuild cache prune") && !strings.Contains(w.all(), "cannot be written") {
				t.Errorf("%d bytes free: %s", free, w.all())
			}
		}
		nextRun(t, dir, free, old.Size)

		pruner, _ := open(t, dir)
		if _, err := pruner.Prune(PruneOptions{All: true}); err != nil {
			t.Errorf("%d bytes free: nothing can be freed: %v", free, err)
		}
		if left := onDisk(t, dir); left > 0 {
			t.Errorf("%d bytes free: %d bytes are left", free, left)
		}
	}
	if met < 20 {
		t.Errorf("the disk was full %d times only", met)
	}
}

// TestReadOnlyHome: what is there is found, and what is new is kept for the build.
func TestReadOnlyHome(t *testing.T) {
	disk, tmp := smallDisk(t, 1<<20), t.TempDir()
	dir := filepath.Join(disk, "cache")
	t.Setenv("TMPDIR", tmp)
	first, _ := open(t, dir)
	must(t, Results(first).Put("known", result(1)))
	old := put(t, first, blob(1, 20_000))
	must(t, first.Close())
	runtime.GC() // closes a file that containerd's content store has left open
	runtime.GC()
	must(t, unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	s, w := open(t, dir)
	fresh := put(t, s, blob(2, 20_000))
	store, err := s.Content()
	must(t, err)
	for _, d := range []struct {
		desc ocispecs.Descriptor
		data []byte
	}{{old, blob(1, 20_000)}, {fresh, blob(2, 20_000)}} {
		if got, err := content.ReadBlob(t.Context(), store, d.desc); err != nil || !bytes.Equal(got, d.data) {
			t.Error(err)
		}
	}
	if err := Results(s).Put("new", result(2)); err == nil {
		t.Error("a read-only disk was written")
	}
	if items, err := s.Items(); err != nil || len(items) == 0 {
		t.Errorf("%v", err)
	}
	if w.count() != 1 {
		t.Errorf("warnings: %s", w.all())
	}
	must(t, s.Close())
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("%d files are left", len(left))
	}
}

// fillUp leaves free bytes of the disk.
func fillUp(t *testing.T, disk, file string, free int64) {
	t.Helper()
	var st unix.Statfs_t
	must(t, unix.Statfs(disk, &st))
	if n := int64(st.Bavail)*st.Bsize - free; n > 0 {
		must(t, os.WriteFile(file, make([]byte, n), 0o600))
	}
}

func nextRun(t *testing.T, dir string, free int, oldSize int64) {
	t.Helper()
	s, w := open(t, dir)
	if got, ok := Results(s).Get("known"); !ok || !same(got, result(1)) {
		t.Errorf("%d bytes free: a record was lost: %s", free, w.all())
	}
	for i := range 50 {
		if got, ok := Results(s).Get(fmt.Sprint(i)); ok && !same(got, result(i)) {
			t.Errorf("%d bytes free: a wrong record", free)
		}
	}
	if got := Folders(s).Load("/folder"); got != nil && len(got) != 30_000 {
		t.Errorf("%d bytes free: half a record of a folder", free)
	}
	list, _ := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	if len(list) == 0 {
		t.Errorf("%d bytes free: the old blob was lost", free)
	}
	for _, path := range list {
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, blob(1, int(oldSize))) && !bytes.Equal(got, blob(2, 200_000)) {
			t.Errorf("%d bytes free: half a blob is there as a whole one", free)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "ingest")); len(left) > 0 {
		t.Errorf("%d bytes free: a half-written blob is left", free)
	}
	must(t, s.Close())
}
