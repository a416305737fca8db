package cache

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
)

const workerEnv = "IBUILD_CACHE_TEST_WORKER"

// TestMain turns the test binary into one of several processes that share a
// cache, when it is started as one.
func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard) // containerd's content store says what the file system cannot
	if dir := os.Getenv(workerEnv); dir != "" {
		if err := worker(dir, os.Getenv(workerEnv+"_ID")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const perWorker = 20

func worker(dir, id string) error {
	s, err := Open(dir, WithWarn(func(msg string) { fmt.Fprintln(os.Stderr, msg) }))
	if err != nil {
		return err
	}
	for i := range perWorker {
		key := fmt.Sprintf("%s-%d", id, i)
		if err := Results(s).Put(key, result(i)); err != nil {
			return fmt.Errorf("put %s: %w", key, err)
		}
		if got, ok := Results(s).Get(key); !ok || !same(got, result(i)) {
			return fmt.Errorf("get %s: %v %v", key, got, ok)
		}
		// All processes write the same blobs.
		data := bytes.Repeat([]byte{byte(i)}, 100_000)
		desc, err := s.WriteBlob(context.Background(), "x", data)
		if err != nil {
			return fmt.Errorf("blob %d: %w", i, err)
		}
		if _, err := s.ReadBlob(desc.Digest, desc.Size); err != nil {
			return fmt.Errorf("blob %d: %w", i, err)
		}
		// All processes write the record of one folder: it is always one of theirs, and whole.
		record := bytes.Repeat([]byte(id), 10_000)
		if err := Folders(s).Save("/folder", record); err != nil {
			return fmt.Errorf("folder %d: %w", i, err)
		}
		if got := Folders(s).Load("/folder"); len(got) != len(record) || len(bytes.Trim(got, string(got[:1]))) > 0 {
			return fmt.Errorf("folder %d: %d bytes", i, len(got))
		}
	}
	return nil
}

func TestSeveralProcesses(t *testing.T) {
	dir := t.TempDir()
	const processes = 8
	var wg sync.WaitGroup
	for id := range processes {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), workerEnv+"="+dir, fmt.Sprintf("%s_ID=%d", workerEnv, id))
		wg.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("process %d: %v\n%s", id, err, out)
			}
		})
	}
	wg.Wait()
	s, _ := open(t, dir)
	for id := range processes {
		for i := range perWorker {
			if _, ok := Results(s).Get(fmt.Sprintf("%d-%d", id, i)); !ok {
				t.Errorf("record %d-%d is lost", id, i)
			}
		}
	}
	left, _ := os.ReadDir(filepath.Join(dir, "ingest"))
	if len(left) != 0 {
		t.Errorf("%d half-written blobs are left", len(left))
	}
}

func TestSeveralGoroutines(t *testing.T) {
	dir := t.TempDir()
	a, _ := open(t, dir)
	b, _ := open(t, dir)
	var wg sync.WaitGroup
	for i := range 20 {
		s := []*Store{a, b}[i%2]
		wg.Go(func() {
			key := fmt.Sprint(i)
			if err := Results(s).Put(key, result(i)); err != nil {
				t.Error(err)
			}
			if _, ok := Results(s).Get(key); !ok {
				t.Errorf("%s is lost", key)
			}
		})
	}
	wg.Wait()
}
