package cache

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// stocked is a cache with an item of each kind, closed.
func stocked(t *testing.T, dir string) (manifest, loose ocispecs.Descriptor) {
	t.Helper()
	s, _ := open(t, dir)
	layer, config := put(t, s, blob(1, 50_000)), put(t, s, []byte(`{"os":"linux"}`))
	data, err := json.Marshal(ocispecs.Manifest{Config: config, Layers: []ocispecs.Descriptor{layer}})
	must(t, err)
	manifest = put(t, s, data)
	loose = put(t, s, blob(2, 10_000))
	graph := put(t, s, blob(3, 300))
	now := time.Now()
	id := digest.FromString("id")
	must(t, Results(s).PutAll(map[string]Result{
		"image " + id.String(): {Descriptor: manifest, Repository: "example.com/app", Platforms: []string{"linux/amd64"}, Created: now.Add(-1000 * time.Hour)},
		"local sha256:1":       {Descriptor: loose, Created: now.Add(-1000 * time.Hour)},
	}))
	must(t, Builders(s).Put("tcp://b", Builder{Platform: "linux/arm64"}))
	must(t, Bucket[map[string]any](s, "pings/1").Put("example.com", map[string]any{"asked": now.Add(-500 * time.Hour)}))
	must(t, Bucket[map[string]any](s, "code-layers/1").Put("k", map[string]any{"descriptor": layer}))
	_, err = Builds[map[string]any](s).Add(Entry[map[string]any]{Keys: []string{"app"}, Blobs: []digest.Digest{graph.Digest},
		Value: map[string]any{"start": now.Add(-time.Hour), "identity": id}}, LogLimits{10, 10})
	must(t, err)
	must(t, Folders(s).Save("/folder", []byte("facts")))
	write(t, filepath.Join(dir, "index.db.damaged-1"), make([]byte, 700))
	must(t, os.MkdirAll(filepath.Join(dir, "ingest", "left"), 0o700))
	write(t, filepath.Join(dir, "ingest", "left", "data"), make([]byte, 900))
	must(t, s.Close())
	return manifest, loose
}

func names(items []Item) (out []string) {
	for _, i := range items {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s", i.Kind, strings.NewReplacer(digest.FromString("id").String(), "ID").Replace(short(i.Name)))))
	}
	slices.Sort(out)
	return out
}

// short leaves blobs and folders out of a list that tests compare.
func short(name string) string {
	if strings.HasPrefix(name, "sha256:") || len(name) == 64 {
		return ""
	}
	return name
}

func TestItems(t *testing.T) {
	dir := t.TempDir()
	manifest, loose := stocked(t, dir)
	s, w := open(t, dir)
	items, err := s.Items()
	must(t, err)
	want := []string{"blobs", "blobs", "blobs", "blobs", "blobs", "builders tcp://b", "builds 1", "environments local sha256:1", "files", "index index.db",
		"layers k", "leftovers index.db.damaged-1", "leftovers ingest/left", "registries example.com", "results image ID"}
	if got := names(items); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	var sum int64
	find := func(name string) Item {
		n := slices.IndexFunc(items, func(i Item) bool { return i.Name == name })
		if n < 0 {
			t.Fatalf("no %s", name)
		}
		return items[n]
	}
	for _, i := range items {
		sum += i.Size
	}
	if whole, err := s.measure(claims{}); err != nil || sum < whole-100 || sum > whole+2000 { // the ingest, and the lock file
		t.Errorf("the items have %d bytes, the folder %d, %v", sum, whole, err)
	}
	image := find("image " + digest.FromString("id").String())
	if image.Text != "example.com/app linux/amd64" || time.Since(image.Used) > 2*time.Hour {
		t.Errorf("%+v: the last build of it is not its last use", image)
	}
	if m := find(manifest.Digest.String()); !slices.Equal(m.UsedBy, []string{"results " + image.Name}) || m.InUse || time.Since(m.Used) > time.Minute {
		t.Errorf("%+v", m)
	}
	if l := find(digest.FromBytes(blob(1, 50_000)).String()); !slices.Equal(l.UsedBy, []string{"layers k", "results " + image.Name}) {
		t.Errorf("a layer of a manifest: %+v", l)
	}
	if l := find(loose.Digest.String()); !slices.Equal(l.UsedBy, []string{"environments local sha256:1"}) {
		t.Errorf("%+v", l)
	}
	if g := find(digest.FromBytes(blob(3, 300)).String()); !slices.Equal(g.UsedBy, []string{"builds 1"}) {
		t.Errorf("%+v", g)
	}
	other, _ := open(t, dir)
	other.HasBlob(loose)
	items, err = s.Items()
	must(t, err)
	if l := find(loose.Digest.String()); !l.InUse || !slices.Contains(l.UsedBy, fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("%+v", l)
	}
	if w.count() > 0 {
		t.Error(w.all())
	}
}

func TestPrune(t *testing.T) {
	leftovers := []string{"leftovers index.db.damaged-1", "leftovers ingest/left"}
	for _, c := range []struct {
		name string
		opts PruneOptions
		want []string
	}{
		{"nothing asked", PruneOptions{}, leftovers},
		{"all", PruneOptions{All: true}, append([]string{"blobs", "blobs", "blobs", "blobs", "builders tcp://b", "builds 1", "environments local sha256:1", "files",
			"layers k", "registries example.com", "results image ID"}, leftovers...)},
		{"one kind", PruneOptions{All: true, Kinds: []Kind{KindFiles}}, []string{"files"}},
		{"a kind of records", PruneOptions{All: true, Kinds: []Kind{KindBuilds, KindRegistries}}, []string{"builds 1", "registries example.com"}},
		{"old", PruneOptions{OlderThan: 30 * time.Hour}, append([]string{"environments local sha256:1", "registries example.com"}, leftovers...)},
		{"very old", PruneOptions{OlderThan: 600 * time.Hour}, append([]string{"environments local sha256:1"}, leftovers...)},
		{"no size", PruneOptions{KeepSize: 1 << 30}, leftovers},
		{"size of old", PruneOptions{KeepSize: 1, OlderThan: 900 * time.Hour}, append([]string{"environments local sha256:1"}, leftovers...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			stocked(t, dir)
			user, _ := open(t, dir)
			inUse := blob(3, 300)
			if _, err := user.ReadBlob(digest.FromBytes(inUse), 1000); err != nil {
				t.Fatal(err)
			}
			must(t, os.MkdirAll(filepath.Join(dir, "ingest", "left"), 0o700))
			s, w := open(t, dir)
			before, err := s.Items()
			must(t, err)
			dry := c.opts
			dry.DryRun = true
			would, err := s.Prune(dry)
			must(t, err)
			if after, err := s.Items(); err != nil || !slices.Equal(names(after), names(before)) {
				t.Errorf("a dry run removed something: %v", err)
			}
			slices.Sort(c.want)
			gone, err := s.Prune(c.opts)
			if err != nil || !slices.Equal(names(gone), c.want) || !slices.Equal(names(would), c.want) {
				t.Errorf("got  %q\nwould %q\nwant %q\n%v", names(gone), names(would), c.want, err)
			}
			after, err := s.Items()
			must(t, err)
			if len(after) != len(before)-len(gone) {
				t.Errorf("%d items of %d are left: %q", len(after), len(before), names(after))
			}
			if _, ok := Results(s).Get("image " + digest.FromString("id").String()); ok == slices.Contains(c.want, "results image ID") {
				t.Errorf("the result: %v", ok)
			}
			if _, ok := Builds[any](s).Get(1); ok == slices.Contains(c.want, "builds 1") || ok != (len(Builds[any](s).Last("app", 9)) == 1) {
				t.Errorf("the build: %v", ok)
			}
			if got, err := s.ReadBlob(digest.FromBytes(inUse), 1000); err != nil || len(got) != 300 {
				t.Errorf("what a process needs: %v", err)
			}
			if id, err := Builds[any](s).Add(Entry[any]{Keys: []string{"app"}}, LogLimits{10, 10}); err != nil || id != 2 {
				t.Errorf("the next build has the number %d, %v", id, err)
			}
			if w.count() > 0 {
				t.Error(w.all())
			}
		})
	}
}

func TestPruneKeepsSize(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	ages := map[digest.Digest]time.Duration{}
	for i := range 10 {
		ages[put(t, s, blob(uint64(i), 10_000)).Digest] = time.Duration(i) * time.Hour
	}
	aged(t, dir, s, ages)
	s, _ = open(t, dir)
	gone, err := s.Prune(PruneOptions{KeepSize: 45_000})
	must(t, err)
	if len(gone) != 6 {
		t.Errorf("%d are gone", len(gone))
	}
	for d, age := range ages {
		if inCache(dir, d) != (age < 4*time.Hour) {
			t.Errorf("%s old: there is %v", age, inCache(dir, d))
		}
	}
}

func TestIndexIsTrimmed(t *testing.T) {
	dir := t.TempDir()
	s, w := open(t, dir)
	s.trimAt = 1 << 20
	many := Bucket[map[string]any](s, "big/1")
	text := strings.Repeat("x", 30_000)
	for i := range 45 {
		must(t, many.Put(fmt.Sprint(i), map[string]any{"created": time.Now().Add(time.Duration(i) * time.Second), "text": text}))
	}
	info, err := os.Stat(filepath.Join(dir, indexFile))
	must(t, err)
	if info.Size() > s.trimAt+200_000 {
		t.Errorf("the index has %d bytes", info.Size())
	}
	if _, ok := many.Get("44"); !ok {
		t.Error("the newest record is gone")
	}
	if _, ok := many.Get("0"); ok {
		t.Error("the oldest record is there")
	}
	if w.count() > 0 {
		t.Error(w.all())
	}
}

func TestItemsOfNoCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	s, _ := open(t, dir)
	if items, err := s.Items(); err != nil || len(items) > 0 {
		t.Errorf("%v, %v", items, err)
	}
	if gone, err := s.Prune(PruneOptions{All: true}); err != nil || len(gone) > 0 {
		t.Errorf("%v, %v", gone, err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Error("looking made a folder")
	}
}

func FuzzLease(f *testing.F) {
	d := digest.FromString("x")
	f.Add([]byte("\nuse " + d.String() + "\nwrite " + d.Encoded() + " 12\nwrite a 0\nuse sha256:12"))
	f.Add([]byte("write ../../x 9\n\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := claims{used: map[digest.Digest][]string{}, writes: map[string]int64{}}
		_ = c.read(strings.NewReader(string(data)), "x") // may be an error; must end
		for folder, n := range c.writes {
			if filepath.Base(folder) != folder || n <= 0 {
				t.Errorf("%q %d", folder, n)
			}
		}
		for d := range c.used {
			if d.Validate() != nil {
				t.Errorf("%q", d)
			}
		}
	})
}
