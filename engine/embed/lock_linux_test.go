package embed

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestLockState(t *testing.T) {
	root := t.TempDir()
	first, err := lockState(root)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockState(root)
	var locked *LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("got %v", err)
	}
	if locked.PID != os.Getpid() || locked.Root != root || !strings.HasPrefix(locked.Command, filepath.Base(os.Args[0])) {
		t.Errorf("got %+v", locked)
	}
	first.release()
	second, err := lockState(root)
	if err != nil {
		t.Fatal(err)
	}
	second.release()
	if b, err := os.ReadFile(filepath.Join(root, lockName)); err != nil || len(b) != 0 {
		t.Errorf("a released lock names %q, %v", b, err)
	}
}

// A killed holder's child keeps the lock until it ends, too.
func TestLockStateWaitsForDyingChild(t *testing.T) {
	root := t.TempDir()
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(root, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(itoa(dead.Process.Pid) + "\nibuild build\n"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { f.Close() })
	l, err := lockState(root)
	if err != nil {
		t.Fatal(err)
	}
	l.release()
}

func TestLockedErrorText(t *testing.T) {
	for _, tc := range []struct {
		holder, want string
	}{
		{"12\nibuild build .\n", "process 12 (ibuild build .)"},
		{"12\n", "process 12"},
		{"", "another process"},
		{"garbage", "another process"},
		{"-5\nx\n", "another process"},
	} {
		e := lockedError("/r", strings.NewReader(tc.holder))
		if got := e.Error(); !strings.HasSuffix(got, "/r is in use by "+tc.want) {
			t.Errorf("%q: got %q", tc.holder, got)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for want, args := range map[string][]string{
		"":                   nil,
		"ibuild":             {"/usr/bin/ibuild"},
		"ibuild build .":     {"ibuild", "build", ".", "more"},
		"ibuild build":       {"ibuild", "build", "--secret=x", "."},
		"ibuild build a b c": {"ibuild", "build", "a\nb\tc"},
	} {
		if got := commandLine(args); got != want {
			t.Errorf("%q: got %q, want %q", args, got, want)
		}
	}
}
