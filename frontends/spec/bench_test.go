package spec

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bk "github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
)

// BenchmarkLoad reads, validates and lowers one spec with its files.
func BenchmarkLoad(b *testing.B) {
	src := read(b, "testdata/sources/image.yaml")
	for b.Loop() {
		if _, err := Load(src); err != nil {
			b.Fatal(err)
		}
	}
}

// eightLayers is the n-th of many specs.
func eightLayers(n int) Image {
	return From("docker.io/library/debian:bookworm@"+pinned).
		WithEnv(map[string]string{"A": fmt.Sprint(n)}).
		WithAptPackages("git").
		WithCommands("echo one", fmt.Sprintf("echo %d", n), "echo three").
		WithWorkdir("/srv").
		WithCommands("echo four").
		WithUser("nobody").
		WithSourceFolder("app", "/srv/app").
		WithCommands("echo five")
}

const pinned = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

var benchPlatform = ocispecs.Platform{OS: "linux", Architecture: "amd64"}

// bySpec is the definition that a spec is lowered to.
func bySpec(ctx context.Context, src source.Source, img Image) (*pb.Definition, error) {
	plan, err := img.Plan(src)
	if err != nil {
		return nil, err
	}
	rec, err := llb.NewRecorder(registryOf{}, plan, benchPlatform).Record(ctx, plan.Image.BuildFunc(llb.Options{Platforms: []ocispecs.Platform{benchPlatform}}))
	if err != nil {
		return nil, err
	}
	return rec.Images[0].Definition, nil
}

// byHand writes the same graph with BuildKit's own package.
func byHand(ctx context.Context, c gateway.Client, n int) (*pb.Definition, error) {
	at := bk.Platform(benchPlatform)
	ref := "docker.io/library/debian:bookworm@" + pinned
	if _, _, _, err := c.ResolveImageConfig(ctx, ref, resolveOpt(ref)); err != nil {
		return nil, err
	}
	st := bk.Image(ref, at, bk.WithCustomName("base image "+ref))
	env := []bk.RunOption{bk.AddEnv("A", fmt.Sprint(n)), bk.AddEnv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")}
	var uv *bk.State
	run := func(title, dir, user string, args []string, opts ...bk.RunOption) {
		opts = append(append(append([]bk.RunOption{bk.Dir(dir)}, env...), bk.Args(args), bk.User(user)), opts...)
		st = st.Run(append(opts, at, bk.WithCustomName(title))...).Root()
	}
	tool := func() bk.RunOption {
		if uv == nil {
			_, dgst, _, err := c.ResolveImageConfig(ctx, llb.UVImage, resolveOpt(llb.UVImage))
			if err != nil {
				panic(err)
			}
			ref := llb.UVImage + "@" + dgst.String()
			st := bk.Image(ref, at, bk.WithCustomName("tool image "+ref))
			uv = &st
		}
		return bk.AddMount("/run/ibuild/bin/uv", *uv, bk.SourcePath("/uv"), bk.Readonly)
	}
	apt := llb.Apt([]string{"git"}, llb.Lines{})
	conf := bk.Scratch().File(bk.Mkfile("/zz-ibuild", 0o644, apt.Mounts[2].Data, bk.WithCreatedTime(llb.CodeTime(nil))), at, bk.WithCustomName("[internal] zz-ibuild"))
	run(apt.Title, "/", "0:0", apt.Args,
		bk.AddMount("/var/cache/apt", bk.Scratch(), bk.AsPersistentCacheDir("apt/cache/linux/amd64", bk.CacheMountLocked)),
		bk.AddMount("/var/lib/apt/lists", bk.Scratch(), bk.AsPersistentCacheDir("apt/lists/linux/amd64", bk.CacheMountLocked)),
		bk.AddMount("/etc/apt/apt.conf.d/zz-ibuild", conf, bk.SourcePath("/zz-ibuild"), bk.Readonly))
	command := func(text, dir, user string) {
		run("run: "+text, dir, user, []string{"/bin/sh", "-c", text}, bk.AddEnv("UV_CACHE_DIR", "/run/ibuild/cache/uv"), tool())
	}
	command("echo one", "/", "")
	command(fmt.Sprintf("echo %d", n), "/", "")
	command("echo three", "/", "")
	created := llb.CodeTime(nil)
	st = st.File(bk.Mkdir("/srv", 0o755, bk.WithParents(true), bk.WithCreatedTime(created)), at, bk.WithCustomName("workdir: /srv"))
	command("echo four", "/srv", "")
	src := bk.Local("context", bk.SharedKeyHint("context"), bk.WithCustomName("read app"), bk.IncludePatterns([]string{"app"}), bk.ExcludePatterns(ignoredByHand()))
	st = st.File(bk.Copy(src, "/app", "/srv/app/", &bk.CopyInfo{Mode: &bk.ChmodOpt{ModeStr: "u=rwX,go=rX"}, CopyDirContentsOnly: true, CreateDestPath: true, CreatedTime: &created}),
		at, bk.WithCustomName("source folder: app"))
	command("echo five", "/srv", "nobody")
	def, err := st.Marshal(ctx, at)
	if err != nil {
		return nil, err
	}
	return def.ToPB(), nil
}

func resolveOpt(ref string) sourceresolver.Opt {
	return sourceresolver.Opt{LogName: "resolve " + ref, ImageOpt: &sourceresolver.ResolveImageOpt{Platform: &benchPlatform}}
}

// TestSameGraph shows that what the benchmark compares is the same graph.
func TestSameGraph(t *testing.T) {
	src := benchSource(t)
	ours, err := bySpec(t.Context(), src, eightLayers(7))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := byHand(t.Context(), llb.NewRecorder(registryOf{}, &llb.Plan{}, benchPlatform), 7)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(operations(t, theirs), operations(t, ours)); diff != "" {
		t.Error(diff)
	}
}

// operations are the operations of a definition in their order, but for the digests by which they refer to
// each other: BuildKit puts a new random name into every local source.
func operations(t *testing.T, def *pb.Definition) []string {
	var out []string
	for _, data := range def.Def {
		op := &pb.Op{}
		if err := op.Unmarshal(data); err != nil {
			t.Fatal(err)
		}
		for _, in := range op.Inputs {
			in.Digest = ""
		}
		if src := op.GetSource(); src != nil {
			delete(src.Attrs, pb.AttrLocalUniqueID)
		}
		out = append(out, prototext.Format(op))
	}
	return out
}

func benchSource(t testing.TB) source.Source {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "app"), 0o755); err != nil {
		t.Fatal(err)
	}
	return source.Source{Dir: dir}
}

// BenchmarkThousandSpecs compares what a spec costs with the same graph written by hand, 1,000 of each, in turns of
// 100; "ratio" is ours to theirs. It counts CPU time, so that it can be run on a machine that does other things, too.
func BenchmarkThousandSpecs(b *testing.B) {
	src := benchSource(b)
	var specs []Image
	for n := range 1000 {
		specs = append(specs, eightLayers(n))
	}
	var ours, theirs time.Duration
	for b.Loop() {
		for first := 0; first < len(specs); first += 100 {
			ours += cpuTime(b, func() {
				for _, img := range specs[first : first+100] {
					if _, err := bySpec(b.Context(), src, img); err != nil {
						b.Fatal(err)
					}
				}
			})
			theirs += cpuTime(b, func() {
				for n := range 100 {
					if _, err := byHand(b.Context(), llb.NewRecorder(registryOf{}, &llb.Plan{}, benchPlatform), first+n); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
	b.ReportMetric(float64(ours.Microseconds())/1000/float64(b.N), "µs/spec")
	b.ReportMetric(float64(theirs.Microseconds())/1000/float64(b.N), "µs/hand")
}

// cpuTime is the CPU time of this process while do runs, in program and system. What do leaves behind is collected
// at its own cost.
func cpuTime(b *testing.B, do func()) time.Duration {
	used := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	do()
	runtime.GC()
	return used() - before
}

// BenchmarkValidate10000 validates a spec with 10,000 source files, as a warm `ibuild spec validate` does.
func BenchmarkValidate10000(b *testing.B) {
	dir := b.TempDir()
	for i := range 100 {
		folder := filepath.Join(dir, "src", fmt.Sprint(i))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range 100 {
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprint(j, ".py")), []byte("x = 1\n"), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	img := DebianBase("").WithPipPackages(PipOptions{}, "numpy").WithSourceFolder("src", "")
	for b.Loop() {
		if err := img.Validate(dir); err != nil {
			b.Fatal(err)
		}
	}
}

// ignoredByHand are the standard ignores as somebody would write them for a folder: they hold at any depth.
func ignoredByHand() []string {
	out := StandardIgnores()
	for i, p := range out {
		if p == "**/*.pyc" {
			out[i] = "**.pyc"
		}
	}
	return out
}
