//go:build integration

package traffic

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/integration/imagetest"
)

// TestCopyWithinRegistry: an image goes from one repository to another of the same registry, and no byte of its layers
// moves: each is mounted, with one request.
func TestCopyWithinRegistry(t *testing.T) {
	ref, blobs := pushBase(t, "traffic/copy-source")
	to := shared.env.Registry.Ref("traffic/copied:1")
	mark := shared.env.Registry.Mark()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := shared.env.Command(ctx, shared.env.Self, shared.ibuild, "copy", ref, to)
	cmd.Env = append(cmd.Env, "XDG_CACHE_HOME="+filepath.Join(folder(t), "cache"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("copy: %v\n%s", err, out)
	}
	requests := shared.env.Registry.Requests(mark)
	noBaseBytes(t, "copy within a registry", requests, blobs)
	mounted := map[string]int{}
	for _, r := range requests {
		if r.Method == http.MethodPost && r.Status == http.StatusCreated {
			mounted[r.Query]++
		}
	}
	for _, b := range blobs {
		n := 0
		for query, times := range mounted {
			if strings.Contains(query, b.Hex) {
				n += times
			}
		}
		if n != 1 {
			t.Errorf("the layer %s was mounted %d times\n%s", b, n, lines(requests))
		}
	}
	want, err := imagetest.Pull(t.Context(), ref, platform())
	if err != nil {
		t.Fatal(err)
	}
	got, err := imagetest.Pull(t.Context(), to, platform())
	if err != nil {
		t.Fatal(err)
	}
	if diff, err := imagetest.Compare(want, got); err != nil || diff != "" {
		t.Errorf("the copy is another image (%v):\n%s", err, diff)
	}
}
