package registry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	resolverconfig "github.com/moby/buildkit/util/resolver/config"
)

const (
	dialTimeout           = 5 * time.Second
	tlsHandshakeTimeout   = 10 * time.Second
	responseHeaderTimeout = 60 * time.Second
)

// newHTTPTransport returns the transport for one host. An answer is waited for for at least as long as said: whoever
// sends a blob sees to shorter times.
func newHTTPTransport(config *tls.Config, answer time.Duration) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   tlsHandshakeTimeout,
		ResponseHeaderTimeout: max(responseHeaderTimeout, answer),
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   32, // as many as go up at a time, and more
		// What is transferred is compressed already, and its digest counts.
		DisableCompression: true,
		// As in BuildKit: flow control of HTTP/2 makes large uploads slow
		// (golang/go#14077).
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
}

// loadTLS returns the TLS settings of a host: its CAs beside the system's, its
// client certificates, and the files of docker's certs.d folders.
func loadTLS(settings resolverconfig.RegistryConfig) (*tls.Config, error) {
	cas, pairs := settings.RootCAs, settings.KeyPairs
	for _, dir := range settings.TLSConfigDir {
		dirCAs, dirPairs, err := certsDir(dir)
		if err != nil {
			return nil, err
		}
		cas = append(cas[:len(cas):len(cas)], dirCAs...)
		pairs = append(pairs[:len(pairs):len(pairs)], dirPairs...)
	}
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: settings.Insecure != nil && *settings.Insecure,
	}
	if err := addCAs(config, cas); err != nil {
		return nil, err
	}
	for _, pair := range pairs {
		cert, err := tls.LoadX509KeyPair(pair.Certificate, pair.Key)
		if err != nil {
			return nil, fmt.Errorf("client certificate %s: %w", pair.Certificate, err)
		}
		config.Certificates = append(config.Certificates, cert)
	}
	return config, nil
}

func addCAs(config *tls.Config, files []string) error {
	if len(files) == 0 {
		return nil // nil RootCAs are the system's
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("no certificate in %s", file)
		}
	}
	config.RootCAs = pool
	return nil
}

// certsDir returns the files of a folder in the form of docker's certs.d: *.crt
// are CAs, *.cert with *.key are client certificates. A missing folder is empty.
func certsDir(dir string) (cas []string, pairs []resolverconfig.TLSKeyPair, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) && !os.IsPermission(err) {
		return nil, nil, err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if strings.HasSuffix(path, ".crt") {
			cas = append(cas, path)
		}
		if base, ok := strings.CutSuffix(path, ".cert"); ok {
			pairs = append(pairs, resolverconfig.TLSKeyPair{Certificate: path, Key: base + ".key"})
		}
	}
	return cas, pairs, nil
}

// schemes are the ways to talk to a host that its settings allow.
type schemes struct{ https, http bool }

// schemesFor follows BuildKit: http says it all where it is set, together with
// insecure both are tried, and on the loopback interface nothing has to be set.
func schemesFor(host string, settings resolverconfig.RegistryConfig) schemes {
	insecure := settings.Insecure != nil && *settings.Insecure
	switch {
	case settings.PlainHTTP == nil:
		return schemes{https: true, http: isLoopback(host)}
	case *settings.PlainHTTP:
		return schemes{https: insecure, http: true}
	}
	return schemes{https: true}
}

// isLoopback tells whether host[:port] names this machine's loopback interface.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}
