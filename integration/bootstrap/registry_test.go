//go:build integration

package bootstrap

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/integration/testenv"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/runner/bootstrap/contract"
	"github.com/ibuild/ibuild/runner/bootstrap/results"
)

// TestRealRegistry pushes to the registry that most people run, fetches from it, and pushes what it has already.
func TestRealRegistry(t *testing.T) {
	env, err := testenv.Start(t.Context(), testenv.Options{Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := env.Close(); err != nil {
			t.Error(err)
		}
	}()
	at := env.Registry.Ref("me/job:run")
	b := newBox(t, 0)
	request := contract.Request{Output: b.dir + "/out", Results: at, PlainHTTP: true, Program: []string{"/bin/sh", "-c",
		`cd $IBUILD_OUTPUT_DIR; test -f large || { head -c 150000000 /dev/urandom >large; head -c 60000000 /dev/zero >zeros; mkdir d; echo hello >d/small; ln -s d/small link; }; exit 2`}}
	code, m := b.run(request)
	if code != 2 || m.Result == "" {
		t.Fatalf("%d: %+v\n%s", code, m, b.stderr.String())
	}
	to := t.TempDir()
	client := registry.New(registry.Options{Keychain: registry.StaticKeychain(nil)})
	s, err := results.Fetch(t.Context(), client, contract.Tag(at, 0, 0), "", results.Target{Folder: to})
	if err != nil || s.Files != 3 || s.Digest.String() != m.Result {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, name := range []string{"large", "zeros", "link"} {
		want, err := os.ReadFile(b.dir + "/out/" + name)
		got, gotErr := os.ReadFile(to + "/" + name)
		if err != nil || gotErr != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes came, not %d: %v, %v", name, len(got), len(want), err, gotErr)
		}
	}
	mark := env.Registry.Mark()
	if code, again := b.run(request); code != 2 || again.Result != m.Result {
		t.Errorf("a second time: %d, %+v", code, again)
	}
	sent := int64(0)
	for _, r := range env.Registry.Requests(mark) {
		if strings.Contains(r.Path, "/blobs/") {
			sent += r.Sent
		}
	}
	if sent > 4<<10 { // what is too small to be asked for: the pack, and the empty config
		t.Errorf("%d bytes were sent that are there", sent)
	}
}
