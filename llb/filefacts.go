package llb

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"
)

// FileMemory keeps the digests of files between processes: one record of bytes for each folder. A record that is
// lost costs the reading of files; what Load returns may be old, damaged or foreign, and is checked. Safe for
// concurrent use, by several processes too.
type FileMemory interface {
	// Load returns what was saved last for the folder (an absolute path without links), nil for nothing.
	Load(folder string) []byte
	// Save replaces what is known of the folder. Its error is for logs.
	Save(folder string, record []byte) error
}

// traits are what a file system's times are worth.
type traits struct {
	ownClock       bool // they come from this machine's clock
	xattrsSetCtime bool // a change of extended attributes sets the time of change
}

// settled is how old a change has to be, by the clock before the file is looked at, so that a later one cannot
// have the same time. File systems count in steps: most in some milliseconds, ext3 and HFS+ in seconds.
const settled = 2 * time.Second

// countable says whether the digest of a file with this key, looked at after the clock said at, may be
// remembered: the next change of the file will have another time. What is written in the same step of the clock
// as it is read ("racily clean", in the words of git) does not count, nor does a time of the future.
func (k fileKey) countable(at time.Time) bool {
	return k.ctime > 0 && k.ctime <= at.Add(-settled).UnixNano()
}

// fileFact says that a file had a content when it had a key.
type fileFact struct {
	path string
	fileSum
}

// fileSum is the digest of a file's content, and what the file was when it was read.
type fileSum struct {
	key  fileKey
	sum  [32]byte // SHA-256
	bare bool     // it has no extended attributes, and would have another key if it had
}

const (
	factsMagic = "ibuild.files.v1\n"
	// factSize is the size of an entry without its path: five numbers, a digest, flags, and the path's length.
	factSize = 5*8 + 32 + 1 + 2
	// maxFacts bounds a record: larger folders have their smallest files read each time.
	maxFacts = 400_000
	bareFlag = 1
)

var errFacts = errors.New("no record of files")

// encodeFacts makes a record of facts that were known when the clock said at. It sorts them.
func encodeFacts(facts []fileFact, at time.Time) []byte {
	if len(facts) > maxFacts {
		slices.SortFunc(facts, func(a, b fileFact) int { return int(min(max(b.key.size-a.key.size, -1), 1)) })
		facts = facts[:maxFacts]
	}
	slices.SortFunc(facts, func(a, b fileFact) int { return strings.Compare(a.path, b.path) })
	size := len(factsMagic) + 12
	for _, f := range facts {
		size += factSize + len(f.path)
	}
	b := append(make([]byte, 0, size), factsMagic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(at.UnixNano()))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(facts)))
	for _, f := range facts {
		for _, n := range []uint64{f.key.dev, f.key.ino, uint64(f.key.size), uint64(f.key.mtime), uint64(f.key.ctime)} {
			b = binary.LittleEndian.AppendUint64(b, n)
		}
		b = append(b, f.sum[:]...)
		var flags byte
		if f.bare {
			flags = bareFlag
		}
		b = append(b, flags)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(f.path)))
		b = append(b, f.path...)
	}
	return b
}

// decodeFacts reads a record at the time now. One from the future counts for nothing: the clock was set back
// since, and times that it gives now may have been given before. The facts are sorted by path.
func decodeFacts(record []byte, now time.Time) ([]fileFact, error) {
	text := string(record) // paths are parts of it
	rest, ok := strings.CutPrefix(text, factsMagic)
	if !ok || len(rest) < 12 {
		return nil, errFacts
	}
	b := record[len(factsMagic):]
	at := time.Unix(0, int64(binary.LittleEndian.Uint64(b)))
	count := int(binary.LittleEndian.Uint32(b[8:]))
	if at.UnixNano() <= 0 || at.After(now) || count > maxFacts || count > len(b)/factSize {
		return nil, errFacts
	}
	b, rest = b[12:], rest[12:]
	facts := make([]fileFact, count)
	for i := range facts {
		if len(b) < factSize {
			return nil, errFacts
		}
		size := factSize + int(binary.LittleEndian.Uint16(b[factSize-2:]))
		if len(b) < size {
			return nil, errFacts
		}
		f := &facts[i]
		f.path = rest[factSize:size]
		f.read(b)
		if i > 0 && facts[i-1].path >= f.path || !f.key.countable(at) || b[factSize-3]&^bareFlag != 0 {
			return nil, errFacts
		}
		b, rest = b[size:], rest[size:]
	}
	if len(b) > 0 {
		return nil, errFacts
	}
	return facts, nil
}

// read takes the fixed part of an entry, which is whole.
func (s *fileSum) read(b []byte) {
	n := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	s.key = fileKey{dev: n(0), ino: n(1), size: int64(n(2)), mtime: int64(n(3)), ctime: int64(n(4))}
	copy(s.sum[:], b[40:])
	s.bare = b[72]&bareFlag != 0
}
