//go:build linux

package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/runner/bootstrap/contract"
	"github.com/ibuild/ibuild/runner/bootstrap/results"
	"github.com/opencontainers/go-digest"
)

// store is a registry in memory; user:password is asked for when it is set.
type store struct {
	host  string
	login string

	mu   sync.Mutex
	mood func(w http.ResponseWriter, r *http.Request) (done bool)
}

func newStore(t *testing.T) *store {
	t.Helper()
	s := &store{}
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if s.login != "" && user+":"+password != s.login {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		s.mu.Lock()
		mood := s.mood
		s.mu.Unlock()
		if mood == nil || !mood(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	s.host = strings.TrimPrefix(server.URL, "http://")
	return s
}

func (s *store) be(mood func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood = mood
}

// request is one for a program with results.
func (s *store) request(b *box, script string) contract.Request {
	return contract.Request{Output: filepath.Join(b.dir, "out"), Results: s.host + "/me/job:run", Program: shell(script)}
}

// fetch returns a file of the results.
func (s *store) fetch(t *testing.T, tag, file string, d digest.Digest) string {
	t.Helper()
	keychain := registry.StaticKeychain(nil)
	if user, password, ok := strings.Cut(s.login, ":"); ok {
		keychain = registry.StaticKeychain(map[string]registry.Credentials{s.host: {Username: user, Password: password}})
	}
	to := t.TempDir()
	client := registry.New(registry.Options{Keychain: keychain})
	if _, err := results.Fetch(t.Context(), client, s.host+"/me/job:"+tag, d, results.Target{Folder: to}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(to, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const makesResults = `echo 42 >$IBUILD_OUTPUT_DIR/answer; `

// TestResults: they are pushed however the program ends, and what it said stands.
func TestResults(t *testing.T) {
	for _, c := range []struct {
		name, script string
		timeout      time.Duration
		term         bool
		code         int
		phase        string
	}{
		{name: "success", script: "exit 0", code: 0, phase: contract.PhaseRun},
		{name: "failure", script: "exit 3", code: 3, phase: contract.PhaseRun},
		{name: "crash", script: "kill -9 $$", code: 137, phase: contract.PhaseRun},
		{name: "timeout", script: "exec sleep 60", timeout: time.Second, code: contract.ExitTimeout, phase: contract.PhaseTimeout},
		{name: "SIGTERM", script: "echo ready; exec sleep 60", term: true, code: 143, phase: contract.PhaseRun},
		{name: "SIGTERM, ignored", script: "trap '' TERM; echo ready; while :; do sleep 0.2; done", term: true, code: 137, phase: contract.PhaseRun},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, b := newStore(t), newBox(t)
			r := s.request(b, makesResults+c.script)
			r.Timeout, r.Grace = c.timeout, 6*time.Second
			begin := time.Now()
			b.start(r)
			if c.term {
				b.until("ready")
				b.signal(syscall.SIGTERM)
			}
			code, m := b.wait(), b.message()
			if code != c.code || m.Phase != c.phase || m.ExitCode != code && c.timeout == 0 || m.Result == "" {
				t.Errorf("%d: %+v\n%s", code, m, b.stderr.String())
			}
			if got := s.fetch(t, "run-0-0", "answer", digest.Digest(m.Result)); got != "42\n" {
				t.Errorf("the result is %q", got)
			}
			if took := time.Since(begin); c.term && took > r.Grace {
				t.Errorf("it took %s: the pod is killed by then", took)
			}
		})
	}
}

func TestNoResults(t *testing.T) {
	s, b := newStore(t), newBox(t)
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		t.Errorf("the registry is asked %s %s", r.Method, r.URL)
		return false
	})
	if code := b.run(s.request(b, "mkdir $IBUILD_OUTPUT_DIR/empty")); code != 0 || b.message().Result != "" || b.stderr.String() != "" {
		t.Errorf("%d: %+v, %s", code, b.message(), b.stderr.String())
	}
}

func TestHostNumbers(t *testing.T) {
	s, b := newStore(t), newBox(t)
	b.env = append(b.env, contract.SliceVariable+"=2", contract.IndexVariable+"=13")
	if code := b.run(s.request(b, makesResults)); code != 0 || s.fetch(t, "run-2-13", "answer", "") != "42\n" {
		t.Errorf("%d: %s", code, b.stderr.String())
	}
}

func TestCredential(t *testing.T) {
	s, b := newStore(t), newBox(t)
	s.login = "me:canary"
	r := s.request(b, makesResults)
	auth := base64.StdEncoding.EncodeToString([]byte(s.login))
	r.Credential = b.file("credential/config.json", fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, s.host, auth), 0o600)
	if code := b.run(r); code != 0 || s.fetch(t, "run-0-0", "answer", "") != "42\n" {
		t.Errorf("%d: %s", code, b.stderr.String())
	}
	if said := b.stderr.String() + string(b.message().Encode()); strings.Contains(said, "canary") || strings.Contains(said, auth) {
		t.Error(said)
	}
}

// TestResultsFail: a program whose results are lost has not succeeded; one that has failed has its own code.
func TestResultsFail(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *store, b *box, r *contract.Request)
		words  string
	}{
		"refused":            {func(s *store, _ *box, _ *contract.Request) { s.login = "me:canary" }, "access denied"},
		"out of reach":       {func(s *store, _ *box, r *contract.Request) { r.Results = "127.0.0.1:1/me/job:run" }, "out of reach"},
		"credential missing": {func(_ *store, b *box, r *contract.Request) { r.Credential = b.dir + "/no/config.json" }, "credential for the results is not there"},
		"credential's name":  {func(_ *store, b *box, r *contract.Request) { r.Credential = b.file("x.json", "{}", 0o600) }, "not called config.json"},
		"foreign registry":   {func(_ *store, _ *box, r *contract.Request) { r.Auth = contract.AuthWorkload }, "registries of Google"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for script, code := range map[string]int{makesResults: contract.ExitResults, makesResults + "exit 9": 9} {
				s, b := newStore(t), newBox(t)
				r := s.request(b, script)
				c.change(s, b, &r)
				own := code // the program's
				if code == contract.ExitResults {
					own = 0
				}
				got, m := b.run(r), b.message()
				if got != code || m.ExitCode != own || !strings.Contains(m.Message, c.words) || (m.Phase == contract.PhaseResults) != (code == contract.ExitResults) {
					t.Errorf("%d: %+v\n%s", got, m, b.stderr.String())
				}
			}
		})
	}
}

const makesSocket = `mkfifo $IBUILD_OUTPUT_DIR/pipe; `

// TestSlowRegistry: SIGTERM in the middle of a push ends it before the pod is killed, and is said.
func TestSlowRegistry(t *testing.T) {
	s, b := newStore(t), newBox(t)
	asked := make(chan struct{}, 100)
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		asked <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-time.After(20 * time.Second):
		}
		return true
	})
	r := s.request(b, makesResults+"exit 4")
	r.Grace = 3 * time.Second
	b.start(r)
	select {
	case <-asked:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is pushed")
	}
	if m := b.message(); m.ExitCode != 4 || m.Result != "" {
		t.Errorf("before the push: %+v", m)
	}
	begin := time.Now()
	b.signal(syscall.SIGTERM)
	if code := b.wait(); code != 4 || time.Since(begin) > r.Grace || !strings.Contains(b.message().Message, "the pod's time was over") {
		t.Errorf("%d after %s: %+v\n%s", code, time.Since(begin), b.message(), b.stderr.String())
	}
}

// TestMemory: it does not depend on the size of results.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes 300 MB")
	}
	s, b := newStore(t), newBox(t)
	s.be(func(w http.ResponseWriter, r *http.Request) bool { // a registry that keeps nothing
		switch {
		case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/uploads/"):
			w.Header().Set("Location", r.URL.Path+"1")
			w.WriteHeader(http.StatusAccepted)
		case r.Method == http.MethodPatch || r.Method == http.MethodPut:
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Location", r.URL.Path)
			w.WriteHeader(http.StatusCreated)
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		default:
			return false
		}
		return true
	})
	r := s.request(b, "head -c 300000000 /dev/urandom >$IBUILD_OUTPUT_DIR/checkpoint")
	if code := b.run(r); code != 0 {
		t.Fatalf("%d: %s", code, b.stderr.String())
	}
	used := b.cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	t.Logf("%d KiB of memory; %s", used, b.stderr.String())
	if used > 256<<10 {
		t.Errorf("%d KiB of memory", used)
	}
}

// TestResultsWithoutSome: what cannot be saved is said, and is no failure of a program that has done its work.
func TestResultsWithoutSome(t *testing.T) {
	s, b := newStore(t), newBox(t)
	code := b.run(s.request(b, makesSocket+makesResults))
	if m := b.message(); code != 0 || m.Phase != contract.PhaseRun || m.Result == "" || m.Message != "1 files are not in the results" {
		t.Errorf("%d: %+v\n%s", code, m, b.stderr.String())
	}
}
