package launch

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/runner/bootstrap"
	"github.com/klauspost/compress/zstd"
)

// site is a registry on the loopback interface, and a machine that has no builder.
type site struct {
	t     *testing.T
	host  string
	means Means

	mu   sync.Mutex
	sent []string // requests that change something
}

var errNoBuilder = errors.New("the builder was asked for")

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t}
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			s.mu.Lock()
			s.sent = append(s.sent, r.Method+" "+r.URL.Path)
			s.mu.Unlock()
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.host = strings.TrimPrefix(server.URL, "http://")
	s.newMachine()
	return s
}

// newMachine forgets all that the machine knows.
func (s *site) newMachine() {
	s.t.Helper()
	store, err := cache.Open(s.t.TempDir())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { store.Close() })
	s.means = Means{CacheFolder: s.t.TempDir(), Engine: &engine.Engine{
		Registry: registry.New(registry.Options{Cache: store, Keychain: registry.StaticKeychain(nil)}),
		Cache:    store,
		Builders: engine.Builders{{Name: "test", Open: func(context.Context, string) (engine.Builder, error) { return nil, errNoBuilder }}},
	}}
}

// requests are those that changed something since the last call.
func (s *site) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.sent
	s.sent = nil
	return out
}

// base pushes an image for an architecture.
func (s *site) base(ref, arch string, edit func(*v1.Config)) {
	s.t.Helper()
	img, err := random.Image(64, 2)
	s.check(err)
	cf, err := img.ConfigFile()
	s.check(err)
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture = "linux", arch
	cf.Config = v1.Config{Entrypoint: []string{"/bin/serve"}, Cmd: []string{"--all"}, WorkingDir: "/srv", User: "app"}
	if edit != nil {
		edit(&cf.Config)
	}
	img, err = mutate.ConfigFile(img, cf)
	s.check(err)
	at, err := name.ParseReference(s.host + "/" + ref)
	s.check(err)
	s.check(remote.Write(at, img))
	s.requests()
}

func (s *site) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// prepare launches, with a progress that nobody looks at.
func (s *site) prepare(o Options) (*Launch, error) {
	s.t.Helper()
	p := engine.NewProgress()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range p.Statuses() {
		}
	}()
	s.means.Engine.Progress = p
	l, err := Prepare(s.t.Context(), o, s.means)
	p.Close()
	<-done
	return l, err
}

func (s *site) must(o Options) *Launch {
	s.t.Helper()
	l, err := s.prepare(o)
	s.check(err)
	return l
}

// image is a launch's image as the registry has it.
func (s *site) image(l *Launch) v1.Image {
	s.t.Helper()
	at, err := name.ParseReference(l.Image)
	s.check(err)
	img, err := remote.Image(at)
	s.check(err)
	return img
}

// layer lists what is in the layer with a number, from the end: "mode path" and for a file its text.
func (s *site) layer(img v1.Image, fromEnd int) map[string]string {
	s.t.Helper()
	layers, err := img.Layers()
	s.check(err)
	rc, err := layers[len(layers)-fromEnd].Compressed()
	s.check(err)
	defer rc.Close()
	z, err := zstd.NewReader(rc)
	s.check(err)
	defer z.Close()
	out := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		s.check(err)
		data, err := io.ReadAll(r)
		s.check(err)
		text := fmt.Sprintf("%04o", h.Mode)
		switch h.Typeflag {
		case tar.TypeSymlink:
			text += " -> " + h.Linkname
		case tar.TypeReg:
			text += " " + string(data)
		}
		out[h.Name] = text
	}
}

// with are the options of a case, in a folder with files.
func (s *site) with(files map[string]string, o Options) Options {
	s.t.Helper()
	o.Dir = folder(s.t, files)
	s.t.Chdir(o.Dir)
	o.Home = filepath.Dir(o.Dir)
	if o.Accelerator.Kind == "" {
		o.Accelerator = accelerator("cpu")
	}
	o.Repository = s.host + "/team/jobs"
	return o
}

// needBootstrap skips a test of a checkout whose generated programs are not there: make makes them.
func needBootstrap(t *testing.T) {
	t.Helper()
	var missing *bootstrap.MissingError
	if _, err := bootstrap.Digest("amd64"); errors.As(err, &missing) {
		t.Skip(missing)
	}
}

func TestImageAsItIs(t *testing.T) {
	s := newSite(t)
	s.base("team/own:1", "amd64", nil)
	l := s.must(s.with(nil, Options{Source: s.host + "/team/own:1", Args: []string{"-v"}, NoBootstrap: true}))
	if !strings.HasPrefix(l.Image, s.host+"/team/own@sha256:") || l.Command() != nil || l.Dir != "" || !slices.Equal(l.Args, []string{"-v"}) {
		t.Errorf("got %+v", l)
	}
	if sent := s.requests(); len(sent) > 0 {
		t.Errorf("something was pushed: %v", sent)
	}
}

func TestImageWithBootstrap(t *testing.T) {
	needBootstrap(t)
	s := newSite(t)
	s.base("team/own:1", "amd64", nil)
	o := s.with(nil, Options{Source: s.host + "/team/own:1"})
	l := s.must(o)
	if want := []string{"/ibuild/bootstrap", "run", "--output=/ibuild/output", "--", "/bin/serve", "--all"}; !slices.Equal(l.Command(), want) || l.Args != nil {
		t.Errorf("the command is %q with %q, want %q", l.Command(), l.Args, want)
	}
	img := s.image(l)
	files := s.layer(img, 1)
	if len(files) != 3 || files["ibuild/"] != "0755" || files["ibuild/output/"] != "0777" || !strings.HasPrefix(files["ibuild/bootstrap"], "0755 \x7fELF") {
		t.Errorf("the layer has %.100q", files)
	}
	cf, err := img.ConfigFile()
	s.check(err)
	if cf.Config.User != "app" || cf.Config.WorkingDir != "/srv" || len(cf.Config.Env) != 0 {
		t.Errorf("the image's own settings are %+v", cf.Config)
	}
	s.requests()
	for _, known := range []string{"this machine", "a machine that knows nothing"} {
		if again := s.must(o); again.Image != l.Image {
			t.Errorf("%s: %s, and then %s", known, l.Image, again.Image)
		}
		if sent := s.requests(); len(sent) > 0 {
			t.Errorf("%s pushes again: %v", known, sent)
		}
		s.newMachine()
	}
	o.Args = []string{"other"}
	if l := s.must(o); !slices.Equal(l.Container.Program, []string{"/bin/serve", "other"}) {
		t.Errorf("with arguments the program is %q", l.Container.Program)
	}
}

func TestImageWithoutProgram(t *testing.T) {
	needBootstrap(t)
	s := newSite(t)
	s.base("team/own:1", "amd64", func(c *v1.Config) { c.Entrypoint, c.Cmd = nil, nil })
	_, err := s.prepare(s.with(nil, Options{Source: s.host + "/team/own:1"}))
	expectFinding(t, err, "has neither an entry point nor a command")
}

// TestCode puts a program onto an image: what goes along, and as whom.
func TestCode(t *testing.T) {
	s := newSite(t)
	s.base("team/own:1", "amd64", func(c *v1.Config) { c.Env = []string{"PATH=/usr/bin", "LD_LIBRARY_PATH=/cuda"} })
	o := s.with(map[string]string{
		"train.py": "print(1)\n", "pkg/model.py": "m", "pkg/.git/HEAD": "", "run.sh": "#!", "data.csv": "1", ".dockerignore": "*.csv\n", "x.pyc": "",
	}, Options{Source: "train.py", Image: s.host + "/team/own:1", NoBootstrap: true, Accelerator: accelerator("l4"), Args: []string{"a b"}})
	s.check(os.Chmod("run.sh", 0o700))
	s.check(os.Symlink("pkg/model.py", "link.py"))
	s.check(os.Link("train.py", "second.py"))
	l := s.must(o)
	want := map[string]string{
		"ibuild/": "0755", "ibuild/code/": "0777", "ibuild/code/train.py": "0644 print(1)\n", "ibuild/code/second.py": "0644 print(1)\n", "ibuild/code/pkg/": "0777",
		"ibuild/code/pkg/model.py": "0644 m", "ibuild/code/run.sh": "0755 #!", "ibuild/code/.dockerignore": "0644 *.csv\n", "ibuild/code/link.py": "0777 -> pkg/model.py",
	}
	if diff := cmp.Diff(want, s.layer(s.image(l), 1)); diff != "" {
		t.Errorf("the code's layer (- is wanted, + is there):\n%s", diff)
	}
	if l.Dir != "/ibuild/code" || !slices.Equal(l.Command(), []string{"python3", "/ibuild/code/train.py"}) || !slices.Equal(l.Args, []string{"a b"}) || l.Container != nil {
		t.Errorf("got %+v", l)
	}
	cf, err := s.image(l).ConfigFile()
	s.check(err)
	if want := []string{"PATH=/usr/bin:/usr/local/nvidia/bin", "LD_LIBRARY_PATH=/cuda:/usr/local/nvidia/lib64"}; !slices.Equal(cf.Config.Env, want) {
		t.Errorf("the environment is %q, want %q", cf.Config.Env, want)
	}
	s.newMachine()
	s.check(os.Chtimes("train.py", time.Unix(1, 0), time.Unix(1, 0)))
	if again := s.must(o); again.Image != l.Image {
		t.Error("the same files make another image")
	}
	epoch := time.Unix(1_700_000_000, 0)
	s.means.Request.Options.Epoch = &epoch
	dated := s.must(o)
	if cf, err := s.image(dated).ConfigFile(); err != nil || !cf.Created.Equal(epoch) || !cf.History[len(cf.History)-1].Created.Equal(epoch) || dated.Image == l.Image {
		t.Errorf("with SOURCE_DATE_EPOCH: %v, %v", cf, err)
	}
	s.means.Request.Options.Epoch = nil
	s.check(os.WriteFile("train.py", []byte("print(2)\n"), 0o600))
	if again := s.must(o); again.Image == l.Image {
		t.Error("other files make the same image")
	}
}

// TestPrebuilt pushes a change of code without a builder, and no more than the layer that has it.
func TestPrebuilt(t *testing.T) {
	needBootstrap(t)
	s := newSite(t)
	s.base("bases/base-tpu:v1", "amd64", nil)
	o := s.with(map[string]string{"train.py": "1", "requirements.txt": "numpy\njax\n"}, Options{Source: "train.py", Mode: Prebuilt, BaseTag: "v1", Accelerator: accelerator("v5e")})
	o.Getenv = func(name string) string { return map[string]string{KineticRepoVariable: s.host + "/bases"}[name] }
	l := s.must(o)
	if got := s.layer(s.image(l), 1)["ibuild/requirements.txt"]; got != "0644 numpy\n\n" {
		t.Errorf("installed is %q", got)
	}
	want := []string{"/ibuild/bootstrap", "run", "--install=/ibuild/requirements.txt", "--output=/ibuild/output", "--", "python3", "/ibuild/code/train.py"}
	if !slices.Equal(l.Command(), want) {
		t.Errorf("the command is %q, want %q", l.Command(), want)
	}
	if len(l.Warnings) != 1 || !strings.HasPrefix(l.Warnings[0], "requirements.txt:2: jax is left out") {
		t.Errorf("the warnings are %q", l.Warnings)
	}
	s.requests()
	s.check(os.WriteFile("train.py", []byte("2"), 0o600))
	s.must(o)
	sent := s.requests()
	uploads := slices.DeleteFunc(slices.Clone(sent), func(r string) bool { return !strings.HasPrefix(r, "PUT") || strings.Contains(r, "/manifests/") })
	if len(uploads) > 2 { // the layer with the code, and the config
		t.Errorf("a change of code sends %v", sent)
	}
}

// TestFindings are what only a registry can tell, in words for the user.
func TestFindings(t *testing.T) {
	s := newSite(t)
	s.base("team/own:1", "amd64", nil)
	files := map[string]string{"train.py": ""}
	cases := map[string]struct {
		o    Options
		want []string
	}{
		"wrong architecture": {Options{Source: s.host + "/team/own:1", NoBootstrap: true, Accelerator: accelerator("gb200")}, []string{"linux/arm64", "linux/amd64", "build the image for that platform"}},
		"no such image":      {Options{Source: s.host + "/team/none:1", NoBootstrap: true}, []string{"/team/none:1"}},
		"no base image": {Options{Source: "train.py", Mode: Prebuilt, BaseRepo: s.host + "/bases"},
			[]string{"there is no base image " + s.host + "/bases/base-cpu:latest", "ibuild build-image --category cpu", BaseRepoVariable}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := s.prepare(s.with(files, c.o))
			if err == nil {
				t.Fatal("it was prepared")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message %q has no %q", err, want)
				}
			}
		})
	}
	if sent := s.requests(); len(sent) > 0 {
		t.Errorf("something was pushed: %v", sent)
	}
}

// TestTooMuchCode refuses what is data rather than code.
func TestTooMuchCode(t *testing.T) {
	s := newSite(t)
	s.base("team/own:1", "amd64", nil)
	o := s.with(map[string]string{"train.py": ""}, Options{Source: "train.py", Image: s.host + "/team/own:1", NoBootstrap: true})
	f, err := os.Create("weights.bin")
	s.check(err)
	s.check(errors.Join(f.Truncate(maxCodeBytes+1), f.Close()))
	_, err = s.prepare(o)
	expectFinding(t, err, "would go along with the program")
}

// TestBundledAsksTheBuilder is for the way to it; what it makes, integration/runs tests.
func TestBundledAsksTheBuilder(t *testing.T) {
	s := newSite(t)
	o := s.with(map[string]string{"app/Dockerfile": "FROM scratch\nCOPY . /\n"}, Options{Source: "app"})
	if _, err := s.prepare(o); !errors.Is(err, errNoBuilder) {
		t.Errorf("got %v", err)
	}
}

func expectFinding(t *testing.T, err error, want string) {
	t.Helper()
	var found *source.Error
	if !errors.As(err, &found) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want a finding with %q", err, want)
	}
}
