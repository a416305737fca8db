//go:build integration

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestVerify builds again and compares: what only copies is the same twice, and what writes down the time is not.
func TestVerify(t *testing.T) {
	for _, e := range rootAndRemote(t) {
		t.Run(e.name, func(t *testing.T) {
			e := e.fresh(t)
			dir := files(t, "text", nonce(t, e)+"\n", "Dockerfile", "FROM busybox\nCOPY text /text\nENV MODE=quiet\nCMD [\"cat\", \"/text\"]\n")
			ref := e.push(t, "verify/"+e.name, dir)
			pushed := digestOf(t, ref)
			o := end(t, e.command(t, "verify", "-t", ref, dir))
			if o.code != 0 || !strings.HasSuffix(o.stdout, "\nreproducible\n") {
				t.Errorf("what only copies: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
			}

			appendTo(t, filepath.Join(dir, "Dockerfile"), "RUN date +%s.%N > /when && cat /proc/uptime >> /when\n")
			if o = end(t, e.command(t, "verify", "-t", ref, dir)); o.code != 2 || !strings.Contains(o.stderr, "is not what build 1 was made of any more") {
				t.Errorf("another source: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
			}
			e.push(t, "verify/"+e.name, dir)
			other := digestOf(t, ref)
			o = end(t, e.command(t, "verify", "--ignore-times", "-t", ref, dir))
			if o.code != 1 || !strings.HasSuffix(o.stdout, "\nnot reproducible\n") {
				t.Errorf("what writes down the time: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
			}
			for _, want := range []string{"RUN /bin/sh -c date +%s.%N > /when", "\n      when: content ", "layers are the same"} {
				if !strings.Contains(o.stdout, want) {
					t.Errorf("it does not say %q:\n%s", want, o.stdout)
				}
			}
			if pushed == other || digestOf(t, ref) != other {
				t.Errorf("the tag stood for %s and %s, and stands for %s", pushed, other, digestOf(t, ref))
			}
		})
	}
}

// TestExplain says beforehand and afterwards which file changed, and what runs because of it.
func TestExplain(t *testing.T) {
	e := engineNamed(t, "remote").fresh(t)
	dir := files(t, "text", nonce(t, e)+"\n", "Dockerfile", "FROM busybox\nRUN echo made > /made\nCOPY text /text\nRUN cat /text > /copy\n")
	ref := e.push(t, "explain/"+e.name, dir)
	says := func(o outcome, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(o.stdout, text) {
				t.Errorf("it does not say %q:\n%s", text, o.stdout)
			}
		}
	}
	same := e.watch(t, false, "explain", "-t", ref, dir)
	same.withoutBuilder(t, "explain of what is the same")
	says(same.outcome, "nothing changed since build 1 ", "a build now: nothing to do ")

	write(t, filepath.Join(dir, "text"), "a longer text than it was before: "+nonce(t, e)+"\n")
	changed := []string{"file text: ", "RUN cat /text > /copy", "because of "}
	ahead := e.watch(t, false, "explain", "-t", ref, dir)
	ahead.withoutBuilder(t, "explain of a change")
	says(ahead.outcome, append(changed, "changed since build 1 ", "a build now: a builder is asked ")...)

	e.push(t, "explain/"+e.name, dir)
	back := e.watch(t, false, "explain", ref)
	back.withoutBuilder(t, "explain of a build that was")
	says(back.outcome, append(changed, "build 2 ", "what it did: ")...)
	if strings.Contains(back.stdout, "> [2/4] RUN echo made") {
		t.Errorf("a step that comes before the change is said to run again:\n%s", back.stdout)
	}
}

// TestFileChangesWhileItIsSent writes to the end of a large file while the builder is sent its beginning: the build
// ends with an error that names the file, neither hangs nor gives the name to an image of something else.
func TestFileChangesWhileItIsSent(t *testing.T) {
	const size = 256 << 20 // takes longer to send than to write one byte
	for _, e := range rootAndRemote(t) {
		t.Run(e.name, func(t *testing.T) {
			e := e.fresh(t)
			dir := files(t, "Dockerfile", "FROM busybox\nCOPY large /large\n", "large", nonce(t, e))
			large := filepath.Join(dir, "large")
			if err := os.Truncate(large, size); err != nil {
				t.Fatal(err)
			}
			ref := shared.env.Registry.Ref("changes/" + e.name)
			cmd := e.command(t, "build", "--progress", "plain", "--push", "-t", ref, dir)
			changed := false
			var stderr strings.Builder
			cmd.Stderr = writerFunc(func(b []byte) {
				stderr.Write(b)
				if !changed && strings.Contains(stderr.String(), "transferring context") {
					changed = true
					overwrite(t, large, size-1)
				}
			})
			begin := time.Now()
			err := cmd.Run()
			if !changed {
				t.Fatalf("nothing was sent: %v\n%s", err, stderr.String())
			}
			if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(stderr.String(), "large changed during the build") {
				t.Errorf("exit code %d after %s\n%s", code, time.Since(begin), stderr.String())
			}
			if d := digestOf(t, ref); d != "" {
				t.Errorf("the tag stands for %s", d)
			}
		})
	}
}

// writerFunc is a writer that does not fail.
type writerFunc func([]byte)

func (w writerFunc) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}

// overwrite changes one byte in place.
func overwrite(t *testing.T, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte{1}, at)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Error(err)
	}
}
