//go:build integration

package testenv_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	resolverconfig "github.com/moby/buildkit/util/resolver/config"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ibuild/ibuild/engine/embed"
	"github.com/ibuild/ibuild/integration/testenv"
)

// The names by which builds ask for the programs.
const (
	micromamba = "docker.io/mambaorg/micromamba:py-rattler-0.28.0"
	pixi       = "ghcr.io/prefix-dev/pixi:0.15.2"
)

// mounted puts a program of another image at a path, as ibuild does with uv.
func mounted(image, arch, program, target string) llb.RunOption {
	from := llb.Image(image, llb.Platform(ocispecs.Platform{OS: "linux", Architecture: arch}))
	return llb.AddMount(target, from, llb.SourcePath(program), llb.Readonly)
}

// files puts texts into a folder, which can be written to.
func files(target string, texts map[string]string) llb.RunOption {
	state := llb.Scratch()
	for name, text := range texts {
		state = state.File(llb.Mkfile(name, 0o644, []byte(text)))
	}
	return llb.AddMount(target, state)
}

// inProcess starts the engine that ibuild has within itself.
func inProcess(t *testing.T, env *testenv.Env) *client.Client {
	t.Helper()
	plain := true
	e, err := embed.Start(t.Context(), embed.Config{
		Root: filepath.Join(t.TempDir(), "state"),
		Registries: map[string]resolverconfig.RegistryConfig{
			"docker.io":       {Mirrors: []string{env.Registry.Addr}},
			env.Registry.Addr: {PlainHTTP: &plain},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := e.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func testSites(t *testing.T, env *testenv.Env) {
	requireRoot(t)
	for name, c := range map[string]*client.Client{"rootless daemon": dial(t, env), "in this process": inProcess(t, env)} {
		mark := env.Sites.Open.Mark()
		got, err := solve(t.Context(), c, "docker.io/library/busybox:latest", "amd64",
			"wget -qO /out/it "+env.Sites.Open.URL+"/apt/Release", t.TempDir())
		if err != nil || !strings.Contains(got, "Packages") || len(env.Sites.Open.Requests(mark)) != 1 {
			t.Errorf("%s: %q, %v; requests: %v", name, got, err, env.Sites.Open.Requests(mark))
		}
	}
}

func testPythonPackages(t *testing.T, env *testenv.Env) {
	base(t, env, python)
	base(t, env, uv)
	private := env.Sites.Private
	with, err := private.WithCredentials(private.Index())
	if err != nil {
		t.Fatal(err)
	}
	image := "docker.io/library/" + python
	mark := private.Mark()
	if got, err := solve(t.Context(), dial(t, env), image, "amd64", "pip install --no-input --index-url "+private.Index()+
		" ibuild-private-hello >&2; echo installed >/out/it", t.TempDir()); err == nil {
		t.Errorf("without a password: %q", got)
	}
	for _, r := range private.Requests(mark) {
		if r.Credentials || r.Status != 401 {
			t.Errorf("without a password: %s", r)
		}
	}
	for command, want := range map[string]string{
		"pip install -q --index-url " + with + " ibuild-private-hello; ibuild-private-hello >/out/it":                            "ibuild-private-hello 1.1",
		"/uv venv -q /v; /uv pip install -q -p /v --index-url " + with + " ibuild-sdist-only; /v/bin/ibuild-sdist-only >/out/it": "ibuild-sdist-only 1.0",
		"/uv venv -q /v; /uv pip install -q -p /v --only-binary :all: --index-url " + env.Sites.Open.Index() +
			" ibuild-newest-sdist; /v/bin/ibuild-newest-sdist >/out/it": "ibuild-newest-sdist 1.0",
	} {
		got, err := solve(t.Context(), dial(t, env), image, "amd64", command, t.TempDir(), mounted(uv, "amd64", "/uv", "/uv"))
		if err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", command, got, err, want)
		}
	}
	if !slices.ContainsFunc(private.Requests(mark), func(r testenv.Request) bool {
		return r.Path == "/files/ibuild_private_hello-1.1-py3-none-any.whl" && r.Credentials && r.Status == 200
	}) {
		t.Errorf("no request for the wheel: %v", private.Requests(mark))
	}
}

func testAuthority(t *testing.T, env *testenv.Env) {
	base(t, env, python)
	site := env.Sites.TLS
	certificate, err := os.ReadFile(site.CACert)
	if err != nil {
		t.Fatal(err)
	}
	const trust = "cp /ca/company.crt /usr/local/share/ca-certificates; update-ca-certificates >&2; "
	for command, want := range map[string]string{
		"pip install -q --index-url " + site.Index() + " ibuild-private-hello; ibuild-private-hello >/out/it": "ibuild-private-hello 1.1",
		"echo '" + site.AptSource() + "' >/etc/apt/sources.list; rm -rf /etc/apt/sources.list.d; apt-get update -oAPT::Update::Error-Mode=any >&2; " +
			"apt-get install -y ibuild-deb-hello >&2; ibuild-deb-hello >/out/it": "hello from a .deb",
	} {
		for setup, works := range map[string]bool{trust: true, "": false} {
			got, err := solve(t.Context(), dial(t, env), "docker.io/library/"+python, "amd64", setup+"export PIP_CERT=/etc/ssl/certs/ca-certificates.crt; "+command, t.TempDir(),
				files("/ca", map[string]string{"company.crt": string(certificate)}))
			if (err == nil) != works || works && got != want {
				t.Errorf("%s%s: %q, %v, want %q: %v", setup, command, got, err, want, works)
			}
		}
	}
}

// subdirs are the platforms in conda's words.
func subdirs() map[string]string {
	return map[string]string{"amd64": "linux-64", "arm64": "linux-aarch64"}
}

func testConda(t *testing.T, env *testenv.Env) {
	base(t, env, "debian:bookworm-slim")
	base(t, env, micromamba)
	const create = "/m create -y -r /tmp/root -p /opt/env --override-channels -c "
	environment := files("/spec", map[string]string{
		"environment.yml": "channels: [" + env.Sites.Open.Channel() + "]\ndependencies:\n- ibuild-hello\n- ibuild-greeting <3\n",
	})
	for arch, subdir := range subdirs() {
		for image, command := range map[string]string{
			"docker.io/library/debian:bookworm-slim": create + env.Sites.Open.Channel() + " 'ibuild-hello>=1' >&2",
			"docker.io/library/busybox:latest":       "/m create -y -r /tmp/root -p /opt/env -f /spec/environment.yml >&2",
		} {
			got, err := solve(t.Context(), dial(t, env), image, arch, command+"; /opt/env/bin/ibuild-hello >/out/it", t.TempDir(),
				mounted(micromamba, arch, "/usr/bin/micromamba", "/m"), environment)
			if want := "hello from " + subdir; err != nil || got != want {
				t.Errorf("%s on %s: %q, %v, want %q", image, arch, got, err, want)
			}
		}
	}
	if got, err := solve(t.Context(), dial(t, env), "docker.io/library/busybox:latest", "amd64",
		create+env.Sites.Open.Channel()+" ibuild-hello 'ibuild-greeting>=2' >&2; echo solved >/out/it", t.TempDir(),
		mounted(micromamba, "amd64", "/usr/bin/micromamba", "/m")); err == nil {
		t.Errorf("packages that exclude each other: %q", got)
	}
}

func testPixi(t *testing.T, env *testenv.Env) {
	const debian = "docker.io/library/debian:bookworm-slim" // pixi does not even begin without authorities
	base(t, env, "debian:bookworm-slim")
	base(t, env, pixi)
	lock, err := env.Sites.Open.PixiLock()
	if err != nil {
		t.Fatal(err)
	}
	manifest := "[project]\nname = \"app\"\nchannels = [\"" + env.Sites.Open.Channel() + "\"]\nplatforms = [\"linux-64\", \"linux-aarch64\"]\n\n" +
		"[dependencies]\nibuild-hello = \"1.*\"\n"
	const install = "cd /app; /pixi install --locked >&2; .pixi/envs/default/bin/ibuild-hello >/out/it"
	for arch, subdir := range subdirs() {
		got, err := solve(t.Context(), dial(t, env), debian, arch, install, t.TempDir(),
			mounted(pixi, arch, "/usr/local/bin/pixi", "/pixi"), files("/app", map[string]string{"pixi.toml": manifest, "pixi.lock": lock}))
		if want := "hello from " + subdir; err != nil || got != want {
			t.Errorf("on %s: %q, %v, want %q", arch, got, err, want)
		}
	}
	stale := strings.Replace(manifest, "1.*", "2.*", 1)
	if got, err := solve(t.Context(), dial(t, env), debian, "amd64", install, t.TempDir(),
		mounted(pixi, "amd64", "/usr/local/bin/pixi", "/pixi"), files("/app", map[string]string{"pixi.toml": stale, "pixi.lock": lock})); err == nil {
		t.Errorf("a lock that is out of date: %q", got)
	}
}

func testBaseAs(t *testing.T, env *testenv.Env) {
	b, err := env.BaseAs(t.Context(), "busybox", "docker.io/someone/else:9.9")
	if err != nil || b.Digest != base(t, env, "busybox").Digest {
		t.Fatalf("%+v, %v", b, err)
	}
	if got, err := solve(t.Context(), dial(t, env), "docker.io/someone/else:9.9", "amd64", "echo it >/out/it", t.TempDir()); err != nil || got != "it" {
		t.Errorf("%q, %v", got, err)
	}
}
