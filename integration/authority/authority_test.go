package authority

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"testing"
)

func TestCertificatesOfOneAuthority(t *testing.T) {
	ca, err := New(t.TempDir(), "ca")
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(t.TempDir(), "other")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		signer *Authority
		want   bool
	}{"own": {ca, true}, "another's": {other, false}} {
		pair, err := test.signer.Issue(Subject{Name: "client"}, x509.ExtKeyUsageClientAuth)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tls.LoadX509KeyPair(pair.Cert, pair.Key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := verify(t, ca.File, pair.Cert); (err == nil) != test.want {
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
