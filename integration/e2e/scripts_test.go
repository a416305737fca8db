//go:build integration

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/integration/imagetest"
)

// TestScripts builds every script of examples/scripts and runs it by the image's own config. The engines take
// turns; TestScriptOnTwoPlatforms has them all build the same.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join(shared.examples, "scripts", "*.py"))
	if err != nil || len(scripts) < 5 {
		t.Fatalf("%d scripts, %v", len(scripts), err)
	}
	of, list := map[string][]string{}, engines(t)
	for i, script := range scripts {
		name := list[i%len(list)].name
		of[name] = append(of[name], script)
	}
	enginesAtOnce(t, list, func(t *testing.T, e engine) {
		for _, script := range of[e.name] {
			name := strings.TrimSuffix(filepath.Base(script), ".py")
			t.Run(name, func(t *testing.T) {
				ref := e.push(t, "scripts/"+name, script)
				prints(t, pull(t, ref, amd64), noOptions, expected(t, script))
			})
		}
	})
}

// expected is what a script prints, from the file beside it.
func expected(t *testing.T, script string) string {
	t.Helper()
	return read(t, strings.TrimSuffix(script, ".py")+".expected")
}

// TestScriptOnTwoPlatforms makes one index of numpy for two platforms with every engine: the same images.
func TestScriptOnTwoPlatforms(t *testing.T) {
	script := filepath.Join(shared.examples, "scripts", "fit.py")
	build := func(t *testing.T, e engine) string {
		return e.push(t, "scripts/two-platforms/"+e.name, "--platform", amd64+","+arm64, script)
	}
	var all agreement
	enginesAtOnce(t, engines(t), func(t *testing.T, e engine) {
		ref := build(t, e)
		expectPlatforms(t, ref, amd64+" "+arm64)
		for _, p := range []string{amd64, arm64} {
			img := pull(t, ref, p)
			all.add(t, img, p, func() { prints(t, img, noOptions, expected(t, script)) })
		}
	})
}

// TestLockedScript follows the lock, also where PyPI has newer versions, and not the folder's other files.
func TestLockedScript(t *testing.T) {
	e := engineNamed(t, "root")
	dir := example(t, "scripts")
	lock := filepath.Join(dir, "locked.py.lock")
	ref := e.push(t, "scripts/lock-kept", filepath.Join(dir, "locked.py"))
	prints(t, pull(t, ref, amd64), imagetest.RunOptions{Args: []string{"2048"}}, "2.0 KiB\nhumanize 4.12.3, click 8.2.1\n")

	write(t, lock, strings.Replace(read(t, lock), `specifier = ">=8"`, `specifier = ">=7"`, 1))
	o := end(t, e.command(t, "build", "--push", "--progress", "plain", "-t", shared.env.Registry.Ref("scripts/lock-old"), filepath.Join(dir, "locked.py")))
	if o.code != 2 || !strings.Contains(o.stderr, "locked.py.lock is out of date") { // seen before anything is sent
		t.Errorf("a lock that does not fit the header: exit code %d\n%s", o.code, o.stderr)
	}
}
