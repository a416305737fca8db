//go:build integration

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLLB prints graphs where there is no builder: nothing listens, no runtime is there, no state folder is made.
// They are the same bytes for every user, folder and time.
func TestLLB(t *testing.T) {
	for _, source := range []string{"dockerfiles/02-multi-stage", "dockerfiles/10-ignore-files", "scripts/fit.py", "scripts/locked.py", "specs/train", "specs/site"} {
		t.Run(strings.ReplaceAll(source, "/", "-"), func(t *testing.T) {
			want := ""
			eachEngine(t, func(t *testing.T, e engine) {
				e = e.fresh(t)
				for _, folder := range []string{filepath.Join(shared.examples, source), example(t, source)} {
					got := printLLB(t, e, folder)
					if want == "" {
						checkLLB(t, got)
						want = got
					}
					if got != want {
						t.Errorf("the graph of %s differs:\n%s\nwant\n%s", folder, got, want)
					}
				}
			})
		})
	}
}

func printLLB(t *testing.T, e engine, source string) string {
	t.Helper()
	builder := shared.env.Buildkitd.Mark()
	dir := source
	if strings.HasSuffix(source, ".py") && filepath.Dir(source) != filepath.Join(shared.examples, "scripts") {
		if lock := filepath.Join(shared.examples, "scripts", filepath.Base(source)+".lock"); exists(lock) {
			write(t, source+".lock", read(t, lock))
		}
	}
	args := []string{"llb", "--platform", amd64 + "," + arm64, dir}
	cmd := e.command(t, args...)
	cmd.Env = append(cmd.Env, "PATH=/nowhere")
	if e.remote {
		cmd.Env = append(cmd.Env, "BUILDKIT_HOST=tcp://127.0.0.1:1")
	}
	o := mustEnd(t, cmd)
	if exists(e.root()) || len(shared.env.Buildkitd.Connections(builder)) > 0 {
		t.Error("a builder was reached")
	}
	return o.stdout
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// checkLLB wants both platforms and no path of this machine.
func checkLLB(t *testing.T, text string) {
	t.Helper()
	if !json.Valid([]byte(text)) {
		t.Errorf("not JSON:\n%s", text)
	}
	for _, want := range []string{amd64, arm64, "docker-image://docker.io/library/"} {
		if !strings.Contains(text, want) {
			t.Errorf("the graph does not have %s", want)
		}
	}
	for _, not := range []string{shared.env.Dir, shared.env.Registry.Addr} {
		if strings.Contains(text, not) {
			t.Errorf("the graph has %s", not)
		}
	}
}

// TestLLBFormats: a picture, and the identity, which follows the files.
func TestLLBFormats(t *testing.T) {
	e := engineNamed(t, "user")
	if o := e.ibuild(t, "llb", "--format", "dot", filepath.Join(shared.examples, "dockerfiles/02-multi-stage")); !strings.HasPrefix(o.stdout, "digraph") || !strings.Contains(o.stdout, "make_vocabulary.py") {
		t.Errorf("not a picture:\n%s", o.stdout)
	}
	s := dockerfileSubject(t, e)
	identity := func() string { return e.ibuild(t, "llb", "--identity", s.source).stdout }
	first := identity()
	write(t, filepath.Join(s.source, "unused"), "not copied, so of no matter\n")
	if got := identity(); got != first || !strings.HasPrefix(got, "sha256:") {
		t.Errorf("identities %q and %q", first, got)
	}
	appendTo(t, s.change, "changed\n")
	if got := identity(); got == first {
		t.Error("the identity does not follow a file")
	}
}
