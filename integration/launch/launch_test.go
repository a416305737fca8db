//go:build integration

package launch

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/platforms"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/engine/embed"
	"github.com/ibuild/ibuild/integration/imagetest"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/runner/gke"
	"github.com/ibuild/ibuild/runner/launch"
	"github.com/ibuild/ibuild/settings"
)

// launcher prepares launches with the in-process engine and the loopback registry.
type launcher struct {
	t      *testing.T
	dir    string // the user's folder
	means  launch.Means
	opened atomic.Int32 // how often a builder was asked for
}

func newLauncher(t *testing.T, files map[string]string) *launcher {
	t.Helper()
	l := &launcher{t: t, dir: filepath.Join(t.TempDir(), "work")}
	for name, text := range files {
		l.write(name, text)
	}
	cfg, err := settings.Load(shared.env.IbuildConfig())
	l.check(err)
	store, err := cache.Open(t.TempDir())
	l.check(err)
	t.Cleanup(func() { store.Close() })
	state := filepath.Join(t.TempDir(), "state")
	open := func(ctx context.Context, _ string) (engine.Builder, error) {
		l.opened.Add(1)
		return embed.Start(ctx, embed.Config{Root: state, Registries: cfg.Registry})
	}
	l.means.CacheFolder = t.TempDir()
	l.means.Engine = &engine.Engine{
		Registry: registry.New(registry.Options{Hosts: cfg.Registry, Cache: store, Keychain: registry.StaticKeychain(nil)}), Cache: store,
		Builders: engine.Builders{{Name: "local", Open: open, Key: "in-process", Platform: platforms.Normalize(platforms.DefaultSpec())}},
	}
	l.means.Request.Machine = func() (llb.Machine, error) {
		m, _, err := settings.Detect(t.Context(), cfg, settings.ThisHost())
		return m, err
	}
	return l
}

func (l *launcher) check(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *launcher) write(name, text string) {
	l.t.Helper()
	file := filepath.Join(l.dir, name)
	l.check(os.MkdirAll(filepath.Dir(file), 0o755))
	l.check(os.WriteFile(file, []byte(text), 0o644))
}

// prepare makes the image of a source in the user's folder.
func (l *launcher) prepare(o launch.Options) *launch.Launch {
	l.t.Helper()
	o.Source = filepath.Join(l.dir, o.Source)
	o.Dir, o.Home = l.dir, filepath.Dir(l.dir)
	o.Repository = shared.env.Registry.Ref("launch/" + strings.ToLower(l.t.Name()))
	if o.Accelerator.Kind == "" {
		o.Accelerator = gke.Accelerator{Kind: gke.CPU, Name: "cpu", Hosts: 1, Arch: "amd64"}
	}
	var out *launch.Launch
	l.progress(func() (err error) {
		out, err = launch.Prepare(l.t.Context(), o, l.means)
		return err
	})
	return out
}

// progress runs do with a progress that nobody looks at.
func (l *launcher) progress(do func() error) {
	l.t.Helper()
	p := engine.NewProgress()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range p.Statuses() {
		}
	}()
	l.means.Engine.Progress = p
	err := do()
	p.Close()
	<-done
	l.check(err)
}

// run runs a launch's image as a pod would, with runc.
func (l *launcher) run(what *launch.Launch) imagetest.Result {
	l.t.Helper()
	img, err := imagetest.Pull(l.t.Context(), what.Image, "linux/amd64")
	l.check(err)
	o := imagetest.RunOptions{Entrypoint: what.Command(), Args: what.Args, Env: []string{"UV_DEFAULT_INDEX=" + shared.env.Sites.Open.Index()}}
	res, err := imagetest.Run(l.t.Context(), img, o)
	l.check(err)
	return res
}

func (l *launcher) prints(what *launch.Launch, want string) {
	l.t.Helper()
	if res := l.run(what); res.ExitCode != 0 || res.Stdout != want {
		l.t.Errorf("exit code %d, printed %q, want %q\n%s", res.ExitCode, res.Stdout, want, res.Stderr)
	}
}

// builders is how often a builder was asked for since the last call.
func (l *launcher) builders() int32 { return l.opened.Swap(0) }

func TestLaunchBundled(t *testing.T) {
	l := newLauncher(t, map[string]string{
		"train.py":         "import sys, humanize, helper\nprint(humanize.__version__, helper.NAME, sys.argv[1:])\n",
		"helper.py":        "NAME = 'one'\n",
		"requirements.txt": "humanize==4.12.3\n",
	})
	o := launch.Options{Source: "train.py", Python: "3.11", Args: []string{"--lr", "a b"}}
	first := l.prepare(o)
	l.prints(first, "4.12.3 one ['--lr', 'a b']\n")
	if l.builders() == 0 {
		t.Error("no builder was asked for the packages")
	}
	begin := time.Now()
	again := l.prepare(o)
	t.Logf("unchanged: %s", time.Since(begin).Round(time.Millisecond))
	if again.Image != first.Image || again.Base.How != engine.HowKnown {
		t.Errorf("unchanged: %s, %s", again.Image, again.Base.How)
	}
	l.write("helper.py", "NAME = 'two'\n")
	begin = time.Now()
	changed := l.prepare(o)
	t.Logf("a change of code: %s", time.Since(begin).Round(time.Millisecond))
	l.prints(changed, "4.12.3 two ['--lr', 'a b']\n")
	if n := l.builders(); n != 0 {
		t.Errorf("a change of code asks a builder %d times", n)
	}
	if changed.Base.Descriptor.Digest != first.Base.Descriptor.Digest {
		t.Error("a change of code changes the base")
	}
}

// TestLaunchHeader has the header decide, and the script's neighbours beside it.
func TestLaunchHeader(t *testing.T) {
	l := newLauncher(t, map[string]string{
		"train.py":         "# /// script\n# requires-python = \"==3.11.*\"\n# dependencies = [\"humanize==4.12.3\"]\n# ///\nimport humanize, helper\nprint(humanize.__version__, helper.NAME)\n",
		"helper.py":        "NAME = 'beside'\n",
		"requirements.txt": "humanize==4.0.0\n",
	})
	what := l.prepare(launch.Options{Source: "train.py"})
	l.prints(what, "4.12.3 beside\n")
	l.builders()
	l.write("train.py", "# /// script\n# requires-python = \"==3.11.*\"\n# dependencies = [\"humanize==4.12.3\"]\n# ///\nprint(1)\n")
	l.prints(l.prepare(launch.Options{Source: "train.py"}), "1\n")
	if n := l.builders(); n != 0 {
		t.Errorf("a change below the header asks a builder %d times", n)
	}
}

func TestLaunchNotebook(t *testing.T) {
	nb := `{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
  {"cell_type": "code", "metadata": {}, "source": "print('first')\nx = 6"},
  {"cell_type": "code", "metadata": {}, "source": "x * 7"},
  {"cell_type": "code", "metadata": {}, "source": ["import sys\n", "print('last', file=sys.stdout)"]}]}`
	l := newLauncher(t, map[string]string{"nb.ipynb": nb})
	l.prints(l.prepare(launch.Options{Source: "nb.ipynb", Python: "3.11"}), "first\n42\nlast\n")
}

// TestLaunchPrebuilt publishes a base image, and has the container install what is named.
func TestLaunchPrebuilt(t *testing.T) {
	l := newLauncher(t, map[string]string{
		"train.py":         "import importlib.metadata as m, sys\nprint(m.version('ibuild-private-hello'), sys.prefix)\n",
		"requirements.txt": "ibuild-private-hello==1.0\njax==0.1  # is in the base image\n",
	})
	repo := shared.env.Registry.Ref("launch/bases")
	publishBase(t, repo)
	o := launch.Options{Source: "train.py", Mode: launch.Prebuilt, BaseRepo: repo, BaseTag: "t1"}
	l.prints(l.prepare(o), "1.0 /opt/venv\n")
	l.write("train.py", "print('changed')\n")
	begin := time.Now()
	changed := l.prepare(o)
	t.Logf("a change of code: %s", time.Since(begin).Round(time.Millisecond))
	l.prints(changed, "changed\n")
	if n := l.builders(); n != 0 {
		t.Errorf("prebuilt mode asks a builder %d times", n)
	}
	l.write("requirements.txt", "no-such-package-of-ibuild==1\n")
	if res := l.run(l.prepare(o)); res.ExitCode == 0 || !strings.Contains(res.Stderr, "no-such-package-of-ibuild") {
		t.Errorf("a package that does not exist: exit code %d\n%s", res.ExitCode, res.Stderr)
	}
}

// publishBase makes the base image for CPUs, for a foreign platform, too: this machine runs no program of that one.
func publishBase(t *testing.T, repo string) {
	t.Helper()
	ibuild(t, "build-image", "--repo", repo, "--category", "cpu", "--tag", "t1", "--python", "3.11", "--platform", "linux/amd64,linux/arm64", "--yes").
		expect(t, 0, repo+"/base-cpu:t1@sha256:")
	img, err := imagetest.Pull(t.Context(), repo+"/base-cpu:t1", "linux/arm64")
	if err != nil {
		t.Fatal(err)
	}
	files, err := imagetest.Files(img)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"opt/venv/bin/uv", "opt/venv/lib/python3.11/site-packages/jax/__init__.py"} {
		if !slices.ContainsFunc(files, func(f imagetest.File) bool { return f.Path == name }) {
			t.Errorf("the image for arm64 has no %s", name)
		}
	}
}

// TestLaunchOwn takes images that say themselves what they run.
func TestLaunchOwn(t *testing.T) {
	l := newLauncher(t, map[string]string{
		"docker/Dockerfile": "FROM " + busybox + "\nWORKDIR /w\nCOPY said .\nENTRYPOINT [\"cat\"]\nCMD [\"said\"]\n", "docker/said": "from a Dockerfile\n",
		"spec/image.yaml": "base_image: " + busybox + "\nlayers:\n  - source_file: {src: said, dst: /said}\nentrypoint: [cat, /said]\n", "spec/said": "from a spec\n",
	})
	l.prints(l.prepare(launch.Options{Source: "docker"}), "from a Dockerfile\n")
	l.prints(l.prepare(launch.Options{Source: "spec"}), "from a spec\n")
	l.prints(l.prepare(launch.Options{Source: "docker", NoBootstrap: true}), "from a Dockerfile\n")
	res := l.run(l.prepare(launch.Options{Source: "docker", Args: []string{"missing"}}))
	if res.ExitCode != 1 || !strings.Contains(res.Stderr, "missing") {
		t.Errorf("with arguments: exit code %d\n%s", res.ExitCode, res.Stderr)
	}
}
