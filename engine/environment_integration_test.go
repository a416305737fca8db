//go:build integration && linux

package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	containerdarchive "github.com/containerd/containerd/v2/pkg/archive"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/ibuild/ibuild/engine/embed"
	"github.com/ibuild/ibuild/llb"
	"github.com/moby/buildkit/client"
)

// engineBuilder is BuildKit in this process, which other builders of the test use, too.
type engineBuilder struct{ *embed.Engine }

func (b engineBuilder) Name() string { return "engine" }
func (b engineBuilder) Close() error { return nil }
func (b engineBuilder) Client(ctx context.Context) (*client.Client, error) {
	return b.Engine.Client(ctx)
}

// withEngine gives the fixture's machines a real builder.
func (f *fixture) withEngine() func() {
	f.t.Helper()
	if os.Getuid() != 0 {
		f.t.Skip("package embed has the tests of ordinary users")
	}
	e, err := embed.Start(f.t.Context(), embed.Config{Root: filepath.Join(f.t.TempDir(), "state")})
	check(f.t, err)
	f.t.Cleanup(func() { check(f.t, e.Close()) })
	use := func() {
		f.engine.Builders[0].Open = func(context.Context, string) (Builder, error) {
			f.opened.Add(1)
			return engineBuilder{e}, nil
		}
	}
	use()
	return use
}

// treeImage is an image of one layer, with the files of a folder.
func treeImage(t *testing.T, dir string) v1.Image {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	check(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		check(t, err)
		rel, err := filepath.Rel(dir, p)
		check(t, err)
		if rel == "." {
			return nil
		}
		info, err := e.Info()
		check(t, err)
		link := ""
		if info.Mode()&fs.ModeSymlink != 0 {
			link, err = os.Readlink(p)
			check(t, err)
		}
		h, err := tar.FileInfoHeader(info, link)
		check(t, err)
		h.Name = rel
		if info.IsDir() {
			h.Name += "/"
		}
		st := info.Sys().(*syscall.Stat_t)
		h.Uid, h.Gid, h.Uname, h.Gname = int(st.Uid), int(st.Gid), "", ""
		check(t, tw.WriteHeader(h))
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(p)
			check(t, err)
			_, err = tw.Write(data)
			check(t, err)
		}
		return nil
	}))
	check(t, tw.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
	check(t, err)
	img, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), mutate.Addendum{Layer: layer})
	check(t, err)
	cf := config(t, img).DeepCopy()
	cf.OS, cf.Architecture = "linux", "amd64"
	img, err = mutate.ConfigFile(img, cf)
	check(t, err)
	return img
}

// onTree is code on the bare base, which is the environment then.
func (f *fixture) onTree(dir string, names []string, steps ...llb.Step) Request {
	f.t.Helper()
	img := codeOf(dir, steps...)
	img.Base = llb.Base{Ref: f.host + "/base:1"}
	return Request{Plan: &llb.Plan{Kind: "test", Name: "test", Image: img, Locals: img.Locals}, Outputs: Outputs{Push: true, Names: f.names(names...)}}
}

// may is build for what may need a builder, with the number of times that one was opened.
func (f *fixture) may(req Request) (*Result, int) {
	f.t.Helper()
	before := f.opened.Load()
	res, err := f.build(req)
	if err != nil {
		f.t.Fatalf("the build failed: %v\n%s", err, f.said())
	}
	return res, int(f.opened.Load() - before)
}

// TestEngineEnvironment is the way of an environment through machines, with a real builder: made once, found by a
// machine that has nothing, looked into when code goes elsewhere, and found again with all that was learned.
func TestEngineEnvironment(t *testing.T) {
	for name, envRepo := range map[string]string{"in the image's repository": "", "elsewhere": "environments"} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			use := f.withEngine()
			f.server.push(t, f.host+"/base:1", treeImage(t, source(t, map[string]string{
				"usr/lib/x": "", "lib": "->usr/lib", "etc/passwd": "app:x:1000:1001::/:\n", "etc/group": "", "data/deep/old": "o", "srv/": "",
			})))
			dir := source(t, codeFiles())
			req := f.onTree(dir, []string{"team/app:1"}, owned(folderTo("/lib/app"), "app"))
			if envRepo != "" {
				req.Outputs.EnvRepo = f.repo(envRepo)
			}
			first, opened := f.may(req)
			if opened != 1 || first.How != HowAssembled {
				t.Errorf("the first build was %q, with %d builders", first.How, opened)
			}
			e := f.environment(req)
			if !e.found() || !strings.Contains(f.said(), "keep the environment as ") {
				t.Fatalf("the environment is not there: %s", f.said())
			}

			f.newMachine() // with no builder
			if again := f.must(req, HowAssembled); again.Descriptor.Digest != first.Descriptor.Digest {
				t.Errorf("another machine makes %s, not %s", again.Descriptor.Digest, first.Descriptor.Digest)
			}
			elsewhere := f.onTree(dir, []string{"team/app:2"}, fileTo("/data/deep/one"))
			elsewhere.Outputs.EnvRepo = req.Outputs.EnvRepo
			f.needs(elsewhere, "code for a folder that nobody has looked into")
			use()
			if res, opened := f.may(elsewhere); opened != 1 || res.How != HowAssembled {
				t.Errorf("the builder that was to look was opened %d times for %q: %s", opened, res.How, f.said())
			}
			if two := f.environment(elsewhere); two.images[two.rec.Images[0].ID].Manifest.Digest != e.images[e.rec.Images[0].ID].Manifest.Digest {
				t.Error("the environment is another one now")
			}

			f.newMachine()
			plant(t, dir, map[string]string{"one": "2", "src/main.py": "print(2)\n"})
			f.must(elsewhere, HowAssembled)
			f.must(req, HowAssembled) // what was known before is known still
		})
	}
}

// TestEngineRefusedEnvRepo: a place for environments that one may not write to costs a note, and other machines a
// builder.
func TestEngineRefusedEnvRepo(t *testing.T) {
	f := newFixture(t)
	f.withEngine()
	inner := f.Config.Handler
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead && strings.HasPrefix(r.URL.Path, "/v2/environments/") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		inner.ServeHTTP(w, r)
	})
	f.server.push(t, f.host+"/base:1", treeImage(t, source(t, map[string]string{"etc/x": "1"})))
	dir := source(t, codeFiles())
	req := f.onTree(dir, []string{"app:1"}, folderTo("/app"))
	req.Outputs.EnvRepo = f.repo("environments")
	if res, opened := f.may(req); opened != 1 || res.How != HowAssembled || !strings.Contains(f.said(), "cannot be kept in "+f.host+"/environments") {
		t.Errorf("%q with %d builders: %s", res.How, opened, f.said())
	}
	plant(t, dir, map[string]string{"src/main.py": "print(2)\n"})
	f.must(req, HowAssembled)
	f.newMachine()
	plant(t, dir, map[string]string{"src/main.py": "print(3)\n"})
	f.needs(req, "another machine")
}

// TestEngineSharedImage: what has no code on top is found by its source alone.
func TestEngineSharedImage(t *testing.T) {
	f := newFixture(t)
	f.withEngine()
	f.server.push(t, f.host+"/base:1", treeImage(t, source(t, map[string]string{"etc/x": "1"})))
	inner := f.onTree(t.TempDir(), nil, llb.WriteFile{Dst: "/etc/y", Data: []byte("2")})
	req := Request{Plan: &llb.Plan{Kind: "Dockerfile", Name: "Dockerfile", Build: inner.Plan.Image.BuildFunc(llb.Options{})},
		Outputs: Outputs{Push: true, Names: f.names("app:1", "second/app:1"), EnvRepo: f.repo("environments")}}
	first, _ := f.may(req)
	if first.How != HowSolved {
		t.Errorf("the first build was %q", first.How)
	}
	f.newMachine()
	req.Outputs.Names = f.names("third/app:1")
	if again := f.must(req, HowKnown); again.Descriptor.Digest != first.Descriptor.Digest {
		t.Errorf("another machine finds %s, not %s", again.Descriptor.Digest, first.Descriptor.Digest)
	}
	f.image(t, f.host+"/third/app:1", amd64)
}

// TestEngineMakesTheSameTree puts every case of TestAssembledEqualsBuilt to BuildKit itself.
func TestEngineMakesTheSameTree(t *testing.T) {
	f := newFixture(t)
	use := f.withEngine()
	for _, c := range differentialCases() {
		t.Run(c.name, func(t *testing.T) {
			if c.attr != "" {
				t.Skip("an extended attribute is the builder's")
			}
			dir := source(t, codeFiles())
			plant(t, dir, c.local)
			for p, m := range c.sources {
				check(t, os.Chmod(filepath.Join(dir, p), m))
			}
			env, start := c.environment(t), time.Now().Add(-time.Minute)
			f.t = t
			f.newMachine()
			use()
			f.server.push(t, f.host+"/base:1", treeImage(t, env))
			file := filepath.Join(t.TempDir(), "tree.tar")
			req := f.onTree(dir, nil, c.steps...)
			req.Outputs = Outputs{Exports: []Export{{Type: TarExport, Dest: file}}}
			_, err := f.build(req)
			if (err != nil) != c.refused {
				t.Fatalf("the builder says %v, refused: %v", err, c.refused)
			}
			if c.builder != "" {
				return
			}
			two := t.TempDir()
			r, err := os.Open(file)
			check(t, err)
			defer r.Close()
			_, err = containerdarchive.Apply(t.Context(), two, r)
			check(t, err)
			var needs *needsBuilder
			if err := assembled(t, req.Plan.Image, env); err != nil || errors.As(err, &needs) {
				t.Fatal(err)
			}
			compareTrees(t, two, env, start)
		})
	}
}
