package engine

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/engine/journal"
	"github.com/ibuild/ibuild/llb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// hideCanary is a mask that hides one word.
func hideCanary(text []byte) []byte {
	return bytes.ReplaceAll(text, []byte("canary"), []byte("xxxxx"))
}

func (f *fixture) journal() journal.Journal { return journal.Open(f.cache) }

// last is the newest record.
func (f *fixture) last() journal.Build {
	f.t.Helper()
	list := f.journal().Builds("", 1)
	if len(list) == 0 {
		f.t.Fatal("no build was recorded")
	}
	b, _ := f.journal().Find(list[0].ID)
	return b
}

func TestBuildsAreRecorded(t *testing.T) {
	f := newFixture(t)
	f.engine.Mask = hideCanary
	f.base(amd64, arm64)
	req := f.app("app:1")
	req.Options.Platforms = []ocispecs.Platform{amd64, arm64}
	req.Source = "/home/me/app"
	req.Plan.Kind = "image spec"
	f.know(req, "etc/")
	res := f.must(req, HowAssembled)

	one := f.last()
	if one.Name != f.host+"/app:1" || one.Source != req.Source || one.Kind != "image spec" || one.How != "assembled" || !one.Pushed || one.Error != "" || one.Builder != "" {
		t.Errorf("%+v", one)
	}
	if one.Result == nil || one.Result.Digest != res.Descriptor.Digest || one.Identity != res.Identity || one.StepCount != len(one.Steps) || one.StepCount == 0 {
		t.Errorf("%+v", one)
	}
	if len(one.Images) != 2 || one.Images[0].Platform != "linux/amd64" || one.Images[1].Digest == "" || one.Images[1].Digest == one.Images[0].Digest {
		t.Errorf("platforms %+v", one.Images)
	}
	graph, err := f.journal().Outline(one)
	check(t, err)
	var files []string
	for _, s := range graph.Images[0].Steps {
		for _, file := range s.Files {
			files = append(files, file.Path)
		}
	}
	if got := strings.Join(files, " "); !strings.Contains(got, "src/main.py") || strings.Contains(got, "x.pyc") {
		t.Errorf("files %s", got)
	}

	f.must(req, HowKnown)
	two := f.last()
	if two.ID != one.ID+1 || two.How != "known" || two.GraphBlob == nil || two.GraphBlob.Digest != one.GraphBlob.Digest || two.Cached == 0 {
		t.Errorf("%+v", two)
	}

	check(t, os.WriteFile(filepath.Join(req.Plan.Locals["context"].Dir, "src/main.py"), []byte("print(2)\n"), 0o644))
	f.must(req, HowAssembled)
	now, err := f.journal().Outline(f.last())
	check(t, err)
	var text bytes.Buffer
	check(t, llb.Diff(graph, now).WriteText(&text))
	if !strings.Contains(text.String(), "file src/main.py: other content of the same size") {
		t.Errorf("the difference: %s", text.String())
	}
}

func TestFailedBuildsAreRecorded(t *testing.T) {
	f := newFixture(t)
	f.engine.Mask = hideCanary
	f.base()
	req := f.app("app:1")
	f.needs(req, "nothing is known")
	if b := f.last(); b.Error != errNoBuilder.Error() || b.How != "" || b.Cancelled || b.GraphBlob == nil || b.Result != nil {
		t.Errorf("%+v", b)
	}

	ctx, cancel := context.WithCancel(t.Context())
	f.on(func(r *http.Request) {
		if strings.Contains(r.URL.Path, "/app/") {
			cancel()
		}
	})
	req.Machine = func() (llb.Machine, error) { return llb.Machine{}, nil }
	f.engine.Progress = NewProgress()
	go func() {
		for range f.engine.Progress.Statuses() {
		}
	}()
	if _, err := f.engine.Build(ctx, req); err == nil {
		t.Fatal("a cancelled build succeeded")
	}
	f.engine.Progress.Close()
	if b := f.last(); b.ID != 2 || !b.Cancelled || b.Error == "" {
		t.Errorf("%+v", b)
	}
}

func TestWhatIsNoBuildIsNotRecorded(t *testing.T) {
	f := newFixture(t)
	f.base()
	req := f.app("app:1")
	check(t, os.RemoveAll(filepath.Join(req.Plan.Locals["context"].Dir, "src")))
	var refused *SourceError
	if _, err := f.build(req); !errors.As(err, &refused) {
		t.Fatal(err)
	}
	if list := f.journal().Builds("", 5); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

func TestRecordsHaveNoSecrets(t *testing.T) {
	f := newFixture(t)
	f.engine.Mask = hideCanary
	f.base()
	req := f.app("app:1")
	img := *req.Plan.Image
	img.Steps = append([]llb.Step{llb.Env{Key: "A", Value: "canary"}, llb.Exec{Title: "login canary", Args: []string{"login", "canary"}}}, img.Steps...)
	req.Plan.Image = &img
	req.Outputs.Exports = nil
	f.needs(req, "a command")
	b := f.last()
	if b.GraphBlob == nil {
		t.Fatal("no graph")
	}
	o, err := f.journal().Outline(b)
	check(t, err)
	text := ""
	for _, s := range o.Images[0].Steps {
		text += s.Name
		for _, p := range s.Parts {
			text += p.Name + p.Value
		}
	}
	if strings.Contains(text, "canary") || !strings.Contains(text, "login (hidden ") {
		t.Errorf("the secret is kept, or all is hidden: %s", text)
	}

	f.engine.Mask = nil
	f.needs(req, "a command")
	if b := f.last(); b.ID != 2 || b.GraphBlob != nil {
		t.Errorf("a graph is kept though nothing hides what is secret in it: %+v", b)
	}
}

func TestARecordThatCannotBeWrittenIsNoError(t *testing.T) {
	f := newFixture(t)
	f.engine.Mask = hideCanary
	f.base()
	req := f.app("app:1")
	f.know(req, "etc/")
	f.must(req, HowAssembled)
	// a folder in the index's place stops root, too
	check(t, os.Remove(filepath.Join(f.cache.Dir(), "index.db")))
	check(t, os.MkdirAll(filepath.Join(f.cache.Dir(), "index.db", "x"), 0o700))
	f.must(req, HowAssembled)
}

func TestForesee(t *testing.T) {
	f := newFixture(t)
	f.engine.Mask = hideCanary
	f.base()
	req := f.app("app:1")
	foresee := func(req Request, how How, why string) {
		t.Helper()
		o, err := f.engine.Foresee(t.Context(), req)
		if err != nil || o.How != how || !strings.Contains(o.Why, why) || o.Outline == nil {
			t.Errorf("%+v, %v; want %s, %s", o, err, how, why)
		}
	}
	foresee(req, HowSolved, "a builder has to make the environment")
	f.know(req, "etc/")
	foresee(req, HowAssembled, "the environment is known")
	if f.digest(t, f.host+"/app:1") != "" {
		t.Error("looking ahead pushed the image")
	}
	f.must(req, HowAssembled)
	foresee(req, HowKnown, "this machine remembers the image")
	f.remove(t, f.host+"/app:1")
	foresee(req, HowKnown, "this machine remembers the image")
	if f.digest(t, f.host+"/app:1") != "" {
		t.Error("looking ahead moved a name")
	}
	forced := req
	forced.Force = true
	foresee(forced, HowSolved, "it was asked for anew")
	local := req
	local.Outputs.Push = false
	foresee(local, HowSolved, "no output is asked for")
	check(t, os.WriteFile(filepath.Join(req.Plan.Locals["context"].Dir, "src/main.py"), []byte("print(2)\n"), 0o644))
	foresee(req, HowAssembled, "the environment is known")
	if n := f.opened.Load(); n != 0 {
		t.Errorf("the builder was opened %d times", n)
	}
	if list := f.journal().Builds("", 5); len(list) != 1 {
		t.Errorf("looking ahead is recorded: %+v", list)
	}

	other := f.onlyEnvironment("other:1")
	foresee(other, HowSolved, "no code comes last")
	byName := f.byIdentity(req, "named")
	foresee(byName, HowSolved, "a builder has to make the environment")
}
