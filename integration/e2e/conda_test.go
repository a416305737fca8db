//go:build integration

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/integration/imagetest"
	"github.com/ibuild/ibuild/integration/testenv"
	"github.com/ibuild/ibuild/llb"
)

// standIn pushes what stands in for a program's image under the name by which ibuild asks for it.
func standIn(t *testing.T, image, as string) {
	t.Helper()
	if _, err := shared.env.BaseAs(t.Context(), image, as); err != nil {
		t.Fatal(err)
	}
}

func standInMicromamba(t *testing.T) {
	t.Helper()
	standIn(t, "mambaorg/micromamba:py-rattler-0.28.0", llb.MicromambaImage)
}

func standInPixi(t *testing.T) {
	t.Helper()
	standIn(t, "ghcr.io/prefix-dev/pixi:0.15.2", llb.PixiImage)
}

// helloFrom is what ibuild-hello prints on a platform.
func helloFrom(platform string) string {
	return "hello from " + map[string]string{amd64: "linux-64", arm64: "linux-aarch64"}[platform] + "\n"
}

// inBothPlatforms builds a folder for both platforms with both engines, and runs the images.
func inBothPlatforms(t *testing.T, name, dir string, check func(t *testing.T, platform string, run func(o imagetest.RunOptions, want string))) {
	t.Helper()
	t.Run("with", func(t *testing.T) {
		enginesAtOnce(t, rootAndRemote(t), func(t *testing.T, e engine) {
			ref := e.push(t, name+"/"+e.name, "--platform", amd64+","+arm64, dir)
			for _, p := range []string{amd64, arm64} {
				img := pull(t, ref, p)
				check(t, p, func(o imagetest.RunOptions, want string) { t.Helper(); prints(t, img, o, want) })
			}
		})
	})
}

// TestConda installs packages, a second layer into the same environment, and a wheel into the environment's
// own Python, whose pip list the environment file has.
func TestConda(t *testing.T) {
	standInMicromamba(t)
	channel := shared.env.Sites.Open.Channel()
	dir := files(t, "image.yaml", `python_version: "3.11"
layers:
  - conda: {packages: ["ibuild-greeting<3"], channels: ["`+channel+`"]}
  - conda: {file: environment.yml}
  - pip: [six==1.17.0]
entrypoint: [ibuild-hello]
`, "environment.yml", "name: x\nchannels: ['"+channel+"']\ndependencies:\n- ibuild-hello>=1\n- pip:\n  - -r more.txt\nvariables:\n  MODE: conda\n",
		"more.txt", "idna==3.10\n")
	inBothPlatforms(t, "conda/layers", dir, func(_ *testing.T, platform string, run func(imagetest.RunOptions, string)) {
		run(noOptions, helloFrom(platform))
		run(imagetest.RunOptions{Entrypoint: []string{"python", "-c",
			"import idna, six, sys, os; print(sys.prefix, six.__version__, os.path.dirname(os.path.dirname(idna.__file__)), os.environ['MODE'])"}},
			"/opt/conda 1.17.0 /opt/conda/lib/python3.11/site-packages conda\n")
		// Neither the package cache nor notes of the program are in the image.
		run(imagetest.RunOptions{Entrypoint: []string{"sh", "-c", "ls -A /opt /opt/conda/conda-meta | grep -c greeting; ls -d /opt/conda/pkgs /root/.conda /run/ibuild/cache/conda 2>/dev/null | wc -l"}}, "1\n0\n")
	})
}

// TestCondaProgramsOnly leaves the image's Python what it is, and works as another user than root.
func TestCondaProgramsOnly(t *testing.T) {
	standInMicromamba(t)
	dir := files(t, "image.yaml", `python_version: "3.11"
packages: [six==1.17.0]
layers:
  - conda: {packages: [ibuild-hello], channels: ["`+shared.env.Sites.Open.Channel()+`"], python: false}
entrypoint: [sh, -c, "ibuild-hello; id -un; python -c 'import six, sys; print(sys.prefix)'"]
`)
	e := engineNamed(t, "user")
	prints(t, pull(t, e.push(t, "conda/programs", dir), amd64), noOptions, helloFrom(amd64)+"app\n/opt/venv\n")
}

// TestCondaFails says which line asked for packages that exclude each other.
func TestCondaFails(t *testing.T) {
	standInMicromamba(t)
	dir := files(t, "image.yaml", `python_version: "3.11"
layers:
  - conda: {packages: [ibuild-hello, ibuild-greeting>=2], channels: ["`+shared.env.Sites.Open.Channel()+`"]}
`)
	o := end(t, engineNamed(t, "root").command(t, "build", "--progress", "plain", dir))
	if o.code != 1 || !strings.Contains(o.stderr, "ibuild-greeting") || !strings.Contains(o.stderr, "image.yaml:3") {
		t.Errorf("exit code %d\n%s", o.code, o.stderr)
	}
}

// pixiManifest is one for the pixi that the test environment has.
func pixiManifest() string {
	return "[project]\nname = \"app\"\nchannels = [\"" + shared.env.Sites.Open.Channel() + "\"]\nplatforms = [\"linux-64\", \"linux-aarch64\"]\n\n" +
		"[dependencies]\nibuild-hello = \"1.*\"\n"
}

func pixiLock(t *testing.T) string {
	t.Helper()
	lock, err := shared.env.Sites.Open.PixiLock()
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

// TestPixiProject installs a project in a folder of its own. Nothing but the environment is in the image.
func TestPixiProject(t *testing.T) {
	standInPixi(t)
	dir := files(t, "image.yaml", "python_version: \"3.11\"\nlayers: [{pixi_project: {path: app, lock: app/pixi.lock}}]\nentrypoint: [ibuild-hello]\n",
		"app/pixi.toml", pixiManifest(), "app/pixi.lock", pixiLock(t))
	inBothPlatforms(t, "pixi/project", dir, func(_ *testing.T, platform string, run func(imagetest.RunOptions, string)) {
		run(noOptions, helloFrom(platform))
		run(imagetest.RunOptions{Entrypoint: []string{"sh", "-c", "echo $CONDA_PREFIX; ls -A /opt/pixi /opt/pixi/app; ls -d /root/.rattler /root/.pixi /root/.cache /opt/pixi.kept 2>/dev/null | wc -l"}},
			"/opt/pixi/app/.pixi/envs/default\n/opt/pixi:\napp\n\n/opt/pixi/app:\n.pixi\n0\n")
	})
}

// TestPixiLockIsOutOfDate leaves the verdict to pixi.
func TestPixiLockIsOutOfDate(t *testing.T) {
	standInPixi(t)
	dir := files(t, "image.yaml", "python_version: \"3.11\"\nlayers: [{pixi_project: .}]\n",
		"pixi.toml", strings.Replace(pixiManifest(), "1.*", "2.*", 1), "pixi.lock", pixiLock(t))
	o := end(t, engineNamed(t, "root").command(t, "build", "--progress", "plain", dir))
	if o.code != 1 || !strings.Contains(o.stderr, "lock-file not up-to-date") {
		t.Errorf("exit code %d\n%s", o.code, o.stderr)
	}
}

// TestPixiScript builds a script with a header, for whose platform pixi solves; then once more with the lock that
// this has left in the image, and with one that does not fit.
func TestPixiScript(t *testing.T) {
	standInPixi(t)
	script := "# /// script\n# requires-python = '==3.11.*'\n# [tool.pixi.project]\n# channels = ['" + shared.env.Sites.Open.Channel() + "']\n" +
		"# [tool.pixi.dependencies]\n# ibuild-hello = '*'\n# ///\n" +
		"import subprocess, sys\nprint(sys.prefix, flush=True)\nsubprocess.run(['ibuild-hello'], check=True)\n"
	dir := files(t, "image.yaml", "pixi_script: run.py\n", "run.py", script)
	const prefix = "/opt/pixi/.pixi/envs/default\n"
	inBothPlatforms(t, "pixi/script", dir, func(_ *testing.T, platform string, run func(imagetest.RunOptions, string)) {
		run(noOptions, prefix+helloFrom(platform))
	})
	e := engineNamed(t, "root")
	res, err := imagetest.Run(t.Context(), pull(t, shared.env.Registry.Ref("pixi/script/root"), amd64), imagetest.RunOptions{Entrypoint: []string{"cat", "/opt/pixi/pixi.lock"}})
	if err != nil || res.ExitCode != 0 {
		t.Fatal(err, res)
	}
	write(t, filepath.Join(dir, "run.py.pixi.lock"), res.Stdout)
	o := e.ibuild(t, "build", "--progress", "plain", "--push", "-t", shared.env.Registry.Ref("pixi/script:locked"), dir)
	if !strings.Contains(o.stderr, "(locked)") {
		t.Errorf("the lock was not used:\n%s", o.stderr)
	}
	prints(t, pull(t, shared.env.Registry.Ref("pixi/script:locked"), amd64), noOptions, prefix+helloFrom(amd64))
	write(t, filepath.Join(dir, "run.py"), strings.Replace(script, "hello = '*'", "hello = '>=2'", 1))
	if o := end(t, e.command(t, "build", "--progress", "plain", dir)); o.code != 1 || !strings.Contains(o.stderr, "lock-file not up-to-date") {
		t.Errorf("exit code %d\n%s", o.code, o.stderr)
	}
}

// TestPrivateChannel logs in with rattler's file of credentials, which is a secret and stays one.
func TestPrivateChannel(t *testing.T) {
	standInPixi(t)
	site := shared.env.Sites.Private
	lock, err := site.PixiLock()
	if err != nil {
		t.Fatal(err)
	}
	password, err := json.Marshal(site.Password)
	if err != nil {
		t.Fatal(err)
	}
	dir := files(t, "image.yaml", `python_version: "3.11"
layers: [{pixi_project: {path: ., secrets: [{id: credentials, file: /root/.rattler/credentials.json}]}}]
entrypoint: [ibuild-hello]
`, "pixi.toml", strings.ReplaceAll(pixiManifest(), shared.env.Sites.Open.URL, site.URL), "pixi.lock", lock)
	secret := fmt.Sprintf(`{"127.0.0.1": {"BasicHTTP": {"username": %q, "password": %s}}}`, site.User, password)
	flag := "id=credentials,src=" + filepath.Join(files(t, "secret", secret), "secret")
	e := engineNamed(t, "root").fresh(t) // one that has kept no packages
	mark := site.Mark()
	ref := shared.env.Registry.Ref("pixi/private")
	o := e.ibuild(t, "build", "--progress", "plain", "--push", "-t", ref, "--secret", flag, dir)
	prints(t, pull(t, ref, amd64), noOptions, helloFrom(amd64))
	keepsSecret(t, e, o, ref, "credentials", site.Password)
	if !slices.ContainsFunc(site.Requests(mark), func(r testenv.Request) bool {
		return strings.HasSuffix(r.Path, ".conda") && r.Credentials && r.Status == 200
	}) {
		t.Errorf("no package came with credentials: %v", site.Requests(mark))
	}
}
