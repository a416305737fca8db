package testenv

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseSubIDs(t *testing.T) {
	ranges, err := parseSubIDs(strings.NewReader("# comment\n\nann:100000:65536\n1001:165536:1000\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []subIDRange{{"ann", 100000, 65536}, {"1001", 165536, 1000}}
	if !slices.Equal(ranges, want) {
		t.Errorf("ranges = %v, want %v", ranges, want)
	}
	if next := nextSubID(ranges); next != 166536 {
		t.Errorf("next id = %d", next)
	}
	if next := nextSubID(nil); next != 100000 {
		t.Errorf("first id = %d", next)
	}
	for name, want := range map[string]bool{"ann": true, "bob": false} {
		if got := rangeFor(ranges, &user.User{Username: name, Uid: "1001"}); got != want {
			t.Errorf("%s has a range: %v", name, got)
		}
	}
	if _, err := parseSubIDs(strings.NewReader("ann:x:1\n")); err == nil {
		t.Error("a broken line is no error")
	}
}

func TestListenAddress(t *testing.T) {
	log := []byte("level=info msg=\"found worker\"\nlevel=info msg=\"running server on 127.0.0.1:4321\"\n")
	if addr, ok := listenAddress(log); !ok || addr != "127.0.0.1:4321" {
		t.Errorf("listenAddress = %q, %v", addr, ok)
	}
	if _, ok := listenAddress([]byte("starting")); ok {
		t.Error("found an address where there is none")
	}
}

func TestReachable(t *testing.T) {
	answer := func(status int, header string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if header != "" {
				w.Header().Set(header, "x")
			}
			w.WriteHeader(status)
		}))
		t.Cleanup(s.Close)
		return s
	}
	registry := answer(401, "WWW-Authenticate")
	for name, test := range map[string]struct {
		other *httptest.Server
		want  bool
	}{
		"both":              {answer(200, "Docker-Distribution-Api-Version"), true},
		"a proxy says no":   {answer(403, "WWW-Authenticate"), false},
		"some page instead": {answer(200, ""), false},
	} {
		if err := reachable(t.Context(), registry.URL, test.other.URL); (err == nil) != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	gone := answer(200, "")
	gone.Close()
	if err := reachable(t.Context(), registry.URL, gone.URL); err == nil {
		t.Error("a server that is gone is reachable")
	}
}

func TestCertificatesOfOneAuthority(t *testing.T) {
	me, err := current(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := newAuthority(t.TempDir(), "ca")
	if err != nil {
		t.Fatal(err)
	}
	other, err := newAuthority(t.TempDir(), "other")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		signer *authority
		want   bool
	}{"own": {ca, true}, "another's": {other, false}} {
		pair, err := test.signer.issue("client", x509.ExtKeyUsageClientAuth, me)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tls.LoadX509KeyPair(pair.Cert, pair.Key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := verify(t, ca.file, pair.Cert); (err == nil) != test.want {
			t.Errorf("%s certificate: %v", name, err)
		}
	}
}

func verify(t *testing.T, caFile, certFile string) error {
	t.Helper()
	pool := x509.NewCertPool()
	ca, err := os.ReadFile(caFile)
	if err != nil || !pool.AppendCertsFromPEM(ca) {
		t.Fatalf("read %s: %v", caFile, err)
	}
	pair, err := tls.LoadX509KeyPair(certFile, strings.TrimSuffix(certFile, ".pem")+"-key.pem")
	if err != nil {
		t.Fatal(err)
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{
		Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}

func TestProcessStopsWithItsChildren(t *testing.T) {
	// A shell that ignores nothing and leaves a child behind in its group.
	p, err := startProcess(exec.Command("sh", "-c", "sleep 1000 & echo $!; wait"), "sh", filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool { return tail(p.log, 1) != "" })
	child, err := strconv.Atoi(tail(p.log, 1))
	if err != nil || !slices.Contains(descendants(p.pid), child) {
		t.Fatalf("child %d (%v) is not among %v", child, err, descendants(p.pid))
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	if !gone([]int{p.pid, child}) {
		t.Error("a process is left")
	}
	if err := p.stop(); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

func TestWaitForShowsLog(t *testing.T) {
	p, err := startProcess(exec.Command("sh", "-c", "echo no such thing; exit 3"), "sh", filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	err = waitFor(t.Context(), p, func(context.Context) error { return errors.New("not yet") })
	var failure *ProcessError
	if !errors.As(err, &failure) || !strings.Contains(err.Error(), "no such thing") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error = %v", err)
	}
}

func waitUntil(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

func TestSweepRemovesOnlyWhatIsLeftOver(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	used, lock, err := newWorkFolder()
	if err != nil {
		t.Fatal(err)
	}
	leftover := filepath.Join(temp, workPrefix+"1")
	if err := os.MkdirAll(filepath.Join(leftover, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(leftover+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	sweep(temp)
	if _, err := os.Stat(leftover); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("leftover folder: %v", err)
	}
	if _, err := os.Stat(used); err != nil {
		t.Errorf("folder in use: %v", err)
	}
	if err := lock.remove(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(temp); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestLinkAppearsExecutable(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is there
		if err := link(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("linked file: %v, %v", info, err)
	}
}
