package engine

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"testing"

	"github.com/ibuild/ibuild/llb"
	bk "github.com/moby/buildkit/client/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/session/secrets"
	"github.com/moby/buildkit/solver/pb"
	"google.golang.org/protobuf/proto"
)

type failingStore struct{ err error }

func (s failingStore) GetSecret(context.Context, string) ([]byte, error) { return nil, s.err }

func TestSecretStores(t *testing.T) {
	ctx := t.Context()
	broken := errors.New("the file cannot be read")
	stores := secretStores{nil, machineStore{"a": []byte("1")}, machineStore{"a": []byte("2"), "b": []byte("3"), "empty": {}}, nil}
	for id, want := range map[string]string{"a": "1", "b": "3", "empty": ""} {
		if data, err := stores.GetSecret(ctx, id); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", id, data, err)
		}
	}
	for name, s := range map[string]secrets.SecretStore{"several": stores, "none": secretStores(nil), "a machine": machineStore(nil)} {
		if data, err := s.GetSecret(ctx, "c"); data != nil || !errors.Is(err, secrets.ErrNotFound) {
			t.Errorf("%s: a secret that nobody has: %q, %v", name, data, err)
		}
	}
	if _, err := append(secretStores{failingStore{broken}}, stores...).GetSecret(ctx, "a"); !errors.Is(err, broken) {
		t.Errorf("a store that fails is passed over: %v", err)
	}
}

func TestDescriptorOfAnAnswer(t *testing.T) {
	enc := func(s string) map[string]string {
		return map[string]string{"containerimage.descriptor": base64.StdEncoding.EncodeToString([]byte(s))}
	}
	d, err := descriptor(enc(`{"mediaType":"m","digest":"sha256:abc","size":3,"annotations":{"org.opencontainers.image.created":"now"}}`))
	if err != nil || d.MediaType != "m" || d.Digest != "sha256:abc" || d.Size != 3 || d.Annotations != nil {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := descriptor(nil); err != nil || d.Digest != "" {
		t.Errorf("no image: %+v, %v", d, err)
	}
	for _, bad := range []map[string]string{{"containerimage.descriptor": "!"}, enc("{"), enc(`{"size":"x"}`)} {
		if _, err := descriptor(bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

// The shared key is the same for the same folders, so that only what changed is sent, and another one for
// others: a builder that knows a key compares names, sizes and times, and not contents.
func TestSharedKey(t *testing.T) {
	key := func(locals map[string]llb.Local) string {
		return (&build{req: Request{Plan: &llb.Plan{Locals: locals}}}).sharedKey()
	}
	a, b := t.TempDir(), t.TempDir()
	two := map[string]llb.Local{"context": {Dir: a}, "dockerfile": {Dir: b}}
	for range 50 {
		if one, other := key(two), key(two); one != other {
			t.Error("the key changes from one build to the next")
			break
		}
	}
	if key(map[string]llb.Local{"context": {Dir: a}}) == key(map[string]llb.Local{"context": {Dir: b}}) {
		t.Error("two folders have the same key")
	}
	if key(map[string]llb.Local{"context": {Dir: a}, "dockerfile": {Dir: b}}) == key(map[string]llb.Local{"context": {Dir: b}, "dockerfile": {Dir: a}}) {
		t.Error("folders that changed places have the same key")
	}
	here := map[string]llb.Local{"context": {Dir: "."}}
	t.Chdir(a)
	one := key(here)
	t.Chdir(b)
	if key(here) == one {
		t.Error("`ibuild build .` has the same key in every folder")
	}
	if host, _ := os.Hostname(); len(key(here)) != 64 || host == "" && one == "" {
		t.Errorf("the key is %s", key(here))
	}
}

type solveClient struct {
	gateway.Client
	got gateway.SolveRequest
}

func (c *solveClient) Solve(_ context.Context, req gateway.SolveRequest) (*gateway.Result, error) {
	c.got = req
	return gateway.NewResult(), nil
}

// What a frontend solves on the builder by itself gets the machine's settings, too.
func TestMachineClient(t *testing.T) {
	def, err := bk.Scratch().Run(bk.Args([]string{"true"})).Root().Marshal(t.Context())
	check(t, err)
	inner := &solveClient{}
	c := &machineClient{Client: inner, machine: llb.Machine{Env: map[string]string{"HTTP_PROXY": "http://user:canary@proxy"}}}
	if _, err := c.Solve(t.Context(), gateway.SolveRequest{Definition: def.ToPB()}); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, data := range inner.got.Definition.Def {
		op := &pb.Op{}
		check(t, proto.Unmarshal(data, op))
		for _, s := range op.GetExec().GetSecretenv() {
			found = found || s.Name == "HTTP_PROXY" && s.Optional
		}
	}
	if !found {
		t.Error("the step does not see the machine's proxy")
	}
	if _, err := c.Solve(t.Context(), gateway.SolveRequest{Frontend: "gateway.v0"}); err != nil || inner.got.Frontend != "gateway.v0" {
		t.Errorf("a frontend's request: %+v, %v", inner.got, err)
	}
}

func TestPlatformAttrs(t *testing.T) {
	rec := &llb.Recording{Images: []llb.RecordedImage{{Platform: amd64}, {Platform: arm64}}}
	if got := platformAttrs(rec)["platform"]; got != "linux/amd64,linux/arm64" {
		t.Errorf("got %q", got)
	}
}
