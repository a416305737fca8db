package engine

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
	fstypes "github.com/tonistiigi/fsutil/types"
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

	mu   sync.Mutex
	log  []string
	hook func(r *http.Request) // runs before each request
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.log = append(s.log, r.Method+" "+r.URL.Path)
		hook := s.hook
		s.mu.Unlock()
		if hook != nil {
			hook(r)
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
	if err := validate.Image(img); err != nil {
		t.Fatalf("%s: %v", ref, err)
	}
	return img
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
		Registry:   registry.New(registry.Options{Cache: store, Keychain: registry.StaticKeychain(nil)}),
		Cache:      store,
		Platform:   amd64,
		BuilderKey: "test",
		Open: func(context.Context) (Builder, error) {
			f.opened.Add(1)
			return nil, errNoBuilder
		},
	}
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

// plan is a plan of one image on the fixture's base, whose environment is one command.
func (f *fixture) plan(dir string, code ...llb.Step) *llb.Plan {
	img := &llb.Image{
		Name: "test", Base: llb.Base{Ref: f.host + "/base:1"},
		Steps:  append([]llb.Step{llb.Env{Key: "MODE", Value: "env"}, llb.Exec{Title: "install", Args: []string{"install"}}}, code...),
		Locals: map[string]llb.Local{"context": {Dir: dir}},
	}
	return &llb.Plan{Kind: "test", Name: "test", Image: img, Locals: img.Locals}
}

// environment is what the builder would be asked for.
func (f *fixture) environment(req Request) *environment {
	f.t.Helper()
	b := &build{Engine: f.engine, req: req, resolver: resolver{f.engine.Registry.NewResolver()}}
	env, code := req.Plan.Image.Split()
	rec, err := b.record(f.t.Context(), env.BuildFunc(req.Options))
	check(f.t, err)
	graph, err := rec.Graph(f.t.Context())
	check(f.t, err)
	e := &environment{rec: rec, img: env, code: code, facts: map[string]*Facts{},
		id: digest.FromString("environment/1 oci gzip\n" + graph.Identity().String())}
	f.findEnvironment(req, e)
	return e
}

// findEnvironment tells e which image the registry has for it, if any.
func (f *fixture) findEnvironment(req Request, e *environment) {
	for _, repo := range req.Outputs.repositories() {
		if d, err := f.engine.Registry.Head(f.t.Context(), repo+":"+e.tag()); err == nil {
			e.desc = d
		}
	}
}

// recorded is the config that llb makes for the whole image.
func (f *fixture) recorded(req Request, i int) v1.Config {
	f.t.Helper()
	b := &build{Engine: f.engine, req: req, resolver: resolver{f.engine.Registry.NewResolver()}}
	rec, err := b.record(f.t.Context(), b.buildFunc())
	check(f.t, err)
	var c v1.ConfigFile
	check(f.t, json.Unmarshal(rec.Images[i].Config, &c))
	return c.Config
}

// made is an image as the builder would have made it for one platform of a recording.
func made(t *testing.T, img llb.RecordedImage) v1.Image {
	t.Helper()
	var cf v1.ConfigFile
	check(t, json.Unmarshal(img.Config, &cf))
	layer, err := random.Layer(64, types.OCILayer)
	check(t, err)
	cf.RootFS, cf.History = v1.RootFS{Type: "layers"}, nil
	out, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), &cf)
	check(t, err)
	out, err = mutate.Append(out, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "install"}})
	check(t, err)
	return out
}

// environmentImage is what the builder would have pushed for the environment.
func environmentImage(t *testing.T, e *environment) remote.Taggable {
	t.Helper()
	if len(e.rec.Images) == 1 {
		return made(t, e.rec.Images[0])
	}
	idx := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, i := range e.rec.Images {
		p := v1.Platform{OS: i.Platform.OS, Architecture: i.Platform.Architecture, Variant: i.Platform.Variant}
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: made(t, i), Descriptor: v1.Descriptor{Platform: &p}})
	}
	return idx
}

// know makes the machine one that has built the environment before: the image is in each repository, and
// the facts are remembered. A file "etc/passwd" of the tree is given as its path; a folder ends in a slash.
func (f *fixture) know(req Request, tree ...string) *environment {
	f.t.Helper()
	e := f.environment(req)
	img := environmentImage(f.t, e)
	for _, repo := range req.Outputs.repositories() {
		f.server.push(f.t, repo+":"+e.tag(), img)
	}
	f.findEnvironment(req, e)
	f.facts(e, tree...)
	return e
}

func (f *fixture) facts(e *environment, tree ...string) {
	f.t.Helper()
	for _, i := range e.rec.Images {
		check(f.t, cache.Facts[Facts](f.cache).Put(e.factsKey(i), listing(tree...)))
	}
}

// listing makes facts: "a/" is a listed folder, "a" a file, "a@" a link, "a/?" a folder that is not listed.
func listing(paths ...string) Facts {
	out := Facts{Folders: map[string]map[string]Kind{"/": {}}}
	set := func(p string, k Kind) {
		dir := path.Dir(p)
		if out.Folders[dir] == nil {
			out.Folders[dir] = map[string]Kind{}
		}
		out.Folders[dir][path.Base(p)] = k
	}
	for _, p := range paths {
		p = "/" + p
		switch {
		case strings.HasSuffix(p, "/?"):
			set(path.Dir(p), Folder)
		case strings.HasSuffix(p, "/"):
			set(path.Clean(p), Folder)
			if out.Folders[path.Clean(p)] == nil {
				out.Folders[path.Clean(p)] = map[string]Kind{}
			}
		case strings.HasSuffix(p, "@"):
			set(p[:len(p)-1], Other)
		default:
			set(p, File)
		}
	}
	return out
}

// node is a path of a file tree, with all that a layer says about it but its time.
type node struct {
	Mode     fs.FileMode
	UID, GID int
	Data     string // content, or where a link points
}

// added lists what the layers on top of the first n put into an image, by path.
func added(t *testing.T, img v1.Image, n int) map[string]node {
	t.Helper()
	layers, err := img.Layers()
	check(t, err)
	out := map[string]node{}
	for _, l := range layers[n:] {
		rc, err := l.Uncompressed()
		check(t, err)
		for tr := tar.NewReader(rc); ; {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			check(t, err)
			data, err := io.ReadAll(tr)
			check(t, err)
			if !h.ModTime.Equal(time.Date(1980, 1, 2, 0, 0, 0, 0, time.UTC)) {
				t.Errorf("%s has the time %s", h.Name, h.ModTime)
			}
			out[strings.TrimSuffix(h.Name, "/")] = node{Mode: h.FileInfo().Mode(), UID: h.Uid, GID: h.Gid, Data: string(data) + h.Linkname}
		}
		rc.Close()
	}
	return out
}

// diskRef is a builder's reference whose tree is a folder.
type diskRef struct {
	gateway.Reference
	dir   string
	asked []string
	fail  error
}

func (r *diskRef) ReadDir(_ context.Context, req gateway.ReadDirRequest) ([]*fstypes.Stat, error) {
	r.asked = append(r.asked, req.Path)
	if r.fail != nil {
		return nil, r.fail
	}
	list, err := os.ReadDir(filepath.Join(r.dir, filepath.FromSlash(req.Path)))
	if err != nil {
		return nil, err
	}
	var out []*fstypes.Stat
	for _, e := range list {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		out = append(out, &fstypes.Stat{Path: e.Name(), Mode: uint32(info.Mode())})
	}
	return out, nil
}
