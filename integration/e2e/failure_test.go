//go:build integration

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// everyOutput are flags for all that a build can write into a folder, and a push.
func everyOutput(dir, ref string) []string {
	return []string{"--progress", "plain", "--push", "-t", ref,
		"-o", "type=oci,dest=" + filepath.Join(dir, "oci.tar"), "-o", "type=docker,dest=" + filepath.Join(dir, "docker.tar"),
		"-o", "type=tar,dest=" + filepath.Join(dir, "tree.tar"), "-o", "type=local,dest=" + filepath.Join(dir, "tree"),
		"--metadata-file", filepath.Join(dir, "metadata.json"), "--iidfile", filepath.Join(dir, "iid")}
}

// fails runs a build that has to fail with a code and with texts in its message, and to leave nothing.
func (e engine) fails(t *testing.T, code int, texts []string, args ...string) outcome {
	t.Helper()
	return failing{engine: e, code: code, texts: texts}.run(t, args...)
}

type failing struct {
	engine engine
	code   int
	texts  []string
	env    []string
	ref    string // what is pushed; a name in the environment's registry when empty
	stdin  string
}

func (f failing) run(t *testing.T, args ...string) outcome {
	t.Helper()
	dir, ref := folder(t), f.ref
	if ref == "" {
		ref = shared.env.Registry.Ref("failures/" + f.engine.name + ":" + filepath.Base(dir))
	}
	cmd := f.engine.command(t, append(append([]string{"build"}, everyOutput(dir, ref)...), args...)...)
	cmd.Env = append(cmd.Env, f.env...)
	cmd.Stdin = strings.NewReader(f.stdin)
	o := end(t, cmd)
	if o.code != f.code {
		t.Errorf("exit code %d, want %d", o.code, f.code)
	}
	for _, text := range f.texts {
		if !strings.Contains(o.stderr, text) {
			t.Errorf("the message does not have %q", text)
		}
	}
	if t.Failed() {
		t.Logf("stderr:\n%s", o.stderr)
	}
	if got := listing(t, dir); got != "" {
		t.Errorf("left in the outputs' folder: %s", got)
	}
	if f.ref == "" && digestOf(t, ref) != "" {
		t.Errorf("the tag is there")
	}
	return o
}

// TestFailingStep shows the command, the end of its log, and the line that asked for it.
func TestFailingStep(t *testing.T) {
	dockerfile := "FROM busybox\nRUN echo fine\nRUN echo before the end; \\\n    echo last words >&2; exit 7\n"
	for name, test := range map[string]struct {
		dir  string
		want []string
	}{
		"dockerfile": {files(t, "Dockerfile", dockerfile),
			[]string{"Dockerfile:3", "exit 7", "before the end", "last words", "exit code: 7", ">>>"}},
		"spec": {files(t, "image.yaml", "base_image: busybox\ncommands:\n  - echo fine\n  - echo before the end; echo last words >&2; exit 7\n"),
			[]string{"image.yaml:4", "exit 7", "before the end", "last words", "exit code: 7", ">>>"}},
		"spec with a package that is not there": {files(t, "image.yaml", "python_version: '3.11'\npackages:\n  - no-such-package-of-anybody-9\n"),
			[]string{"image.yaml:", "no-such-package-of-anybody-9", ">>>", "not found"}},
	} {
		t.Run(name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, e engine) {
				o := e.fails(t, 1, test.want, test.dir)
				if at := strings.LastIndex(o.stderr, "ERROR"); at < 0 || strings.Count(o.stderr[at:], "\n") > 4 {
					t.Errorf("the error is not at the end:\n%s", o.stderr)
				}
			})
		})
	}
}

// TestFailingStepOfScript: a script whose packages cannot be had fails at its header's line.
func TestFailingStepOfScript(t *testing.T) {
	dir := files(t, "train.py", "# /// script\n# requires-python = \"==3.11.*\"\n# dependencies = [\"no-such-package-of-anybody-9\"]\n# ///\nprint()\n")
	eachEngine(t, func(t *testing.T, e engine) {
		e.fails(t, 1, []string{"train.py:1", "no-such-package-of-anybody-9"}, filepath.Join(dir, "train.py"))
	})
}

// TestFailureKeepsTag: what a failed build leaves behind is what was there before.
func TestFailureKeepsTag(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		dir := dockerfileSubject(t, e).source
		ref := e.push(t, "failures/kept-"+e.name, dir)
		want := digestOf(t, ref)
		out := files(t, "oci.tar", "an older archive", "iid", "an older id")
		appendTo(t, filepath.Join(dir, "Dockerfile"), "RUN false\n")
		o := end(t, e.command(t, append(append([]string{"build"}, everyOutput(out, ref)...), dir)...))
		if o.code != 1 || digestOf(t, ref) != want {
			t.Errorf("exit code %d; the tag stands for %s, want %s", o.code, digestOf(t, ref), want)
		}
		if got := read(t, filepath.Join(out, "oci.tar")) + read(t, filepath.Join(out, "iid")); got != "an older archivean older id" || listing(t, out) != "iid oci.tar" {
			t.Errorf("the folder has %s; the files are %q", listing(t, out), got)
		}
	})
}
