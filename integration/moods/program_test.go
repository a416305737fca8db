//go:build integration

package moods

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/integration/imagetest"
	"github.com/ibuild/ibuild/integration/soak"
)

// TestPrograms: the program itself, through a registry in random moods: a copy from past the proxy, and every third
// time a build whose layer is pushed while it is made.
func TestPrograms(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("the engine in ibuild's process runs as root here")
	}
	plan, err := soak.New(6, 30)
	if err != nil {
		t.Fatal(err)
	}
	plan.Runs = min(plan.Runs, 30) // IBUILD_SOAK_RUNS is for TestPushes
	t.Log(plan)
	if err := put(t.Context(), shared.img, pullRepo, "1"); err != nil {
		t.Fatal(err)
	}
	for n := range plan.Runs {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := &round{number: n, plan: Draw(plan.Seed+1, n, Pushes, true), met: newTally()}
			defer func() {
				if t.Failed() {
					t.Logf("again with IBUILD_SOAK_SEED=%d -run '%s'", plan.Seed, t.Name())
				}
			}()
			if n%3 == 2 {
				r.programBuilds(t)
			} else {
				r.programCopies(t)
			}
		})
	}
}

func (r *round) programCopies(t *testing.T) {
	repo := fmt.Sprintf("moods/program-%d", r.number)
	if r.plan.Old {
		if err := put(t.Context(), shared.old, repo, "1", "2"); err != nil {
			t.Fatal(err)
		}
	}
	p, _, _ := r.proxy(t, nil, repo)
	to := p.Host + "/" + repo
	err := r.program(t, p, "copy", shared.env.Registry.Ref(pullRepo+":1"), to+":1", to+":2")
	r.lookAtTags(t, repo, err, p)
}

func (r *round) programBuilds(t *testing.T) {
	repo := fmt.Sprintf("moods/build-%d", r.number)
	p, _, _ := r.proxy(t, nil, repo)
	dir := folder(t)
	text := fmt.Sprintf("FROM busybox\nRUN head -c 12000000 /dev/urandom > /data && echo %d > /number\n", r.number)
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	err := r.program(t, p, "build", "--progress", "plain", "--push", "-t", p.Host+"/"+repo+":1", dir)
	got, tagErr := tagged(t.Context(), shared.env.Registry.Addr, repo, "1")
	if tagErr != nil {
		t.Fatal(tagErr)
	}
	if got == "" {
		if err == nil {
			t.Error("nothing was pushed")
		}
		return
	}
	img, err := imagetest.Pull(t.Context(), shared.env.Registry.Ref(repo+":1"), "linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	files, err := imagetest.Files(img) // reads and checks all layers
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Path == "data" {
			return
		}
	}
	t.Error("the image has no /data")
}

// program runs ibuild, whose credentials are those of the proxy. It may fail as the plan lets it fail, and then says
// what to do.
func (r *round) program(t *testing.T, p *Proxy, args ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), budget)
	defer cancel()
	home := folder(t)
	auth := map[string]any{"auths": map[string]any{p.Host: map[string]string{
		"auth": base64.StdEncoding.EncodeToString([]byte(User + ":" + p.Password))}}}
	if err := os.WriteFile(filepath.Join(home, "config.json"), mustJSON(auth), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := shared.env.Command(ctx, shared.env.Self, shared.ibuild, args...)
	cmd.Env = append(cmd.Env, "DOCKER_CONFIG="+home, "XDG_CACHE_HOME="+filepath.Join(home, "cache"), "IBUILD_ROOT="+filepath.Join(home, "engine"))
	out, err := cmd.CombinedOutput()
	text := string(out)
	if ctx.Err() != nil {
		t.Errorf("ibuild did not end in time\n%s", text)
	}
	if strings.Contains(text, p.Password) {
		t.Error("ibuild told the password")
	}
	if err != nil && len(r.plan.May()) == 0 {
		t.Errorf("ibuild %s: %v, and it may not fail\n%s", args[0], err, text)
	}
	if strings.Contains(text, "panic") || err != nil && !strings.Contains(text, p.Host) {
		t.Errorf("ibuild %s ended with %v and said:\n%s", args[0], err, text)
	}
	return err
}

// folder makes a folder that is gone after the test, with whatever an engine left in it.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(shared.env.Dir, "moods-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
