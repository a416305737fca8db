//go:build integration

package testenv_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ibuild/ibuild/integration/imagetest"
	"github.com/ibuild/ibuild/integration/testenv"
)

const (
	python = "python:3.11-slim-bookworm"
	uv     = "ghcr.io/astral-sh/uv:0.13.9"
)

func TestEnvironment(t *testing.T) {
	env, err := testenv.Start(t.Context(), testenv.Options{Buildkitd: true, Sites: true, Bases: []string{"busybox"}, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	defer env.Close()
	for name, test := range map[string]func(*testing.T, *testenv.Env){
		"bases say what they are":   testBases,
		"images run":                testRun,
		"registry records requests": testRequests,
		"builds on both platforms":  testSolve,
		"packages can be installed": testInstall,
		"sites reach builds":        testSites,
		"Python packages":           testPythonPackages,
		"private authority":         testAuthority,
		"conda packages":            testConda,
		"pixi workspaces":           testPixi,
		"bases under other names":   testBaseAs,
		"certificates are required": testCertificates,
		"ordinary user":             testUser,
	} {
		t.Run(name, func(t *testing.T) { test(t, env) })
	}
	testClose(t, env)
}

func base(t *testing.T, env *testenv.Env, name string) testenv.Base {
	t.Helper()
	b, err := env.Base(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func pull(t *testing.T, ref, platform string) v1.Image {
	t.Helper()
	img, err := imagetest.Pull(t.Context(), ref, platform)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func testBases(t *testing.T, env *testenv.Env) {
	ref := base(t, env, python).Ref
	for platform, lib := range map[string]string{
		"linux/amd64": "usr/lib/x86_64-linux-gnu", "linux/arm64": "usr/lib/aarch64-linux-gnu",
	} {
		files, err := imagetest.Files(pull(t, ref, platform))
		if err != nil {
			t.Fatal(err)
		}
		has := map[string]imagetest.File{}
		for _, f := range files {
			has[f.Path] = f
			if f.Type != "file" && f.Type != "dir" && f.Type != "symlink" {
				t.Errorf("%s: %s", platform, f)
			}
		}
		for _, path := range []string{
			lib, "usr/bin/python3.11", "usr/local/bin/python", "usr/local/bin/pip", "usr/bin/apt-get", "etc/os-release",
		} {
			if _, ok := has[path]; !ok {
				t.Errorf("%s has no %s", platform, path)
			}
		}
		for _, path := range []string{"etc/hostname", "etc/resolv.conf", "usr/lib/python3.11/EXTERNALLY-MANAGED"} {
			if _, ok := has[path]; ok {
				t.Errorf("%s has %s", platform, path)
			}
		}
		if tmp := has["tmp"]; tmp.Mode != 0o1777 {
			t.Errorf("%s: %s", platform, tmp)
		}
	}
	if a, b := base(t, env, python), base(t, env, "python:3.11"); a.Digest != b.Digest {
		t.Errorf("two tags of python are %s and %s", a.Digest, b.Digest)
	}
}

func testRun(t *testing.T, env *testenv.Env) {
	requireRoot(t)
	machine := []string{"-c", "import sys, platform, venv, pip; print(platform.machine(), sys.version_info[:2])"}
	for _, test := range []struct {
		image, platform string
		options         imagetest.RunOptions
		want            string
	}{
		{"busybox", "linux/amd64", imagetest.RunOptions{Args: []string{"uname", "-m"}}, "x86_64"},
		{"busybox", "linux/arm64", imagetest.RunOptions{Args: []string{"env", "uname", "-m"}}, "aarch64"},
		{python, "linux/amd64", imagetest.RunOptions{Args: append([]string{"python"}, machine...)}, "x86_64 (3, 11)"},
		{python, "linux/arm64", imagetest.RunOptions{Args: append([]string{"python3"}, machine...)}, "aarch64 (3, 11)"},
		{uv, "linux/amd64", imagetest.RunOptions{Args: []string{"--version"}}, "uv 0.13.9"},
		{uv, "linux/arm64", imagetest.RunOptions{Args: []string{"--version"}}, "uv 0.13.9"},
	} {
		img := pull(t, base(t, env, test.image).Ref, test.platform)
		result, err := imagetest.Run(t.Context(), img, test.options)
		if err != nil || result.ExitCode != 0 || !strings.HasPrefix(result.Stdout, test.want) {
			t.Errorf("%s on %s: %+v, %v, want %q", test.image, test.platform, result, err, test.want)
		}
	}
	img := pull(t, base(t, env, "busybox").Ref, "linux/amd64")
	result, err := imagetest.Run(t.Context(), img, imagetest.RunOptions{
		Args: []string{"sh", "-c", "id -u; echo $A; cat; echo oops >&2; exit 7"},
		Env:  []string{"A=b"}, User: "nobody", Stdin: "in\n",
	})
	want := imagetest.Result{Stdout: "65534\nb\nin\n", Stderr: "oops\n", ExitCode: 7}
	if err != nil || result != want {
		t.Errorf("run = %+v, %v, want %+v", result, err, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := imagetest.Run(ctx, img, imagetest.RunOptions{Args: []string{"sleep", "86397"}}); err == nil {
		t.Error("a run that was cancelled is no error")
	}
	if left := processes("86397"); len(left) > 0 {
		t.Errorf("a cancelled run left %q", left)
	}
}

func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("unpacking images needs root")
	}
}

func testRequests(t *testing.T, env *testenv.Env) {
	mark := env.Registry.Mark()
	ref, err := name.NewTag(env.Registry.Ref("team/app:1"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(1<<20, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	var sent int64
	moved := false
	for _, r := range env.Registry.Requests(mark) {
		sent += r.Sent
		moved = moved || r.Method == "PUT" && r.Path == "/v2/team/app/manifests/1" && r.Status == 201
	}
	if !moved || sent < 1<<20 {
		t.Errorf("%d bytes sent, tag moved: %v; requests: %v", sent, moved, env.Registry.Requests(mark))
	}
	if err := remote.Delete(ref.Digest(digest(t, img))); err != nil {
		t.Errorf("delete: %v", err)
	}
	log, err := os.ReadFile(env.Registry.AccessLog)
	if err != nil || !bytes.Contains(log, []byte("PUT /v2/team/app/manifests/1 201")) {
		t.Errorf("access log: %v\n%s", err, log)
	}
}

func digest(t *testing.T, img v1.Image) string {
	t.Helper()
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// dial opens a client as ibuild does, through the recording proxy.
func dial(t *testing.T, env *testenv.Env) *client.Client {
	t.Helper()
	b := env.Buildkitd
	c, err := client.New(t.Context(), b.Addr,
		client.WithServerConfig("127.0.0.1", b.CACert), client.WithCredentials(b.Cert, b.Key))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// solve runs a shell command in an image and returns what it wrote to /out/it.
func solve(ctx context.Context, c *client.Client, image, arch, command, dir string, options ...llb.RunOption) (string, error) {
	platform := ocispecs.Platform{OS: "linux", Architecture: arch}
	step := llb.Image(image, llb.Platform(platform)).
		Run(append(options, llb.Args([]string{"/bin/sh", "-ec", command}), llb.IgnoreCache)...)
	out := step.AddMount("/out", llb.Scratch())
	def, err := out.Marshal(ctx, llb.Platform(platform))
	if err != nil {
		return "", err
	}
	_, err = c.Solve(ctx, def, client.SolveOpt{
		Exports: []client.ExportEntry{{Type: client.ExporterLocal, OutputDir: dir}},
	}, nil)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(dir, "it"))
	return strings.TrimSpace(string(text)), err
}

func testSolve(t *testing.T, env *testenv.Env) {
	direct, err := env.Buildkitd.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	mark := env.Buildkitd.Mark()
	if _, err := direct.ListWorkers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := env.Buildkitd.Connections(mark); len(got) != 0 {
		t.Errorf("the harness's own client is in the log: %+v", got)
	}
	requests := env.Registry.Mark()
	for arch, want := range map[string]string{"amd64": "x86_64", "arm64": "aarch64"} {
		got, err := solve(t.Context(), dial(t, env), "docker.io/library/busybox:latest", arch, "uname -m >/out/it", t.TempDir())
		if err != nil || got != want {
			t.Errorf("uname on %s = %q, %v, want %q", arch, got, err, want)
		}
	}
	connections := env.Buildkitd.Connections(mark)
	if len(connections) == 0 || connections[0].Sent == 0 || connections[0].Received == 0 {
		t.Errorf("connections = %+v", connections)
	}
	if !slices.ContainsFunc(env.Registry.Requests(requests), func(r testenv.Request) bool {
		return strings.HasPrefix(r.Path, "/v2/library/busybox/manifests/") && r.Status == 200
	}) {
		t.Errorf("the base came from elsewhere; requests: %v", env.Registry.Requests(requests))
	}
}

func testInstall(t *testing.T, env *testenv.Env) {
	for _, test := range []struct{ image, command, want string }{
		{"debian:bookworm-slim", "apt-get update >&2; apt-get install -y --no-install-recommends hello >&2; hello >/out/it", "Hello, world!"},
		{python, "python -m venv /venv; /venv/bin/pip install -q six; pip install -q six; " +
			"/venv/bin/python -c 'import six, sys; print(sys.prefix)' >/out/it; python -c 'import six'", "/venv"},
	} {
		base(t, env, test.image)
		got, err := solve(t.Context(), dial(t, env), "docker.io/library/"+test.image, "amd64", test.command, t.TempDir())
		if err != nil || got != test.want {
			t.Errorf("%s: %q, %v, want %q", test.image, got, err, test.want)
		}
	}
}

func testCertificates(t *testing.T, env *testenv.Env) {
	b := env.Buildkitd
	for name, option := range map[string]client.ClientOpt{
		"none":                client.WithServerConfig("127.0.0.1", b.CACert),
		"another authority's": client.WithCredentials(b.Stranger.Cert, b.Stranger.Key),
	} {
		mark := b.Mark()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		c, err := client.New(ctx, b.Addr, client.WithServerConfig("127.0.0.1", b.CACert), option)
		if err == nil {
			_, err = c.ListWorkers(ctx)
			c.Close()
		}
		cancel()
		if err == nil {
			t.Errorf("%s: the daemon answered", name)
		}
		if len(b.Connections(mark)) == 0 {
			t.Errorf("%s: the attempt is not recorded", name)
		}
	}
}

func testUser(t *testing.T, env *testenv.Env) {
	buildctl, err := env.Tool(t.Context(), "buildctl")
	if err != nil {
		t.Fatal(err)
	}
	b := env.Buildkitd
	out, err := env.Command(t.Context(), env.User, buildctl, "--addr", b.Addr, "--tlscacert", b.CACert,
		"--tlscert", b.Cert, "--tlskey", b.Key, "debug", "workers").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("linux/arm64")) {
		t.Errorf("buildctl as %s: %v\n%s", env.User.Name, err, out)
	}
	out, err = env.Command(t.Context(), env.User, "sh", "-c", `id -u; pwd; echo "$BUILDKIT_HOST"; touch "$HOME/x" "$XDG_RUNTIME_DIR/x"; cat "$IBUILD_CONFIG" "$IBUILD_TLS_KEY" >/dev/null`).CombinedOutput()
	if want := fmt.Sprintf("%d\n%s\n%s\n", env.User.UID, env.User.Home, b.Addr); err != nil || string(out) != want {
		t.Errorf("command as %s: %v, %q, want %q", env.User.Name, err, out, want)
	}
	if env.User.UID == 0 {
		t.Error("the ordinary user is root")
	}
}
