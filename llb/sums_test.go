package llb

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// process lists a folder as a process of its own would that has the memory of those before it.
func process(t *testing.T, dir string, memory FileMemory, attrs map[string]string) (*listing, *sums) {
	t.Helper()
	s := sumsOf(map[string]*sums{}, dir, memory)
	l, err := (&localSource{local: Local{Dir: dir, sums: s}, attrs: attrs}).list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.keep()
	return l, s
}

// remembered says what the memory holds of a folder.
func remembered(t *testing.T, memory *memoryOf, dir string) map[string]fileSum {
	t.Helper()
	out := map[string]fileSum{}
	record := memory.Load(dir)
	if record == nil {
		return out
	}
	facts, err := decodeFacts(record, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range facts {
		out[f.path] = f.fileSum
	}
	return out
}

func wait() { time.Sleep(settled + 100*time.Millisecond) }

// times gives a file the time of another, as tar, rsync, git-restore-mtime and Nix do.
func times(p string, info fs.FileInfo) error { return os.Chtimes(p, info.ModTime(), info.ModTime()) }

// edits are ways to change a folder with the files a and b ("1111" and "2222") behind the back of who looks at
// names, sizes and times only. same says that nothing that a build sees is another.
var edits = map[string]struct {
	do   func(dir string) error
	same bool
}{
	"nothing":             {func(string) error { return nil }, true},
	"a touch":             {func(d string) error { return os.Chtimes(d+"/a", time.Now(), time.Now()) }, true},
	"the same text again": {func(d string) error { return os.WriteFile(d+"/a", []byte("1111"), 0o644) }, true},
	"as many bytes":       {func(d string) error { return os.WriteFile(d+"/a", []byte("3333"), 0o644) }, false},
	"as many bytes and the old time": {func(d string) error {
		info, err := os.Stat(d + "/a")
		return errors.Join(err, os.WriteFile(d+"/a", []byte("3333"), 0o644), times(d+"/a", info))
	}, false},
	"in place, and the old time": {func(d string) error {
		info, err := os.Stat(d + "/a")
		f, oerr := os.OpenFile(d+"/a", os.O_RDWR, 0)
		if err = errors.Join(err, oerr); err != nil {
			return err
		}
		_, err = f.WriteAt([]byte("3"), 2)
		return errors.Join(err, f.Close(), times(d+"/a", info))
	}, false},
	"replaced, and the old time": {func(d string) error {
		info, err := os.Stat(d + "/a")
		return errors.Join(err, os.WriteFile(d+"/new", []byte("3333"), 0o644), times(d+"/new", info), os.Rename(d+"/new", d+"/a"))
	}, false},
	"two files changed places": {func(d string) error {
		return errors.Join(os.Rename(d+"/a", d+"/x"), os.Rename(d+"/b", d+"/a"), os.Rename(d+"/x", d+"/b"))
	}, false},
	"a link in its place":   {func(d string) error { return errors.Join(os.Remove(d+"/a"), os.Symlink("b", d+"/a")) }, false},
	"another name of b":     {func(d string) error { return errors.Join(os.Remove(d+"/a"), os.Link(d+"/b", d+"/a")) }, false},
	"a folder in its place": {func(d string) error { return errors.Join(os.Remove(d+"/a"), os.Mkdir(d+"/a", 0o755)) }, false},
	"gone":                  {func(d string) error { return os.Remove(d + "/a") }, false},
	"one more":              {func(d string) error { return os.WriteFile(d+"/c", nil, 0o644) }, false},
	"a mode":                {func(d string) error { return os.Chmod(d+"/a", 0o600) }, false},
	"an attribute":          {func(d string) error { return setxattr(d+"/a", "1") }, false},
	"longer and cut again": {func(d string) error {
		info, err := os.Stat(d + "/a")
		return errors.Join(err, os.WriteFile(d+"/a", []byte("33334"), 0o644), os.Truncate(d+"/a", 4), times(d+"/a", info))
	}, false},
}

// Whatever is done to a folder between two processes: the second one finds what it would find without memory.
func TestEditsBetweenProcesses(t *testing.T) {
	t.Parallel() // it waits
	type folder struct {
		dir    string
		memory *memoryOf
		before *listing
	}
	folders := map[string]folder{}
	for name := range edits {
		folders[name] = folder{dir: fill(t, map[string]string{"a": "1111", "b": "2222", "sub/c": "3"}), memory: &memoryOf{}}
	}
	wait()
	for name, f := range folders {
		f.before, _ = process(t, f.dir, f.memory, nil)
		folders[name] = f
		if known := remembered(t, f.memory, f.dir); len(known) != 3 {
			t.Fatalf("%d files are remembered", len(known))
		}
		if err := edits[name].do(f.dir); errors.Is(err, unix.ENOTSUP) {
			t.Logf("%s: not here", name)
			delete(folders, name)
		} else if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for name, f := range folders {
		with, _ := process(t, f.dir, f.memory, nil)
		without, _ := process(t, f.dir, nil, nil)
		if with.digest != without.digest || with.stamp != without.stamp {
			t.Errorf("%s: with memory it is %s, without %s", name, with.digest, without.digest)
		}
		if same := with.digest == f.before.digest; same != edits[name].same {
			t.Errorf("%s: the same digest as before: %v", name, same)
		}
		if same := with.stamp == f.before.stamp; same != (name == "nothing") {
			t.Errorf("%s: the same stamp as before: %v", name, same)
		}
	}
}

func TestUnchangedFilesAreNotRead(t *testing.T) {
	t.Parallel() // it waits
	dir, memory := fill(t, map[string]string{"a": "1111", "sub/b": "2"}), &memoryOf{}
	wait()
	_, first := process(t, dir, memory, nil)
	_, second := process(t, dir, memory, nil)
	if len(first.files) != 2 || len(second.files) != 0 {
		t.Errorf("the first process read %d files, the second %d", len(first.files), len(second.files))
	}
}

// A file that was written just now may be written again without its times telling.
func TestRacyFilesAreReadAgain(t *testing.T) {
	t.Parallel() // it waits
	dir, memory := fill(t, map[string]string{"old": "1"}), &memoryOf{}
	wait()
	if err := os.WriteFile(filepath.Join(dir, "new"), []byte("2"), 0o644); err != nil {
		t.Fatal(err)
	}
	process(t, dir, memory, nil)
	if known := remembered(t, memory, dir); len(known) != 1 || known["old"].key.size != 1 {
		t.Errorf("remembered: %v", known)
	}
	_, second := process(t, dir, memory, nil)
	if _, read := second.files["new"]; len(second.files) != 1 || !read {
		t.Errorf("the second process read %v", second.files)
	}
}

func TestForeignClockIsNotBelieved(t *testing.T) {
	t.Parallel() // it waits
	dir, memory := fill(t, map[string]string{"a": "1"}), &memoryOf{}
	wait()
	s := newSums(dir, memory)
	s.traits = func(*os.File) traits { return traits{} }
	if _, err := (&localSource{local: Local{Dir: dir, sums: s}}).list(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.keep(); memory.records != nil {
		t.Errorf("remembered: %q", memory.records)
	}
}

// A clock that was set back gives times again that it gave before.
func TestClockThatJumps(t *testing.T) {
	t.Parallel() // it waits
	dir, memory := fill(t, map[string]string{"a": "1"}), &memoryOf{}
	wait()
	in := func(ahead time.Duration) *sums {
		s := newSums(dir, memory)
		s.clock = func() time.Time { return time.Now().Add(ahead) }
		s.since = s.clock()
		if _, err := (&localSource{local: Local{Dir: dir, sums: s}}).list(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.keep()
		return s
	}
	in(time.Hour)
	if s := in(0); len(s.files) != 1 {
		t.Error("a record of the future was believed")
	}
	if s := in(0); len(s.files) != 0 {
		t.Error("the record was not mended")
	}
	if s := in(-time.Hour); len(s.files) != 1 {
		t.Error("a record of the future was believed")
	}
	memory.records = nil
	if in(-time.Hour); memory.records != nil {
		t.Error("a file of the future was remembered")
	}
	back := newSums(dir, memory) // set back by an hour while the files were read
	back.clock = func() time.Time { return time.Now().Add(-time.Hour) }
	if _, err := (&localSource{local: Local{Dir: dir, sums: back}}).list(t.Context()); err != nil {
		t.Fatal(err)
	}
	if back.keep(); len(remembered(t, memory, dir)) != 0 {
		t.Error("a file of the future was remembered")
	}
}

// Rules that see a part of the folder leave the memory of the rest, as long as the files are there.
func TestGoneFilesAreForgotten(t *testing.T) {
	t.Parallel() // it waits
	dir, memory := fill(t, map[string]string{"a": "1", "b": "2", "gone": "3", "edited": "4"}), &memoryOf{}
	wait()
	process(t, dir, memory, nil)
	for _, err := range []error{os.Remove(dir + "/gone"), os.WriteFile(dir+"/edited", []byte("5"), 0o644), os.WriteFile(dir+"/new", nil, 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	wait()
	process(t, dir, memory, map[string]string{pb.AttrIncludePatterns: `["a","new"]`})
	known := remembered(t, memory, dir)
	for name, want := range map[string]bool{"a": true, "b": true, "new": true, "gone": false, "edited": false} {
		if _, ok := known[name]; ok != want {
			t.Errorf("%s is remembered: %v", name, ok)
		}
	}
}

// One folder has one memory in a build, whatever it is called.
func TestOneMemoryForOneFolder(t *testing.T) {
	dir := fill(t, map[string]string{"sub/a": "1", "link": "->sub"})
	plan := (&Plan{Locals: map[string]Local{
		"context": {Dir: dir + "/sub"}, "dockerfile": {Dir: dir + "/link"}, "other": {Dir: dir}, "none": {Dir: dir + "/none"},
		"memory": {Files: map[string][]byte{}},
	}}).WithSums(&memoryOf{})
	l := plan.Locals
	if l["context"].sums != l["dockerfile"].sums || l["context"].sums == l["other"].sums || l["none"].sums == nil || l["memory"].sums != nil {
		t.Errorf("%+v", l)
	}
	if again := plan.WithSums(nil); again.Locals["context"].sums != l["context"].sums {
		t.Error("the memory of a build was lost")
	}
}

// The tuple of numbers told that a file is as it was, and it is not: what was written through a mapping, or a
// record that is wrong. It is never sent, and the next build works.
func TestWrongFactIsAnErrorOnce(t *testing.T) {
	t.Parallel() // it waits
	dir, memory := fill(t, map[string]string{"a": "1111"}), &memoryOf{}
	wait()
	process(t, dir, memory, nil)
	facts, err := decodeFacts(memory.Load(dir), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	facts[0].sum = [32]byte(digest.Canonical.FromString("2222").Algorithm().Hash().Sum(nil))
	if err := memory.Save(dir, encodeFacts(facts, time.Now())); err != nil {
		t.Fatal(err)
	}
	_, s := process(t, dir, memory, nil)
	if err := send(t, Local{Dir: dir, sums: s}, t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "a changed during the build") {
		t.Errorf("the wrong bytes were sent: %v", err)
	}
	if known := remembered(t, memory, dir); len(known) != 0 {
		t.Errorf("remembered: %v", known)
	}
	l, s := process(t, dir, memory, nil)
	if err := send(t, Local{Dir: dir, sums: s}, t.TempDir(), nil); err != nil || l.files[0].Digest != digest.FromString("1111") {
		t.Errorf("the next build: %v, %v", l.files, err)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel() // it waits
	files := map[string]string{}
	for _, name := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
		files[name+"/"+name] = strings.Repeat(name, 1000)
	}
	dir, memory := fill(t, files), &memoryOf{}
	want, shared := process(t, dir, nil, nil)
	wait()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5 {
				s := shared
				if i%2 == 0 {
					s = newSums(dir, memory)
				}
				l, err := (&localSource{local: Local{Dir: dir, sums: s}}).list(t.Context())
				if err != nil || l.digest != want.digest {
					t.Errorf("%v, %v", l, err)
				}
				s.keep()
			}
		})
	}
	wg.Wait()
	if known := remembered(t, memory, dir); len(known) != 26 {
		t.Errorf("%d files are remembered", len(known))
	}
}
