//go:build integration && linux

package engine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	containerdarchive "github.com/containerd/containerd/v2/pkg/archive"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// standInImages are the images that allInputs uses, with a shell.
func standInImages(f *fixture) {
	f.t.Helper()
	built := filepath.Join(f.t.TempDir(), "prog")
	cmd := exec.CommandContext(f.t.Context(), "go", "build", "-o", built, "./testdata/shell")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // the images have no libraries
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("%v\n%s", err, out)
	}
	program, err := os.ReadFile(built)
	check(f.t, err)
	dir := source(f.t, map[string]string{"prog": "x:" + string(program), "x": "x", "etc/passwd": "root:x:0:0::/:/prog\nu:x:5:5::/:/prog\n"})
	img := treeImage(f.t, dir)
	for _, ref := range []string{"base:1", "tools:1", "onbuild:1"} {
		cf := config(f.t, img).DeepCopy()
		cf.Config = v1.Config{Env: []string{"PATH=/"}, Shell: []string{"/prog"}}
		if ref == "onbuild:1" {
			cf.Config.OnBuild = []string{"COPY trigger.txt /t"}
		}
		with, err := mutate.ConfigFile(img, cf)
		check(f.t, err)
		f.server.push(f.t, f.host+"/"+ref, with)
	}
}

// TestEqualIdentitiesMakeEqualTrees has BuildKit run what has the same identity, each time without its cache, and
// compares what came out. Times are in no identity, and are not compared.
func TestEqualIdentitiesMakeEqualTrees(t *testing.T) {
	f := newFixture(t)
	use := f.withEngine()
	standInImages(f)
	outer := t
	builtTree := func(t *testing.T, in *inputs) (string, map[string]string) {
		in.opt.NoCache = true
		id, err := in.identify(f)
		check(t, err)
		file := filepath.Join(outer.TempDir(), "tree.tar")
		req := in.req
		req.Options.NoCache, req.Outputs = true, Outputs{Exports: []Export{{Type: TarExport, Dest: file}}}
		use()
		res, err := f.build(req)
		if err != nil {
			t.Fatalf("%v\n%s", err, f.said())
		}
		if res.How != HowSolved {
			t.Fatalf("it was not built: %s", res.How)
		}
		root := outer.TempDir()
		r, err := os.Open(file)
		check(t, err)
		defer r.Close()
		_, err = containerdarchive.Apply(t.Context(), root, r)
		check(t, err)
		check(t, os.Remove(filepath.Join(root, "prog"))) // the largest, and the same in all bases
		out := map[string]string{}
		for p, e := range tree(t, root) {
			out[p] = e.What
		}
		return id.String(), out
	}
	first := freshInputs(f)
	first.dir = t.TempDir()
	wantID, want := builtTree(t, first)
	ran := 0
	for p := range want {
		if strings.HasPrefix(p, "ran-") {
			ran++
		}
	}
	if ran != 2 { // those of the last stage
		t.Fatalf("%d steps ran: %v", ran, want)
	}
	for name, change := range doesNotCount(f, first.dir) {
		t.Run(name, func(t *testing.T) {
			in := freshInputs(f)
			change(t, in)
			id, got := builtTree(t, in)
			if id != wantID {
				t.Errorf("identity %s, not %s", id, wantID)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("the tree is another (-first +this):\n%s", d)
			}
		})
	}
	// and what has another identity makes another one, so that the comparison can tell
	in := freshInputs(f)
	in.files["bound/a"] = "other"
	if id, got := builtTree(t, in); id == wantID || cmp.Diff(want, got) == "" {
		t.Error("another file makes no other tree")
	}
}
