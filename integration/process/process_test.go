package process

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestProcessStopsWithItsChildren(t *testing.T) {
	// A shell that ignores nothing and leaves a child behind in its group.
	p, err := Start(exec.Command("sh", "-c", "sleep 1000 & echo $!; wait"), "sh", filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool { return Tail(p.Log, 1) != "" })
	child, err := strconv.Atoi(Tail(p.Log, 1))
	if err != nil || !slices.Contains(descendants(p.PID), child) {
		t.Fatalf("child %d (%v) is not among %v", child, err, descendants(p.PID))
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if !gone([]int{p.PID, child}) {
		t.Error("a process is left")
	}
	if err := p.Stop(); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

func TestWaitForShowsLog(t *testing.T) {
	p, err := Start(exec.Command("sh", "-c", "echo no such thing; exit 3"), "sh", filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	err = p.WaitFor(t.Context(), func(context.Context) error { return errors.New("not yet") })
	var failure *Error
	if !errors.As(err, &failure) || !strings.Contains(err.Error(), "no such thing") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error = %v", err)
	}
}

func waitUntil(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}
