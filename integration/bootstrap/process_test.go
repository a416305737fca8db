//go:build integration

package bootstrap

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/runner/bootstrap/contract"
	"github.com/ibuild/ibuild/runner/bootstrap/results"
	"github.com/ibuild/ibuild/runner/gke"
)

// TestProcessOne: in a namespace of its own it buries orphans, and what daemons do ends before the results are read.
func TestProcessOne(t *testing.T) {
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	at := strings.TrimPrefix(server.URL, "http://") + "/me/job:run"
	b := newBox(t, 0)
	b.alone = true
	const script = `echo pid $PPID
for i in 1 2 3 4 5 6 7 8; do setsid sh -c 'sleep 0.1 & sleep 0.05' & done
sleep 0.6
echo zombies $(grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l)
setsid sh -c 'trap "" TERM HUP; while :; do date +%s.%N >>$IBUILD_OUTPUT_DIR/heartbeat; sleep 0.01; done' &
sleep 0.2
exit 6`
	code, m := b.run(contract.Request{Output: b.dir + "/out", Results: at, Program: []string{"/bin/sh", "-c", script}})
	if code != 6 || m.Phase != contract.PhaseRun || m.Result == "" || !strings.HasPrefix(b.out.String(), "pid 1\nzombies 0\n") {
		t.Fatalf("%d: %+v, %q\n%s", code, m, b.out.String(), b.stderr.String())
	}
	before, err := os.ReadFile(b.dir + "/out/heartbeat")
	if err != nil || len(before) == 0 {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	after, err := os.ReadFile(b.dir + "/out/heartbeat")
	to := t.TempDir()
	_, fetchErr := results.Fetch(t.Context(), registry.New(registry.Options{Keychain: registry.StaticKeychain(nil)}), contract.Tag(at, 0, 0), "", results.Target{Folder: to})
	pushed, readErr := os.ReadFile(to + "/heartbeat")
	if err != nil || fetchErr != nil || readErr != nil || string(after) != string(before) || string(pushed) != string(before) {
		t.Errorf("the daemon went on: %d, then %d, %d were pushed: %v, %v, %v", len(before), len(after), len(pushed), err, fetchErr, readErr)
	}
}

// TestProcessOneSignals: the kernel gives process 1 only the signals that it wants. It wants them.
func TestProcessOneSignals(t *testing.T) {
	b := newBox(t, 0)
	b.alone = true
	b.start(contract.Request{Program: []string{"/bin/sh", "-c", `trap 'echo hup' HUP; trap 'echo usr1' USR1; trap 'echo term; exit 11' TERM; echo ready; while :; do sleep 0.02; done`}})
	b.until(&b.out, "ready")
	for sig, word := range map[syscall.Signal]string{syscall.SIGHUP: "hup", syscall.SIGUSR1: "usr1", syscall.SIGTERM: "term"} {
		if sig == syscall.SIGTERM {
			continue
		}
		if err := b.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		b.until(&b.out, word)
	}
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, m := b.wait(); code != 11 || m.ExitCode != 11 || !strings.Contains(b.out.String(), "term") {
		t.Errorf("%d, %+v, %q", code, m, b.out.String())
	}
}

// TestUnreadable: what the user of the pod may not read is left out, and said.
func TestUnreadable(t *testing.T) {
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	at := strings.TrimPrefix(server.URL, "http://") + "/me/job:run"
	b := newBox(t, nobody)
	code, m := b.run(contract.Request{Output: b.dir + "/out", Results: at, Program: []string{"/bin/sh", "-c",
		`cd $IBUILD_OUTPUT_DIR && echo 1 >good && echo 2 >bad && chmod 0 bad && mkdir closed && echo 3 >closed/x && chmod 0 closed`}})
	if code != 0 || m.Phase != contract.PhaseRun || m.Result == "" || !strings.Contains(m.Message, "2 files are not in the results") {
		t.Errorf("%d: %+v\n%s", code, m, b.stderr.String())
	}
	to := t.TempDir()
	s, err := results.Fetch(t.Context(), registry.New(registry.Options{Keychain: registry.StaticKeychain(nil)}), contract.Tag(at, 0, 0), "", results.Target{Folder: to})
	if err != nil || s.Files != 1 || s.Missed != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestFullDisk: where nothing can be written, results are pushed all the same.
func TestFullDisk(t *testing.T) {
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	at := strings.TrimPrefix(server.URL, "http://") + "/me/job:run"
	b := newBox(t, 0)
	b.alone = true
	script := `mount -t tmpfs -o size=12m tmpfs $IBUILD_OUTPUT_DIR && cd $IBUILD_OUTPUT_DIR && export TMPDIR=$PWD
head -c 6000000 /dev/urandom >a; cat /dev/zero >b 2>/dev/null; echo filled $?`
	// The mount is the program's: it stays, as it is in the same namespace.
	code, m := b.run(contract.Request{Output: b.dir + "/out", Results: at, Program: []string{"/bin/sh", "-c", script}})
	if code != 0 || m.Result == "" || b.out.String() != "filled 1\n" {
		t.Fatalf("%d: %+v, %q\n%s", code, m, b.out.String(), b.stderr.String())
	}
	to := t.TempDir()
	if s, err := results.Fetch(t.Context(), registry.New(registry.Options{Keychain: registry.StaticKeychain(nil)}), contract.Tag(at, 0, 0), "", results.Target{Folder: to}); err != nil || s.Files != 2 || s.Bytes < 11<<20 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestSameWords: who watches a job reads what the bootstrap writes.
func TestSameWords(t *testing.T) {
	for ours, theirs := range map[string]string{
		contract.PhaseInstall: gke.InstallPhase, contract.PhaseRun: gke.RunPhase, contract.PhaseResults: gke.ResultsPhase, contract.PhaseTimeout: gke.TimeoutPhase,
	} {
		if ours != theirs {
			t.Errorf("the bootstrap says %q, and the watcher %q", ours, theirs)
		}
	}
	m := contract.Message{Phase: contract.PhaseRun, ExitCode: 3, Message: "m", Result: "sha256:r"}
	var read gke.TerminationMessage
	if err := unmarshalStrictly(m.Encode(), &read); err != nil || read != (gke.TerminationMessage{Phase: contract.PhaseRun, ExitCode: 3, Message: "m", Result: "sha256:r"}) {
		t.Errorf("%+v, %v", read, err)
	}
}

func unmarshalStrictly(data []byte, to any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(to)
}
