package cache

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/ibuild/ibuild/integration/soak"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// The child of these tests works on a cache until it is killed, or for some rounds.
const (
	childDir    = "IBUILD_CACHE_TEST_FAULTS"
	childRounds = "IBUILD_CACHE_TEST_ROUNDS"
	childLimit  = 400_000
	childBlobs  = 40
)

// childBlob is one of the blobs that all children write.
func childBlob(n int) []byte { return blob(uint64(n), 1000+997*n) }

func TestChildOfFaults(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		return // it is a test of other tests only
	}
	rounds, _ := strconv.Atoi(os.Getenv(childRounds))
	for n := 0; rounds == 0 || n < rounds; n++ {
		s, err := Open(dir, WithMaxSize(childLimit))
		if err != nil {
			t.Fatal(err)
		}
		var written []ocispecs.Descriptor
		for range 5 {
			if d, ok := childStep(t, s, rounds == 0); ok {
				written = append(written, d)
			}
		}
		for _, d := range written { // whatever others remove meanwhile
			if got, err := s.ReadBlob(d.Digest, 1<<20); err != nil || digest.FromBytes(got) != d.Digest {
				t.Fatalf("a blob that this process has written: %v", err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			fmt.Println("ready")
		}
	}
}

// childStep does one thing of all that processes do.
func childStep(t *testing.T, s *Store, prunes bool) (ocispecs.Descriptor, bool) {
	n := rand.IntN(childBlobs)
	data := childBlob(n)
	desc := ocispecs.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
	switch rand.IntN(7) {
	case 0:
		_ = Results(s).Put(strconv.Itoa(n), result(n)) // a lock that is held too long is no error
	case 1:
		if got, ok := Results(s).Get(strconv.Itoa(n)); ok && !same(got, result(n)) {
			t.Fatal("a wrong record")
		}
	case 2:
		if prunes {
			_, _ = s.Prune(PruneOptions{KeepSize: int64(rand.IntN(childLimit)) + 1, All: rand.IntN(10) == 0}) // likewise
		}
	case 3:
		folder, record := strconv.Itoa(n%5), bytes.Repeat([]byte{byte(n)}, 1000+500*n)
		_ = Folders(s).Save(folder, record) // there may be no room
		if got := Folders(s).Load(folder); got != nil && len(bytes.Trim(got, string(got[:1]))) > 0 {
			t.Fatal("facts of two folders in one")
		}
	case 4: // its size is not known
		store, err := s.Content()
		if err != nil {
			t.Fatal(err)
		}
		w, err := content.OpenWriter(t.Context(), store, content.WithRef(IngestRef("x")))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		for part := range bytes.Lines(data) {
			if _, err := w.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Commit(t.Context(), desc.Size, desc.Digest); err != nil && !strings.Contains(err.Error(), "already exists") {
			t.Fatal(err)
		}
		return desc, true
	default:
		if _, err := s.WriteBlob(t.Context(), "x", data); err != nil {
			t.Fatal(err)
		}
		return desc, true
	}
	return desc, false
}

func startChild(t *testing.T, dir, tmp string, rounds int) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChildOfFaults$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s=%d", childRounds, rounds), "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = cmd.Stdout
	must(t, cmd.Start())
	return cmd, bufio.NewReader(out)
}

// TestKilled: processes that are killed at any moment of reading, writing and pruning.
func TestKilled(t *testing.T) {
	plan, err := soak.New(30, 300)
	must(t, err)
	t.Log(plan)
	moments := plan.Rand()
	dir, tmp := filepath.Join(t.TempDir(), "cache"), t.TempDir()
	for n := range plan.Runs {
		cmd, out := startChild(t, dir, tmp, 0)
		if line, err := out.ReadString('\n'); line != "ready\n" {
			rest, _ := io.ReadAll(out)
			_ = cmd.Wait()
			t.Fatalf("round %d: %q, %v\n%s", n, line, err, rest)
		}
		time.Sleep(time.Duration(moments.IntN(40_000)) * time.Microsecond)
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		if sum := onDisk(t, dir); sum > childLimit+10_000 { // and the little files of a write
			t.Errorf("round %d: %d bytes", n, sum)
		}
		afterKill(t, dir, tmp)
		if t.Failed() {
			t.FailNow()
		}
	}
}

// afterKill is the next run.
func afterKill(t *testing.T, dir, tmp string) {
	t.Helper()
	t.Setenv("TMPDIR", tmp)
	s, err := Open(dir, WithMaxSize(childLimit))
	must(t, err)
	for n := range childBlobs {
		d := digest.FromBytes(childBlob(n))
		if got, err := s.ReadBlob(d, 1<<20); err == nil && digest.FromBytes(got) != d {
			t.Error("a blob with other bytes")
		}
		if got, ok := Results(s).Get(strconv.Itoa(n)); ok && !same(got, result(n)) {
			t.Error("a wrong record")
		}
	}
	must(t, Results(s).Put("next", result(99)))
	if got, ok := Results(s).Get("next"); !ok || !same(got, result(99)) {
		t.Error("a record cannot be kept")
	}
	must(t, s.Close())
	s, err = Open(dir, WithMaxSize(childLimit)) // needs nothing of what is there
	must(t, err)
	desc, err := s.WriteBlob(t.Context(), "x", blob(77, 100_000))
	must(t, err)
	if !inCache(dir, desc.Digest) {
		t.Error("there is no room, though nobody needs what is there")
	}
	must(t, s.Close())
	must(t, os.Remove(blobFile(dir, desc.Digest)))
	for _, left := range []string{filepath.Join(dir, "ingest", "*"), filepath.Join(dir, leasesDir, "*-*"), filepath.Join(dir, ".*"), filepath.Join(dir, foldersDir, ".*"), filepath.Join(tmp, "ibuild-*")} {
		if found, _ := filepath.Glob(left); len(found) > 0 {
			t.Errorf("left behind: %q", found)
		}
	}
}

// TestEightProcesses share a cache with too little room for all that they write.
func TestEightProcesses(t *testing.T) {
	dir, tmp := t.TempDir(), t.TempDir()
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 8 {
		cmd, out := startChild(t, dir, tmp, 25)
		wg.Go(func() {
			said, _ := io.ReadAll(out)
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v\n%s", err, said)
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(2 * time.Millisecond):
		}
		if sum := onDisk(t, dir); sum > childLimit+10_000 {
			t.Errorf("%d bytes of %d", sum, childLimit)
			<-done
			running = false
		}
	}
	afterKill(t, dir, tmp)
}

// TestClockJumps: what a process needs does not depend on clocks, and neither does the next run.
func TestClockJumps(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir, WithMaxSize(100_000))
	future, past := put(t, s, blob(1, 40_000)), put(t, s, blob(2, 40_000))
	aged(t, dir, s, map[digest.Digest]time.Duration{future.Digest: -10_000 * time.Hour, past.Digest: 400_000 * time.Hour})
	write(t, filepath.Join(dir, leasesDir, usedFile), fmt.Appendf(nil, "%020d %020d\n", 0, time.Now().Add(10_000*time.Hour).Unix()))
	reader, _ := open(t, dir)
	if !reader.HasBlob(past) {
		t.Fatal("it is not there")
	}
	if info, err := os.Stat(blobFile(dir, past.Digest)); err != nil || time.Since(info.ModTime()) > time.Minute {
		t.Errorf("its use was not noted: %v", err)
	}
	s, _ = open(t, dir, WithMaxSize(100_000))
	if d := put(t, s, blob(3, 40_000)); !inCache(dir, d.Digest) || inCache(dir, future.Digest) || !inCache(dir, past.Digest) {
		t.Error("the blob in use went, or one of the future cannot go")
	}
	if gone, err := s.Prune(PruneOptions{OlderThan: time.Hour}); err != nil || len(gone) > 0 {
		t.Errorf("%q, %v", names(gone), err)
	}
}
