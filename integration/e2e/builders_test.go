//go:build integration

package e2e

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/ibuild/ibuild/integration/imagetest"
)

// TestBuilderNoop: the base image by digest is all that comes out, and nobody is asked to build.
func TestBuilderNoop(t *testing.T) {
	e := engineNamed(t, "user").fresh(t)
	dir := files(t, "image.yaml", "base_image: busybox\ncommands: [touch /x]\n")
	spec := filepath.Join(dir, "image.yaml")
	mark := shared.env.Buildkitd.Mark()
	o := e.ibuild(t, "build", "--progress", "plain", "--builder", "noop", "--platform", amd64+","+arm64, spec)
	if exists(e.root()) || len(shared.env.Buildkitd.Connections(mark)) > 0 {
		t.Error("a builder was reached")
	}
	want := "docker.io/library/busybox@" + digestOf(t, shared.env.Registry.Ref("library/busybox:latest"))
	for _, text := range []string{"image " + want, "builder: noop (asked for by --builder or IBUILD_BUILDER)", "steps left out: 1"} {
		if !strings.Contains(o.stderr, text) {
			t.Errorf("the output does not have %q:\n%s", text, o.stderr)
		}
	}
	cmd := e.command(t, "build", "--platform", amd64, "-q", spec)
	cmd.Env = append(cmd.Env, "IBUILD_BUILDER=noop")
	if o := mustEnd(t, cmd); o.stdout != want+"\n" {
		t.Errorf("printed %q, want %q", o.stdout, want)
	}
	for _, args := range [][]string{{"--push", "-t", shared.env.Registry.Ref("noop")}, {"-o", "type=oci,dest=" + filepath.Join(folder(t), "x.tar")}} {
		if o := end(t, e.command(t, append(append([]string{"build", "--builder", "noop"}, args...), spec)...)); o.code != 2 || !strings.Contains(o.stderr, "makes nothing that could be pushed or written") {
			t.Errorf("%v: exit code %d\n%s", args, o.code, o.stderr)
		}
	}
}

// TestBuilderByName: the name wins over the address that the environment has, and what is chosen is said.
func TestBuilderByName(t *testing.T) {
	e := engineNamed(t, "remote")
	dir := files(t, "Dockerfile", "FROM busybox\nRUN echo "+nonce(t, e)+"\n")
	out := "type=tar,dest=" + filepath.Join(folder(t), "x.tar")
	for name, want := range map[string]string{
		"local":  "builder: in this process (local), as an ordinary user",
		"remote": "builder: " + shared.env.Buildkitd.Addr + " (remote)",
		"":       "builder: " + shared.env.Buildkitd.Addr + " (remote)",
	} {
		cmd := e.command(t, "build", "--progress", "plain", "--force", "-o", out, dir)
		cmd.Env = append(cmd.Env, "IBUILD_BUILDER="+name)
		if o := mustEnd(t, cmd); !strings.Contains(o.stderr, want) {
			t.Errorf("%q: no %q in\n%s", name, want, o.stderr)
		}
	}
}

// TestNamesFromTheIdentity: a spec that names a repository only gets its tag from the identity; another machine
// finds the image there. The image carries its identity, on both platforms and in every way of building.
func TestNamesFromTheIdentity(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		e = e.fresh(t)
		repo := shared.env.Registry.Ref("identity/" + e.name)
		dir := files(t, "image.yaml", "name: "+e.name+"\nregistry: "+shared.env.Registry.Ref("identity")+"\nbase_image: busybox\nplatforms: [linux/amd64, linux/arm64]\n"+
			"commands: [echo made > /made]\nlayers:\n- source_file: {src: hello.txt, dst: /srv/}\n", "hello.txt", "hello\n")
		spec := filepath.Join(dir, "image.yaml")
		id := strings.TrimSpace(e.ibuild(t, "llb", "--identity", spec).stdout)
		ref := repo + ":" + strings.TrimPrefix(id, "sha256:")[:32]
		e.exists(t, 1, spec)

		o := e.ibuild(t, "build", "--progress", "plain", "--push", spec)
		if !strings.Contains(o.stderr, "pushed "+ref+"@") || !strings.Contains(o.stderr, "code put on top") {
			t.Errorf("the image is not %s:\n%s", ref, o.stderr)
		}
		expectPlatforms(t, ref, amd64+" "+arm64)
		for _, p := range []string{amd64, arm64} {
			carries(t, pull(t, ref, p), id)
		}
		prints(t, pull(t, ref, amd64), imagetest.RunOptions{Entrypoint: []string{"sh", "-c", "echo $IBUILD_IMAGE_ID; cat /made /srv/hello.txt"}}, id+"\nmade\nhello\n")
		e.exists(t, 0, spec)

		e.watch(t, false, "build", "--progress", "plain", "--push", spec).withoutBuilder(t, "with its memory")
		other := e.fresh(t)
		other.watch(t, false, "build", "--progress", "plain", "--push", "--builder", "local", spec).withoutBuilder(t, "on another machine")

		archive := filepath.Join(folder(t), "image.tar")
		e.ibuild(t, "build", "--progress", "plain", "-o", "type=docker,dest="+archive, "--platform", amd64, spec)
		one := strings.TrimSpace(e.ibuild(t, "llb", "--identity", "--platform", amd64, spec).stdout)
		img, err := tarball.ImageFromPath(archive, nil)
		if err != nil {
			t.Fatal(err)
		}
		carries(t, img, one)
		whole := repo + ":whole"
		e.ibuild(t, "build", "--progress", "plain", "--push", "-t", whole, "-o", "type=tar,dest="+archive, spec)
		carries(t, pull(t, whole, arm64), id)
		environment(t, repo)
	})
}

// carries wants the identity as the last variable of an image's environment.
func carries(t *testing.T, img v1.Image, id string) {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if env := config.Config.Env; len(env) == 0 || env[len(env)-1] != "IBUILD_IMAGE_ID="+id {
		t.Errorf("the environment of the image is %q, want IBUILD_IMAGE_ID=%s at its end", env, id)
	}
}

// environment wants the environment image in the repository, without an identity of an image.
func environment(t *testing.T, repo string) {
	t.Helper()
	r, err := name.NewRepository(repo)
	if err != nil {
		t.Fatal(err)
	}
	tags, err := remote.List(r, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(tags, func(tag string) bool { return strings.HasPrefix(tag, "ibuild-env-") })
	if i < 0 {
		t.Fatalf("no environment image among %q", tags)
	}
	if where := holds(t, pull(t, repo+":"+tags[i], amd64), "IBUILD_IMAGE_ID"); where != "" {
		t.Errorf("the environment image has an identity in its %s", where)
	}
}

// exists runs ibuild exists on a source and expects an exit code.
func (e engine) exists(t *testing.T, code int, args ...string) {
	t.Helper()
	o := end(t, e.command(t, append([]string{"exists", "--format", "json"}, args...)...))
	var doc struct{ Exists string }
	if err := json.Unmarshal([]byte(o.stdout), &doc); err != nil {
		t.Fatalf("%v\n%s%s", err, o.stdout, o.stderr)
	}
	if want := map[int]string{0: "yes", 1: "no", 4: "unknown"}[code]; o.code != code || doc.Exists != want {
		t.Errorf("exit code %d, %s, want %d, %s", o.code, o.stdout, code, want)
	}
}

// TestExists asks for images by name.
func TestExists(t *testing.T) {
	e := engineNamed(t, "user")
	ref := e.push(t, "exists/app:1", files(t, "Dockerfile", "FROM busybox\n"))
	e.exists(t, 0, ref)
	e.exists(t, 0, "--platform", amd64, ref)
	e.exists(t, 1, "--platform", amd64+","+arm64, ref)
	e.exists(t, 1, shared.env.Registry.Ref("exists/app:2"))
	e.exists(t, 1, shared.env.Registry.Ref("exists/none"))
	e.exists(t, 4, "127.0.0.1:1/app")
	e.exists(t, 0, "-t", ref, "--platform", amd64, files(t, "Dockerfile", "FROM busybox\n"))
}

// TestLock: a locked build asks for no tag of its base, and stays on it when the tag moves.
func TestLock(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		base := "locked-" + e.name + ":1"
		moveBase(t, base, "first")
		dir := files(t, "Dockerfile", "FROM "+base+"\nRUN echo $BASE > /base\nCMD [\"cat\", \"/base\"]\n")
		e.ibuild(t, "lock", dir)
		if lock := read(t, filepath.Join(dir, "ibuild.lock")); !strings.Contains(lock, "docker.io/library/"+base) || !strings.Contains(lock, "sources = ['Dockerfile']") {
			t.Errorf("the lock is\n%s", lock)
		}
		e.ibuild(t, "lock", "--check", dir)
		moveBase(t, base, "second")

		mark := shared.env.Registry.Mark()
		ref := e.push(t, "lock/"+e.name, dir)
		for _, r := range shared.env.Registry.Requests(mark) {
			if strings.HasSuffix(r.Path, "/locked-"+e.name+"/manifests/1") {
				t.Errorf("the tag was asked for: %s", r)
			}
		}
		prints(t, pull(t, ref, amd64), noOptions, "first\n")
		if o := end(t, e.command(t, "lock", "--check", dir)); o.code != 1 || !strings.Contains(o.stdout, "moved    docker.io/library/"+base) {
			t.Errorf("--check: %d\n%s%s", o.code, o.stdout, o.stderr)
		}
		prints(t, pull(t, e.push(t, "lock/"+e.name, "--no-lock", dir), amd64), noOptions, "second\n")
		e.ibuild(t, "lock", "--update", dir)
		e.ibuild(t, "lock", "--check", dir)
		prints(t, pull(t, e.push(t, "lock/"+e.name, dir), amd64), noOptions, "second\n")
	})
}

// moveBase puts a new image under a tag of Docker Hub's stand-in; its variable BASE says which one it is.
func moveBase(t *testing.T, tag, label string) {
	t.Helper()
	img := pull(t, shared.env.Registry.Ref("library/busybox:latest"), amd64)
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	settings := config.Config
	settings.Env = append(settings.Env, "BASE="+label)
	if img, err = mutate.Config(img, settings); err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewTag(shared.env.Registry.Ref("library/" + tag))
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// TestLockOfAScript has the base and the image of uv.
func TestLockOfAScript(t *testing.T) {
	e := engineNamed(t, "user")
	dir := files(t, "fit.py", read(t, filepath.Join(shared.examples, "scripts/fit.py")))
	script := filepath.Join(dir, "fit.py")
	o := e.ibuild(t, "lock", "--platform", amd64+","+arm64, script)
	if !strings.Contains(o.stdout, "2 images") || !strings.Contains(o.stdout, "docker.io/library/python:") || !strings.Contains(o.stdout, "ghcr.io/astral-sh/uv:") {
		t.Errorf("locked\n%s", o.stdout)
	}
	mark := shared.env.Registry.Mark()
	e.ibuild(t, "llb", "--platform", amd64, script)
	for _, r := range shared.env.Registry.Requests(mark) {
		if r.Method == "HEAD" {
			t.Errorf("asked %s", r)
		}
	}
}
