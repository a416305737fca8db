//go:build integration

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// cacheSource is a Dockerfile whose step makes something else each time that it runs.
func cacheSource(t *testing.T, marker string) string {
	t.Helper()
	return files(t, "Dockerfile", "FROM busybox AS base\nRUN : "+marker+"; head -c 16 /dev/urandom | sha256sum > /random\nRUN cat /random > /copy\n")
}

// cached is one pair of builds: the first writes a cache, the second, of an engine that knows nothing, reads it. Both
// push to repositories that have nothing of each other.
type cached struct {
	to, from, flags []string
	env             []string
}

func flagged(flag string, values []string) []string {
	var out []string
	for _, v := range values {
		out = append(out, flag, v)
	}
	return out
}

// build runs one build, and returns what was said and what the step made.
func (c cached) build(t *testing.T, e engine, source, ref string, links []string) (outcome, string) {
	t.Helper()
	args := append([]string{"build", "--progress", "plain", "--push", "--no-env-tag", "-t", ref}, c.flags...)
	cmd := e.command(t, append(append(args, links...), source)...)
	cmd.Env = append(cmd.Env, c.env...)
	o := mustEnd(t, cmd)
	return o, fileOf(t, pull(t, ref, amd64), "/random")
}

// share builds with one engine and then with another, and says whether the second took the step from the cache.
func (c cached) share(t *testing.T, writer, reader engine, source, name string) (first, second outcome) {
	t.Helper()
	first, want := c.build(t, writer, source, shared.env.Registry.Ref(name+"/first:1"), append(flagged("--cache-from", c.from), flagged("--cache-to", c.to)...))
	second, got := c.build(t, reader, source, shared.env.Registry.Ref(name+"/second:1"), flagged("--cache-from", c.from))
	if got != want {
		t.Errorf("the step was run again: it made %q, and the cache has %q\n%s", got, want, second.stderr)
	}
	for _, o := range []outcome{first, second} {
		if strings.Contains(o.stderr, "warning") || strings.Contains(o.stderr, "ERROR") {
			t.Errorf("a build that went well warns:\n%s", o.stderr)
		}
	}
	return first, second
}

// TestRemoteCacheInRegistry: also between the in-process engine and a builder that has BuildKit's own code.
func TestRemoteCacheInRegistry(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		ref := shared.env.Registry.Ref("remote-cache/" + e.name + "/cache:1")
		c := cached{to: []string{ref}, from: []string{"type=registry,ref=" + ref}}
		first, second := c.share(t, e.fresh(t), engineNamed(t, "root").fresh(t), cacheSource(t, e.name+" registry"), "remote-cache/"+e.name)
		if !strings.Contains(first.stderr, "has nothing yet") && !e.remote {
			t.Errorf("nothing is said of the cache that is not there yet:\n%s", first.stderr)
		}
		if strings.Count(second.stderr, "CACHED") < 2 {
			t.Errorf("the steps are not shown as cached:\n%s", second.stderr)
		}
	})
}

// TestRemoteCacheLocal: a folder, which the builder gets from ibuild.
func TestRemoteCacheLocal(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		e = e.fresh(t)
		dir := filepath.Join(e.dir, "kept")
		c := cached{to: []string{"type=local,dest=" + dir + ",mode=max"}, from: []string{"type=local,src=" + dir}}
		c.share(t, e, engineNamed(t, "root").fresh(t), cacheSource(t, e.name+" local"), "remote-local/"+e.name)
	})
}

// TestRemoteCacheInline: the cache is in the image itself, pushed by digest.
func TestRemoteCacheInline(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		name := "remote-inline/" + e.name
		c := cached{to: []string{"type=inline"}, from: []string{"type=registry,ref=" + shared.env.Registry.Ref(name+"/first:1")}}
		c.share(t, e.fresh(t), engineNamed(t, "root").fresh(t), cacheSource(t, e.name+" inline"), name)
	})
}

// TestRemoteCacheS3: signed as a real server wants it; what BuildKit wrote ibuild reads, and the other way round.
func TestRemoteCacheS3(t *testing.T) {
	const secret = "canary-of-s3-0123456789abcdef"
	s3, err := shared.env.StartS3(t.Context(), "builds", secret)
	if err != nil {
		t.Fatal(err)
	}
	defer s3.Close()
	eachEngine(t, func(t *testing.T, e engine) {
		link := fmt.Sprintf("type=s3,bucket=builds,endpoint_url=%s,use_path_style=true,prefix=%s/", s3.URL, e.name)
		c := cached{to: []string{link + ",mode=max"}, from: []string{link}, env: s3.Environ()}
		writer, reader := e.fresh(t), engineNamed(t, "user").fresh(t)
		c.share(t, writer, reader, cacheSource(t, e.name+" s3"), "remote-s3/"+e.name)
		c.keepsSecret(t, []engine{writer, reader}, secret)
	})
	e := engineNamed(t, "remote").fresh(t)
	link := fmt.Sprintf("type=s3,bucket=builds,endpoint_url=%s,use_path_style=true,prefix=back/", s3.URL)
	c := cached{to: []string{link}, from: []string{link}, env: s3.Environ()}
	c.share(t, engineNamed(t, "root").fresh(t), e, cacheSource(t, "back s3"), "remote-s3/back")
}

// TestRemoteCacheActions: GitHub's cache.
func TestRemoteCacheActions(t *testing.T) {
	server, err := shared.env.StartActionsCache(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	const signature = "canary-of-actions-0123456789"
	token, err := server.Token("refs/heads/main", signature)
	if err != nil {
		t.Fatal(err)
	}
	eachEngine(t, func(t *testing.T, e engine) {
		link := "type=gha,scope=" + e.name
		c := cached{to: []string{link + ",mode=max"}, from: []string{link}, env: []string{"ACTIONS_CACHE_URL=" + server.URL, "ACTIONS_RUNTIME_TOKEN=" + token}}
		writer, reader := e.fresh(t), engineNamed(t, "user").fresh(t)
		c.share(t, writer, reader, cacheSource(t, e.name+" gha"), "remote-gha/"+e.name)
		c.keepsSecret(t, []engine{writer, reader}, token[strings.LastIndex(token, ".")+1:])
	})
}

// keepsSecret looks for a secret in all that the engines, ibuild and the daemon keep, and in what is printed of builds,
// also by one that prints all.
func (c cached) keepsSecret(t *testing.T, list []engine, secret string) {
	t.Helper()
	for _, e := range list {
		args := []string{"--debug", "build", "--progress", "plain", "--force", "-o", "type=oci,dest=" + filepath.Join(e.dir, "image.tar")}
		cmd := e.command(t, append(append(append(args, flagged("--cache-from", c.from)...), flagged("--cache-to", c.to)...), cacheSource(t, "all is printed"))...)
		cmd.Env = append(cmd.Env, c.env...)
		if o := mustEnd(t, cmd); strings.Contains(o.stdout+o.stderr, secret) {
			t.Errorf("%s: the secret is printed", e.name)
		}
		for _, args := range [][]string{{"history", "--format", "json"}, {"history"}} {
			if o := e.ibuild(t, args...); strings.Contains(o.stdout+o.stderr, secret) {
				t.Errorf("%s prints the secret", args)
			}
		}
		hasNot(t, e.dir, secret)
	}
	hasNot(t, filepath.Join(shared.env.Dir, "buildkitd"), secret)
}

// hasNot looks for a secret in all files below a folder.
func hasNot(t *testing.T, dir, secret string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // it went away: the engine has ended
		}
		data, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(data), secret) {
			t.Errorf("%s has the secret", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRemoteCacheFails: a cache that cannot be used costs time and no image, unless it is asked to.
func TestRemoteCacheFails(t *testing.T) {
	s3, err := shared.env.StartS3(t.Context(), "builds", "right-secret-0123456789")
	if err != nil {
		t.Fatal(err)
	}
	defer s3.Close()
	const wrong = "canary-wrong-secret-0123456789"
	nowhere := "127.0.0.1:1/cache:1"
	bucket := fmt.Sprintf("type=s3,bucket=builds,endpoint_url=%s,use_path_style=true", s3.URL)
	env := append(s3.Environ(), "AWS_SECRET_ACCESS_KEY="+wrong)
	enginesAtOnce(t, rootAndRemote(t), func(t *testing.T, e engine) {
		e = e.fresh(t)
		source := cacheSource(t, e.name+" fails")
		run := func(code int, args ...string) outcome {
			t.Helper()
			cmd := e.command(t, append(append([]string{"build", "--progress", "plain", "--push", "--force", "-t", shared.env.Registry.Ref("remote-fails/" + e.name + ":1")}, args...), source)...)
			cmd.Env = append(cmd.Env, env...)
			o := end(t, cmd)
			if o.code != code {
				t.Errorf("%s: exit code %d, want %d\n%s", args, o.code, code, o.stderr)
			}
			if strings.Contains(o.stderr+o.stdout, wrong) {
				t.Errorf("%s: a secret is printed:\n%s", args, o.stderr)
			}
			return o
		}
		for _, link := range []string{nowhere, bucket} {
			what := "registry " + nowhere
			if link == bucket {
				what = "s3 builds"
			}
			o := run(0, "--cache-to", link)
			if !strings.Contains(o.stderr, "\nwarning: the cache "+what+" was not written") || strings.Contains(o.stderr, "ERROR") {
				t.Errorf("a cache that is not written: not what people should see:\n%s", o.stderr)
			}
			o = run(0, "--no-cache", "--cache-from", link)
			if !strings.Contains(o.stderr, "\nwarning: the cache "+what+" was not read") || strings.Contains(o.stderr, "ERROR") {
				t.Errorf("a cache that is not read: not what people should see:\n%s", o.stderr)
			}
			for _, strict := range [][]string{{"--cache-strict", "--cache-to", link}, {"--cache-to", typed(link) + ",ignore-error=false"}} {
				o = run(1, strict...)
				if !strings.Contains(o.stderr, "ERROR: the cache "+what+" was not written") {
					t.Errorf("%s: not what people should see:\n%s", strict, o.stderr)
				}
			}
		}
		if !e.remote {
			o := run(1, "--cache-to", "type=azblob,name=x,account_url=https://x.blob.core.windows.net")
			if !strings.Contains(o.stderr, "does not write caches of the type azblob") {
				t.Errorf("a type that the builder does not know:\n%s", o.stderr)
			}
		}
	})
}

// typed is a link with its type.
func typed(link string) string {
	if strings.Contains(link, "=") {
		return link
	}
	return "type=registry,ref=" + link
}

// TestRemoteCacheOfEnvironment: what is exported of a spec whose code is put on top is its environment, once. A known
// image exports nothing, and says so on a machine that has not written there.
func TestRemoteCacheOfEnvironment(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		e = e.fresh(t)
		cache := shared.env.Registry.Ref("remote-env/" + e.name + "/cache:1")
		source := func(code string) string {
			return filepath.Join(files(t, "main.txt", code, "image.yaml", "base_image: busybox\ncommands: [': "+e.name+"; head -c 16 /dev/urandom | sha256sum > /random']\n"+
				"layers: [{source_file: main.txt}]\nentrypoint: [cat, /random]\n"), "image.yaml")
		}
		build := func(e engine, name string, args ...string) (outcome, string) {
			ref := shared.env.Registry.Ref("remote-env/" + e.name + "/" + name)
			o := e.ibuild(t, append([]string{"build", "--progress", "plain", "--push", "--no-env-tag", "-t", ref}, args...)...)
			return o, fileOf(t, pull(t, ref, amd64), "/random")
		}
		first := source("one\n")
		o, want := build(e, "first:1", "--cache-to", cache, first)
		if strings.Count(o.stderr, "sending cache export") != 1 && strings.Count(o.stderr, "write the cache") != 1 {
			t.Errorf("the cache is not written once:\n%s", o.stderr)
		}
		if o, _ := build(e, "first:1", "--cache-to", cache, first); strings.Contains(o.stderr, "write the cache") || strings.Contains(o.stderr, "is not written") {
			t.Errorf("a known image, and a cache that has it:\n%s", o.stderr)
		}
		if o, _ := build(e, "first:1", "--cache-to", cache+"b", first); !strings.Contains(o.stderr, "the cache registry "+cache+"b is not written; --force solves") {
			t.Errorf("a known image, and a cache that does not have it:\n%s", o.stderr)
		}
		o, got := build(engineNamed(t, "root").fresh(t), "second:1", "--cache-from", cache, source("two\n"))
		if got != want {
			t.Errorf("the environment was made again: %q, not %q\n%s", got, want, o.stderr)
		}
	})
}

// TestRemoteCacheOfTensorFlow: tensorflow_cloud's rule between two machines. The image is the cache where none is named.
func TestRemoteCacheOfTensorFlow(t *testing.T) {
	for _, tag := range []string{":train", ""} { // without one, each image has another
		t.Run("image"+tag, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, e engine) {
				tensorFlowTwice(t, e, shared.env.Registry.Ref("remote-tensorflow/"+e.name+tag))
			})
		})
	}
}

// tensorFlowTwice builds two versions of an image on two machines.
func tensorFlowTwice(t *testing.T, e engine, image string) {
	t.Helper()
	source := func(code string) string {
		return filepath.Join(files(t, "code/main.txt", code, "image.yaml", "tensorflow_cloud: {parent_image: busybox, context: code, image: '"+image+"'}\n"+
			"commands: [': "+e.name+"; head -c 16 /dev/urandom | sha256sum > /random', "+code+"]\nentrypoint: [cat, /random]\n"), "image.yaml")
	}
	build := func(e engine, code string) (outcome, string) {
		cmd := e.command(t, "build", "--progress", "plain", "--push", "--no-env-tag", source(code))
		cmd.Env = append(cmd.Env, "PIP_INDEX_URL="+shared.env.Sites.Open.Index())
		o := mustEnd(t, cmd)
		_, pushed, _ := strings.Cut(o.stderr, "\npushed ")
		name, _, _ := strings.Cut(pushed, "\n")
		return o, fileOf(t, pull(t, name, amd64), "/random")
	}
	_, want := build(e.fresh(t), "echo one > /one")
	o, got := build(engineNamed(t, "root").fresh(t), "echo two > /two")
	if got != want {
		t.Errorf("the first step was run again: %q, not %q\n%s", got, want, o.stderr)
	}
}
