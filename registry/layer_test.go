package registry

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
)

const dirMode = fs.ModeDir | 0o755

func file(path, text string) Entry {
	return Entry{Path: path, Mode: 0o644, Size: int64(len(text)), Open: contentOf(text)}
}

func link(path, to string) Entry {
	return Entry{Path: path, Mode: fs.ModeSymlink | 0o777, Linkname: to}
}

func buildLayer(t testing.TB, opts LayerOptions, entries ...Entry) (Layer, content.Store, error) {
	t.Helper()
	store, err := newCache(t).Content()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := BuildLayer(ctx(t), store, entries, opts)
	return layer, store, err
}

func TestLayerIsDeterministic(t *testing.T) {
	entries := []Entry{
		{Path: "app", Mode: dirMode, UID: 1000, GID: 1000},
		file("app/main.py", "print('hi')\n"),
		file("app/"+strings.Repeat("long/", 60)+"name", "deep"),
		file("app/über", "PAX"),
		link("app/link", "../etc/passwd"),
		{Path: "app/empty", Mode: 0o600},
		{Path: "bin-tool", Mode: fs.ModeSetuid | 0o755, Size: 1, Open: contentOf("x"), UID: 3_000_000},
		{Path: "tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
	}
	opts := LayerOptions{ModTime: time.Unix(1700000000, 999)}
	a, store, err := buildLayer(t, opts, entries...)
	if err != nil {
		t.Fatal(err)
	}
	for i, j := 0, len(entries)-1; i < j; i, j = i+1, j-1 {
		entries[i], entries[j] = entries[j], entries[i]
	}
	b, _, err := buildLayer(t, LayerOptions{ModTime: opts.ModTime.In(time.FixedZone("x", 3600))}, entries...)
	if err != nil || a.Digest != b.Digest || a.DiffID != b.DiffID {
		t.Fatalf("%v, %s and %s", err, a.Digest, b.Digest)
	}
	// A golden digest: the same on all machines, and a change of it, which
	// changes every image, is noticed.
	if want := digest.Digest("sha256:c0246b8ff750d5b59d89d05628dee37c138565535790207984b35f3fc54dfcda"); a.DiffID != want {
		t.Errorf("diff ID %s, want %s", a.DiffID, want)
	}

	data, err := content.ReadBlob(ctx(t), store, a.Descriptor)
	if err != nil {
		t.Fatal(err)
	}
	gz, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if gz.ModTime.Unix() != 0 || gz.Name != "" {
		t.Errorf("gzip header: %+v", gz.Header)
	}
	plain, err := io.ReadAll(gz)
	if err != nil || digest.FromBytes(plain) != a.DiffID {
		t.Errorf("%v: %s", err, digest.FromBytes(plain))
	}
	tr := tar.NewReader(bytes.NewReader(plain))
	last := ""
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Name <= last {
			t.Errorf("%q after %q", h.Name, last)
		}
		last = strings.TrimSuffix(h.Name, "/")
		if h.Uname+h.Gname != "" || !h.ModTime.Equal(time.Unix(1700000000, 0)) {
			t.Errorf("%+v", h)
		}
		switch last {
		case "bin-tool":
			if h.Mode != 0o4755 || h.Uid != 3_000_000 {
				t.Errorf("%+v", h)
			}
		case "tmp":
			if h.Mode != 0o1777 || h.Typeflag != tar.TypeDir {
				t.Errorf("%+v", h)
			}
		case "app/main.py":
			if h.Format != tar.FormatUSTAR {
				t.Errorf("PAX without need: %+v", h)
			}
		}
	}
}

func TestLayerRefuses(t *testing.T) {
	for name, entries := range map[string][]Entry{
		"nothing":         {},
		"parent":          {file("../x", "")},
		"inner parent":    {file("a/../b", "")},
		"absolute":        {file("/etc/passwd", "")},
		"root":            {{Path: ".", Mode: dirMode}},
		"empty":           {file("", "")},
		"trailing slash":  {{Path: "a/", Mode: dirMode}},
		"NUL":             {file("a\x00b", "")},
		"not UTF-8":       {file("a\xff", "")},
		"twice":           {file("a", "1"), file("a", "2")},
		"below a file":    {file("a", "1"), file("a/b", "2")},
		"below a link":    {link("a", "/etc"), file("a/x/passwd", "2")},
		"whiteout":        {file("etc/.wh.passwd", "")},
		"opaque":          {file("etc/.wh..wh..opq", "")},
		"whiteout folder": {file(".wh.x/y", "")},
		"device":          {{Path: "dev/null", Mode: fs.ModeDevice | fs.ModeCharDevice}},
		"pipe":            {{Path: "pipe", Mode: fs.ModeNamedPipe}},
		"link to nothing": {link("a", "")},
		"link with NUL":   {link("a", "b\x00")},
		"no content":      {{Path: "a", Mode: 0o644, Size: 3}},
		"negative owner":  {{Path: "a", Mode: 0o644, UID: -1}},
	} {
		if _, _, err := buildLayer(t, LayerOptions{}, entries...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestFileChanged(t *testing.T) {
	for name, e := range map[string]Entry{
		"shorter": {Size: 6}, "longer": {Size: 4},
		"other": {Size: 5, Digest: digest.FromString("jello")},
	} {
		e.Path, e.Mode, e.Open = "app/main.py", 0o644, contentOf("hello")
		store, err := newCache(t).Content()
		if err != nil {
			t.Fatal(err)
		}
		_, err = BuildLayer(ctx(t), store, []Entry{e}, LayerOptions{})
		if !errors.Is(err, ErrFileChanged) || !strings.Contains(err.Error(), "app/main.py") {
			t.Errorf("%s: %v", name, err)
		}
		left, err := store.ListStatuses(ctx(t))
		if len(left) != 0 || err != nil {
			t.Errorf("%s left %v, %v", name, left, err)
		}
	}
	good := Entry{Path: "a", Mode: 0o644, Size: 5, Digest: digest.FromString("hello"), Open: contentOf("hello")}
	if _, _, err := buildLayer(t, LayerOptions{}, good); err != nil {
		t.Error(err)
	}
}

// TestLayerBytes: the compressed bytes are the same on all machines.
func TestLayerBytes(t *testing.T) {
	var text strings.Builder
	r := rand.New(rand.NewPCG(1, 2))
	for range 60_000 { // more than a window, with repetitions near and far
		fmt.Fprintf(&text, "word%d ", r.IntN(500)*r.IntN(20))
	}
	layer, store, err := buildLayer(t, LayerOptions{}, file("words", text.String()), file("words again", text.String()[:50_000]))
	if err != nil {
		t.Fatal(err)
	}
	if want := digest.Digest("sha256:76924467503315a59ceeadda42d19547988695fb54d74faf57224694a454c56b"); layer.Digest != want {
		t.Errorf("the layer is %s, want %s (see codec.TestBytes)", layer.Digest, want)
	}
	if !layer.New {
		t.Error("the store had it before")
	}
	again, err := BuildLayer(ctx(t), store, []Entry{file("words", text.String()), file("words again", text.String()[:50_000])}, LayerOptions{})
	if err != nil || again.New || again.Digest != layer.Digest {
		t.Errorf("made again it is new: %v, %s, %v", again.New, again.Digest, err)
	}
}
