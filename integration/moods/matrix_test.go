//go:build integration

package moods

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/integration/soak"
	"github.com/ibuild/ibuild/registry"
)

// The client's limits are small here, and the proxy stands still for longer.
const (
	stall    = 700 * time.Millisecond
	answer   = 1500 * time.Millisecond
	patience = 3 * time.Second
	// chunk is the size in bytes of parts, where blobs go up in parts.
	chunk = 5 << 20
	// budget is what a push or pull may take, with all its pauses.
	budget = 45 * time.Second
	// atOnce is how many go on at a time: mostly they wait.
	atOnce = 6
)

// TestPushes: an image goes through a registry in random moods. It arrives whole, or nothing has changed and the
// error says why; and no host sees credentials that are not for it.
func TestPushes(t *testing.T) { matrix(t, Pushes, 40, 500, (*round).push) }

// TestPulls: the same the other way.
func TestPulls(t *testing.T) { matrix(t, Pulls, 20, 150, (*round).pull) }

func matrix(t *testing.T, way Way, short, long int, do func(*round, *testing.T)) {
	plan, err := soak.New(short, long)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(plan)
	if way == Pulls {
		if err := put(t.Context(), shared.img, pullRepo, "1"); err != nil {
			t.Fatal(err)
		}
	}
	before := resources(t)
	met := newTally()
	t.Run("rounds", func(t *testing.T) {
		places := make(chan struct{}, atOnce)
		for n := range plan.Runs {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				places <- struct{}{}
				defer func() { <-places }()
				r := &round{number: n, plan: Draw(plan.Seed, n, way, !plan.Long), met: met}
				defer func() {
					if t.Failed() {
						t.Logf("again with IBUILD_SOAK_RUNS=%d IBUILD_SOAK_SEED=%d -run '%s'", plan.Runs, plan.Seed, t.Name())
					}
				}()
				do(r, t)
			})
		}
	})
	met.check(t, way, plan)
	before.check(t)
}

// round is one push or pull.
type round struct {
	number int
	plan   Plan
	met    *tally
}

// proxy starts the round's proxy, and returns a client whose credentials are for it.
func (r *round) proxy(t *testing.T, store *cache.Store, repos ...string) (*Proxy, *registry.Client, *said) {
	t.Helper()
	p, err := Start(r.plan, Options{Registry: shared.env.Registry.Addr, Repos: repos, Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	log := &said{}
	s, a := stall, answer
	change := registry.ProfileChange{Stall: &s, Answer: &a}
	if size := int64(chunk); r.plan.Chunked {
		change.Chunk = &size
	}
	client := registry.New(registry.Options{
		Keychain: registry.StaticKeychain(map[string]registry.Credentials{p.Host: {Username: User, Password: p.Password}}),
		Profiles: map[string]registry.ProfileChange{p.Host: change},
		Cache:    store, Log: log.add,
	})
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		for _, wrong := range p.Wrongs() {
			t.Error(wrong)
		}
		if log.has(p.Password) {
			t.Error("the password was told")
		}
		r.met.add(p.Happened())
		if t.Failed() {
			t.Logf("round %d: %s\n%s\nthe client said:\n%s", r.number, r.plan, p.Log(), log)
		}
	})
	return p, client, log
}

// push sends the image and looks at what became of it.
func (r *round) push(t *testing.T) {
	repo := fmt.Sprintf("moods/push-%d", r.number)
	if r.plan.Old {
		if err := put(t.Context(), shared.old, repo, "1", "2"); err != nil {
			t.Fatal(err)
		}
	}
	p, client, _ := r.proxy(t, nil, repo, baseRepo)
	ctx, cancel := context.WithTimeout(t.Context(), budget)
	defer cancel()
	begin := time.Now()
	err := r.send(ctx, client, p.Host, repo)
	if took := time.Since(begin); ctx.Err() != nil {
		t.Errorf("not done after %s: %v", took, err)
	}
	r.judge(t, p, err)
	r.lookAtTags(t, repo, err, p)
}

// send pushes the image under two tags, its large layer while it is made if the plan says so.
func (r *round) send(ctx context.Context, client *registry.Client, host, repo string) error {
	var growing digest.Digest
	if r.plan.Growing {
		large := shared.img.layers[1]
		desc, err := client.PushGrowing(ctx, host+"/"+repo, newMaker(large), nil)
		if err != nil {
			return err
		}
		if growing = desc.Digest; growing != large.Digest {
			return fmt.Errorf("a growing blob came out as %s", growing)
		}
	}
	return client.Push(ctx, shared.img.upload(host, repo, growing, "1", "2"))
}

// judge fails unless the round ended as the plan lets it end.
func (r *round) judge(t *testing.T, p *Proxy, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var known *registry.Error
	if !errors.As(err, &known) || known.Msg == "" || known.Hint == "" || known.Host != p.Host {
		t.Errorf("an error without its parts: %v (%+v)", err, known)
	}
	if !slices.ContainsFunc(r.plan.May(), func(kind error) bool { return errors.Is(err, kind) }) {
		t.Errorf("it failed: %v; it may fail with %v", err, r.plan.May())
	}
	if strings.Contains(err.Error(), p.Password) {
		t.Errorf("the error has the password in it: %v", err)
	}
}

// lookAtTags fails unless the tags stand for what they have to, and that is whole.
func (r *round) lookAtTags(t *testing.T, repo string, err error, p *Proxy) {
	t.Helper()
	host, ctx := shared.env.Registry.Addr, t.Context()
	for _, tag := range []string{"1", "2"} {
		got, tagErr := tagged(ctx, host, repo, tag)
		if tagErr != nil {
			t.Fatal(tagErr)
		}
		whole := shared.img
		switch {
		case got == shared.img.root().Digest && (err == nil || manifestsMet(p)):
		case err != nil && got == "" && !r.plan.Old:
			continue
		case err != nil && got == shared.old.root().Digest && r.plan.Old:
			whole = shared.old
		default:
			t.Errorf("tag %s stands for %q after error %v; the new image is %s", tag, got, err, shared.img.root().Digest)
			continue
		}
		if err := whole.check(ctx, host, repo); err != nil {
			t.Errorf("tag %s: %v", tag, err)
		}
	}
}

// manifestsMet says that something happened to a request for a manifest: then a tag may be set whose answer was lost.
func manifestsMet(p *Proxy) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.manifests
}

// pullRepo has what is pulled.
const pullRepo = "moods/pull"

// pull resolves the image and fetches its layers.
func (r *round) pull(t *testing.T) {
	dir, err := os.MkdirTemp(shared.env.Dir, "pull-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	store, err := cache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	p, client, _ := r.proxy(t, store, pullRepo)
	ctx, cancel := context.WithTimeout(t.Context(), budget)
	defer cancel()
	err = fetch(ctx, client, p.Host)
	if ctx.Err() != nil {
		t.Errorf("not done in time: %v", err)
	}
	r.judge(t, p, err)
	if err != nil {
		return
	}
	for _, l := range shared.img.layers {
		if data, err := store.ReadBlob(l.Digest, l.Size); err != nil || digest.FromBytes(data) != l.Digest {
			t.Errorf("the cache has another layer %s (%v)", l.Digest, err)
		}
	}
}

// fetch gets all of the image, layers side by side.
func fetch(ctx context.Context, client *registry.Client, host string) error {
	img, err := client.Resolve(ctx, host+"/"+pullRepo+":1", platform)
	if err != nil {
		return err
	}
	if img.Digest != shared.img.root().Digest {
		return fmt.Errorf("resolved to %s", img.Digest)
	}
	errs := make([]error, len(shared.img.layers))
	var all sync.WaitGroup
	for i, l := range shared.img.layers {
		all.Go(func() { errs[i] = client.FetchBlob(ctx, host+"/"+pullRepo, l.Descriptor) })
	}
	all.Wait()
	for _, err := range errs { // not joined: each is an error of its own
		if err != nil {
			return err
		}
	}
	return nil
}

// put pushes an image past the proxy.
func put(ctx context.Context, i *image, repo string, tags ...string) error {
	return shared.direct.Push(ctx, i.upload(shared.env.Registry.Addr, repo, "", tags...))
}
