package registry

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// bring copies an image of a source to a repository and its tag.
func bring(t *testing.T, c *Client, src Source, ref string) *Parcel {
	t.Helper()
	parcel, err := Pack(ctx(t), src, nil)
	if err != nil {
		t.Fatal(err)
	}
	repo, _, _ := strings.Cut(strings.Replace(ref, ":", "#", 1), ":")
	repo = strings.Replace(repo, "#", ":", 1)
	if err := c.Push(ctx(t), Upload{Repository: repo, Blobs: parcel.Blobs, Manifests: parcel.Manifests, Tags: []string{ref}}); err != nil {
		t.Fatal(err)
	}
	return parcel
}

func opened(t *testing.T, name string) *Layout {
	t.Helper()
	l, err := OpenLayout(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// An image goes from a registry into a layout, from there into another registry, from there into an archive, and from
// there into a third one, and is the same image everywhere.
func TestCopyAround(t *testing.T) {
	a, b, third := newServer(t), newServer(t), newServer(t)
	index := testIndex(t, amd64, arm64)
	push(t, a.host+"/from:1", index)
	c := newClient(t, Options{})
	from := func(ref string) Source {
		src, err := c.Image(ctx(t), ref, nil)
		if err != nil {
			t.Fatal(err)
		}
		return src
	}
	parcel, err := Pack(ctx(t), from(a.host+"/from:1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new", "layout")
	if err := WriteLayout(ctx(t), dir, Delivery{parcel, []string{"one"}}, nil); err != nil {
		t.Fatal(err)
	}
	l := opened(t, dir)
	img, err := l.Find("one")
	if err != nil {
		t.Fatal(err)
	}
	src, err := c.FromLayout(ctx(t), l, img)
	if err != nil {
		t.Fatal(err)
	}
	bring(t, c, src, b.host+"/to:2")

	if parcel, err = Pack(ctx(t), from(b.host+"/to:2"), nil); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	var out bytes.Buffer
	if err := WriteImages(ctx(t), &out, ArchiveOCI, []Delivery{{parcel, []string{"team/app:3"}}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	l = opened(t, file)
	if img, err = l.Find("team/app:3"); err != nil || len(img.Names) != 1 || img.Names[0] != "docker.io/team/app:3" {
		t.Fatalf("%+v: %v", img, err)
	}
	if src, err = c.FromLayout(ctx(t), l, img); err != nil {
		t.Fatal(err)
	}
	bring(t, c, src, third.host+"/last:4")

	for _, ref := range []string{a.host + "/from:1", b.host + "/to:2", third.host + "/last:4"} {
		got := pulled(t, ref)
		if got.Digest.String() != digestOf(t, index) {
			t.Errorf("%s is %s, not %s", ref, got.Digest, digestOf(t, index))
		}
		idx, err := got.ImageIndex()
		if err == nil {
			err = validate.Index(idx)
		}
		if err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
	path, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	root, err := path.ImageIndex()
	if err == nil {
		err = validate.Index(root)
	}
	if err != nil {
		t.Error(err)
	}
}

// A large image that is copied within one registry is mounted: the registry gets and gives no byte of a blob.
func TestCopyMovesNoBytes(t *testing.T) {
	s := newServer(t)
	img, err := random.Image(16<<20, 4)
	if err != nil {
		t.Fatal(err)
	}
	push(t, s.host+"/from:1", img)
	c := newClient(t, Options{})
	var bodies atomic.Int64
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		switch { // ggcr's registry has one store for all repositories, and no mounts
		case !strings.Contains(r.URL.Path, "/blobs/"):
			return false
		case r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/to/"):
			w.WriteHeader(http.StatusNotFound)
			return true
		case r.Method == http.MethodPost && q.Get("from") == "from" && q.Get("mount") != "":
			w.Header().Set("Location", "/v2/to/blobs/"+q.Get("mount"))
			w.WriteHeader(http.StatusCreated)
			return true
		}
		r.Body = &countedBody{r.Body, &bodies}
		return false
	})
	traffic := &Traffic{}
	src, err := c.Image(ctx(t), s.host+"/from:1", traffic)
	if err != nil {
		t.Fatal(err)
	}
	bring(t, c, src, s.host+"/to:1")
	if n := s.count("GET /v2/from/blobs"); n != 0 || bodies.Load() != 0 || traffic.Now().Fetched != 0 {
		t.Errorf("%d blobs were fetched (%d bytes) and %d bytes sent: %q", n, traffic.Now().Fetched, bodies.Load(), s.requests())
	}
	if got := pulled(t, s.host+"/to:1").Digest.String(); got != digestOf(t, img) {
		t.Errorf("it became %s", got)
	}
}

// countedBody counts what a request sends.
type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// Between two registries nothing is kept in between, and a source that is cut goes on.
func TestCopyStreams(t *testing.T) {
	a, b := newServer(t), newServer(t)
	s := newSpool(3 << 20)
	img, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.AppendLayers(img, spoolLayer{s})
	if err != nil {
		t.Fatal(err)
	}
	push(t, a.host+"/from:1", img)
	s.on(a, func(w http.ResponseWriter, _ *http.Request, _ int, at int64) { s.send(w, at, 1<<20) })
	store := newCache(t)
	c := newClient(t, Options{Cache: store})
	traffic := &Traffic{}
	src, err := c.Image(ctx(t), a.host+"/from:1", traffic)
	if err != nil {
		t.Fatal(err)
	}
	bring(t, c, src, b.host+"/to:1")
	if asked, served := s.seen(); len(asked) != 3 || served != s.desc.Size {
		t.Errorf("%q, %d bytes", asked, served)
	}
	if got := pulled(t, b.host+"/to:1").Digest.String(); got != digestOf(t, img) {
		t.Errorf("it became %s", got)
	}
	if store.HasBlob(s.desc) {
		t.Error("the layer is in the cache, and nobody asked for that")
	}
	if f := traffic.Now().Fetched; f < s.desc.Size || f > s.desc.Size+1000 {
		t.Errorf("fetched %d bytes", f)
	}
}

// spoolLayer is a blob as a layer of ggcr's.
type spoolLayer struct{ s *spool }

func (l spoolLayer) Digest() (v1.Hash, error) { return v1.NewHash(l.s.desc.Digest.String()) }
func (l spoolLayer) DiffID() (v1.Hash, error) { return l.Digest() }
func (l spoolLayer) Size() (int64, error)     { return l.s.desc.Size, nil }
func (l spoolLayer) MediaType() (types.MediaType, error) {
	return types.MediaType(l.s.desc.MediaType), nil
}
func (l spoolLayer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.s.data)), nil
}
func (l spoolLayer) Uncompressed() (io.ReadCloser, error) { return l.Compressed() }

func TestSaveSeveral(t *testing.T) {
	s := newServer(t)
	one, two := testImage(t, amd64), testImage(t, arm64)
	push(t, s.host+"/one:1", one)
	push(t, s.host+"/two:2", two)
	c := newClient(t, Options{})
	var list []Delivery
	for _, ref := range []string{s.host + "/one:1", s.host + "/two:2"} {
		src, err := c.Image(ctx(t), ref, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Pack(ctx(t), src, nil)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Delivery{p, []string{ref}})
	}
	for _, format := range []ArchiveFormat{ArchiveOCI, ArchiveDocker} {
		var out bytes.Buffer
		traffic := &Traffic{}
		if err := WriteImages(ctx(t), &out, format, list, traffic); err != nil {
			t.Fatal(err)
		}
		if now := traffic.Now(); now.Total == 0 || now.Settled != now.Total || now.Moved.Bytes != now.Total {
			t.Errorf("%s: %+v", format, now)
		}
		file := filepath.Join(t.TempDir(), "images.tar")
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		l := opened(t, file)
		for ref, img := range map[string]v1.Image{s.host + "/one:1": one, s.host + "/two:2": two} {
			if found, err := l.Find(ref); err != nil || found.Root.Digest.String() != digestOf(t, img) {
				t.Errorf("%s: %s is %+v: %v", format, ref, found, err)
			}
			if format == ArchiveOCI {
				continue
			}
			tag, err := name.NewTag(ref)
			if err != nil {
				t.Fatal(err)
			}
			read, err := tarball.ImageFromPath(file, &tag)
			if err == nil {
				err = validate.Image(read)
			}
			if err != nil {
				t.Errorf("ggcr reads %s: %v", ref, err)
			}
		}
		if _, err := l.Find(""); err == nil || !strings.Contains(err.Error(), "holds 2 images") {
			t.Errorf("%s: the one of two: %v", format, err)
		}
	}
}

// The next layers of an archive are asked for while one comes.
func TestArchiveOpensAhead(t *testing.T) {
	s := newServer(t)
	push(t, s.host+"/app:1", testImage(t, amd64)) // a config and two layers
	c := newClient(t, Options{})
	src, err := c.Image(ctx(t), s.host+"/app:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Pack(ctx(t), src, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.be(nil)
	w := writerFunc(func(data []byte) (int, error) { // nothing is read before all three are asked for
		for deadline := time.Now().Add(10 * time.Second); s.count("GET /v2/app/blobs/") < 3; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("asked for %q", s.requests())
			}
		}
		return len(data), nil
	})
	if err := WriteImages(ctx(t), &lateWriter{w, 3 * 512}, ArchiveOCI, []Delivery{{p, nil}}, nil); err != nil {
		t.Fatal(err)
	}

	// What was opened in vain is closed.
	open := &atomic.Int64{}
	for i := range p.Blobs {
		inner := p.Blobs[i].Open
		p.Blobs[i].Open = func(offset int64) (io.ReadCloser, error) {
			rc, err := inner(offset)
			if err == nil {
				open.Add(1)
				rc = closing{rc, open}
			}
			return rc, err
		}
	}
	if err := WriteImages(ctx(t), &fullDisk{2000}, ArchiveOCI, []Delivery{{p, nil}}, nil); !errors.Is(err, errFull) || open.Load() != 0 {
		t.Errorf("%v, %d are open", err, open.Load())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// lateWriter writes all but its first bytes.
type lateWriter struct {
	w     io.Writer
	first int
}

func (l *lateWriter) Write(p []byte) (int, error) {
	if l.first -= len(p); l.first >= 0 {
		return len(p), nil
	}
	return l.w.Write(p)
}

type closing struct {
	io.ReadCloser
	open *atomic.Int64
}

func (c closing) Close() error {
	c.open.Add(-1)
	return c.ReadCloser.Close()
}

func TestRequestsOfCopy(t *testing.T) {
	s := newServer(t)
	push(t, s.host+"/from:1", testIndex(t, amd64, arm64))
	c := newClient(t, Options{Cache: newCache(t)})
	s.be(nil)
	src, err := c.Image(ctx(t), s.host+"/from:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	bring(t, c, src, s.host+"/to:1")
	gets := slices.DeleteFunc(s.requests(), func(r string) bool { return !strings.HasPrefix(r, "GET ") })
	if len(gets) != 3 { // the index and two manifests
		t.Errorf("%q", gets)
	}
}
