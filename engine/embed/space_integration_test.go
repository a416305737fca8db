//go:build integration && linux

package embed

import (
	"fmt"
	"slices"
	"testing"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
)

// grow makes a layer of so many megabytes.
func grow(t *testing.T, e *Engine, name string, megabytes int) {
	t.Helper()
	base, mounts := busybox(t)
	st := base.Run(llb.Args([]string{"/bin/busybox", "sh", "-c", fmt.Sprintf("busybox dd if=/dev/urandom of=/%s bs=1M count=%d", name, megabytes)})).Root()
	if res, err := build(t.Context(), newClient(t, e), st, client.SolveOpt{LocalMounts: mounts}); err != nil {
		t.Fatalf("build: %v\n%s", err, res.log)
	}
}

func kept(t *testing.T, e *Engine) (sum int64) {
	t.Helper()
	list, err := e.DiskUsage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range list {
		sum += u.Size
	}
	return sum
}

// TestEngineKeepsItsLimit: what a build leaves beyond the limit is gone when its engine has ended.
func TestEngineKeepsItsLimit(t *testing.T) {
	root := stateFolder(t)
	const limit = 40e6
	e := startEngine(t, Config{Root: root, MaxSize: limit})
	for _, name := range []string{"a", "b", "c"} { // BuildKit may collect meanwhile, a second after a start or a build
		grow(t, e, name, 20)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = startEngine(t, Config{Root: root})
	if after := kept(t, e); after > limit || after == 0 {
		t.Errorf("%d bytes are kept", after)
	}
	// A lower limit holds before the next build.
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if after := kept(t, startEngine(t, Config{Root: root, MaxSize: 5e6})); after > 5e6 {
		t.Errorf("%d bytes are kept", after)
	}
}

func TestEnginePrunes(t *testing.T) {
	e := startEngine(t, Config{})
	grow(t, e, "a", 5)
	list, err := e.DiskUsage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if gone, err := e.Prune(t.Context(), PruneOptions{Types: []client.UsageRecordType{client.UsageRecordTypeCacheMount}}); err != nil || len(gone) > 0 {
		t.Errorf("%v, %v", gone, err)
	}
	gone, err := e.Prune(t.Context(), PruneOptions{All: true})
	if err != nil || !slices.ContainsFunc(gone, func(u client.UsageInfo) bool { return u.Size > 4e6 }) {
		t.Errorf("of %d records these are gone: %+v, %v", len(list), gone, err)
	}
	if left := kept(t, e); left > 1e6 {
		t.Errorf("%d bytes are kept", left)
	}
}
