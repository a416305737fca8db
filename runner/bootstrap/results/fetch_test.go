package results

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/registry/codec"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func codecFor(t testing.TB) codec.Codec {
	t.Helper()
	way, err := codec.New(codec.Zstd, 0)
	if err != nil {
		t.Fatal(err)
	}
	return way
}

// hostile is an archive that Push would not make.
func hostile(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := codecFor(t).NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(w)
	for _, h := range headers {
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// put stores an artifact of layers under the tag.
func (s *server) put(t testing.TB, sum Summary, layers ...[]byte) {
	t.Helper()
	up := registry.Upload{Repository: s.host + "/me/job", Tags: []string{s.ref()},
		Blobs: []registry.Blob{registry.Content{Descriptor: ocispecs.DescriptorEmptyJSON, Bytes: []byte("{}")}.Blob()}}
	var descs []ocispecs.Descriptor
	for _, data := range layers {
		c := registry.Content{Descriptor: ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageLayerZstd, Digest: digest.FromBytes(data), Size: int64(len(data))}, Bytes: data}
		descs, up.Blobs = append(descs, c.Descriptor), append(up.Blobs, c.Blob())
	}
	m, err := manifest(sum, descs)
	if err != nil {
		t.Fatal(err)
	}
	up.Manifests = []registry.Content{m}
	if err := newClient().Push(t.Context(), up); err != nil {
		t.Fatal(err)
	}
}

func TestHostileArchives(t *testing.T) {
	file := func(name string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 1, Mode: 0o644}
	}
	link := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	for name, c := range map[string]struct {
		headers []tar.Header
		sum     Summary
		want    string
	}{
		"upwards":             {[]tar.Header{file("../canary")}, Summary{Files: 1, Bytes: 1}, "not a path below"},
		"upwards inside":      {[]tar.Header{file("a/../../canary")}, Summary{Files: 1, Bytes: 1}, "not a path below"},
		"absolute":            {[]tar.Header{file("/canary")}, Summary{Files: 1, Bytes: 1}, "not a path below"},
		"the folder itself":   {[]tar.Header{{Typeflag: tar.TypeDir, Name: "./"}}, Summary{}, "not a path below"},
		"deep":                {[]tar.Header{file(strings.Repeat("a/", maxDepth) + "b")}, Summary{Files: 1, Bytes: 1}, "folders deep"},
		"link out":            {[]tar.Header{link("a", "../canary")}, Summary{}, "outside of the folder"},
		"absolute link":       {[]tar.Header{link("a", "/etc")}, Summary{}, "not relative"},
		"chain of links":      {[]tar.Header{link("x/y/z/d", "../../../t"), link("x/y/z/e", "d/../../canary")}, Summary{}, "down and up again"},
		"through a link":      {[]tar.Header{{Typeflag: tar.TypeDir, Name: "d"}, link("a", "d"), file("a/canary")}, Summary{Files: 1, Bytes: 1}, "twice, or below a file"},
		"below a file":        {[]tar.Header{file("a"), file("a/b")}, Summary{Files: 2, Bytes: 2}, "twice, or below a file"},
		"twice":               {[]tar.Header{file("a"), file("a")}, Summary{Files: 2, Bytes: 2}, "twice"},
		"file and folder":     {[]tar.Header{file("a"), {Typeflag: tar.TypeDir, Name: "a/"}}, Summary{Files: 1, Bytes: 1}, "twice"},
		"hard link":           {[]tar.Header{{Typeflag: tar.TypeLink, Name: "a", Linkname: "/etc/passwd"}}, Summary{}, "neither a file"},
		"device":              {[]tar.Header{{Typeflag: tar.TypeChar, Name: "a", Devmajor: 1, Devminor: 3}}, Summary{}, "neither a file"},
		"more than was said":  {[]tar.Header{file("a"), file("b")}, Summary{Files: 1, Bytes: 2}, "more files or bytes"},
		"larger than is said": {[]tar.Header{{Typeflag: tar.TypeReg, Name: "a", Size: 1 << 20}}, Summary{Files: 1, Bytes: 1}, "more files or bytes"},
		"less than was said":  {[]tar.Header{file("a")}, Summary{Files: 2, Bytes: 2}, "1 more files and 1 more bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.put(t, c.sum, hostile(t, c.headers...))
			outer := t.TempDir()
			_, err := Fetch(t.Context(), newClient(), s.ref(), "", Target{Folder: outer + "/in"})
			var bad *FormatError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, without %q", err, c.want)
			}
			if left := tree(t, outer); len(left) != 1 {
				t.Errorf("there is %v", left)
			}
		})
	}
}

func TestNoArchives(t *testing.T) {
	zeros := hostile(t, tar.Header{Typeflag: tar.TypeReg, Name: "a", Size: 1})
	for name, c := range map[string]struct {
		layer []byte
		want  string
	}{
		"text":          {[]byte("this is no archive"), "cannot be read"},
		"half of one":   {zeros[:len(zeros)/2], "cannot be read"},
		"much after it": {append(bytes.Clone(zeros), make([]byte, maxWindow+1)...), "goes on after its end"},
	} {
		s := newServer(t)
		s.put(t, Summary{Files: 1, Bytes: 1}, c.layer)
		outer := t.TempDir()
		_, err := Fetch(t.Context(), newClient(), s.ref(), "", Target{Folder: outer + "/in"})
		if err == nil || !strings.Contains(err.Error(), c.want) || len(tree(t, outer)) != 1 {
			t.Errorf("%s: %v, without %q; %v", name, err, c.want, tree(t, outer))
		}
	}
}

// TestOtherBytes: what does not have its digest never gets its name.
func TestOtherBytes(t *testing.T) {
	s := newServer(t)
	right, wrong := hostile(t, tar.Header{Typeflag: tar.TypeReg, Name: "right", Size: 1}), hostile(t, tar.Header{Typeflag: tar.TypeReg, Name: "wrong", Size: 1})
	s.put(t, Summary{Files: 1, Bytes: 1}, right)
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		_, _ = w.Write(wrong)
		return true
	})
	outer := t.TempDir()
	if _, err := Fetch(t.Context(), newClient(), s.ref(), "", Target{Folder: outer + "/in"}); !errors.Is(err, registry.ErrBadAnswer) || len(tree(t, outer)) != 1 {
		t.Errorf("%v; %v", err, tree(t, outer))
	}
}

func TestOtherArtifacts(t *testing.T) {
	good := Summary{Files: 1, Bytes: 1}
	m, err := manifest(good, nil)
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		ArtifactType:        "application/vnd.other",
		`files":"1"`:        `files":"-1"`,
		`bytes":"1"`:        `bytes":"x"`,
		`"layers":[]`:       `"layers":[{"mediaType":"text/plain","digest":"` + m.Digest.String() + `","size":1}]`,
		`"schemaVersion":2`: `"schemaVersion":`,
	} {
		data := strings.Replace(string(m.Bytes), from, to, 1)
		if _, _, err := parseManifest([]byte(data)); err == nil || data == string(m.Bytes) {
			t.Errorf("%s for %s: no error in %s", to, from, data)
		}
	}
}

func TestTarget(t *testing.T) {
	s := newServer(t)
	from := t.TempDir()
	write(t, from+"/a/b", []byte("new"), 0o644)
	write(t, from+"/c", []byte("new"), 0o644)
	if err := os.Symlink("c", from+"/l"); err != nil {
		t.Fatal(err)
	}
	if _, err := Push(t.Context(), newClient(), from, s.ref(), nil); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	write(t, to+"/a/b", []byte("old"), 0o644)
	write(t, to+"/a/other", []byte("kept"), 0o644)
	before := tree(t, to)
	var full *NotEmptyError
	if _, err := Fetch(t.Context(), newClient(), s.ref(), "", Target{Folder: to}); !errors.As(err, &full) || len(tree(t, to)) != len(before) {
		t.Errorf("%v, %v", err, tree(t, to))
	}
	for range 2 { // a second time over the first
		if _, err := Fetch(t.Context(), newClient(), s.ref(), "", Target{Folder: to, Overwrite: true}); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(to + "/a/b")
		kept, keptErr := os.ReadFile(to + "/a/other")
		if err != nil || keptErr != nil || string(data) != "new" || string(kept) != "kept" || len(tree(t, to)) != 5 {
			t.Errorf("%q, %q, %v", data, kept, tree(t, to))
		}
	}
	var large *TooLargeError
	if _, err := Fetch(t.Context(), newClient(), s.ref(), "", Target{Folder: t.TempDir(), MaxBytes: 5}); !errors.As(err, &large) || large.Bytes != 6 {
		t.Errorf("%v", err)
	}
	if _, err := Fetch(t.Context(), newClient(), s.ref(), digest.FromString("other"), Target{Folder: t.TempDir()}); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("another digest: %v", err)
	}
}

// TestLinkInTheWay: a link in the caller's folder leads nothing out of it.
func TestLinkInTheWay(t *testing.T) {
	s := newServer(t)
	s.put(t, Summary{Files: 1, Bytes: 1}, hostile(t, tar.Header{Typeflag: tar.TypeReg, Name: "d/canary", Size: 1}))
	outer := t.TempDir()
	if err := errors.Join(os.Mkdir(outer+"/in", 0o755), os.Mkdir(outer+"/other", 0o755), os.Symlink("../other", outer+"/in/d")); err != nil {
		t.Fatal(err)
	}
	_, err := Fetch(t.Context(), newClient(), s.ref(), "", Target{Folder: outer + "/in", Overwrite: true})
	if _, there := os.Stat(outer + "/other/canary"); err == nil || !errors.Is(there, fs.ErrNotExist) {
		t.Errorf("%v, %v", err, there)
	}
}

func TestCancelledFetch(t *testing.T) {
	s := newServer(t)
	from := t.TempDir()
	write(t, from+"/large", random(20<<20), 0o644)
	if _, err := Push(t.Context(), newClient(), from, s.ref(), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		<-r.Context().Done()
		return true
	})
	to := t.TempDir()
	if _, err := Fetch(ctx, newClient(), s.ref(), "", Target{Folder: to}); err == nil || len(tree(t, to)) > 0 {
		t.Errorf("%v, %v", err, tree(t, to))
	}
}

// FuzzUnpack: whatever an archive holds, nothing is outside of its folder, and it ends.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte{}, true)
	plain := func(headers ...tar.Header) []byte {
		var out bytes.Buffer
		tw := tar.NewWriter(&out)
		for _, h := range headers {
			if err := tw.WriteHeader(&h); err != nil {
				f.Fatal(err)
			}
			_, _ = tw.Write(make([]byte, h.Size))
		}
		_ = tw.Close()
		return out.Bytes()
	}
	f.Add(plain(tar.Header{Typeflag: tar.TypeReg, Name: "a/b", Size: 3}, tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "a"}, tar.Header{Typeflag: tar.TypeDir, Name: "d/"}), true)
	f.Add(plain(tar.Header{Typeflag: tar.TypeReg, Name: "../b", Size: 3}, tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "../.."}), true)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd}, false)
	f.Fuzz(func(t *testing.T, data []byte, compress bool) {
		if compress {
			var out bytes.Buffer
			w, err := codecFor(t).NewWriter(&out)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write(data)
			_ = w.Close()
			data = out.Bytes()
		}
		outer := t.TempDir()
		if err := os.Mkdir(outer+"/in", 0o755); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(outer + "/in")
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		u := &unpacker{root: root, files: 1000, bytes: 1 << 20, plain: 16 << 20}
		if u.unpack(t.Context(), bytes.NewReader(data)) == nil {
			u.files, u.bytes = 0, 0
			_ = u.finish()
		}
		if list, err := os.ReadDir(outer); err != nil || len(list) != 1 {
			t.Errorf("%v, %v", list, err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	m, err := manifest(Summary{Files: 1, Bytes: 2, Missed: 1, Left: []Left{{"a", "b"}}}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Bytes)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, layers, err := parseManifest(data)
		if err != nil {
			return
		}
		if again, err := manifest(s, layers); err != nil {
			t.Error(err)
		} else if _, _, err := parseManifest(again.Bytes); err != nil {
			t.Error(err)
		}
	})
}
