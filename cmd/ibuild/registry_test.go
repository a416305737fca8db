package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/ibuild/ibuild/imagelock"
	"github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard) // as main does
	os.Exit(m.Run())
}

// shelf is a registry on the loopback interface that counts what it is asked.
type shelf struct {
	t    *testing.T
	host string

	mu     sync.Mutex
	asked  []string
	refuse bool
}

func newShelf(t *testing.T) *shelf {
	s := &shelf{t: t}
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.URL.Path)
		refuse := s.refuse
		s.mu.Unlock()
		if refuse && r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.host = strings.TrimPrefix(server.URL, "http://")
	return s
}

// push puts a new image for linux/amd64 under a name and returns its digest.
func (s *shelf) push(ref string) string {
	s.t.Helper()
	img, err := random.Image(64, 1)
	s.check(err)
	config, err := img.ConfigFile()
	s.check(err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	img, err = mutate.ConfigFile(img, config)
	s.check(err)
	r, err := name.ParseReference(s.host + "/" + ref)
	s.check(err)
	s.check(remote.Write(r, img))
	h, err := img.Digest()
	s.check(err)
	return h.String()
}

func (s *shelf) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// since empties the log and returns what was in it but pings.
func (s *shelf) since() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, r := range s.asked {
		if r != "GET /v2/" {
			list = append(list, r)
		}
	}
	s.asked = nil
	return list
}

func (s *shelf) file(dir, name, data string) string {
	s.t.Helper()
	file := filepath.Join(dir, name)
	s.check(os.WriteFile(file, []byte(strings.ReplaceAll(data, "HOST", s.host)), 0o644))
	return file
}

func TestLockCommand(t *testing.T) {
	s := newShelf(t)
	first := s.push("base:1")
	dir := t.TempDir()
	docker := s.file(dir, "Dockerfile", "FROM HOST/base:1\n")
	other := s.file(dir, "other.Dockerfile", "FROM HOST/base:1 AS a\nFROM HOST/tool:1\nCOPY --from=a / /\n")
	lock := filepath.Join(dir, "ibuild.lock")
	s.push("tool:1")

	if code, out, _ := ibuild(t, "", "lock", "--check", docker); code != 1 || !strings.Contains(out, "missing  "+s.host+"/base:1 is "+first) {
		t.Errorf("no lock: %d %s", code, out)
	}
	if _, err := os.Stat(lock); err == nil {
		t.Error("--check wrote a lock")
	}
	for _, source := range []string{dir, other} {
		if code, out, text := ibuild(t, "", "lock", "--platform", "linux/amd64", source); code != 0 {
			t.Fatalf("lock %s: %d %s %s", source, code, out, text)
		}
	}
	l, err := imagelock.Read(dir)
	s.check(err)
	if len(l.Pins()) != 2 || l.Pins()[s.host+"/base:1"] != digest.Digest(first) {
		t.Errorf("pins %v", l.Pins())
	}
	code, out, _ := ibuild(t, "", "lock", "--check", docker)
	if code != 0 || out != "" {
		t.Errorf("up to date: %d %s", code, out)
	}
	identity := s.identity(docker)

	second := s.push("base:1")
	code, out, _ = ibuild(t, "", "lock", "--check", docker)
	if want := "moved    " + s.host + "/base:1 from " + first + " to " + second + "\n"; code != 1 || !strings.HasPrefix(out, want) {
		t.Errorf("moved: %d %s, want %s", code, out, want)
	}
	s.since()
	if s.identity(docker) != identity {
		t.Error("the identity moved with the tag, in spite of the lock")
	}
	for _, r := range s.since() {
		if strings.HasPrefix(r, "HEAD") {
			t.Errorf("a locked build asked %s", r)
		}
	}
	for _, flag := range []string{"--no-lock", "--pull"} {
		if s.identity(docker, flag) == identity {
			t.Errorf("%s takes the digest of the lock", flag)
		}
	}
	if code, out, _ = ibuild(t, "", "lock", docker); code != 0 || !strings.Contains(out, "has it all: 2 images") {
		t.Errorf("lock again: %d %s", code, out)
	}
	if code, out, _ = ibuild(t, "", "lock", "--update", docker); code != 0 || !strings.HasPrefix(out, "moved    ") || !strings.HasSuffix(out, "ibuild.lock: 2 images\n") {
		t.Errorf("update: %d %s", code, out)
	}
	if s.identity(docker) == identity {
		t.Error("the update did not move the base")
	}
	s.file(dir, "Dockerfile", "FROM scratch\n")
	s.check(os.Remove(other))
	if code, out, _ = ibuild(t, "", "lock", docker); code != 0 || strings.Count(out, "dropped  ") != 2 || !strings.HasSuffix(out, "ibuild.lock: 0 images\n") {
		t.Errorf("nothing is used: %d %s", code, out)
	}
}

func (s *shelf) identity(source string, flags ...string) string {
	s.t.Helper()
	code, out, text := ibuild(s.t, "", append(append([]string{"llb", "--identity", "--platform", "linux/amd64"}, flags...), source)...)
	if code != 0 {
		s.t.Fatalf("%d %s", code, text)
	}
	return out
}

func TestLockFindings(t *testing.T) {
	s := newShelf(t)
	dir := t.TempDir()
	docker := s.file(dir, "Dockerfile", "FROM scratch\n")
	if code, out, _ := ibuild(t, "", "lock", docker); code != 0 || !strings.HasPrefix(out, "nothing to pin") {
		t.Errorf("scratch: %d %s", code, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "ibuild.lock")); err == nil {
		t.Error("an empty lock was written")
	}
	s.file(dir, "ibuild.lock", "version = 1\n<<<<<<< HEAD\n")
	for _, args := range [][]string{{"lock", docker}, {"lock", "--check", docker}, {"llb", docker}, {"build", docker}, {"exists", "-t", s.host + "/x:1", docker}} {
		if code, text := run(t, args...); code != 2 || !strings.Contains(text, "ibuild.lock:2:1: the lock is not valid toml") {
			t.Errorf("%v: %d %s", args, code, text)
		}
	}
	if code, out, text := ibuild(t, "", "llb", "--no-lock", docker); code != 0 || !strings.HasPrefix(out, "{") {
		t.Errorf("--no-lock: %d %s", code, text)
	}
	if code, text := run(t, "lock", "-"); code != 2 {
		t.Errorf("standard input: %d %s", code, text)
	}
}

func TestExistsCommand(t *testing.T) {
	s := newShelf(t)
	at := s.push("app:1")
	docker := s.file(t.TempDir(), "Dockerfile", "FROM scratch\n")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{s.host + "/app:1"}, 0, "yes: " + s.host + "/app:1@" + at + "\n"},
		{[]string{"--platform", "linux/amd64", s.host + "/app:1"}, 0, "yes: "},
		{[]string{"--platform", "linux/amd64,linux/arm64", s.host + "/app:1"}, 1, "no: " + s.host + "/app@" + at + ": no image for linux/arm64"},
		{[]string{s.host + "/app"}, 1, "no: " + s.host + "/app:latest: not found"},
		{[]string{"--platform", "linux/amd64", "-t", s.host + "/app:1", docker}, 0, "yes: "},
		{[]string{"--platform", "linux/amd64", "-t", s.host + "/app:1", "-t", s.host + "/app:2", docker}, 1, "no: "},
		{[]string{"127.0.0.1:1/app:1"}, 4, "cannot tell: 127.0.0.1:1/app:1: out of reach"},
	} {
		if code, out, text := ibuild(t, "", append([]string{"exists"}, c.args...)...); code != c.code || !strings.Contains(out, c.want) || text != "" {
			t.Errorf("%v: %d %q %q, want %d %q", c.args, code, out, text, c.code, c.want)
		}
	}
	s.refuse = true
	code, out, _ := ibuild(t, "", "exists", "--format", "json", s.host+"/app:1")
	var doc struct {
		Exists string
		Images []struct{ Name, Exists, Digest, Reason string }
	}
	s.check(json.Unmarshal([]byte(out), &doc))
	if code != 4 || doc.Exists != "unknown" || len(doc.Images) != 1 || doc.Images[0].Name != s.host+"/app:1" || !strings.Contains(doc.Images[0].Reason, "access denied") || doc.Images[0].Digest != "" {
		t.Errorf("%d %s", code, out)
	}
}

func TestNoopCommand(t *testing.T) {
	s := newShelf(t)
	at := s.push("base:1")
	spec := s.file(t.TempDir(), "image.yaml", "base_image: HOST/base:1\n")
	code, out, text := ibuild(t, "", "build", "--builder", "noop", "--platform", "linux/amd64", "-q", spec)
	if want := s.host + "/base@" + at + "\n"; code != 0 || out != want {
		t.Errorf("%d %q %s, want %q", code, out, text, want)
	}
	t.Setenv("IBUILD_BUILDER", "noop")
	if code, text := run(t, "build", "--platform", "linux/amd64", "--push", "-t", s.host+"/x", spec); code != 2 || !strings.Contains(text, "makes nothing that could be pushed") {
		t.Errorf("%d %s", code, text)
	}
}

func TestSVGCommand(t *testing.T) {
	docker := newShelf(t).file(t.TempDir(), "Dockerfile", "FROM scratch\n")
	if code, out, text := ibuild(t, "", "llb", "--format", "svg", docker); code != 0 || !strings.HasPrefix(out, "<svg ") {
		t.Errorf("%d %s %s", code, out, text)
	}
}
