package llb

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/moby/buildkit/solver/pb"
	"github.com/tonistiigi/fsutil"
)

// memoryOf is a FileMemory in this process.
type memoryOf struct {
	mu      sync.Mutex
	records map[string][]byte
}

func (m *memoryOf) Load(folder string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records[folder]
}

func (m *memoryOf) Save(folder string, record []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records == nil {
		m.records = map[string][]byte{}
	}
	m.records[folder] = bytes.Clone(record)
	return nil
}

// bigContext is a folder of 100 folders of 100 files of 1 to 20 KB, that is deleted at the end.
func bigContext(b *testing.B) string {
	top := "/dev/shm"
	if _, err := os.Stat(top); err != nil {
		top = ""
	}
	dir, err := os.MkdirTemp(top, "ibuild-bench-*")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	r := rand.New(rand.NewSource(1))
	for i := range 100 {
		sub := filepath.Join(dir, fmt.Sprintf("folder%02d", i))
		if err := os.Mkdir(sub, 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range 100 {
			data := make([]byte, 1024+r.Intn(19*1024))
			r.Read(data)
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("file%02d.txt", j)), data, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	return dir
}

// BenchmarkUnchanged10000 is the identity of 10,000 files as a new process finds it out: nothing changed
// ("known"), nothing is remembered ("new"), and the walk of fsutil alone, which reads no file, for comparison.
func BenchmarkUnchanged10000(b *testing.B) {
	dir := bigContext(b)
	for _, rules := range []struct {
		name  string
		attrs map[string]string
	}{
		{"all", nil},
		{"ignore", map[string]string{pb.AttrExcludePatterns: `[".git","**/*.pyc","**/__pycache__","node_modules"]`}},
	} {
		list := func(b *testing.B, memory FileMemory) {
			s := newSums(dir, memory)
			s.since = time.Now().Add(time.Minute) // files count at once
			s.clock = func() time.Time { return s.since }
			if _, err := (&localSource{local: Local{Dir: dir, sums: s}, attrs: rules.attrs}).list(context.Background()); err != nil {
				b.Fatal(err)
			}
			s.keep()
		}
		b.Run("known/"+rules.name, func(b *testing.B) {
			memory := &memoryOf{}
			list(b, memory)
			b.ReportAllocs()
			for b.Loop() {
				list(b, memory)
			}
		})
		b.Run("new/"+rules.name, func(b *testing.B) {
			for b.Loop() {
				list(b, &memoryOf{})
			}
		})
		b.Run("fsutil/"+rules.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				files, err := fsutil.NewFS(dir)
				if err == nil {
					files, err = (&localSource{attrs: rules.attrs}).filter(files)
				}
				if err == nil {
					err = files.Walk(context.Background(), "", func(_ string, e fs.DirEntry, err error) error {
						if err == nil {
							_, err = e.Info()
						}
						return err
					})
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
