package llb

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestCountable(t *testing.T) {
	now := time.Unix(1_700_000_000, 500)
	for name, c := range map[string]struct {
		age  time.Duration
		want bool
	}{
		"long ago":             {time.Hour, true},
		"just long enough":     {settled, true},
		"a nanosecond too new": {settled - 1, false},
		"in the same second":   {time.Second, false},
		"now":                  {0, false},
		"in the future":        {-time.Hour, false},
	} {
		key := fileKey{ctime: now.Add(-c.age).UnixNano(), mtime: now.Add(time.Hour).UnixNano()} // anybody can set mtime
		if got := key.countable(now); got != c.want {
			t.Errorf("a change %s: %v", name, got)
		}
	}
	if (fileKey{}).countable(now) {
		t.Error("a file without a time of change counts")
	}
}

func someFacts(n int) []fileFact {
	var list []fileFact
	for i := range n {
		f := fileFact{path: fmt.Sprintf("folder/file%06d", i)}
		f.key = fileKey{dev: 1, ino: uint64(i), size: int64(i), mtime: -5, ctime: int64(1000 + i)}
		f.sum, f.bare = [32]byte{byte(i), 1}, i%2 == 0
		list = append(list, f)
	}
	return list
}

func TestFactsRecord(t *testing.T) {
	at := time.Unix(1000, 7)
	for _, n := range []int{0, 1, 3} {
		want := someFacts(n)
		shuffled := slices.Clone(want)
		slices.Reverse(shuffled)
		got, err := decodeFacts(encodeFacts(shuffled, at), at)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%d facts became %v, %v", n, got, err)
		}
	}
}

func TestFactsRecordRefuses(t *testing.T) {
	at := time.Unix(1000, 7)
	good := encodeFacts(someFacts(3), at)
	head := len(factsMagic) + 12
	edit := func(do func(b []byte) []byte) []byte { return do(bytes.Clone(good)) }
	now := func(f fileFact) fileFact { f.key.ctime = at.UnixNano(); return f }
	for name, record := range map[string][]byte{
		"nothing":        nil,
		"another format": edit(func(b []byte) []byte { b[0]++; return b }),
		"more behind it": append(bytes.Clone(good), 0),
		"a count that is too large": edit(func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[head-4:], 1<<31)
			return b
		}),
		"one too few":     edit(func(b []byte) []byte { b[head-4]--; return b }),
		"one too many":    edit(func(b []byte) []byte { b[head-4]++; return b }),
		"unknown flags":   edit(func(b []byte) []byte { b[head+factSize-3] |= 2; return b }),
		"a path twice":    encodeFacts(append(someFacts(2), someFacts(2)...), at),
		"a racy fact":     encodeFacts([]fileFact{now(someFacts(1)[0])}, at),
		"of the future":   encodeFacts(someFacts(3), at.Add(1)),
		"of another era":  edit(func(b []byte) []byte { binary.LittleEndian.PutUint64(b[head-12:], 1<<63); return b }),
		"a longer path":   edit(func(b []byte) []byte { b[head+factSize-1] = 255; return b }),
		"wrong order":     edit(func(b []byte) []byte { b[head+factSize] = 'z'; return b }),
		"only the format": []byte(factsMagic),
	} {
		if got, err := decodeFacts(record, at); err == nil {
			t.Errorf("%s: taken as %v", name, got)
		}
	}
	for i := range good {
		if got, err := decodeFacts(good[:i], at); err == nil {
			t.Fatalf("%d of %d bytes are taken as %v", i, len(good), got)
		}
	}
}

// The files that cost most to read are kept.
func TestFactsAreBounded(t *testing.T) {
	at := time.Unix(1000, 0)
	got, err := decodeFacts(encodeFacts(someFacts(maxFacts+2), at), at)
	if err != nil || len(got) != maxFacts || got[0].key.size != 2 {
		t.Errorf("%d facts, the smallest file has %d bytes, %v", len(got), got[0].key.size, err)
	}
}

func FuzzDecodeFacts(f *testing.F) {
	at := time.Unix(1000, 7)
	f.Add([]byte(nil))
	f.Add(encodeFacts(nil, at))
	f.Add(encodeFacts(someFacts(3), at))
	f.Fuzz(func(t *testing.T, record []byte) {
		facts, err := decodeFacts(record, at)
		if err != nil {
			return
		}
		written := time.Unix(0, int64(binary.LittleEndian.Uint64(record[len(factsMagic):])))
		if !bytes.Equal(encodeFacts(facts, written), record) {
			t.Errorf("%q has another form", record)
		}
		for _, fact := range facts {
			if !fact.key.countable(at) {
				t.Errorf("%v counts", fact)
			}
		}
	})
}
