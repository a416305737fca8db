//go:build integration

package moods

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	resolverconfig "github.com/moby/buildkit/util/resolver/config"

	"github.com/ibuild/ibuild/registry"
)

// TestExpiredCertificate: the push ends soon, says why, and no request was sent: with it, the password would have been.
func TestExpiredCertificate(t *testing.T) {
	cert, ca := yesterdays(t)
	var requests atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(http.StatusOK)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	host := server.Listener.Addr().String()
	no := false
	for _, plain := range []*bool{&no, nil} { // on loopback, HTTP is tried when nothing is said
		client := registry.New(registry.Options{
			Hosts:    map[string]resolverconfig.RegistryConfig{host: {RootCAs: []string{ca}, PlainHTTP: plain}},
			Keychain: registry.StaticKeychain(map[string]registry.Credentials{host: {Username: User, Password: "secret"}}),
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := client.Push(ctx, shared.old.upload(host, "moods/expired", "", "1"))
		var known *registry.Error
		if !errors.As(err, &known) || !errors.Is(err, registry.ErrUnreachable) || known.Hint == "" || !strings.Contains(err.Error(), "expired") {
			t.Errorf("got %v", err)
		}
	}
	if n := requests.Load(); n > 0 {
		t.Errorf("%d requests were sent to a host that nobody vouches for", n)
	}
}

// yesterdays makes a certificate for loopback that was good until yesterday, signed by itself, and its PEM file.
func yesterdays(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "yesterday"},
		NotBefore: now.AddDate(0, 0, -7), NotAfter: now.AddDate(0, 0, -1),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
