package cache

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func FuzzDecodeRecord(f *testing.F) {
	good, err := encode([]byte("results/1"), "key", result(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{})
	f.Add([]byte("0000{}"))
	f.Fuzz(func(t *testing.T, stored []byte) {
		if got, ok := decode[Result]([]byte("results/1"), "key", stored); ok && !bytes.Equal(stored, good) {
			// Only another encoding of a record may be a hit; it must be whole.
			if _, err := encode([]byte("results/1"), "key", got); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzOpenIndex(f *testing.F) {
	dir := f.TempDir()
	s, _ := open(f, dir)
	if err := Results(s).Put("key", result(1)); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, indexFile))
	if err != nil {
		f.Fatal(err)
	}
	seal, err := os.ReadFile(filepath.Join(dir, lockFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte("not a database"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, indexFile), data)
		write(t, filepath.Join(dir, lockFile), seal)
		s, _ := open(t, dir)
		Results(s).Get("key")
		if err := Results(s).Put("key", result(2)); err != nil {
			t.Fatalf("a file that cannot be used was not replaced: %v", err)
		}
		if got, ok := Results(s).Get("key"); !ok || !same(got, result(2)) {
			t.Fatalf("got %v %v", got, ok)
		}
	})
}

func BenchmarkGet(b *testing.B) {
	s, _ := open(b, b.TempDir())
	if err := Results(s).Put("key", result(1)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, ok := Results(s).Get("key"); !ok {
			b.Fatal("miss")
		}
	}
}

func BenchmarkPut(b *testing.B) {
	s, _ := open(b, b.TempDir())
	for b.Loop() {
		if err := Results(s).Put("key", result(1)); err != nil {
			b.Fatal(err)
		}
	}
}
