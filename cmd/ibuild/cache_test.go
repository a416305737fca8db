package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/console"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/engine/embed"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// cacheRun runs `ibuild cache` on a cache, with no engine's state but the one that args name.
func cacheRun(t *testing.T, dir string, args ...string) (code int, out, errs string) {
	t.Helper()
	for name, value := range map[string]string{
		"HOME": t.TempDir(), "XDG_CONFIG_HOME": t.TempDir(), "IBUILD_CACHE": dir, "IBUILD_ROOT": filepath.Join(t.TempDir(), "none"), "BUILDKIT_HOST": "",
	} {
		t.Setenv(name, value)
	}
	app := newApp()
	var stdout, stderr bytes.Buffer
	app.Reader, app.Writer, app.ErrWriter = strings.NewReader(""), &stdout, &stderr
	code = report(&stderr, app.RunContext(t.Context(), append([]string{"ibuild", "cache"}, args...)))
	return code, stdout.String(), stderr.String()
}

// fill makes a cache with one old and one new blob, and a result.
func fill(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s, err := cache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for text, age := range map[string]time.Duration{"new": time.Hour, "old": 1000 * time.Hour} {
		desc, err := s.WriteBlob(t.Context(), "x", bytes.Repeat([]byte(text), 1000))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(dir, "blobs", "sha256", desc.Digest.Encoded()), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := cache.Results(s).Put("image sha256:1", cache.Result{Repository: "example.com/app", Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCacheCommands(t *testing.T) {
	for _, c := range []struct {
		args, out string // parts, divided by |
		left      int    // blobs
	}{
		{"ls", "KIND |blobs |3.0 kB |41 days|results |example.com/app", 2},
		{"ls --kind results", "results ", 2},
		{"du", "KIND |blobs  |2  |6.0 kB|index |all |at most ", 2},
		{"prune --dry-run", "41 days|would free 3.0 kB (1 item)", 2},
		{"prune", "cache: freed 3.0 kB (1 item) in ", 1},
		{"prune --older-than 30m --kind blobs", "freed 6.0 kB (2 items)", 0},
		{"prune --older-than 9w", "nothing to remove", 2},
		{"prune --all --yes", "(3 items) in ", 0},
		{"prune --keep-size 1MB", "nothing to remove", 2},
		{"prune --kind mounts --all", "nothing to remove", 2},
	} {
		t.Run(c.args, func(t *testing.T) {
			dir := fill(t)
			code, out, errs := cacheRun(t, dir, strings.Fields(c.args)...)
			if code != 0 || errs != "" {
				t.Fatalf("code %d: %s", code, errs)
			}
			for _, part := range strings.Split(c.out, "|") {
				if !strings.Contains(out, part) {
					t.Errorf("no %q in\n%s", part, out)
				}
			}
			if left, _ := os.ReadDir(filepath.Join(dir, "blobs", "sha256")); len(left) != c.left {
				t.Errorf("%d blobs are left", len(left))
			}
		})
	}
}

func TestCacheJSON(t *testing.T) {
	dir := fill(t)
	_, out, errs := cacheRun(t, dir, "ls", "--format", "json")
	var items []cache.Item
	if err := json.Unmarshal([]byte(out), &items); err != nil || len(items) != 4 || items[0].Kind != cache.KindIndex {
		t.Errorf("%v, %s%s", err, out, errs)
	}
	_, out, _ = cacheRun(t, dir, "du", "--format", "json")
	var u spaceUsage
	if err := json.Unmarshal([]byte(out), &u); err != nil || u.Cache != dir || u.Size < 6000 || u.CacheLimit < 1e9 || len(u.Kinds) != 3 {
		t.Errorf("%v, %s", err, out)
	}
	if _, out, _ := cacheRun(t, t.TempDir(), "ls", "--format", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("an empty cache: %s", out)
	}
}

// TestPruneAsks in a terminal, and takes only a yes for one.
func TestPruneAsks(t *testing.T) {
	for answer, left := range map[string]int{"n\n": 2, "\n": 2, "yes\n": 0, "Y\n": 0} {
		dir := fill(t)
		master, path, err := console.NewPty()
		if err != nil {
			t.Fatal(err)
		}
		slave, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := master.Write([]byte(answer)); err != nil {
			t.Fatal(err)
		}
		var asked bytes.Buffer
		t.Setenv("IBUILD_CACHE", dir)
		t.Setenv("IBUILD_ROOT", filepath.Join(t.TempDir(), "none"))
		app := newApp()
		app.Reader, app.Writer, app.ErrWriter = slave, &bytes.Buffer{}, &asked
		err = app.RunContext(t.Context(), []string{"ibuild", "cache", "prune", "--all", "--kind", "blobs"})
		if n, _ := os.ReadDir(filepath.Join(dir, "blobs", "sha256")); err != nil || len(n) != left || !strings.Contains(asked.String(), "Remove 2 items, 6.0 kB? [y/N]") {
			t.Errorf("%q: %d are left, %v, %s", answer, len(n), err, asked.String())
		}
		slave.Close()
		master.Close()
	}
}

// TestEngineInUse: the cache is done without the engine's state that another process has.
func TestEngineInUse(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no engine here")
	}
	root, dir := t.TempDir(), fill(t)
	lock, err := os.Create(filepath.Join(root, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	_, out, errs := cacheRun(t, dir, "du", "--format", "json", "--root", root)
	var u spaceUsage
	if err := json.Unmarshal([]byte(out), &u); err != nil || !u.EngineBusy || u.Engine != root || u.Size == 0 {
		t.Errorf("%v: %s%s", err, out, errs)
	}
	if code, out, errs := cacheRun(t, dir, "prune", "--root", root); code != 0 || !strings.Contains(out, "cache: freed 3.0 kB") || strings.Contains(out, "engine:") {
		t.Errorf("%d: %s%s", code, out, errs)
	}
}

func TestCacheUsageErrors(t *testing.T) {
	for args, want := range map[string]string{
		"prune --older-than 7":       `--older-than cannot be "7"`,
		"prune --older-than -3d":     `--older-than cannot be "-3d"`,
		"prune --older-than 0d":      `--older-than cannot be "0d"`,
		"prune --keep-size lots":     `--keep-size cannot be "lots"`,
		"prune --kind blob":          "did you mean blobs?",
		"prune --all --keep-size 1G": "--all removes everything",
		"prune --remote a --all":     "--remote goes with",
		"prune --remote a:b":         "a:b is no repository",
		"prune x":                    "takes no arguments",
		"ls --format xml":            "write text or json",
		"rm":                         `no command "rm"`,
	} {
		if code, _, errs := cacheRun(t, t.TempDir(), strings.Fields(args)...); code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%s: %d, %s", args, code, errs)
		}
	}
}

// ageOf is what --older-than is read as.
func ageOf(t *testing.T, text string) (age time.Duration) {
	t.Helper()
	app := newApp()
	app.Commands = []*cli.Command{{Name: "x", Flags: []cli.Flag{&cli.StringFlag{Name: "older-than"}}, Action: func(c *cli.Context) (err error) {
		age, err = readAge(c, "older-than")
		return err
	}}}
	if err := app.Run([]string{"ibuild", "x", "--older-than", text}); err != nil {
		t.Error(err)
	}
	return age
}

func TestReadAge(t *testing.T) {
	for text, want := range map[string]string{"12h": "12 h", "7d": "7 days", "2w": "14 days", "90m": "1 h"} {
		now := time.Now()
		if got := ageOf(t, text); ageText(now.Add(-got), now) != want {
			t.Errorf("%s: %s", text, got)
		}
	}
	if got := ageText(time.Time{}, time.Now()); got != "-" {
		t.Error(got)
	}
}

func TestFullDiskIsExplained(t *testing.T) {
	dir := fill(t)
	t.Setenv("IBUILD_CACHE", dir)
	t.Setenv("IBUILD_ROOT", t.TempDir())
	for _, err := range []error{
		&os.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC},
		fmt.Errorf("failed to solve: rpc error: write /var/lib/x: no space left on device"),
		&os.PathError{Op: "write", Path: "/x", Err: syscall.EDQUOT},
		&cache.FullError{Path: dir, Err: syscall.ENOSPC},
	} {
		code, msg, hint := explain(err)
		if code != exitBuild || msg == "" || !strings.Contains(hint, "the cache has ") || !strings.Contains(hint, dir) || !strings.Contains(hint, "`ibuild cache prune`") {
			t.Errorf("%v: %d, %s, %s", err, code, msg, hint)
		}
	}
}

func TestFullOutputIsExplained(t *testing.T) {
	dir := fill(t)
	t.Setenv("IBUILD_CACHE", dir)
	t.Setenv("IBUILD_ROOT", t.TempDir())
	for _, c := range []struct {
		err   error
		want  string // in the message
		hints []string
		prune bool
	}{
		{&engine.FullError{Output: "/proc/self/x.tar", Err: syscall.ENOSPC}, "cannot write /proc/self/x.tar: its disk is full", []string{"make room there", "dest="}, false},
		{&engine.FullError{Output: filepath.Join(dir, "x.tar"), Err: syscall.ENOSPC}, "its disk is full", []string{"make room there", "the cache has "}, true},
		{fmt.Errorf("archive: %w", &engine.FullError{Output: "/proc/x", Err: syscall.EDQUOT}), "archive: cannot write /proc/x: the quota on its disk is used up", []string{"dest="}, false},
		{&engine.FullError{Err: errors.New(`failed to solve: process "sh" did not complete successfully: exit code: 1`)}, `process "sh" did not`, []string{"the step's output says", "IBUILD_ROOT"}, true},
		{&embed.SetupError{Kind: embed.SetupRoot, Problem: "the engine's state folder cannot be locked", Err: syscall.ENOSPC, Hint: "Choose"}, "cannot be locked", []string{"IBUILD_ROOT"}, true},
	} {
		code, msg, hint := explain(c.err)
		if code != exitBuild || !strings.Contains(msg, c.want) || strings.Contains(hint, "`ibuild cache prune`") != c.prune {
			t.Errorf("%d, %s, %s", code, msg, hint)
		}
		for _, h := range c.hints {
			if !strings.Contains(hint, h) {
				t.Errorf("%s: no %q in %q", msg, h, hint)
			}
		}
	}
	noNamespace := &embed.SetupError{Kind: embed.SetupUserns, Problem: "no user namespace", Err: syscall.ENOSPC, Hint: "raise the number"}
	if code, _, hint := explain(noNamespace); code != exitReach || hint != "raise the number" {
		t.Errorf("%d, %s", code, hint)
	}
}

// environment puts an environment of an age on a shelf, and perhaps an image on it.
func (s *shelf) environment(repo, tag string, age time.Duration, onTop string) {
	s.t.Helper()
	img, err := random.Image(64, 2)
	s.check(err)
	img, err = mutate.CreatedAt(img, v1.Time{Time: time.Now().Add(-age)})
	s.check(err)
	put := func(tag string, img v1.Image) {
		ref, err := name.ParseReference(s.host + "/" + repo + ":" + tag)
		s.check(err)
		s.check(remote.Write(ref, img))
	}
	put(environmentPrefix+tag, img)
	if onTop != "" {
		layer, err := random.Layer(64, "application/vnd.oci.image.layer.v1.tar+gzip")
		s.check(err)
		img, err = mutate.AppendLayers(img, layer)
		s.check(err)
		put(onTop, img)
	}
}

func TestPruneRemote(t *testing.T) {
	s := newShelf(t)
	s.environment("app", "used", 1000*time.Hour, "v1")
	s.environment("app", "loose", 1000*time.Hour, "")
	s.environment("app", "young", time.Hour, "")
	repo := s.host + "/app"
	code, out, errs := cacheRun(t, t.TempDir(), "prune", "--remote", repo, "--dry-run")
	for _, want := range []string{"used by v1", "too young", "goes", "would remove 1 of 3 environments"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%d: no %q in\n%s%s", code, want, out, errs)
		}
	}
	code, out, errs = cacheRun(t, t.TempDir(), "prune", "--remote", repo)
	if code != 0 || !strings.Contains(out, "removed "+repo+":ibuild-env-loose\n") || !strings.Contains(out, "removed 1 of 3") {
		t.Errorf("%d: %s%s", code, out, errs)
	}
	if code, out, _ := cacheRun(t, t.TempDir(), "prune", "--remote", repo); code != 0 || !strings.Contains(out, "nothing to remove: 2 environments") {
		t.Errorf("%d: %s", code, out)
	}
	deleted := 0
	for _, r := range s.asked {
		if strings.HasPrefix(r, http.MethodDelete) {
			deleted++
		}
	}
	if deleted != 1 {
		t.Errorf("%d were deleted: %q", deleted, s.asked)
	}
	s.refuse = true
	if code, _, errs := cacheRun(t, t.TempDir(), "prune", "--remote", repo, "--older-than", "1h"); code != exitAuth || !strings.Contains(errs, "may not be listed") || !strings.Contains(errs, "docker login") {
		t.Errorf("%d: %s", code, errs)
	}
}
