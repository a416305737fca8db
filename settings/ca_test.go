package settings

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/llb"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
)

const later = 24 * time.Hour

// testCert makes a certificate that is valid for some time yet.
func testCert(t testing.TB, name string, valid time.Duration) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return certOf(t, key, name, valid)
}

func certOf(t testing.TB, key ed25519.PrivateKey, name string, valid time.Duration) string {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-2 * later), NotAfter: time.Now().Add(valid),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

const bundlePath = "/etc/ssl/certs/ca-certificates.crt"

func TestCertificates(t *testing.T) {
	a, b, c, corp := testCert(t, "a", later), testCert(t, "b", later), testCert(t, "c", later), testCert(t, "corp", later)
	system := "# comment\n" + a + b + a
	bad := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	key := "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
	for _, tc := range []struct {
		name  string
		cfg   *Config
		host  fakeHost
		want  string
		notes []string
		err   string
	}{
		{name: "nothing", host: fakeHost{files: files{bundlePath: system}}},
		{
			name: "local anchors", host: fakeHost{files: files{bundlePath: system + corp, "/usr/local/share/ca-certificates/corp.crt": corp}}, want: a + b + corp,
			notes: []string{"CA certificates: 3, 0 of them not in " + bundlePath + " (from /usr/local/share/ca-certificates/corp.crt)"},
		},
		{name: "local anchors without a bundle", host: fakeHost{files: files{"/etc/pki/ca-trust/source/anchors/x": corp}}},
		{
			name: "variables", want: a + b + corp + c,
			host: fakeHost{
				env:   env{"SSL_CERT_FILE": bundlePath, "REQUESTS_CA_BUNDLE": "/x/corp.pem", "PIP_CERT": "/x/more.pem", "CURL_CA_BUNDLE": "/x/corp.pem"},
				files: files{bundlePath: system, "/x/corp.pem": key + corp + a, "/x/more.pem": c + bad},
			},
			notes: []string{
				"CA certificates: 1 in /x/more.pem, named by PIP_CERT, are not certificates and not used",
				"CA certificates: 4, 2 of them not in " + bundlePath + " (from SSL_CERT_FILE, REQUESTS_CA_BUNDLE, PIP_CERT, CURL_CA_BUNDLE)",
			},
		},
		{
			name: "pip's file", want: a + b + corp,
			host:  fakeHost{env: env{"HOME": "/h"}, files: files{bundlePath: system, "/etc/pip.conf": "[global]\ncert = ~/corp.pem\n", "/h/corp.pem": corp}},
			notes: []string{"CA certificates: 3, 1 of them not in " + bundlePath + " (from /etc/pip.conf)"},
		},
		{
			name: "variables that name nothing", host: fakeHost{env: env{"SSL_CERT_FILE": "/none", "PIP_CERT": "/empty"}, files: files{bundlePath: system, "/empty": key}},
			notes: []string{
				"CA certificates: /none, named by SSL_CERT_FILE, is not used: there is no such file",
				"CA certificates: /empty, named by PIP_CERT, is not used: there are none in it",
			},
		},
		{
			name: "configured", cfg: &Config{File: "/c.toml", Packages: Packages{CA: []string{"/corp"}}}, want: a + b + corp,
			host:  fakeHost{env: env{"SSL_CERT_FILE": "/other"}, files: files{bundlePath: system, "/corp": corp, "/other": c}},
			notes: []string{"CA certificates: 3, 1 of them not in " + bundlePath + " (from /c.toml)"},
		},
		{
			name: "no bundle", cfg: &Config{File: "/c.toml", Packages: Packages{CA: []string{"/corp"}}}, want: corp, host: fakeHost{files: files{"/corp": corp}},
			notes: []string{
				"CA certificates: this machine has no bundle of its own, so steps trust those named and no others",
				"CA certificates: 1, 1 of them not in a system bundle (from /c.toml)",
			},
		},
		{
			name: "none wanted", cfg: &Config{File: "/c.toml", Packages: Packages{CA: []string{}}}, host: fakeHost{env: env{"SSL_CERT_FILE": bundlePath}, files: files{bundlePath: system}},
			notes: []string{"CA certificates: none are carried, as /c.toml says"},
		},
		{
			name: "configured and bad", cfg: &Config{File: "/c.toml", Packages: Packages{CA: []string{"/corp"}}}, host: fakeHost{files: files{"/corp": corp + bad}},
			err: "/corp: the CA certificates cannot be used: 1 of its certificates cannot be parsed; mend packages.ca in /c.toml",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := detect(t, tc.cfg, tc.host, tc.notes, tc.err)
			if got := string(m.Files[llb.MachineCA]); got != tc.want {
				t.Errorf("got %d certificates, want %d", strings.Count(got, "BEGIN"), strings.Count(tc.want, "BEGIN"))
			}
			for _, name := range []string{"SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS"} {
				want := ""
				if tc.want != "" {
					want = llb.MachineFile(llb.MachineCA)
				}
				if m.Env[name] != want {
					t.Errorf("%s = %q", name, m.Env[name])
				}
			}
		})
	}
}

func TestBundleLimit(t *testing.T) {
	if maxSecret != secretsprovider.MaxSecretSize {
		t.Fatalf("BuildKit takes secrets of %d", secretsprovider.MaxSecretSize)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old, renewed, expired, fine := certOf(t, key, "x", later), certOf(t, key, "x", 2*later), testCert(t, "gone", -later), testCert(t, "y", later)
	b := &bundle{}
	b.add([]byte(old + expired + renewed + fine))
	all := b.size()
	for _, c := range []struct {
		limit, dropped int
		want           string
	}{
		{all, 0, old + expired + renewed + fine},
		{all - 1, 2, renewed + fine},
		{len(renewed + fine), 2, renewed + fine},
		{len(renewed+fine) - 1, 0, ""},
	} {
		data, dropped := b.encode(c.limit, time.Now())
		if string(data) != c.want || dropped != c.dropped {
			t.Errorf("limit %d: %d dropped, %q", c.limit, dropped, data)
		}
	}
}

func TestBundleTooLarge(t *testing.T) {
	var all strings.Builder
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for all.Len() <= maxSecret {
		all.WriteString(certOf(t, key, strings.Repeat("n", 60)+time.Now().String(), later))
	}
	detect(t, nil, fakeHost{env: env{"SSL_CERT_FILE": "/big"}, files: files{"/big": all.String()}}, nil,
		"SSL_CERT_FILE: the CA certificates of this machine are 500 kB, and a build step can be given 500 kB; name the files that are needed in [packages] ca of the configuration file, or none with ca = []")
}
