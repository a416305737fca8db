package llb

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// sums are the digests of the files of one folder: of those read during one build, where every file has one
// content, and of those that earlier processes read. Safe for concurrent use.
type sums struct {
	folder string     // absolute, without links; "" when nothing is kept
	memory FileMemory // nil when nothing is kept
	clock  func() time.Time
	traits func(*os.File) traits
	since  time.Time // before any file was looked at

	load    sync.Once
	mu      sync.Mutex
	files   map[string]fileSum // read in this build
	kept    []fileFact         // of earlier processes, sorted by path
	used    []bool             // of kept: it is the file's content in this build
	devices map[uint64]traits
	lists   map[string]*listing // of this build, by their view
	learned bool                // something to keep was read
}

func newSums(folder string, memory FileMemory) *sums {
	return &sums{folder: folder, memory: memory, clock: time.Now, traits: traitsOf,
		since: time.Now().Round(0), // by the clock alone: one that was set back has to be seen

		files: map[string]fileSum{}, devices: map[uint64]traits{}, lists: map[string]*listing{}}
}

// withSums gives every folder one memory, whatever names it has.
func withSums(locals map[string]Local, memory FileMemory) map[string]Local {
	out := make(map[string]Local, len(locals))
	folders := map[string]*sums{}
	for name, l := range locals {
		if l.sums == nil && l.Files == nil {
			l.sums = sumsOf(folders, l.Dir, memory)
		}
		out[name] = l
	}
	return out
}

func sumsOf(folders map[string]*sums, dir string, memory FileMemory) *sums {
	folder, err := filepath.Abs(dir)
	if err == nil {
		folder, err = filepath.EvalSymlinks(folder)
	}
	if err != nil { // whoever reads the folder says so
		return newSums("", nil)
	}
	if folders[folder] == nil {
		folders[folder] = newSums(folder, memory)
	}
	return folders[folder]
}

func (l Local) withSums() Local {
	if l.sums == nil && l.Files == nil {
		l.sums = newSums("", nil)
	}
	return l
}

// listed returns what this build has listed of a view of the folder, nil for nothing.
func (s *sums) listed(view string) *listing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists[view]
}

func (s *sums) list(view string, l *listing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists[view] = l
}

// get returns the digest that a file has in this build.
func (s *sums) get(p string) (fileSum, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current(p)
}

func (s *sums) current(p string) (fileSum, bool) {
	if f, ok := s.files[p]; ok {
		return f, true
	}
	if i, ok := s.find(p, 0); ok && s.used[i] {
		return s.kept[i].fileSum, true
	}
	return fileSum{}, false
}

// known returns what was read of the file while it had this key: in this build, or before it. A walk comes to files
// mostly in the order of what is kept: next, given as near for the file after this one, saves most searches.
func (s *sums) known(p string, key fileKey, near int) (sum fileSum, ok bool, next int) {
	s.load.Do(s.recall)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.files[p]; ok {
		return f, f.key == key, near
	}
	i, ok := s.find(p, near)
	if !ok || s.kept[i].key != key {
		return fileSum{}, false, i
	}
	s.used[i] = true
	return s.kept[i].fileSum, true, i + 1
}

// find returns where a path is in what is kept, or would be; near is where it may be.
func (s *sums) find(p string, near int) (int, bool) {
	if near < len(s.kept) && s.kept[near].path == p {
		return near, true
	}
	return slices.BinarySearchFunc(s.kept, p, func(f fileFact, p string) int { return strings.Compare(f.path, p) })
}

func (s *sums) recall() {
	if s.memory == nil {
		return
	}
	facts, err := decodeFacts(s.memory.Load(s.folder), s.clock())
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept, s.used = facts, make([]bool, len(facts))
}

// read returns the digest of a file that was just looked at, without reading it where that is safe.
func (s *sums) read(v *visitor, f *diskFile, buf []byte) (fileSum, error) {
	if known, ok, _ := s.known(f.path, f.key, 0); ok {
		return known, nil
	}
	file, err := v.open(f.path)
	if err != nil {
		return fileSum{}, err
	}
	defer file.Close()
	sum, err := hashExactly(file, f, buf)
	if err != nil {
		return fileSum{}, err
	}
	return s.put(f, sum, s.device(f.key.dev, file))
}

// hashExactly reads a file that has to be the one that was looked at, before and after.
func hashExactly(file *os.File, f *diskFile, buf []byte) (sum [32]byte, err error) {
	check := func() error {
		info, err := file.Stat()
		if err == nil && inodeOf(info).key(info) != f.key {
			err = fmt.Errorf("%s changed while it was read", f.path)
		}
		return err
	}
	if err := check(); err != nil {
		return sum, err
	}
	h := sha256.New()
	n, err := io.CopyBuffer(h, struct{ io.Reader }{file}, buf) // its own WriteTo takes another buffer
	if err != nil {
		return sum, err
	}
	if n != f.key.size {
		return sum, fmt.Errorf("%s changed while it was read (%d bytes, then %d)", f.path, f.key.size, n)
	}
	return [32]byte(h.Sum(nil)), check()
}

// device returns the traits of the file system that an open file is on.
func (s *sums) device(dev uint64, file *os.File) traits {
	if s.memory == nil {
		return traits{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.devices[dev]
	if !ok {
		t = s.traits(file)
		s.devices[dev] = t
	}
	return t
}

// put notes the digest of a file. A file has one content in one build.
func (s *sums) put(f *diskFile, sum [32]byte, t traits) (fileSum, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.current(f.path); ok && old.sum != sum {
		return fileSum{}, changedError{f.path}
	}
	out := fileSum{key: f.key, sum: sum, bare: t.xattrsSetCtime && f.xattrs == nil}
	s.files[f.path] = out
	s.learned = s.learned || t.ownClock && f.key.countable(s.since)
	return out, nil
}

// changedError says that a file is not what the build's identity was made of.
type changedError struct{ path string }

func (e changedError) Error() string { return e.path + " changed during the build" }

// keep saves what was read, if any of it is new and may count.
func (s *sums) keep() {
	if s == nil {
		return
	}
	s.mu.Lock()
	learned := s.learned
	s.learned = false
	s.mu.Unlock()
	if learned {
		s.save()
	}
}

// save replaces the folder's record. What an earlier process read and this one did not see stays, as long as
// the files are there as they were.
func (s *sums) save() {
	at := s.clock()
	if s.since.Before(at) {
		at = s.since // files were looked at from then on; a clock that was set back goes first
	}
	s.mu.Lock()
	var facts, unseen []fileFact
	for p, f := range s.files {
		if f.key.countable(at) && s.devices[f.key.dev].ownClock && len(p) < 1<<16 {
			facts = append(facts, fileFact{p, f})
		}
	}
	for i, k := range s.kept {
		switch _, again := s.files[k.path]; {
		case again || !k.key.countable(at):
		case s.used[i]:
			facts = append(facts, k)
		default:
			unseen = append(unseen, k)
		}
	}
	s.mu.Unlock()
	_ = s.memory.Save(s.folder, encodeFacts(append(facts, s.there(unseen)...), at)) // only memory; it says itself what is wrong
}

// there returns those of the facts whose files are as they were.
func (s *sums) there(facts []fileFact) []fileFact {
	v, err := disk{s.folder}.visit()
	if err != nil {
		return nil
	}
	defer v.close()
	return slices.DeleteFunc(facts, func(f fileFact) bool {
		now, err := v.lstat(f.path)
		return err != nil || now.key != f.key
	})
}

// forget drops the memory of a file whose bytes are others, for good: no key told, so somebody wrote through a
// mapping of the file, or the record was wrong. In this build its content stays what it was.
func (s *sums) forget(p string) {
	s.mu.Lock()
	known, _ := s.current(p)
	known.key = fileKey{} // counts for nothing
	s.files[p] = known
	s.mu.Unlock()
	if s.memory != nil {
		s.save()
	}
}

// encoded is the digest in its usual form.
func (f *fileSum) encoded() digest.Digest {
	const prefix = "sha256:"
	var text [len(prefix) + 2*len(f.sum)]byte
	copy(text[:], prefix)
	hex.Encode(text[len(prefix):], f.sum[:])
	return digest.Digest(text[:])
}
