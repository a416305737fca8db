package codec

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/opencontainers/go-digest"
)

// sample is n bytes that can be compressed, the same each time.
func sample(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := make([][]byte, 200)
	for i := range words {
		words[i] = make([]byte, 3+r.IntN(20))
		for j := range words[i] {
			words[i][j] = byte('a' + r.IntN(26))
		}
	}
	var b bytes.Buffer
	for b.Len() < n {
		b.Write(words[r.IntN(len(words))])
	}
	return b.Bytes()[:n]
}

func all(t testing.TB) []Codec {
	t.Helper()
	var list []Codec
	for _, name := range Names() {
		c, err := New(name, 0)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

// compressed writes data in pieces of a size.
func compressed(t testing.TB, c Codec, data []byte, piece int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := c.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	for part := data; len(part) > 0; {
		n := min(piece, len(part))
		if wrote, err := w.Write(part[:n]); err != nil || wrote != n {
			t.Fatal(wrote, err)
		}
		part = part[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatalf("closed twice: %v", err)
	}
	return out.Bytes()
}

// plainOf is what containerd, which unpacks images in clusters, makes of the bytes.
func plainOf(t testing.TB, data []byte) []byte {
	t.Helper()
	rc, err := compression.DecompressStream(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	got, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestRoundTrip(t *testing.T) {
	for _, c := range all(t) {
		for _, size := range []int{1, 1000, partSize - 1, partSize, partSize + 1, 3*partSize + 17} {
			data := sample(size)
			if got := plainOf(t, compressed(t, c, data, 100_000)); !bytes.Equal(got, data) {
				t.Errorf("%s: %d bytes come back as %d other ones", c.Name(), size, len(got))
			}
		}
	}
}

func TestNothing(t *testing.T) {
	for _, c := range all(t) {
		out := compressed(t, c, nil, 1)
		if len(out) == 0 && c.Name() != Uncompressed {
			t.Errorf("%s: nothing at all is no stream", c.Name())
		}
		if len(out) > 0 && len(plainOf(t, out)) != 0 {
			t.Errorf("%s: something came out of nothing", c.Name())
		}
	}
}

// TestBytes: what comes out depends neither on the number of cores nor on how it is written. Who changes these digests
// changes revision, too.
func TestBytes(t *testing.T) {
	data := sample(2*partSize + 5)
	want := map[string]digest.Digest{
		"zstd-1/2":         "sha256:481dac1d4b53e9933a8fd2fe1e4a391dbb6b507e703cc8a88035b5b3325a1172",
		"gzip-4/2":         "sha256:232180016c89d1cb42f990e74f32681cb6a115b85bd5d913dad85dab4cba1465",
		"uncompressed-0/2": digest.FromBytes(data),
	}
	for _, c := range all(t) {
		for _, cores := range []int{1, 2, 7} {
			before := runtime.GOMAXPROCS(cores)
			got := digest.FromBytes(compressed(t, c, data, 1+cores*12345))
			runtime.GOMAXPROCS(before)
			if got != want[c.Key()] {
				t.Errorf("%s on %d cores makes %s, and not %s", c.Key(), cores, got, want[c.Key()])
			}
		}
	}
}

type failing struct{ after int }

var errFull = errors.New("no room")

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriterFails(t *testing.T) {
	for _, c := range all(t) {
		w, err := c.NewWriter(&failing{after: 1000})
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, 12*partSize)
		_, _ = rand.NewChaCha8([32]byte{}).Read(data) // nothing to compress
		_, werr := io.Copy(struct{ io.Writer }{w}, struct{ io.Reader }{bytes.NewReader(data)})
		if err := w.Close(); !errors.Is(errors.Join(werr, err), errFull) {
			t.Errorf("%s: %v, %v", c.Name(), werr, err)
		}
	}
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		name  string
		level int
		want  string
	}{
		{"lz4", 0, `unknown compression "lz4" (there are zstd, gzip and uncompressed)`},
		{Gzip, 10, "gzip has the levels 1 to 9, and not 10"},
		{Zstd, -1, "zstd has the levels 1 to 22, and not -1"},
		{Uncompressed, 1, "uncompressed has no levels"},
	} {
		if _, err := New(c.name, c.level); err == nil || err.Error() != c.want {
			t.Errorf("%s %d: %v", c.name, c.level, err)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("hello"), uint16(2))
	f.Fuzz(func(t *testing.T, data []byte, piece uint16) {
		for _, c := range all(t) {
			out := compressed(t, c, data, int(piece)+1)
			if len(out) > 0 && c.Name() != Uncompressed && !bytes.Equal(plainOf(t, out), data) {
				t.Errorf("%s: other bytes come back", c.Name())
			}
		}
	})
}
