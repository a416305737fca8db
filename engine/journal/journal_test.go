package journal

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

var update = flag.Bool("update", false, "write the golden files")

func openJournal(t testing.TB) (Journal, *cache.Store) {
	t.Helper()
	s, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return Open(s), s
}

func outline(command string) *llb.Outline {
	return &llb.Outline{Images: []llb.OutlineImage{{Platform: "linux/amd64", Steps: []llb.OutlineStep{
		{Digest: digest.FromString(command), Own: digest.FromString(command), Name: command, Kind: llb.StepRun},
	}}}}
}

func (j Journal) must(t testing.TB, b Build, o func() *llb.Outline) uint64 {
	t.Helper()
	id, err := j.Add(t.Context(), b, o)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// The salt is made once for a cache, and is that cache's own; a cache that cannot keep one has none.
func TestSalt(t *testing.T) {
	j, store := openJournal(t)
	first := j.Salt()
	if len(first) < 16 || !bytes.Equal(first, Open(store).Salt()) {
		t.Errorf("%q, then %q", first, Open(store).Salt())
	}
	other, _ := openJournal(t)
	if bytes.Equal(first, other.Salt()) {
		t.Error("two caches have the same one")
	}
	if err := cache.Facts[llb.Salt](store).Delete(saltKey); err != nil {
		t.Fatal(err)
	}
	if again := j.Salt(); len(again) < 16 || bytes.Equal(first, again) {
		t.Errorf("after it was lost: %q", again)
	}
	nowhere, err := cache.Open("/dev/null/cache")
	if err != nil {
		t.Fatal(err)
	}
	if salt := Open(nowhere).Salt(); salt != nil {
		t.Errorf("one that is kept nowhere: %q", salt)
	}
}

func TestJournal(t *testing.T) {
	j, _ := openJournal(t)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var steps []Step
	for i := range 20 {
		steps = append(steps, Step{Name: fmt.Sprint(i), Start: int64(i), Took: 1})
	}
	want := Build{Name: "app:1", Source: "/src", Kind: "Dockerfile", Start: start, Took: 5, How: "solved", Steps: steps, StepCount: 20, Graph: "sha256:a"}
	id := j.must(t, want, func() *llb.Outline { return outline("make") })
	got, ok := j.Find(id)
	if !ok || got.ID != 1 || got.StepsBlob == nil || got.GraphBlob == nil {
		t.Fatalf("%+v, %v", got, ok)
	}
	got.ID, got.StepsBlob, got.GraphBlob = 0, nil, nil
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, key := range []string{"app:1", "/src", ""} {
		if list := j.Builds(key, 5); len(list) != 1 || list[0].ID != 1 || list[0].Took != 5 {
			t.Errorf("%q: %+v", key, list)
		}
	}
	got, _ = j.Find(id)
	if o, err := j.Outline(got); err != nil || !llb.Diff(o, outline("make")).Same() {
		t.Errorf("%v, %v", o, err)
	}
	if _, err := j.Outline(Build{}); !errors.Is(err, ErrNoGraph) {
		t.Error(err)
	}
}

func TestTheSameGraphIsKeptOnce(t *testing.T) {
	j, _ := openJournal(t)
	asked := 0
	o := func() *llb.Outline { asked++; return outline("make") }
	for range 3 {
		j.must(t, Build{Name: "app", Graph: "sha256:a"}, o)
	}
	j.must(t, Build{Name: "app", Graph: "sha256:b"}, o)
	if asked != 2 {
		t.Errorf("the outline was made %d times, want 2", asked)
	}
	if list := j.Builds("app", 5); list[1].GraphBlob.Digest != list[2].GraphBlob.Digest {
		t.Error("two blobs for one graph")
	}
}

func TestBefore(t *testing.T) {
	j, _ := openJournal(t)
	o := func() *llb.Outline { return outline("make") }
	j.must(t, Build{Name: "a", Source: "/src", Graph: "sha256:1"}, o)  // 1
	j.must(t, Build{Name: "b", Source: "/src", Graph: "sha256:1"}, o)  // 2
	j.must(t, Build{Name: "a", Source: "/src"}, nil)                   // 3: without a graph
	j.must(t, Build{Name: "a", Source: "/else", Graph: "sha256:1"}, o) // 4
	j.must(t, Build{Name: "c", Source: "/src", Graph: "sha256:1"}, o)  // 5
	j.must(t, Build{Name: "d", Source: "/new", Graph: "sha256:1"}, o)  // 6
	for id, want := range map[uint64]uint64{1: 0, 2: 1, 4: 1, 5: 2, 6: 0} {
		b, ok := j.Find(id)
		if !ok {
			t.Fatalf("no build %d", id)
		}
		if was, ok := j.Before(b); was.ID != want || ok != (want != 0) {
			t.Errorf("before %d: %d, %v, want %d", id, was.ID, ok, want)
		}
	}
}

func TestSteps(t *testing.T) {
	start := time.Now()
	at := func(ms int) *time.Time { t := start.Add(time.Duration(ms) * time.Millisecond); return &t }
	s := NewSteps(start)
	see := func(list ...*client.Vertex) { s.See(&client.SolveStatus{Vertexes: list}) }
	a, b, c, d := digest.FromString("a"), digest.FromString("b"), digest.FromString("c"), digest.FromString("d")
	see(&client.Vertex{Digest: a, Name: "a"}, &client.Vertex{Digest: b, Name: "b", Started: at(5)})
	see(&client.Vertex{Digest: a, Name: "a", Started: at(10)})
	see(&client.Vertex{Digest: b, Name: "b", Started: at(5), Completed: at(6), Cached: true})
	see(&client.Vertex{Digest: a, Name: "a", Started: at(12), Completed: at(30)})
	see(&client.Vertex{Digest: c, Name: "c", Started: at(40), Completed: at(41), Error: "a secret"})
	see(&client.Vertex{Digest: d, Name: strings.Repeat("d", 5000), Started: at(50)})
	got := s.List(func(text string) string { return strings.ReplaceAll(text, "secret", "xxxxx") })
	want := []Step{
		{Name: "b", Start: 5, Took: 1, Cached: true}, {Name: "a", Start: 10, Took: 20},
		{Name: "c", Start: 40, Took: 1, Error: "a xxxxx"}, {Name: strings.Repeat("d", 250) + "…", Start: 50, Took: -1},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestStepsAreBounded(t *testing.T) {
	now := time.Now()
	s := NewSteps(now)
	for i := range maxSteps + 5 {
		s.See(&client.SolveStatus{Vertexes: []*client.Vertex{{Digest: digest.FromString(fmt.Sprint(i)), Started: &now}}})
	}
	if n := len(s.List(func(s string) string { return s })); n != maxSteps {
		t.Errorf("%d steps", n)
	}
}

func TestTimelineGolden(t *testing.T) {
	b := &Build{ID: 7, Name: "ghcr.io/me/<app>:1", Took: 2500, Steps: []Step{
		{Name: "put the code on the environment image", Start: 2000, Took: 400},
		{Name: "base image docker.io/library/debian:12@sha256:0123456789abcdef", Start: 0, Took: 100, Cached: true},
		{Name: "apt: git\ncurl & more", Start: 100, Took: 1900},
		{Name: "make", Start: 150, Took: 10, Error: "exit code 1"},
		{Name: "left when it was cancelled", Start: 2400, Took: -1},
	}}
	var out bytes.Buffer
	if err := b.WriteTimeline(&out); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "timeline.svg")
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), out.String()); d != "" {
		t.Errorf("%s (write it with -update):\n%s", file, d)
	}
}

func TestTimelineIsXML(t *testing.T) {
	for name, b := range map[string]*Build{
		"none": {}, "names": {Name: "\x00\xff<&\"'", Steps: []Step{{Name: "\x01]]>\xfe"}}},
		"many": {Steps: slices.Repeat([]Step{{Name: "x", Took: 1}}, maxRows+1)},
	} {
		var out bytes.Buffer
		if err := b.WriteTimeline(&out); err != nil {
			t.Fatal(err)
		}
		dec := xml.NewDecoder(&out)
		for {
			if _, err := dec.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: not XML: %v", name, err)
			}
		}
	}
}

func TestDuration(t *testing.T) {
	for ms, want := range map[int64]string{0: "0ms", 20: "20ms", 999: "999ms", 1000: "1.0s", 59949: "59.9s", 61500: "1m2s", 3600000: "1h0m0s"} {
		if got := Duration(ms); got != want {
			t.Errorf("%d: %s, want %s", ms, got, want)
		}
	}
}

// FuzzOutline reads any bytes as a blob of the journal: no panic, no hang, bounded memory.
func FuzzOutline(f *testing.F) {
	j, s := openJournal(f)
	b := Build{Name: "a", Graph: "sha256:a"}
	j.must(f, b, func() *llb.Outline { return outline("make") })
	kept, _ := j.Find(1)
	data, err := s.ReadBlob(kept.GraphBlob.Digest, maxBlob)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var o llb.Outline
		if decodeBlob(data, &o) != nil || o.Check() != nil {
			return
		}
		if _, err := json.Marshal(llb.Diff(&o, &o)); err != nil {
			t.Error(err)
		}
	})
}

// BenchmarkAdd is what a record costs an unchanged build.
func BenchmarkAdd(b *testing.B) {
	j, _ := openJournal(b)
	o := func() *llb.Outline { return outline("make") }
	record := Build{Name: "ghcr.io/me/app:1", Source: "/home/me/app/image.yaml", Kind: "image spec", Start: time.Now(), How: "known", Graph: "sha256:a",
		Steps: []Step{{Name: "known: nothing to build, nothing to push", Cached: true}}, Names: []string{"ghcr.io/me/app:1"}}
	for i := range keepInAll {
		other := record
		other.Name = fmt.Sprint("ghcr.io/me/", i%40)
		j.must(b, other, o)
	}
	for b.Loop() {
		j.must(b, record, o)
	}
}

func TestSeen(t *testing.T) {
	j, _ := openJournal(t)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, d := range []digest.Digest{"sha256:a", "sha256:b"} {
		j.must(t, Build{Name: "app", Start: start.AddDate(0, 0, i), Bases: []Base{{"docker.io/library/debian:12", d}, {"quay.io/x:1", "sha256:c"}}}, nil)
	}
	j.must(t, Build{Name: "app", Start: start.AddDate(0, 0, 9)}, nil)
	if d, when, ok := j.Seen("docker.io/library/debian:12"); !ok || d != "sha256:b" || !when.Equal(start.AddDate(0, 0, 1)) {
		t.Errorf("%s, %s, %t", d, when, ok)
	}
	if _, _, ok := j.Seen("docker.io/library/debian:13"); ok {
		t.Error("what nobody asked for was seen")
	}
	if list := j.Builds("docker.io/library/debian:12", 9); len(list) != 0 {
		t.Errorf("a base is the name of %d builds", len(list))
	}
}

// A blob that the caller knows is taken, unless it is gone.
func TestTheCallerKnowsTheGraph(t *testing.T) {
	j, s := openJournal(t)
	asked := 0
	o := func() *llb.Outline { asked++; return outline("make") }
	j.must(t, Build{Name: "app", Graph: "sha256:a"}, o)
	first, _ := j.Find(1)
	j.must(t, Build{Name: "other", Graph: "sha256:a", GraphBlob: first.GraphBlob}, o)
	if asked != 1 {
		t.Errorf("the outline was made %d times, want once", asked)
	}
	if err := os.Remove(filepath.Join(s.Dir(), "blobs", "sha256", first.GraphBlob.Digest.Encoded())); err != nil {
		t.Fatal(err)
	}
	j.must(t, Build{Name: "third", Graph: "sha256:a", GraphBlob: first.GraphBlob}, o)
	last, _ := j.Find(3)
	if _, err := j.Outline(last); err != nil || asked != 2 {
		t.Errorf("the outline was made %d times, want twice (%v)", asked, err)
	}
}
