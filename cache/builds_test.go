package cache

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	bolt "go.etcd.io/bbolt"
)

var wide = LogLimits{PerKey: 100, Total: 1000}

func mustAdd(t *testing.T, l Log[string], value string, keep LogLimits, blobs []digest.Digest, keys ...string) uint64 {
	t.Helper()
	id, err := l.Add(Entry[string]{Keys: keys, Blobs: blobs, Value: value}, keep)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func values(list []Entry[string]) (out []string) {
	for _, e := range list {
		out = append(out, fmt.Sprintf("%d=%s", e.ID, e.Value))
	}
	return out
}

func TestLog(t *testing.T) {
	s, _ := open(t, t.TempDir())
	l := Builds[string](s)
	if list := l.Last("", 10); list != nil {
		t.Errorf("an empty log has %v", list)
	}
	for i, name := range []string{"a", "b", "a", "c"} {
		if id := mustAdd(t, l, name, wide, nil, name, "all"); id != uint64(i+1) {
			t.Errorf("build %d has the number %d", i+1, id)
		}
	}
	for _, c := range []struct {
		key   string
		limit int
		want  []string
	}{
		{"", 10, []string{"4=c", "3=a", "2=b", "1=a"}},
		{"", 2, []string{"4=c", "3=a"}},
		{"a", 10, []string{"3=a", "1=a"}},
		{"all", 3, []string{"4=c", "3=a", "2=b"}},
		{"none", 10, nil},
		{"a", 0, nil},
	} {
		if got := values(l.Last(c.key, c.limit)); !slices.Equal(got, c.want) {
			t.Errorf("%q: %v, want %v", c.key, got, c.want)
		}
	}
	if e, ok := l.Get(2); !ok || e.Value != "b" || e.ID != 2 {
		t.Errorf("%+v, %v", e, ok)
	}
	if _, ok := l.Get(5); ok {
		t.Error("a build that was not")
	}
	if _, err := l.Add(Entry[string]{}, wide); err == nil {
		t.Error("a build without a key")
	}
}

func TestLogIsBounded(t *testing.T) {
	s, _ := open(t, t.TempDir())
	l := Builds[string](s)
	keep := LogLimits{PerKey: 2, Total: 3}
	for _, v := range []string{"a1", "b1", "a2", "a3"} {
		mustAdd(t, l, v, keep, nil, v[:1])
	}
	if got := values(l.Last("", 10)); !slices.Equal(got, []string{"4=a3", "3=a2", "2=b1"}) {
		t.Errorf("per key: %v", got)
	}
	mustAdd(t, l, "c1", keep, nil, "c")
	if got := values(l.Last("", 10)); !slices.Equal(got, []string{"5=c1", "4=a3", "3=a2"}) {
		t.Errorf("in all: %v", got)
	}
	if got := l.Last("b", 10); got != nil {
		t.Errorf("a forgotten build is found by its key: %v", got)
	}
	mustAdd(t, l, "c2", LogLimits{PerKey: 1, Total: 1}, nil, "c") // lower limits than before
	if got := values(l.Last("", 10)); !slices.Equal(got, []string{"6=c2"}) {
		t.Errorf("lower limits: %v", got)
	}
	must(t, s.view(func(tx *bolt.Tx) error {
		for _, name := range []string{bucketBuilds, bucketBuildKeys} {
			if n := tx.Bucket([]byte(name)).Stats().KeyN; n != 1 {
				t.Errorf("%s has %d keys", name, n)
			}
		}
		return nil
	}))
}

func TestLogKeepsBlobsThatAreNamed(t *testing.T) {
	s, _ := open(t, t.TempDir())
	l := Builds[string](s)
	blob := func(data string) digest.Digest {
		desc, err := s.WriteBlob(t.Context(), "text/plain", []byte(data))
		must(t, err)
		return desc.Digest
	}
	has := func(d digest.Digest) bool { _, err := s.ReadBlob(d, 100); return err == nil }
	shared, own := blob("shared"), blob("own")
	keep := LogLimits{PerKey: 1, Total: 10}
	mustAdd(t, l, "1", keep, []digest.Digest{shared, own}, "a")
	mustAdd(t, l, "2", keep, []digest.Digest{shared}, "b")
	mustAdd(t, l, "3", keep, nil, "a")
	if has(own) || !has(shared) {
		t.Errorf("own %v, shared %v", has(own), has(shared))
	}
	mustAdd(t, l, "4", keep, []digest.Digest{shared}, "b") // the same blob again
	if !has(shared) {
		t.Error("a blob is gone that the newest build has")
	}
	mustAdd(t, l, "5", keep, nil, "b")
	if has(shared) {
		t.Error("a blob stays that no build has")
	}
}

func TestLogOfManyAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	var wg sync.WaitGroup
	for range 4 {
		s, err := Open(dir)
		must(t, err)
		defer s.Close()
		wg.Go(func() {
			for range 10 {
				if _, err := Builds[string](s).Add(Entry[string]{Keys: []string{"a"}, Value: "x"}, wide); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s, err := Open(dir)
	must(t, err)
	defer s.Close()
	if n := len(Builds[string](s).Last("a", 100)); n != 40 {
		t.Errorf("%d builds of 40", n)
	}
}

func TestLogWithDamage(t *testing.T) {
	s, _ := open(t, t.TempDir())
	l := Builds[string](s)
	for range 3 {
		mustAdd(t, l, "x", wide, nil, "a")
	}
	must(t, s.update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(bucketBuilds))
		return b.Put(number(2), []byte("no record"))
	}))
	if got := values(l.Last("a", 10)); !slices.Equal(got, []string{"3=x", "1=x"}) {
		t.Errorf("%v", got)
	}
	if _, ok := l.Get(2); ok {
		t.Error("the damaged one is read")
	}
	for range 3 { // it goes with the others
		mustAdd(t, l, "y", LogLimits{PerKey: 2, Total: 10}, nil, "a")
	}
	if got := values(l.Last("", 10)); !slices.Equal(got, []string{"6=y", "5=y"}) {
		t.Errorf("%v", got)
	}
}

func BenchmarkLogAdd(b *testing.B) {
	s, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	l := Builds[string](s)
	value := strings.Repeat("x", 1000)
	for i := range 400 {
		_, _ = l.Add(Entry[string]{Keys: []string{fmt.Sprint(i % 40)}, Value: value}, LogLimits{20, 300})
	}
	for b.Loop() {
		if _, err := l.Add(Entry[string]{Keys: []string{"a"}, Value: value}, LogLimits{20, 300}); err != nil {
			b.Fatal(err)
		}
	}
}
