//go:build integration

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// inProcess are the engines that live in ibuild's process.
func inProcess(t *testing.T) []engine {
	t.Helper()
	var list []engine
	for _, e := range engines(t) {
		if !e.remote {
			list = append(list, e)
		}
	}
	return list
}

// TestExec builds with buildctl on the engine that ibuild serves: the image is the one that ibuild makes.
func TestExec(t *testing.T) {
	for _, e := range inProcess(t) {
		t.Run(e.name, func(t *testing.T) {
			s := newScene(t, e)
			subject := dockerfileSubject(t, e)
			ref := shared.env.Registry.Ref("exec/" + e.name)
			mustEnd(t, s.command(t, "exec", "--", "buildctl", "build", "--frontend", "dockerfile.v0",
				"--local", "context="+subject.source, "--local", "dockerfile="+subject.source, "--opt", "label:mark="+s.mark,
				"--output", "type=image,push=true,oci-mediatypes=true,name="+ref))
			img := pull(t, ref, amd64)
			prints(t, img, noOptions, subject.prints)
			lookInto(t, pull(t, e.push(t, "exec/"+e.name+":ibuild", "--label", "mark="+s.mark, subject.source), amd64)).same(t, img)
			s.leavesNothing(t)
		})
	}
}

// TestExecGivesItsCommandWhatItNeeds: the address, the exit code, standard input and output.
func TestExecGivesItsCommandWhatItNeeds(t *testing.T) {
	for _, e := range inProcess(t) {
		t.Run(e.name, func(t *testing.T) {
			s := newScene(t, e)
			socket := filepath.Join(s.runtime, "my.sock")
			cmd := s.command(t, "exec", "--addr", "unix://"+socket, "--", "sh", "-c", `cat; echo "$BUILDKIT_HOST"; stat -c %a `+socket+` | cut -c 2-; exit 7`)
			cmd.Stdin = strings.NewReader("in\n")
			o := end(t, cmd)
			if want := "in\nunix://" + socket + "\n00\n"; o.code != 7 || o.stdout != want {
				t.Errorf("exit code %d, output %q, want 7 and %q\n%s", o.code, o.stdout, want, o.stderr)
			}
			s.leavesNothing(t)
		})
	}
}

// TestExecBadInput: no command, one that is not there, an address that cannot be served, one that is taken.
func TestExecBadInput(t *testing.T) {
	e := engineNamed(t, "user")
	taken := filepath.Join(files(t, "taken.sock", ""), "taken.sock")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no command":             {[]string{"exec"}, "command to run is missing"},
		"command that is not":    {[]string{"exec", "--", "no-such-command"}, "no-such-command"},
		"address over a network": {[]string{"exec", "--addr", "tcp://127.0.0.1:1", "--", "true"}, "unix://"},
		"address that is taken":  {[]string{"exec", "--addr", "unix://" + taken, "--", "true"}, taken},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, e)
			o := end(t, s.command(t, test.args...))
			if o.code != 2 || !strings.Contains(o.stderr, test.want) || !strings.Contains(o.stderr, "hint:") {
				t.Errorf("exit code %d\n%s", o.code, o.stderr)
			}
			quick(t, o)
			s.leavesNothing(t)
		})
	}
	if _, err := os.Stat(taken); err != nil {
		t.Errorf("the file in the place of the socket: %v", err)
	}
}

// TestStateFolderInUse: a second process on the same state folder is told at once who has it.
func TestStateFolderInUse(t *testing.T) {
	for _, e := range inProcess(t) {
		t.Run(e.name, func(t *testing.T) {
			s := newScene(t, e)
			holder := s.command(t, "exec", "--", "sleep", "1"+s.mark)
			if err := holder.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				holder.Process.Signal(os.Interrupt)
				holder.Wait()
				s.leavesNothing(t)
			}()
			eventually(t, "the engine runs", func() bool { return sleeps(t, s.mark) })
			for _, args := range [][]string{{"exec", "--", "true"}, {"build", "--progress", "plain", dockerfileSubject(t, e).source}} {
				o := end(t, e.command(t, args...))
				for _, want := range []string{e.root(), "in use by process " + strconv.Itoa(holder.Process.Pid), "hint:"} {
					if !strings.Contains(o.stderr, want) {
						t.Errorf("%s: the message does not have %q:\n%s", args[0], want, o.stderr)
					}
				}
				if o.code != 4 || o.took > 3*time.Second {
					t.Errorf("%s: exit code %d after %s", args[0], o.code, o.took)
				}
			}
		})
	}
}
