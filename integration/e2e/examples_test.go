//go:build integration

package e2e

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/ibuild/ibuild/integration/imagetest"
	"github.com/ibuild/ibuild/integration/testenv"
)

// realExample is a spec of examples/specs that stands for what people bring. It is built with the in-process engine
// as root and with the rootless daemon.
type realExample struct {
	spec string // below examples/specs: a folder, or a file in one
	// prepare changes a copy of the example's folder, and returns more flags. It may be nil.
	prepare func(t *testing.T, e engine, dir string) []string
	// shares says that the engines use one thing, so that they cannot build at once.
	shares bool
	// run says how the image is run; nil is by its own config.
	run func(t *testing.T, img v1.Image) imagetest.RunOptions
	// want is what it prints, by platform; those of the others are not built.
	want map[string]string
	// check looks at more than what the image prints. It may be nil.
	check func(t *testing.T, b builtExample)
}

// builtExample is one build of an example.
type builtExample struct {
	engine  engine
	outcome outcome
	ref     string
	begin   testenv.Mark // of the private site's requests
}

func realExamples() []realExample {
	return []realExample{
		{spec: "science", want: amd("slope 2.50, OpenMP with 2 threads\nnotebooks: explore.ipynb\n")},
		{spec: "served-model", run: serve, want: amd(`{"user":1000}` + "\n" + `{"y":4.5}` + "\n")},
		{spec: "private-index", shares: true, prepare: withPassword, check: usedPassword, want: amd("ibuild-private-hello 1.1\n")},
		{spec: "private-index/netrc.yaml", shares: true, prepare: withNetrc, check: usedPassword, want: amd("ibuild-private-hello 1.1\n")},
		{spec: "uv-workspace", want: amd(workspacePrints)},
		{spec: "uv-workspace/project.yaml", want: amd(workspacePrints)},
		{spec: "poetry-app", want: amd("ant  67a333356cdc\nbee  62cb81b5904a\nalso here: nothing\n")},
		{spec: "two-platforms", check: builtNatively, want: map[string]string{
			amd64: "x86_64\nmarkupsafe._speedups x86_64\nmsgpack._cmsgpack x86_64\n",
			arm64: "aarch64\nmarkupsafe._speedups aarch64\nmsgpack._cmsgpack aarch64\n"}},
		{spec: "legacy-requirements", want: amd("humanize 4.9.0\ntabulate 0.8.10\npackaging 24.2\nlegacy-core 2.1\nlegacy-tools 0.7\nlegacy-units 1.0\n" +
			"3.0 MIB site-packages\n")},
		{spec: "team-base", want: amd("Models are reviewed by two people.\n")},
		{spec: "on-top", check: sameAsNested, want: amd("forecasting  nightly  12,345\nModels are reviewed by two people.\n")},
		{spec: "existing-user", shares: true, prepare: withItsBase, want: amd("model in /srv/model\nmade by model in /srv/model\n0.25 0.5\n" +
			"model made.txt\nmodel weights.txt\nroot show.sh\ntabulate 0.9.0 in the system Python\n")},
		{spec: "from-dockerfile", want: amd("version 1.4\nant\nzebra\n")},
	}
}

const workspacePrints = "age     4.0 KiB\nheight  64.0 KiB\nwithout pytest\n"

// onlyGraphs are examples whose bases are not on the test machines: nobody builds them here. Their graphs are
// compared in frontends/spec.
func onlyGraphs() []string { return []string{"tensorflow/image.yaml", "cuda/image.yaml"} }

// TestRealExamples builds the examples, runs what comes out, and sees that both engines make the same image.
func TestRealExamples(t *testing.T) {
	for _, x := range realExamples() {
		t.Run(x.spec, x.test)
	}
}

// TestEveryExampleIsTested finds specs that no test builds.
func TestEveryExampleIsTested(t *testing.T) {
	tested := map[string]bool{"on-top/nested.yaml": true} // by sameAsNested
	for _, name := range onlyGraphs() {
		tested[name] = true
	}
	for _, x := range realExamples() {
		tested[x.file()] = true
	}
	for _, x := range specExamples() {
		tested[x.dir+"/image.yaml"] = true
	}
	top := filepath.Join(shared.examples, "specs")
	found, err := filepath.Glob(top + "/*/*.yaml")
	if err != nil || len(found) < len(tested) {
		t.Fatalf("%d specs, want at least %d (%v)", len(found), len(tested), err)
	}
	for _, name := range found {
		if rel, _ := filepath.Rel(top, name); !tested[rel] {
			t.Errorf("the example %s is not tested", rel)
		}
	}
}

// file is the spec's file below examples/specs.
func (x realExample) file() string {
	if filepath.Ext(x.spec) == ".yaml" {
		return x.spec
	}
	return x.spec + "/image.yaml"
}

func (x realExample) test(t *testing.T) {
	var all agreement
	test := func(t *testing.T, e engine) {
		b := x.build(t, e)
		for p, text := range x.want {
			img := pull(t, b.ref, p)
			all.add(t, img, p, func() { prints(t, img, x.options(t, img), text) })
		}
		if x.check != nil {
			x.check(t, b)
		}
	}
	if x.shares {
		for _, e := range rootAndRemote(t) {
			t.Run(e.name, func(t *testing.T) { test(t, e) })
		}
		return
	}
	enginesAtOnce(t, rootAndRemote(t), test)
}

// build builds a copy of the example, in a repository of its own: nothing is found there that was built before.
func (x realExample) build(t *testing.T, e engine) builtExample {
	t.Helper()
	dir := x.copy(t)
	name := strings.NewReplacer("/", "-", ".yaml", "").Replace(x.spec)
	b := builtExample{engine: e, ref: shared.env.Registry.Ref("examples/" + e.name + "/" + name), begin: shared.env.Sites.Private.Mark()}
	args := []string{"build", "--progress", "plain", "--push", "-t", b.ref}
	if x.prepare != nil {
		args = append(args, x.prepare(t, e, dir)...)
	}
	b.outcome = e.ibuild(t, append(args, filepath.Join(dir, filepath.Base(x.file())))...)
	if !strings.Contains(b.outcome.stderr, "built by") {
		t.Errorf("no builder made this:\n%s", b.outcome.stderr)
	}
	return b
}

// copy is the example's folder, to be changed. The folders beside it come along, for examples that name them.
func (x realExample) copy(t *testing.T) string {
	t.Helper()
	return filepath.Join(example(t, "specs"), filepath.Dir(x.file()))
}

func (x realExample) options(t *testing.T, img v1.Image) imagetest.RunOptions {
	t.Helper()
	if x.run == nil {
		return noOptions
	}
	return x.run(t, img)
}

// serveScript starts the image's own entry point and asks it for its health and for a prediction.
const serveScript = `"$@" >&2 & server=$!
port=$(for last; do :; done; echo "$last")
for try in $(seq 100); do python -m app.health "$port" 2>/dev/null && break; sleep 0.1; done
python -c "import sys, urllib.request as u
print(u.urlopen(u.Request('http://127.0.0.1:$port/predict', b'{\"x\": 2}', {'Content-Type': 'application/json'})).read().decode())"
kill $server`

func serve(t *testing.T, img v1.Image) imagetest.RunOptions {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	own := append(config.Config.Entrypoint, "--port", strconv.Itoa(port))
	return imagetest.RunOptions{Entrypoint: append([]string{"sh", "-c", serveScript, "sh"}, own...)}
}

// useSite has the specs of private-index use the index with a password.
func useSite(t *testing.T, dir string) *testenv.Site {
	t.Helper()
	site := shared.env.Sites.Private
	for _, name := range []string{"image.yaml", "netrc.yaml"} {
		file := filepath.Join(dir, name)
		write(t, file, strings.NewReplacer("https://packages.example.com/simple/", site.Index(), "username: ibuild", "username: "+site.User).Replace(read(t, file)))
	}
	return site
}

func withPassword(t *testing.T, _ engine, dir string) []string {
	site := useSite(t, dir)
	return []string{"--secret", "id=COMPANY_INDEX_PASSWORD,src=" + filepath.Join(files(t, "password", site.Password), "password")}
}

func withNetrc(t *testing.T, _ engine, dir string) []string {
	site := useSite(t, dir)
	text := "machine 127.0.0.1 login " + site.User + " password " + site.Password + "\n"
	return []string{"--secret", "id=company/netrc,src=" + filepath.Join(files(t, "netrc", text), "netrc")}
}

// usedPassword: the index was asked with the password, which is nowhere now.
func usedPassword(t *testing.T, b builtExample) {
	site := shared.env.Sites.Private
	logged := 0
	for _, r := range site.Requests(b.begin) {
		if r.Credentials && r.Status < 400 && strings.HasPrefix(r.Path, "/simple/ibuild-private-hello") {
			logged++
		}
	}
	if logged == 0 {
		t.Error("nobody has logged in at the index")
	}
	keepsSecret(t, b.engine, b.outcome, b.ref, "password", site.Password)
}

// builtNatively: the emulator had nothing to do.
func builtNatively(t *testing.T, b builtExample) {
	if log := b.outcome.stderr; !strings.Contains(log, ", natively\n") || strings.Contains(log, "with emulation") {
		t.Errorf("a Python step was emulated:\n%s", log)
	}
	expectPlatforms(t, b.ref, amd64+" "+arm64)
}

// sameAsNested builds the spec with its base in one file: the image has the same files.
func sameAsNested(t *testing.T, b builtExample) {
	nested := realExample{spec: "on-top/nested.yaml"}.build(t, b.engine)
	lookInto(t, pull(t, b.ref, amd64)).sameFiles(t, lookInto(t, pull(t, nested.ref, amd64)).files)
}

// withItsBase builds the image that the example starts from, once: the registry stands in for the one that has it.
func withItsBase(t *testing.T, e engine, dir string) []string {
	const base = "example/model-base:1"
	if digestOf(t, shared.env.Registry.Ref(base)) == "" {
		e.push(t, base, "-f", filepath.Join(dir, "base.Dockerfile"), dir)
	}
	return nil
}

// TestNotebooks builds the notebooks of examples/notebooks and runs them.
func TestNotebooks(t *testing.T) {
	notebooks, err := filepath.Glob(filepath.Join(shared.examples, "notebooks", "*.ipynb"))
	if err != nil || len(notebooks) == 0 {
		t.Fatalf("%d notebooks, %v", len(notebooks), err)
	}
	for _, notebook := range notebooks {
		stem := strings.TrimSuffix(notebook, ".ipynb")
		t.Run(filepath.Base(stem), func(t *testing.T) {
			enginesAtOnce(t, rootAndRemote(t), func(t *testing.T, e engine) {
				ref := e.push(t, "notebooks/"+e.name+"/"+filepath.Base(stem), notebook)
				prints(t, pull(t, ref, amd64), noOptions, read(t, stem+".expected"))
			})
		})
	}
}
