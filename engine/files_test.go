package engine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
)

// Layers that are made here hold the bytes that the identity was made of, or the build is an error.
func TestAssembledFilesAreThoseIdentified(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p string) error
		want   string
	}{
		"nothing":       {func(string) error { return nil }, ""},
		"as many bytes": {func(p string) error { return os.WriteFile(p, []byte("BBBB"), 0o644) }, "changed"},
		"more":          {func(p string) error { return os.WriteFile(p, []byte("AAAAA"), 0o644) }, "changed"},
		"fewer":         {func(p string) error { return os.WriteFile(p, []byte("A"), 0o644) }, "changed"},
		"gone":          {os.Remove, "changed"},
	} {
		dir := source(t, map[string]string{"src/a": "AAAA", "src/b": "B"})
		img := codeOf(dir, llb.Copy{Local: "context", Src: "src", Dst: "/app", Dir: true})
		plan := (&llb.Plan{Image: img, Locals: img.Locals}).WithSums(nil)
		identityOf(t, plan)
		layers, err := lay(t, listing("app/"), plan.Image)
		check(t, err)
		check(t, c.change(filepath.Join(dir, "src/a")))
		store, err := cache.Open(t.TempDir())
		check(t, err)
		content, err := store.Content()
		check(t, err)
		_, err = registry.BuildLayer(t.Context(), content, layers[0].entries, registry.LayerOptions{})
		layers[0].close()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `"app/a"`)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the identity was made of is put into layers, though the folder has changed since.
func TestAssembledListIsThatIdentified(t *testing.T) {
	dir := source(t, map[string]string{"src/a": "A", "src/sub/b": "B"})
	plan := planOf(dir).WithSums(nil)
	identityOf(t, plan)
	check(t, os.Chmod(filepath.Join(dir, "src/a"), 0o755))
	check(t, os.WriteFile(filepath.Join(dir, "src/new"), nil, 0o644))
	check(t, os.RemoveAll(filepath.Join(dir, "src/sub")))
	layers, err := lay(t, listing("app/"), plan.Image)
	check(t, err)
	if d := cmp.Diff([][]string{{"app/a", "app/sub/", "app/sub/b"}}, paths(layers)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if mode := layers[0].entries[0].Mode; mode != 0o644 {
		t.Errorf("the mode is %s, and was another one", mode)
	}
}

// identityOf is the identity of a plan without a base.
func identityOf(t *testing.T, plan *llb.Plan) digest.Digest {
	t.Helper()
	rec, err := llb.NewRecorder(nil, plan, amd64).Record(t.Context(), plan.Image.BuildFunc(llb.Options{}))
	check(t, err)
	g, err := rec.Graph(context.WithoutCancel(t.Context()))
	check(t, err)
	return g.Identity()
}

func planOf(dir string) *llb.Plan {
	img := codeOf(dir, llb.Copy{Local: "context", Src: "src", Dst: "/app", Dir: true})
	return &llb.Plan{Image: img, Locals: img.Locals}
}

const identityEnv = "IBUILD_ENGINE_TEST_IDENTITY"

// TestIdentityProcess is one of the processes of TestProcessesShareFileMemory.
func TestIdentityProcess(t *testing.T) {
	dir, home, ok := strings.Cut(os.Getenv(identityEnv), ":")
	if !ok {
		t.Skip("no process of another test")
	}
	store, err := cache.Open(home, cache.WithWarn(func(msg string) { t.Error(msg) }))
	check(t, err)
	fmt.Println("identity", identityOf(t, planOf(dir).WithSums(cache.Folders(store))))
}

// Eight processes at once, on one cache, find the identity that a process without one finds, before and after
// each edit, though files keep their names, sizes and times.
func TestProcessesShareFileMemory(t *testing.T) {
	files := map[string]string{}
	for i := range 50 {
		files[fmt.Sprintf("src/%02d/f", i)] = fmt.Sprintf("%04d", i)
	}
	dir, home := source(t, files), t.TempDir()
	edited := filepath.Join(dir, "src/07/f")
	info, err := os.Stat(edited)
	check(t, err)
	seen := map[digest.Digest]bool{}
	for _, text := range []string{"0007", "BBBB", "CCCC"} {
		check(t, os.WriteFile(edited, []byte(text), 0o644))
		check(t, os.Chtimes(edited, info.ModTime(), info.ModTime()))
		for _, pause := range []time.Duration{0, 2200 * time.Millisecond, 0} { // racy, remembered, known
			time.Sleep(pause)
			want := identityOf(t, planOf(dir))
			seen[want] = true
			identities(t, dir, home, want)
		}
	}
	if len(seen) != 3 {
		t.Errorf("%d identities of 3 contents", len(seen))
	}
	if records, err := os.ReadDir(filepath.Join(home, "folders")); err != nil || len(records) != 1 {
		t.Errorf("%d folders are remembered, %v", len(records), err)
	}
}

func identities(t *testing.T, dir, home string, want digest.Digest) {
	t.Helper()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestIdentityProcess$")
			cmd.Env = append(os.Environ(), identityEnv+"="+dir+":"+home)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "identity "+want.String()+"\n") {
				t.Errorf("not %s: %v\n%s", want, err, out)
			}
		})
	}
	wg.Wait()
}
