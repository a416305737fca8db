package llb

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// maskTokens hides the values of variables called TOKEN and what begins with "tok_".
func maskTokens(text []byte) []byte {
	if name, _, ok := bytes.Cut(text, []byte("=")); ok && bytes.HasSuffix(name, []byte("TOKEN")) {
		return append(name, "=xxxxx"...)
	}
	if i := bytes.Index(text, []byte("tok_")); i >= 0 {
		return append(bytes.Clone(text[:i]), "xxxxx"...)
	}
	return text
}

func secretGraph(value string) *Graph {
	op := &pb.Op{Op: &pb.Op_Exec{Exec: &pb.ExecOp{
		Meta:   &pb.Meta{Args: []string{"/bin/sh", "-c", "login " + value}, Env: []string{"API_TOKEN=" + value, "MODE=fast"}, Cwd: "/"},
		Mounts: []*pb.Mount{{Dest: "/"}, {Dest: "/run/x", MountType: pb.MountType_SECRET, SecretOpt: &pb.SecretOpt{ID: "netrc"}}},
	}}}
	return &Graph{Images: []GraphImage{{
		Platform: "linux/amd64", Config: json.RawMessage(`{"config":{"Env":["API_TOKEN=` + value + `"],"Labels":{"how":"login ` + value + `"}}}`),
		Vertices: []GraphVertex{{Digest: digest.FromString(value), Name: "RUN login " + value, Op: op}},
	}}}
}

func TestOutlineHidesSecrets(t *testing.T) {
	text := func(value string) string {
		data, err := json.Marshal(secretGraph(value).Outline(maskTokens, testSalt))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, value := range []string{"canary-of-the-test", "tok_canary"} {
		got := text(value)
		if strings.Contains(got, "canary") {
			t.Errorf("the value is kept: %s", got)
		}
		for _, want := range []string{"(hidden ", "netrc", `"fast"`, "API_TOKEN"} {
			if !strings.Contains(got, want) {
				t.Errorf("%q is not in %s", want, got)
			}
		}
	}
	var out bytes.Buffer
	if err := Diff(secretGraph("canary-one").Outline(maskTokens, testSalt), secretGraph("canary-two").Outline(maskTokens, testSalt)).WriteText(&out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Contains(got, "canary") || !strings.Contains(got, "variable API_TOKEN: (hidden ") && !strings.Contains(got, "variable API_TOKEN: … (hidden") && !strings.Contains(got, "variable API_TOKEN") {
		t.Errorf("a changed secret: %s", got)
	}
}

func TestOutlineIsBounded(t *testing.T) {
	g := secretGraph("value-of-it")
	g.Images[0].Vertices[0].Op.GetExec().Meta.Args[2] = strings.Repeat("x", 1<<20)
	data, err := json.Marshal(g.Outline(unmasked, testSalt))
	if err != nil || len(data) > 2*maxOutlineText {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	long := g.Outline(unmasked, testSalt)
	g.Images[0].Vertices[0].Op.GetExec().Meta.Args[2] += "y"
	g.Images[0].Vertices[0].Digest = digest.FromString("y")
	if d := Diff(long, g.Outline(unmasked, testSalt)); d.Images[0].Steps[0].Changes[0].What != "command" {
		t.Errorf("a change behind the cut is not seen: %+v", d.Images[0].Steps)
	}
}

func TestOutlineSurvivesJSON(t *testing.T) {
	o := graph(t, record(t, sample(folder(t)), Options{Platforms: []ocispecs.Platform{amd64, arm64}})).Outline(unmasked, testSalt)
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var again Outline
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if err := again.Check(); err != nil {
		t.Error(err)
	}
	if !Diff(o, &again).Same() {
		t.Error("it is another one after it was written and read")
	}
	kinds := map[StepKind]bool{}
	for _, s := range o.Images[0].Steps {
		kinds[s.Kind] = true
	}
	for _, k := range []StepKind{StepImage, StepLocal, StepRun, StepFiles, StepJoin} {
		if !kinds[k] {
			t.Errorf("no step of the kind %s", k)
		}
	}
}

func TestCommandParts(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []Part
	}{
		{[]string{"/bin/sh", "-c", "a b"}, []Part{{What: "command", Value: "a b"}, {What: "shell", Value: "/bin/sh -c"}}},
		{[]string{"/bin/bash", "-eu", "-c", "a", "sh", "x y"}, []Part{{What: "command", Value: "a"}, {What: "shell", Value: "/bin/bash -eu -c"}, {What: "arguments", Value: `sh "x y"`}}},
		{[]string{"tar", "-c", "x"}, []Part{{What: "command", Value: "tar -c x"}}},
		{[]string{"/bin/sh", "-c"}, []Part{{What: "command", Value: "/bin/sh -c"}}},
		{[]string{"a", "", "b\"c"}, []Part{{What: "command", Value: `a "" "b\"c"`}}},
		{nil, []Part{{What: "command"}}},
	} {
		if got := commandParts(c.args); !slices.Equal(got, c.want) {
			t.Errorf("%q: %+v", c.args, got)
		}
	}
}

// FuzzDiff compares any two outlines that pass the check: no panic, no hang, and nothing differs from itself.
func FuzzDiff(f *testing.F) {
	a, _ := json.Marshal(chainOf("b:1@1", "apt install git", "make"))
	b, _ := json.Marshal(chainOf("b:2@1", "make", "apt install git"))
	f.Add(a, b)
	f.Add([]byte(`{"images":[{"platform":"p","steps":[{"inputs":[0]}]}]}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var before, after Outline
		if json.Unmarshal(a, &before) != nil || json.Unmarshal(b, &after) != nil || before.Check() != nil || after.Check() != nil {
			return
		}
		var out bytes.Buffer
		if err := Diff(&before, &after).WriteText(&out); err != nil {
			t.Error(err)
		}
	})
}
