//go:build integration

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
)

// subject is something small to build, new to every cache.
type subject struct {
	source string // for the command line
	change string // the file whose change is a change of code only
	prints string // what the image prints
}

// nonce makes a text that nobody built before.
func nonce(t *testing.T, e engine) string { return t.Name() + " by " + e.name }

func scriptSubject(t *testing.T, e engine) subject {
	t.Helper()
	script := example(t, "scripts/settings.py")
	appendTo(t, script, fmt.Sprintf("print(%q)\n", nonce(t, e)))
	return subject{script, script, "attrs 23.2.0\npackaging 23.2\n" + nonce(t, e) + "\n"}
}

func specSubject(t *testing.T, e engine) subject {
	t.Helper()
	dir := files(t, "main.sh", "cat /made /app/text\n", "text", nonce(t, e)+"\n", "image.yaml",
		"base_image: busybox\ncommands: [echo made > /made]\nlayers:\n- source_file: {src: main.sh, dst: /app/}\n- source_file: {src: text, dst: /app/}\nentrypoint: [sh, /app/main.sh]\n")
	return subject{dir, filepath.Join(dir, "text"), "made\n" + nonce(t, e) + "\n"}
}

func dockerfileSubject(t *testing.T, e engine) subject {
	t.Helper()
	dir := files(t, "text", nonce(t, e)+"\n", "Dockerfile", "FROM busybox\nRUN echo made > /made\nCOPY text /text\nCMD [\"cat\", \"/made\", \"/text\"]\n")
	return subject{dir, filepath.Join(dir, "text"), "made\n" + nonce(t, e) + "\n"}
}

// visits is what a build asked of others.
type visits struct {
	outcome
	builder  bool     // a builder was reached
	requests []string // METHOD path of everything asked of the registry
}

// watch runs a build and sees whom it asks. The in-process engine is watched by a state folder that is not
// there before: it is there afterwards if an engine was started. keep leaves the state folder as it is, for
// builds that are going to need it.
func (e engine) watch(t *testing.T, keep bool, args ...string) visits {
	t.Helper()
	cmd := e.command(t, args...)
	state := filepath.Join(folder(t), "state")
	if !keep {
		cmd.Env = append(cmd.Env, "IBUILD_ROOT="+state)
	}
	registry, builder := shared.env.Registry.Mark(), shared.env.Buildkitd.Mark()
	v := visits{outcome: mustEnd(t, cmd)}
	_, err := os.Stat(state)
	v.builder = err == nil || len(shared.env.Buildkitd.Connections(builder)) > 0 || strings.Contains(v.stderr, "builder: ")
	for _, r := range shared.env.Registry.Requests(registry) {
		v.requests = append(v.requests, r.Method+" "+r.Path)
	}
	slices.Sort(v.requests)
	return v
}

func (v visits) withoutBuilder(t *testing.T, what string) {
	t.Helper()
	if v.builder {
		t.Errorf("%s: a builder was reached\n%s", what, v.stderr)
	}
}

func (v visits) withBuilder(t *testing.T, what string) {
	t.Helper()
	if !v.builder {
		t.Errorf("%s: no builder was reached\n%s", what, v.stderr)
	}
}

func manifestPath(t *testing.T, ref string) string {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	return "/v2/" + r.Context().RepositoryStr() + "/manifests/" + r.Identifier()
}

// TestKnownBuild builds the same again: one HEAD per tag and base, and no builder.
func TestKnownBuild(t *testing.T) {
	for kind, test := range map[string]struct {
		subject func(*testing.T, engine) subject
		bases   []string
	}{
		"script":     {scriptSubject, []string{"library/python:3.11-slim-bookworm", "astral-sh/uv:0.13.9"}},
		"spec":       {specSubject, []string{"library/busybox:latest", "astral-sh/uv:0.13.9"}},
		"dockerfile": {dockerfileSubject, []string{"library/busybox:latest"}},
	} {
		t.Run(kind, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, e engine) {
				s := test.subject(t, e)
				one, two := shared.env.Registry.Ref("known/"+kind+"-"+e.name+":1"), shared.env.Registry.Ref("known/"+kind+"-"+e.name+":2")
				args := []string{"build", "--progress", "plain", "--push", "-t", one, "-t", two, s.source}
				e.watch(t, true, args...).withBuilder(t, "the first build")
				first := digestOf(t, one)

				v := e.watch(t, false, args...)
				v.withoutBuilder(t, "the second build")
				want := []string{"HEAD " + manifestPath(t, one), "HEAD " + manifestPath(t, two)}
				for _, b := range test.bases {
					want = append(want, "HEAD "+manifestPath(t, shared.env.Registry.Ref(b)))
				}
				slices.Sort(want)
				if got := strings.Join(v.requests, "\n"); got != strings.Join(want, "\n") {
					t.Errorf("the second build asked\n%s\nwant\n%s", got, strings.Join(want, "\n"))
				}
				if got := digestOf(t, two); got != first {
					t.Errorf("the tags stand for %s and %s", first, got)
				}
				if !strings.Contains(v.stderr, first) {
					t.Errorf("the digest %s is not shown:\n%s", first, v.stderr)
				}
			})
		})
	}
}

// TestCodeChange changes what comes after the last step: the new image is put together without a builder.
func TestCodeChange(t *testing.T) {
	for kind, subject := range map[string]func(*testing.T, engine) subject{"script": scriptSubject, "spec": specSubject} {
		t.Run(kind, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, e engine) {
				s := subject(t, e)
				ref := e.push(t, "code/"+kind+"-"+e.name, s.source)
				prints(t, pull(t, ref, amd64), noOptions, s.prints)

				write(t, s.change, strings.ReplaceAll(read(t, s.change), nonce(t, e), "changed"))
				e.watch(t, false, "build", "--progress", "plain", "--push", "-t", ref, s.source).withoutBuilder(t, "after a change of code")
				prints(t, pull(t, ref, amd64), noOptions, strings.ReplaceAll(s.prints, nonce(t, e), "changed"))
			})
		})
	}
}
