package engine

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
)

// sized is a file of a size, or, with a slash at its end, a folder.
func sized(name string, size int64) registry.Entry {
	if dir, ok := strings.CutSuffix(name, "/"); ok {
		return registry.Entry{Path: dir, Mode: os.ModeDir | 0o755}
	}
	return registry.Entry{Path: name, Mode: 0o644, Size: size}
}

func TestParts(t *testing.T) {
	var many []registry.Entry
	for i := range maxBigFiles + 2 {
		many = append(many, sized(fmt.Sprintf("m/%02d", i), bigFile+int64(i)))
	}
	for _, c := range []struct {
		name    string
		entries []registry.Entry
		room    int
		want    []string
	}{
		{"small files", []registry.Entry{sized("app/", 0), sized("app/a", bigFile-1)}, 50, []string{"app app/a"}},
		{"one big file alone", []registry.Entry{sized("app/", 0), sized("app/a", bigFile)}, 50, []string{"app app/a"}},
		{"a big file among others", []registry.Entry{sized("app/", 0), sized("app/a", 1), sized("app/m/", 0), sized("app/m/x", bigFile), sized("app/z/", 0)}, 50,
			[]string{"app app/m app/m/x", "app app/a app/m app/z"}},
		{"in a folder that is there", []registry.Entry{sized("app/a", 1), sized("app/x", bigFile)}, 50, []string{"app/x", "app/a"}},
		{"the largest first, and else by name", []registry.Entry{sized("a", 1), sized("b", bigFile), sized("c", bigFile), sized("d", bigFile+1)}, 50, []string{"d", "b", "c", "a"}},
		{"no room", []registry.Entry{sized("a", 1), sized("b", bigFile)}, 0, []string{"a b"}},
		{"less than none", []registry.Entry{sized("a", 1), sized("b", bigFile)}, -3, []string{"a b"}},
		{"too many", many, 50, []string{"m/09", "m/08", "m/07", "m/06", "m/05", "m/04", "m/03", "m/02", "m/00 m/01"}},
		{"a big link is small", []registry.Entry{sized("a", 1), {Path: "l", Mode: os.ModeSymlink, Linkname: "x", Size: bigFile}}, 50, []string{"a l"}},
	} {
		var got []string
		for i, p := range (codeLayer{step: llb.Copy{Title: "t"}, entries: c.entries}).parts(c.room) {
			var names []string
			for _, e := range p.entries {
				names = append(names, e.Path)
			}
			got = append(got, strings.Join(names, " "))
			if p.big != (i < len(c.want)-1) {
				t.Errorf("%s: part %d is big: %v", c.name, i, p.big)
			}
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

// noise cannot be compressed, as models cannot.
func noise(t testing.TB, file string, size int) {
	t.Helper()
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// uploaded counts the bytes that come in.
func (f *fixture) uploaded() *atomic.Int64 {
	n := &atomic.Int64{}
	inner := f.Config.Handler
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(max(0, r.ContentLength))
		inner.ServeHTTP(w, r)
	})
	return n
}

// With a change of the code beside it, a big file is neither compressed nor sent again, and the image is the
// same wherever it is made.
func TestBigFilesStay(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1")
	dir := req.Plan.Locals["context"].Dir
	noise(t, filepath.Join(dir, "src", "model"), bigFile)
	f.know(req, "etc/")
	first := f.must(req, HowAssembled)
	if got := added(t, f.image(t, f.host+"/app:1", amd64), 1); len(got) != len(wantCode)+1 || len(got["app/code/model"].Data) != bigFile {
		t.Errorf("the image has %d files", len(got))
	}
	plant(t, dir, map[string]string{"src/main.py": "print(2)\n"})
	sent := f.uploaded()
	second := f.must(req, HowAssembled)
	if n := sent.Load(); n > 64<<10 {
		t.Errorf("%d bytes were sent for a small change", n)
	}
	one, err := f.image(t, f.host+"/app@"+first.Descriptor.Digest.String(), amd64).Layers()
	check(t, err)
	two, err := f.image(t, f.host+"/app@"+second.Descriptor.Digest.String(), amd64).Layers()
	check(t, err)
	same := 0
	for i := range min(len(one), len(two)) {
		a, err := one[i].Digest()
		check(t, err)
		b, err := two[i].Digest()
		check(t, err)
		if a != b {
			break
		}
		same++
	}
	if same != 3 { // the base, the workdir, and the model
		t.Errorf("the first %d of %d layers are the same", same, len(one))
	}
	f.newMachine()
	if again := f.must(req, HowAssembled); again.Descriptor.Digest != second.Descriptor.Digest {
		t.Errorf("another machine makes %s, not %s", again.Descriptor.Digest, second.Descriptor.Digest)
	}
}

// A big file that changes makes another layer, whatever its size and time say.
func TestBigFilesThatChange(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1")
	file := filepath.Join(req.Plan.Locals["context"].Dir, "src", "model")
	noise(t, file, bigFile)
	f.know(req, "etc/")
	f.must(req, HowAssembled)
	data, err := os.ReadFile(file)
	check(t, err)
	data[bigFile/2]++
	info, err := os.Stat(file)
	check(t, err)
	check(t, os.WriteFile(file, data, 0o644))
	check(t, os.Chtimes(file, time.Time{}, info.ModTime()))
	f.must(req, HowAssembled)
	if got := added(t, f.image(t, f.host+"/app:1", amd64), 1)["app/code/model"].Data; !slices.Equal([]byte(got), data) {
		t.Error("the image has the old file")
	}
}

// The key of a layer of big files is made of all that is in it.
func TestBigKey(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x")
	check(t, os.WriteFile(file, []byte("one"), 0o644))
	base := func() (part, registry.LayerOptions) {
		e := sized("app/x", 3)
		e.Open = func() (io.ReadCloser, error) { return os.Open(file) }
		return part{entries: []registry.Entry{sized("app/", 0), e}}, registry.LayerOptions{ModTime: time.Unix(1, 0)}
	}
	seen := map[string]string{}
	for name, change := range map[string]func(p *part, o *registry.LayerOptions){
		"nothing": func(*part, *registry.LayerOptions) {},
		"path":    func(p *part, _ *registry.LayerOptions) { p.entries[1].Path = "app/y" },
		"mode":    func(p *part, _ *registry.LayerOptions) { p.entries[1].Mode = 0o755 },
		"uid":     func(p *part, _ *registry.LayerOptions) { p.entries[1].UID = 1 },
		"gid":     func(p *part, _ *registry.LayerOptions) { p.entries[1].GID = 1 },
		"folder":  func(p *part, _ *registry.LayerOptions) { p.entries = p.entries[1:] },
		"time":    func(_ *part, o *registry.LayerOptions) { o.ModTime = time.Unix(2, 0) },
		"content": func(*part, *registry.LayerOptions) { check(t, os.WriteFile(file, []byte("two"), 0o644)) },
	} {
		check(t, os.WriteFile(file, []byte("one"), 0o644))
		p, o := base()
		change(&p, &o)
		key, err := bigKey(p, o)
		check(t, err)
		if other, twice := seen[key]; twice {
			t.Errorf("%s and %s have the same key", name, other)
		}
		seen[key] = name
		if again, err := bigKey(p, o); err != nil || again != key {
			t.Errorf("%s: the key is %s, then %s, %v", name, key, again, err)
		}
	}
}
