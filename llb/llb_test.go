package llb

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/platforms"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/frontend/dockerfile/builder"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/proto"
)

var update = flag.Bool("update", false, "write the golden files")

// fixedImages resolves every reference to a digest of its name.
type fixedImages struct{}

func (fixedImages) ResolveImage(_ context.Context, ref string, p ocispecs.Platform) (digest.Digest, []byte, error) {
	if strings.Contains(ref, "missing") {
		return "", nil, fmt.Errorf("%s: not found", ref)
	}
	config := fmt.Sprintf(`{"architecture":%q,"os":%q,"config":{"Env":["PATH=/usr/local/bin:/usr/bin:/bin"],"Cmd":["python3"]},"rootfs":{"type":"layers","diff_ids":["sha256:%064d"]},"history":[{"created_by":"base"}]}`, p.Architecture, p.OS, 1)
	return digest.FromString(ref), []byte(config), nil
}

func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string]string{"src/app.py": "print(1)\n", "src/junk.pyc": "x", "src/deep/a.txt": "a", "one file[1].txt": "1"} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func sample(dir string) *Image {
	steps := DebianSetup("3.12", Lines{First: 1, Last: 1})
	steps = append(steps,
		Apt([]string{"git", "curl"}, Lines{First: 2, Last: 2}),
		Pip{Packages: []string{"numpy>=2"}, WheelsOnly: true, Lines: Lines{First: 3, Last: 3}}.Step(),
		Command("echo hello\necho you", Lines{First: 4, Last: 5}, Mount{Kind: SecretMount, ID: "token", Env: "TOKEN"}),
		Env{Key: "MODE", Value: "a b 'c'\n"},
		Workdir{Path: "work"},
		Copy{Local: "context", Src: "src", Dst: "code", Dir: true, Exclude: []string{"**/*.pyc", "!deep"}, Lines: Lines{First: 6, Last: 6}},
		Copy{Local: "context", Src: "one file[1].txt", Dst: "/data/one.txt", Owner: "1000:1000"},
		WriteFile{Dst: "hello.txt", Data: []byte("hello")},
		User{Name: DefaultUser},
		Entrypoint{Args: []string{"python", "code/app.py"}},
		Label{Key: "org.example", Value: "1"},
	)
	return &Image{
		Name: "sample", Base: Base{Ref: DebianPython("3.12"), Python: true, Lines: Lines{First: 1, Last: 1}}, Steps: steps,
		Sources: []*SourceFile{{Name: "image.yaml", Language: "YAML", Data: []byte("1\n2\n3\n4\n5\n6\n")}},
		Locals:  map[string]Local{"context": {Dir: dir}},
	}
}

func record(t *testing.T, img *Image, opt Options) *Recording {
	t.Helper()
	plan := &Plan{Image: img, Locals: img.Locals}
	rec, err := NewRecorder(fixedImages{}, plan, platforms.MustParse("linux/amd64")).Record(t.Context(), img.BuildFunc(opt))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func graph(t *testing.T, rec *Recording) *Graph {
	t.Helper()
	g, err := rec.Graph(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (write it with -update):\n%s", file, d)
	}
}

func TestGolden(t *testing.T) {
	both := []ocispecs.Platform{platforms.MustParse("linux/amd64"), platforms.MustParse("linux/arm64")}
	g := graph(t, record(t, sample(folder(t)), Options{Platforms: both}))
	var js, dot bytes.Buffer
	if err := g.WriteJSON(&js); err != nil {
		t.Fatal(err)
	}
	if err := g.WriteDOT(&dot); err != nil {
		t.Fatal(err)
	}
	golden(t, "sample.json", js.Bytes())
	golden(t, "sample.dot", dot.Bytes())
}

func TestIdentityDoesNotDependOnThePlace(t *testing.T) {
	a, b := folder(t), folder(t)
	old := time.Unix(1000000000, 0)
	if err := os.Chtimes(filepath.Join(b, "src/app.py"), old, old); err != nil {
		t.Fatal(err)
	}
	one := graph(t, record(t, sample(a), Options{})).Identity()
	two := graph(t, record(t, sample(b), Options{CacheNamespace: "tenant/"})).Identity()
	if one != two {
		t.Errorf("the same image has the identities %s and %s", one, two)
	}
}

func TestIdentityCoversEveryInput(t *testing.T) {
	base := func() (*Image, Options) { return sample(folder(t)), Options{} }
	seen := map[digest.Digest]string{}
	for name, change := range map[string]func(img *Image, opt *Options){
		"nothing":      func(*Image, *Options) {},
		"base":         func(img *Image, _ *Options) { img.Base.Ref = DebianPython("3.13") },
		"packages":     func(img *Image, _ *Options) { img.Steps[5] = Apt([]string{"git"}, Lines{}) },
		"env":          func(img *Image, _ *Options) { img.Steps[8] = Env{Key: "MODE", Value: "b"} },
		"file content": func(img *Image, _ *Options) { write(t, img, "src/app.py", "print(2)\n") },
		"file name":    func(img *Image, _ *Options) { write(t, img, "src/new.py", "") },
		"file mode":    func(img *Image, _ *Options) { os.Chmod(filepath.Join(img.Locals["context"].Dir, "src/app.py"), 0o755) },
		"link":         func(img *Image, _ *Options) { os.Symlink("app.py", filepath.Join(img.Locals["context"].Dir, "src/l")) },
		"exclude":      func(img *Image, _ *Options) { c := img.Steps[10].(Copy); c.Exclude = nil; img.Steps[10] = c },
		"owner":        func(img *Image, _ *Options) { c := img.Steps[11].(Copy); c.Owner = ""; img.Steps[11] = c },
		"data":         func(img *Image, _ *Options) { img.Steps[12] = WriteFile{Dst: "hello.txt", Data: []byte("hullo")} },
		"user":         func(img *Image, _ *Options) { img.Steps[13] = User{Name: "root"} },
		"entrypoint":   func(img *Image, _ *Options) { img.Steps[14] = Entrypoint{Args: []string{"python"}} },
		"label":        func(img *Image, _ *Options) { img.Steps[15] = Label{Key: "org.example", Value: "2"} },
		"platform":     func(_ *Image, opt *Options) { opt.Platforms = []ocispecs.Platform{platforms.MustParse("linux/arm64")} },
		"epoch":        func(_ *Image, opt *Options) { e := time.Unix(1, 0); opt.Epoch = &e },
		"secret's name": func(img *Image, _ *Options) {
			img.Steps[7] = Command("echo hello\necho you", Lines{}, Mount{Kind: SecretMount, ID: "other", Env: "TOKEN"})
		},
	} {
		img, opt := base()
		change(img, &opt)
		id := graph(t, record(t, img, opt)).Identity()
		if other, dup := seen[id]; dup {
			t.Errorf("%q and %q have the same identity", name, other)
		}
		seen[id] = name
	}
	// what a build cannot see is none of its business
	img, opt := base()
	write(t, img, "src/more.pyc", "ignored")
	write(t, img, "elsewhere.txt", "not copied")
	if id := graph(t, record(t, img, opt)).Identity(); seen[id] != "nothing" {
		t.Errorf("files that no step sees change the identity")
	}
}

func write(t *testing.T, img *Image, name, data string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(img.Locals["context"].Dir, name), []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOrder(t *testing.T) {
	apt := Apt([]string{"git"}, Lines{})
	wheels := Pip{Packages: []string{"a"}, WheelsOnly: true}.Step()
	compile := Pip{Packages: []string{"a"}}.Step()
	venv := Env{Key: "VIRTUAL_ENV", Value: VirtualEnv}
	for _, c := range []struct {
		name     string
		base     Base
		steps    []Step
		parallel bool
	}{
		{"wheels need no OS packages", Base{Ref: "python:3.12", Python: true}, []Step{venv, apt, wheels}, true},
		{"what may compile does", Base{Ref: "python:3.12", Python: true}, []Step{venv, apt, compile}, false},
		{"without a venv wheels go where apt goes", Base{Ref: "python:3.12", Python: true}, []Step{apt, wheels}, false},
		{"apt may bring the Python", Base{Ref: "debian:12"}, []Step{venv, apt, wheels}, false},
		{"a command in between keeps the order", Base{Ref: "python:3.12", Python: true}, []Step{venv, apt, Command("true", Lines{}), wheels}, false},
	} {
		img := &Image{Name: c.name, Base: c.base, Steps: c.steps}
		merged := false
		for _, v := range graph(t, record(t, img, Options{})).Images[0].Vertices {
			merged = merged || v.Op.GetMerge() != nil
		}
		if merged != c.parallel {
			t.Errorf("%s: side by side is %v", c.name, merged)
		}
	}
}

func TestSplit(t *testing.T) {
	env, code := sample(t.TempDir()).Split()
	if len(code) != 8 {
		t.Errorf("%d steps of code, want 8", len(code))
	}
	if _, ok := env.Steps[len(env.Steps)-1].(Exec); !ok {
		t.Errorf("the environment ends with %T", env.Steps[len(env.Steps)-1])
	}
	if env, code := (&Image{Steps: []Step{Env{Key: "A"}}}).Split(); len(env.Steps) != 0 || len(code) != 1 {
		t.Errorf("an image that runs nothing is all code, got %v, %v", env.Steps, code)
	}
}

func TestMachine(t *testing.T) {
	rec := record(t, sample(folder(t)), Options{})
	def := rec.Images[0].Definition
	before := proto.CloneOf(def)
	m := Machine{Env: map[string]string{"HTTP_PROXY": "http://user:canary@proxy:3128"}, Files: map[string][]byte{MachineCA: []byte("canary")}}
	out, err := m.Apply(def)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(before, def) {
		t.Error("Apply changed the definition that it was given")
	}
	ops, _, err := parseDefinition(out)
	if err != nil {
		t.Fatalf("the rewritten definition does not hang together: %v", err)
	}
	execs := 0
	for _, v := range ops {
		for _, in := range v.op.Inputs {
			if _, ok := ops[digest.Digest(in.Digest)]; !ok {
				t.Errorf("input %s is missing", in.Digest)
			}
		}
		if ex := v.op.GetExec(); ex != nil {
			execs++
			if len(ex.Secretenv) < len(MachineEnv()) {
				t.Errorf("%v sees %d variables", ex.Meta.Args, len(ex.Secretenv))
			}
		}
	}
	if execs != 4 {
		t.Errorf("%d steps run something, want 4", execs)
	}
	for d := range out.Source.Locations {
		if _, ok := ops[digest.Digest(d)]; !ok {
			t.Errorf("a position in the source belongs to %s, which is gone", d)
		}
	}
	data, err := proto.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("canary")) {
		t.Error("a value of the machine is in the definition")
	}
	if same, err := (Machine{}).Apply(def); err != nil || same != def {
		t.Errorf("a machine without settings changes the definition (%v)", err)
	}
}

func TestRecordDockerfile(t *testing.T) {
	dir := folder(t)
	for name, data := range map[string]string{
		"Dockerfile":    "ARG V=12\nFROM debian:$V AS a\nRUN --mount=type=cache,target=/c echo $V\nFROM debian:12\nCOPY src/ /src/\nCOPY --from=a /etc/os-release /\nHEALTHCHECK CMD true\n",
		".dockerignore": "**/*.pyc\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	plan := &Plan{
		Kind: "Dockerfile", Name: "Dockerfile", Build: builder.Build,
		Attrs:  map[string]string{"filename": "Dockerfile", "cmdline": "builtin", "platform": "linux/amd64,linux/arm64"},
		Locals: map[string]Local{"context": {Dir: dir}, "dockerfile": {Dir: dir}},
	}
	identity := func() digest.Digest {
		rec, err := NewRecorder(fixedImages{}, plan, platforms.MustParse("linux/amd64")).Record(t.Context(), plan.Build)
		if err != nil {
			t.Fatal(err)
		}
		if len(rec.Images) != 2 || !strings.Contains(string(rec.Images[1].Config), "Healthcheck") {
			t.Fatalf("recorded %d platforms, config %s", len(rec.Images), rec.Images[0].Config)
		}
		g := graph(t, rec)
		if v := g.Volatile(); len(v) > 0 {
			t.Errorf("volatile: %v", v)
		}
		return g.Identity()
	}
	one := identity()
	if two := identity(); one != two {
		t.Error("two recordings of one Dockerfile differ")
	}
	write(t, &Image{Locals: plan.Locals}, "src/other.pyc", "ignored")
	if identity() != one {
		t.Error("a file that .dockerignore excludes changes the identity")
	}
	write(t, &Image{Locals: plan.Locals}, "src/app.py", "print(3)\n")
	if identity() == one {
		t.Error("a copied file does not change the identity")
	}
}

func TestVolatile(t *testing.T) {
	for id, want := range map[string]bool{
		"docker-image://docker.io/library/debian@sha256:abc": false,
		"docker-image://docker.io/library/debian:12":         true,
		"https://example.org/x":                              true,
		"git://example.org/x#main":                           true,
		"local://context":                                    false,
		"oci-layout://x":                                     true,
	} {
		if got := volatile(&pb.SourceOp{Identifier: id}); got != want {
			t.Errorf("volatile(%s) = %v", id, got)
		}
	}
	if volatile(&pb.SourceOp{Identifier: "https://x", Attrs: map[string]string{pb.AttrHTTPChecksum: "sha256:1"}}) {
		t.Error("a URL with a checksum is not volatile")
	}
}

func TestErrorsPointIntoTheSource(t *testing.T) {
	img := sample(t.TempDir())
	img.Base.Ref = "example.org/missing:1"
	_, err := NewRecorder(fixedImages{}, &Plan{Image: img}, platforms.MustParse("linux/amd64")).Record(t.Context(), img.BuildFunc(Options{}))
	if err == nil || !strings.Contains(err.Error(), "base image example.org/missing:1") {
		t.Errorf("got %v", err)
	}
}
