package testenv

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
)

func newSites(t *testing.T) *Sites {
	t.Helper()
	me, err := current(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sites, err := startSites(t.TempDir()+"/sites", me)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sites.close(); err != nil {
			t.Error(err)
		}
		for _, s := range []*Site{sites.Open, sites.Private, sites.TLS} {
			u, err := url.Parse(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			if conn, err := net.Dial("tcp", u.Host); err == nil {
				conn.Close()
				t.Errorf("%s still listens", s.URL)
			}
		}
	})
	return sites
}

func fetch(t *testing.T, client *http.Client, address string) (int, string) {
	t.Helper()
	resp, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestSitesHaveAllPackages(t *testing.T) {
	s := newSites(t).Open
	for _, address := range []string{
		s.Index() + "ibuild-private-hello/", s.Channel() + "/noarch/repodata.json",
		s.Channel() + "/linux-aarch64/repodata.json.zst", s.URL + "/apt/Packages",
	} {
		if status, body := fetch(t, http.DefaultClient, address); status != 200 || body == "" {
			t.Errorf("%s: %d %q", address, status, body)
		}
	}
	if status, _ := fetch(t, http.DefaultClient, s.Channel()+"/noarch/../../x"); status != 404 {
		t.Errorf("a file that is not there: %d", status)
	}
	lock, err := s.PixiLock()
	if err != nil || !strings.Contains(lock, s.Channel()+"/linux-64/ibuild-hello-1.0-") {
		t.Errorf("pixi.lock: %v\n%s", err, lock)
	}
}

func TestPrivateSiteWantsPassword(t *testing.T) {
	s := newSites(t).Private
	mark := s.Mark()
	with, err := s.WithCredentials(s.Index())
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := fetch(t, http.DefaultClient, with); status != 200 {
		t.Errorf("with credentials: %d", status)
	}
	without, err := (&Site{User: s.User, Password: "x"}).WithCredentials(s.Index())
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{s.Index(), without} {
		if status, _ := fetch(t, http.DefaultClient, address); status != 401 {
			t.Errorf("%s: %d", address, status)
		}
	}
	got := s.Requests(mark)
	if len(got) != 3 || !got[0].Credentials || got[0].Status != 200 || got[1].Credentials || !got[2].Credentials || got[2].Status != 401 {
		t.Errorf("requests: %v", got)
	}
	log, err := os.ReadFile(s.AccessLog)
	if err != nil || strings.Count(string(log), "GET /simple/ 401") == 0 || strings.Contains(string(log), s.Password) {
		t.Errorf("access log: %v\n%s", err, log)
	}
}

func TestTLSSiteWantsItsAuthority(t *testing.T) {
	s := newSites(t).TLS
	if resp, err := http.Get(s.Index()); err == nil {
		resp.Body.Close()
		t.Error("the machine trusts the authority")
	}
	pem, err := os.ReadFile(s.CACert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("no certificate in %s", pem)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	if status, _ := fetch(t, client, s.Index()); status != 200 {
		t.Errorf("with the authority: %d", status)
	}
}
