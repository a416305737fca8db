package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard)
	os.Exit(m.Run())
}

var (
	amd64 = platforms.MustParse("linux/amd64")
	arm64 = platforms.MustParse("linux/arm64")
)

// server is a registry on the loopback interface that writes down what it is asked.
type server struct {
	*httptest.Server
	host string

	mu     sync.Mutex
	log    []string
	hook   func(r *http.Request) // runs before each request
	denied string                // path prefix that nobody may read, "" for none
	closed bool                  // nobody may do anything
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.log = append(s.log, r.Method+" "+r.URL.Path)
		hook, denied, closed := s.hook, s.denied, s.closed
		s.mu.Unlock()
		if hook != nil {
			hook(r)
		}
		if closed {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if denied != "" && strings.HasPrefix(r.URL.Path, denied) && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	s.host = strings.TrimPrefix(s.URL, "http://")
	return s
}

// on sets what happens before each request, and forgets the log.
func (s *server) on(hook func(*http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook, s.log = hook, nil
}

// refuse makes the registry deny to read what is below a path; "" denies nothing.
func (s *server) refuse(prefix string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied = prefix
}

// requests are those since the last call of on, without pings.
func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, l := range s.log {
		if l != "GET /v2/" {
			out = append(out, l)
		}
	}
	return out
}

func (s *server) ref(t *testing.T, ref string) name.Reference {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (s *server) push(t *testing.T, ref string, what remote.Taggable) {
	t.Helper()
	if err := remote.Push(s.ref(t, ref), what); err != nil {
		t.Fatal(err)
	}
}

// digest of what a reference points to, "" for nothing.
func (s *server) digest(t *testing.T, ref string) string {
	t.Helper()
	d, err := remote.Head(s.ref(t, ref))
	if err != nil {
		return ""
	}
	return d.Digest.String()
}

func (s *server) remove(t *testing.T, ref string) {
	t.Helper()
	if err := remote.Delete(s.ref(t, ref)); err != nil {
		t.Fatal(err)
	}
}

// image fetches an image or one of an index, and checks every digest, size and diff ID in it.
func (s *server) image(t *testing.T, ref string, p ocispecs.Platform) v1.Image {
	t.Helper()
	img, err := remote.Image(s.ref(t, ref), remote.WithPlatform(v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}))
	if err != nil {
		t.Fatal(err)
	}
	if err := whole(img); err != nil {
		t.Fatalf("%s: %v", ref, err)
	}
	return img
}

// whole reads all of an image and checks its digests, sizes and diff IDs. (ggcr's own check knows no zstd.)
func whole(img v1.Image) error {
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	cf, err := img.ConfigFile() // checks its digest
	if err != nil {
		return err
	}
	if len(m.Layers) != len(cf.RootFS.DiffIDs) {
		return fmt.Errorf("%d layers and %d diff IDs", len(m.Layers), len(cf.RootFS.DiffIDs))
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for i, l := range layers {
		rc, err := l.Compressed() // checks digest and size
		if err != nil {
			return err
		}
		plain, err := compression.DecompressStream(rc)
		if err != nil {
			return err
		}
		diff, err := digest.Canonical.FromReader(plain)
		if err = errors.Join(err, plain.Close(), rc.Close()); err != nil {
			return err
		}
		if diff.String() != cf.RootFS.DiffIDs[i].String() {
			return fmt.Errorf("layer %d is %s, and the config says %s", i, diff, cf.RootFS.DiffIDs[i])
		}
	}
	return nil
}

func config(t *testing.T, img v1.Image) *v1.ConfigFile {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// baseImage is what a registry has for a base.
func baseImage(t *testing.T, p ocispecs.Platform, edit func(*v1.Config)) v1.Image {
	t.Helper()
	img, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	cf := config(t, img).DeepCopy()
	cf.OS, cf.Architecture, cf.Variant = p.OS, p.Architecture, p.Variant
	cf.Config = v1.Config{Env: []string{"PATH=/usr/bin:/bin", "LANG=C"}, WorkingDir: "/srv", Cmd: []string{"sh"}, OnBuild: []string{"RUN evil"}}
	if edit != nil {
		edit(&cf.Config)
	}
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		t.Fatal(err)
	}
	return img
}

// fixture is one user's machine with a registry at hand and no builder.
type fixture struct {
	*server
	t      *testing.T
	cache  *cache.Store
	engine *Engine
	opened atomic.Int32 // how often the builder was asked for
	said   func() string
}

var errNoBuilder = errors.New("the builder was asked for")

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{server: newServer(t), t: t}
	f.newMachine()
	return f
}

// newMachine gives the fixture an engine with an empty cache.
func (f *fixture) newMachine() {
	f.t.Helper()
	store, err := cache.Open(f.t.TempDir(), cache.WithWarn(func(msg string) { f.t.Log("cache: " + msg) }))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { store.Close() })
	f.cache = store
	f.engine = &Engine{
		Registry: registry.New(registry.Options{Cache: store, Keychain: registry.StaticKeychain(nil)}),
		Cache:    store,
		Builders: Builders{{Name: "test", Key: "test", Platform: amd64, Open: func(context.Context, string) (Builder, error) {
			f.opened.Add(1)
			return nil, errNoBuilder
		}}, Noop()},
	}
}

// start is the state of a build of the request before anything was done for it.
func (f *fixture) start(req Request) *build {
	f.t.Helper()
	b := newBuild(f.engine, req)
	choice, err := f.engine.Choose(f.t.Context(), req)
	check(f.t, err)
	b.provider = choice
	return b
}

// build runs one build and returns what it says about steps.
func (f *fixture) build(req Request) (*Result, error) {
	f.t.Helper()
	if req.Machine == nil {
		req.Machine = func() (llb.Machine, error) { return llb.Machine{}, nil }
	}
	p := NewProgress()
	f.engine.Progress = p
	var said strings.Builder
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range p.Statuses() {
			for _, v := range s.Vertexes {
				said.WriteString(v.Name + "\n")
			}
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	res, err := f.engine.Build(ctx, req)
	p.Close()
	<-done
	f.said = said.String
	return res, err
}

// must is build for what needs no builder.
func (f *fixture) must(req Request, how How) *Result {
	f.t.Helper()
	before := f.opened.Load()
	res, err := f.build(req)
	if err != nil {
		f.t.Fatalf("the build failed: %v\n%s", err, f.said())
	}
	if n := f.opened.Load() - before; n != 0 || res.Builder != "" {
		f.t.Errorf("the builder %q was opened %d times", res.Builder, n)
	}
	if res.How != how {
		f.t.Errorf("the build was %q, want %q", res.How, how)
	}
	return res
}

// needs is build for what a builder has to be opened for.
func (f *fixture) needs(req Request, why string) {
	f.t.Helper()
	res, err := f.build(req)
	if !errors.Is(err, errNoBuilder) {
		f.t.Errorf("%s: no builder was asked for (result %+v, error %v)", why, res, err)
	}
}

func (f *fixture) names(list ...string) []reference.NamedTagged {
	f.t.Helper()
	var out []reference.NamedTagged
	for _, s := range list {
		n, err := reference.ParseNormalizedNamed(f.host + "/" + s)
		if err != nil {
			f.t.Fatal(err)
		}
		out = append(out, reference.TagNameOnly(n).(reference.NamedTagged))
	}
	return out
}

// source makes a folder; names that end in a slash are folders, a value that begins with "->" is a link,
// one that begins with "x:" an executable.
func source(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	plant(t, dir, files)
	return dir
}

func plant(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, data := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		check(t, os.MkdirAll(filepath.Dir(p), 0o755))
		switch {
		case strings.HasSuffix(name, "/"):
			check(t, os.MkdirAll(p, 0o755))
		case strings.HasPrefix(data, "->"):
			check(t, os.Symlink(data[2:], p))
		case strings.HasPrefix(data, "x:"):
			check(t, os.WriteFile(p, []byte(data[2:]), 0o755))
		default:
			check(t, os.WriteFile(p, []byte(data), 0o644))
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
