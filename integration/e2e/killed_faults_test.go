//go:build integration

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/integration/soak"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// work is one kind of what ibuild does, to be killed at any moment of it.
type work interface {
	// change makes the next round another one, and returns the command that is going to be killed.
	change(t *testing.T, round int) (args []string)
	// interrupted looks at what others can see after the kill.
	interrupted(t *testing.T)
	// again does it to the end, and compares what came out.
	again(t *testing.T)
}

// TestKilled kills ibuild with SIGKILL at random moments of hashing, building, putting code on an environment, and
// pruning. The next run works and makes the right thing, and nothing is left of the one before.
func TestKilled(t *testing.T) {
	kinds := []struct {
		name string
		new  func(*testing.T, scene) work
	}{{"build", newBuilding}, {"hash", newHashing}, {"assembly", newAssembling}, {"prune", newPruning}}
	users := inProcess(t)
	plan, err := soak.New(12, 300)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(plan)
	moments := plan.Rand()
	pairs := len(kinds) * len(users)
	for n := range pairs {
		kind, e := kinds[n%len(kinds)], users[(n+n/len(kinds))%len(users)]
		rounds := (plan.Runs + pairs - 1 - n) / pairs
		if !plan.Long && n >= len(kinds) { // one user each: a scene takes longer than its rounds
			continue
		} else if !plan.Long {
			rounds = (plan.Runs + len(kinds) - 1 - n) / len(kinds)
		}
		t.Run(kind.name+"/"+e.name, func(t *testing.T) {
			s := newScene(t, e.fresh(t))
			killRounds(t, s, kind.new(t, s), rounds, moments)
		})
	}
}

func killRounds(t *testing.T, s scene, w work, rounds int, moments *rand.Rand) {
	t.Cleanup(func() { s.unmountAll(t) })
	var known time.Duration
	for n := range 2 { // the first one fetches the base
		known = end(t, s.command(t, w.change(t, n)...)).took
		w.again(t)
	}
	ended := 0
	for n := 2; n < 2+rounds && !t.Failed(); n++ {
		args := w.change(t, n)
		moment := time.Duration(moments.Int64N(int64(known)))
		cmd := s.command(t, args...)
		if s.killAfter(t, cmd, moment) {
			ended++
		}
		w.interrupted(t)
		w.again(t)
		s.leavesNothing(t)
		s.cacheIsClean(t)
		if t.Failed() {
			t.Logf("round %d: killed after %s of %s", n, moment, known)
		}
	}
	if ended == rounds && rounds >= 20 {
		t.Errorf("it was never killed: each of %d rounds ended within %s", rounds, known)
	}
	t.Logf("%d rounds; %d had ended before they were killed, within %s", rounds, ended, known)
	s.everythingGoes(t)
}

// unmountAll ends what a failed test has left on the machine.
func (s scene) unmountAll(t *testing.T) {
	for line := range strings.Lines(read(t, "/proc/self/mountinfo")) {
		if point := strings.Fields(line)[4]; slices.ContainsFunc([]string{s.dir, s.temp, s.runtime}, func(dir string) bool { return strings.HasPrefix(point, dir+"/") }) {
			_ = unix.Unmount(point, unix.MNT_DETACH)
		}
	}
}

// killAfter starts a command and kills its first process. It says whether it had ended before.
func (s scene) killAfter(t *testing.T, cmd *exec.Cmd, moment time.Duration) (ended bool) {
	t.Helper()
	cmd.Stdout, cmd.Stderr = nil, nil // a step that outlives it would hold a pipe open
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(moment)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	return cmd.ProcessState.Exited()
}

// cacheIsClean looks for what the cache keeps only while a process lives.
func (s scene) cacheIsClean(t *testing.T) {
	t.Helper()
	for _, pattern := range []string{"ingest/*", "leases/*-*", "folders/.*", ".*"} {
		found, err := filepath.Glob(filepath.Join(s.cache(), "ibuild", pattern))
		if err != nil || len(found) > 0 {
			t.Errorf("left behind in the cache: %q, %v", found, err)
		}
	}
}

// everythingGoes: nothing that a killed build had in use is in use for ever.
func (s scene) everythingGoes(t *testing.T) {
	t.Helper()
	mustEnd(t, s.command(t, "cache", "prune", "--all", "--yes"))
	for pattern, most := range map[string]int64{
		"*/content/blobs/sha256/*": 500_000, // BuildKit's history of builds has some kilobytes of each, for two days
		"*/content/ingest/*":       -1,
		"*/snapshots/*/*/fs/*":     -1, // an empty one is from the start of the engine that pruned
	} {
		found, err := filepath.Glob(filepath.Join(s.root(), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range found {
			if info, err := os.Stat(name); err == nil && info.Size() > most {
				t.Errorf("cannot be pruned: %s, %d bytes", name, info.Size())
			}
		}
	}
}

// building makes and pushes an image of a Dockerfile, and writes an archive and a folder.
type building struct {
	scene
	source, out, ref string
	was, text        string
}

func newBuilding(t *testing.T, s scene) work {
	return &building{scene: s, source: files(t, "x", "y"), out: folder(t), ref: shared.env.Registry.Ref("killed/build-" + s.name)}
}

func (b *building) change(t *testing.T, round int) []string {
	b.was, b.text = b.text, fmt.Sprintf("made %d by %s", round, b.mark)
	write(t, filepath.Join(b.source, "Dockerfile"), "FROM busybox\nCOPY x /x\nRUN head -c 3000000 /dev/urandom >/big && echo "+b.text+" >/made\nRUN sleep 0.05 && cp /made /copied\n")
	return b.args()
}

func (b *building) args() []string {
	return []string{"build", "--progress", "plain", "--push", "-t", b.ref, "-o", "type=tar,dest=" + filepath.Join(b.out, "tree.tar"), "-o", filepath.Join(b.out, "tree"), b.source}
}

// interrupted: what has a name is whole.
func (b *building) interrupted(t *testing.T) {
	t.Helper()
	if !isMade(t, filepath.Join(b.out, "tree.tar"), b.was, b.text) {
		t.Errorf("the archive has neither %q nor %q", b.was, b.text)
	}
	if img := pull(t, b.ref, amd64); holds(t, img, b.was+"\n") == "" && holds(t, img, b.text+"\n") == "" {
		t.Errorf("the name stands for neither %q nor %q", b.was, b.text)
	}
}

func (b *building) again(t *testing.T) {
	t.Helper()
	mustEnd(t, b.command(t, b.args()...))
	if got := listing(t, b.out); got != "tree tree.tar" {
		t.Errorf("the outputs' folder has %q", got)
	}
	if !isMade(t, filepath.Join(b.out, "tree.tar"), b.text) {
		t.Errorf("the archive has no %q", b.text)
	}
	if got := strings.TrimSpace(read(t, filepath.Join(b.out, "tree", "copied"))); got != b.text {
		t.Errorf("the folder has %q, want %q", got, b.text)
	}
	if got := listing(t, filepath.Join(b.out, "tree")); strings.Contains(got, "unfinished") {
		t.Errorf("the folder has %q", got)
	}
	if holds(t, pull(t, b.ref, amd64), b.text+"\n") == "" {
		t.Errorf("the image has no %q", b.text)
	}
}

// isMade says whether a tree's archive, which must be whole, has one of the texts in the file that is written last.
func isMade(t *testing.T, archive string, texts ...string) bool {
	t.Helper()
	for _, f := range filesOfTar(t, archive) {
		if f.Path == "copied" {
			return slices.ContainsFunc(texts, func(text string) bool { return f.SHA256 == digest.FromString(text+"\n").Encoded() })
		}
	}
	return false
}

// hashing asks for an image that is named by the digest of many files.
type hashing struct {
	scene
	source string
	random *rand.Rand
}

const manyFiles = 2000

func newHashing(t *testing.T, s scene) work {
	dir := files(t, "image.yaml", "name: killed\nregistry: "+shared.env.Registry.Addr+"\nbase_image: busybox\nlayers:\n- source_folder: {src: src, dst: /app}\n")
	return &hashing{scene: s, source: dir, random: rand.New(rand.NewPCG(1, 2))}
}

// change gives some files other bytes of the same number and with the same time.
func (h *hashing) change(t *testing.T, round int) []string {
	at := time.Unix(1_700_000_000, 0)
	for n := range manyFiles {
		if round > 0 && h.random.IntN(3) > 0 {
			continue
		}
		name := filepath.Join(h.source, "src", fmt.Sprint(n%50), fmt.Sprint(n))
		write(t, name, strings.Repeat(fmt.Sprintf("%10d\n", h.random.IntN(1_000_000_000)), 1000))
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"exists", h.source}
}

func (h *hashing) interrupted(*testing.T) {}

// again: an empty memory finds the same.
func (h *hashing) again(t *testing.T) {
	t.Helper()
	got := end(t, h.command(t, "exists", h.source))
	want := end(t, h.fresh(t).command(t, "exists", h.source))
	if got.stdout != want.stdout || got.code != 1 || !strings.Contains(got.stdout, "/killed:") {
		t.Errorf("found %q (exit code %d), want %q\n%s", got.stdout, got.code, want.stdout, got.stderr)
	}
}

// assembling puts changed code on an environment that is in the registry.
type assembling struct {
	scene
	source, ref string
	was         string // the digest that the name stands for
}

func newAssembling(t *testing.T, s scene) work {
	dir := files(t, "image.yaml", "base_image: busybox\ncommands: [echo made "+s.mark+" > /made]\nlayers:\n- source_folder: {src: src, dst: /app}\n")
	a := &assembling{scene: s, source: dir, ref: shared.env.Registry.Ref("killed/assembly-" + s.name)}
	for n := range 100 {
		write(t, filepath.Join(dir, "src", fmt.Sprint(n)), strings.Repeat(fmt.Sprint(n), 500))
	}
	a.change(t, -1)
	mustEnd(t, a.command(t, a.args()...))
	return a
}

func (a *assembling) args() []string {
	return []string{"build", "--progress", "plain", "--push", "-t", a.ref, a.source}
}

func (a *assembling) change(t *testing.T, round int) []string {
	a.was = digestOf(t, a.ref)
	write(t, filepath.Join(a.source, "src/main"), fmt.Sprint(round, a.mark))
	big := make([]byte, 9<<20) // a layer of its own
	_, _ = rand.NewChaCha8([32]byte{byte(round), byte(round >> 8)}).Read(big)
	write(t, filepath.Join(a.source, "src/big"), string(big))
	return a.args()
}

func (a *assembling) interrupted(t *testing.T) {
	t.Helper()
	if digestOf(t, a.ref) != a.was {
		holds(t, pull(t, a.ref, amd64), "nothing") // reads all of it
	}
}

// again: an empty memory makes the same image, digest for digest.
func (a *assembling) again(t *testing.T) {
	t.Helper()
	o := mustEnd(t, a.command(t, a.args()...))
	got := digestOf(t, a.ref)
	other := a.fresh(t)
	args := a.args()
	args[5] += ":other"
	mustEnd(t, other.command(t, args...))
	if want := digestOf(t, a.ref+":other"); got != want || got == a.was {
		t.Errorf("made %s, and an empty memory %s; before it was %s\n%s", got, want, a.was, o.stderr)
	}
}

// pruning removes all that is kept.
type pruning struct {
	scene
	source, out, text string
}

func newPruning(t *testing.T, s scene) work {
	return &pruning{scene: s, source: files(t, "x", "y"), out: folder(t)}
}

func (p *pruning) change(t *testing.T, round int) []string {
	p.text = fmt.Sprintf("made %d by %s", round, p.mark)
	write(t, filepath.Join(p.source, "Dockerfile"), "FROM busybox\nRUN echo "+p.text+" >/made\nRUN mkdir /many && cd /many && touch $(seq 500) && head -c 3000000 /dev/urandom >/big\nCOPY x /x\nRUN cp /made /copied\n")
	p.build(t)
	return []string{"cache", "prune", "--all", "--yes"}
}

func (p *pruning) build(t *testing.T) {
	t.Helper()
	archive := filepath.Join(p.out, "tree.tar")
	mustEnd(t, p.command(t, "build", "--progress", "plain", "-o", "type=tar,dest="+archive, p.source))
	if !isMade(t, archive, p.text) {
		t.Errorf("the archive has no %q", p.text)
	}
}

func (p *pruning) interrupted(*testing.T) {}

// again: a build on what is left is right, and what the killed one did not get to goes.
func (p *pruning) again(t *testing.T) {
	t.Helper()
	p.build(t)
	p.everythingGoes(t)
}
