package registry

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	resolverconfig "github.com/moby/buildkit/util/resolver/config"
)

func TestTLS(t *testing.T) {
	inner := newServer(t)
	push(t, inner.host+"/app:1", testImage(t, amd64))
	handler := inner.Config.Handler
	srv := httptest.NewUnstartedServer(handler)
	srv.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	srv.Config.ErrorLog = inner.Config.ErrorLog
	srv.StartTLS()
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "https://")
	ca := filepath.Join(t.TempDir(), "ca.crt")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(ca, data, 0o600); err != nil {
		t.Fatal(err)
	}
	yes, no := true, false
	resolve := func(cfg resolverconfig.RegistryConfig) error {
		c := newClient(t, Options{Hosts: map[string]resolverconfig.RegistryConfig{host: cfg}})
		_, err := c.Resolve(ctx(t), host+"/app:1", amd64)
		return err
	}
	for name, cfg := range map[string]resolverconfig.RegistryConfig{
		"ca":       {RootCAs: []string{ca}, PlainHTTP: &no},
		"ca only":  {RootCAs: []string{ca}},
		"certs.d":  {TLSConfigDir: []string{filepath.Dir(ca), "/nonexistent"}},
		"insecure": {Insecure: &yes},
	} {
		if err := resolve(cfg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := resolve(resolverconfig.RegistryConfig{PlainHTTP: &no})
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.Msg, "not trusted") || !strings.Contains(e.Hint, "ca = ") {
		t.Errorf("unknown CA: %v", err)
	}
	if err := resolve(resolverconfig.RegistryConfig{RootCAs: []string{"/nonexistent.crt"}}); err == nil {
		t.Error("a missing CA file is no error")
	}
	// HTTPS is insisted on, and the server has none.
	c := newClient(t, Options{Hosts: map[string]resolverconfig.RegistryConfig{inner.host: {PlainHTTP: &no}}})
	if _, err := c.Resolve(ctx(t), inner.host+"/app:1", amd64); !errors.As(err, &e) || !strings.Contains(e.Hint, "http = true") {
		t.Errorf("plain server: %v", err)
	}
	c = newClient(t, Options{Hosts: map[string]resolverconfig.RegistryConfig{inner.host: {PlainHTTP: &yes}}})
	if _, err := c.Resolve(ctx(t), inner.host+"/app:1", amd64); err != nil {
		t.Errorf("http = true: %v", err)
	}
}

func TestSchemes(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		host string
		cfg  resolverconfig.RegistryConfig
		want schemes
	}{
		{"example.com", resolverconfig.RegistryConfig{}, schemes{https: true}},
		{"10.0.0.1:5000", resolverconfig.RegistryConfig{}, schemes{https: true}},
		{"localhost", resolverconfig.RegistryConfig{}, schemes{https: true, http: true}},
		{"127.0.0.1:5000", resolverconfig.RegistryConfig{}, schemes{https: true, http: true}},
		{"[::1]:5000", resolverconfig.RegistryConfig{}, schemes{https: true, http: true}},
		{"localhost.example.com", resolverconfig.RegistryConfig{}, schemes{https: true}},
		{"localhost:5000", resolverconfig.RegistryConfig{PlainHTTP: &no}, schemes{https: true}},
		{"example.com", resolverconfig.RegistryConfig{PlainHTTP: &yes}, schemes{http: true}},
		{"example.com", resolverconfig.RegistryConfig{PlainHTTP: &yes, Insecure: &yes}, schemes{https: true, http: true}},
	} {
		if got := schemesFor(c.host, c.cfg); got != c.want {
			t.Errorf("%s: %+v", c.host, got)
		}
	}
}
