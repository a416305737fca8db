package testenv

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
