//go:build integration

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestEightProcesses builds eight images at once with one cache, on one environment: each gets its own code.
func TestEightProcesses(t *testing.T) {
	e := engineNamed(t, "user").fresh(t)
	source := func(n int) (dir, text string) {
		text = fmt.Sprintf("code %d of %s", n, nonce(t, e))
		return files(t, "text", text+"\n", "image.yaml", "base_image: busybox\ncommands: [echo made > /made]\nlayers:\n- source_file: {src: text, dst: /app/}\n"), text
	}
	first, _ := source(0)
	e.push(t, "eight/user", first)
	var wg sync.WaitGroup
	said := make([]string, 8)
	for n := range said {
		dir, text := source(n + 1)
		ref := shared.env.Registry.Ref(fmt.Sprintf("eight/user:%d", n))
		cmd := e.command(t, "build", "--progress", "plain", "--push", "-t", ref, dir)
		wg.Go(func() {
			out, err := cmd.CombinedOutput()
			if said[n] = string(out); err != nil {
				t.Errorf("%d: %v\n%s", n, err, out)
			}
		})
		defer func() {
			if img := pull(t, ref, amd64); holds(t, img, text+"\n") == "" {
				t.Errorf("%s has no %q", ref, text)
			}
		}()
	}
	wg.Wait()
	for n, text := range said {
		if strings.Contains(text, "builder: ") || strings.Contains(text, "note: the cache") {
			t.Errorf("%d: a builder was asked, or the cache was not of use\n%s", n, text)
		}
	}
	for _, pattern := range []string{"ingest/*", "leases/*-*", "folders/.*", "*.damaged-*"} {
		if found, err := filepath.Glob(filepath.Join(e.cache(), "ibuild", pattern)); err != nil || len(found) > 0 {
			t.Errorf("left behind: %q, %v", found, err)
		}
	}
}
