package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/llb"
)

// hideToken is a mask that goes by names, as people's variables have them.
func hideToken(text []byte) []byte {
	if name, _, ok := bytes.Cut(text, []byte("TOKEN=")); ok {
		return append(bytes.Clone(name), "TOKEN=xxxxx"...)
	}
	return text
}

// TestReviewBuildArgumentsAreHidden: a build argument that is a credential is hidden wherever a Dockerfile puts it:
// in the address of an ADD, in the names that progress gives to steps, in an error.
func TestReviewBuildArgumentsAreHidden(t *testing.T) {
	const token = "canary-of-an-argument"
	f := newFixture(t)
	f.engine.Mask = hideToken
	f.base()
	req := f.onlyEnvironment("app:1")
	img := *req.Plan.Image
	img.Steps = append(img.Steps, llb.Exec{Title: "fetch", Args: []string{"fetch", "https://example.org/" + token + "/file"}})
	req.Plan = &llb.Plan{Kind: "Dockerfile", Name: "Dockerfile", Build: img.BuildFunc(llb.Options{}), Locals: req.Plan.Locals,
		Attrs: map[string]string{"build-arg:API_TOKEN": token}}

	b := f.start(req)
	rec, err := b.record(t.Context(), b.buildFunc())
	check(t, err)
	b.rec = rec
	b.graph, err = rec.Graph(t.Context())
	check(t, err)
	f.listen(func() {
		b.Engine = f.engine
		b.watch()
		b.Progress.Known("[2/2] ADD https://example.org/" + token + "/file /")
	})
	kept, err := json.Marshal([]any{b.journalEntry(t.Context(), nil, errors.New("cannot load https://example.org/"+token+"/file")), b.outline()})
	check(t, err)
	if strings.Contains(string(kept), "canary") || !strings.Contains(string(kept), "(hidden ") {
		t.Errorf("the record has it: %s", kept)
	}

	f.needs(req, "a build that is recorded")
	o, err := f.journal().Outline(f.last())
	check(t, err)
	kept, err = json.Marshal(o)
	check(t, err)
	if strings.Contains(string(kept), "canary") {
		t.Errorf("the graph has it: %s", kept)
	}

	other := req
	other.Plan = &llb.Plan{Kind: req.Plan.Kind, Name: req.Plan.Name, Build: req.Plan.Build, Locals: req.Plan.Locals, Attrs: maps.Clone(req.Plan.Attrs)}
	ahead, err := f.engine.Foresee(t.Context(), other)
	check(t, err)
	kept, err = json.Marshal(ahead.Outline)
	check(t, err)
	if strings.Contains(string(kept), "canary") {
		t.Errorf("explain has it: %s", kept)
	}
}
