package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// target is where to connect.
type target struct {
	addr    string // as it was given
	network string // for package net
	host    string // for package net; "host:port" or a path
	timeout time.Duration
}

const supported = "supported: unix:///path/to/socket and tcp://host:port"

// parseAddr reads an address.
func parseAddr(addr string) (target, error) {
	if addr == "" {
		return target{}, &ConfigError{Field: "Addr", Problem: "the builder's address is empty", Hint: "Give one; " + supported + "."}
	}
	u, err := url.Parse(addr)
	if err != nil || u.Scheme == "" {
		return target{}, &ConfigError{Field: "Addr", Value: addr, Problem: fmt.Sprintf("%q is not an address", addr),
			Hint: "An address has a scheme; " + supported + "."}
	}
	switch u.Scheme {
	case "unix":
		path := u.Path
		if u.Host != "" || !filepath.IsAbs(path) {
			return target{}, &ConfigError{Field: "Addr", Value: addr, Problem: fmt.Sprintf("the path in %q is not absolute", addr),
				Hint: "Write unix:///path/to/socket, with three slashes."}
		}
		return target{addr: addr, network: "unix", host: path}, nil
	case "tcp":
		if u.Hostname() == "" || u.Port() == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
			return target{}, &ConfigError{Field: "Addr", Value: addr, Problem: fmt.Sprintf("%q is not host and port", addr),
				Hint: "Write tcp://host:port; buildkitd's usual port is 1234."}
		}
		return target{addr: addr, network: "tcp", host: u.Host}, nil
	}
	return target{}, &ConfigError{Field: "Addr", Value: addr, Problem: fmt.Sprintf("builders at %s:// are not supported yet", u.Scheme),
		Hint: "The " + supported + "."}
}

// hostname is the part of a tcp target that a certificate is for.
func (t target) hostname() string {
	host, _, err := net.SplitHostPort(t.host)
	if err != nil {
		return t.host
	}
	return host
}

// dial makes a connection. A proxy of the environment is not used: builders are
// reached directly. Keepalive is TCP's, because a gRPC server with the default
// policy, as buildkitd is, hangs up on clients that ping more than every five
// minutes.
func (t target) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: t.timeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 20 * time.Second, Interval: 10 * time.Second, Count: 4}}
	return d.DialContext(ctx, t.network, t.host)
}

// loadTLS reads the certificates. It returns nil if TLS was not asked for.
func loadTLS(cfg Config, t target) (*tls.Config, error) {
	if cfg.CACert == "" && cfg.Cert == "" && cfg.Key == "" && cfg.ServerName == "" {
		return nil, nil
	}
	if t.network != "tcp" {
		return nil, &ConfigError{Field: "CACert", Problem: "certificates were given for a builder at " + t.addr,
			Hint: "TLS is for tcp:// only; leave the certificates out."}
	}
	out := &tls.Config{ServerName: cfg.ServerName, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
	if out.ServerName == "" {
		out.ServerName = t.hostname()
	}
	if err := addAuthority(out, cfg.CACert); err != nil {
		return nil, err
	}
	return out, addKeyPair(out, cfg.Cert, cfg.Key)
}

func addAuthority(out *tls.Config, file string) error {
	if file == "" {
		return nil // the system's
	}
	pem, err := readFile("CACert", "CA certificate", file)
	if err != nil {
		return err
	}
	out.RootCAs = x509.NewCertPool()
	if !out.RootCAs.AppendCertsFromPEM(pem) {
		return &ConfigError{Field: "CACert", Value: file, Problem: fmt.Sprintf("the CA certificate %s has no PEM certificate in it", file),
			Hint: "Give a file that starts with -----BEGIN CERTIFICATE-----."}
	}
	return nil
}

func addKeyPair(out *tls.Config, certFile, keyFile string) error {
	switch {
	case certFile == "" && keyFile == "":
		return nil
	case certFile == "":
		return &ConfigError{Field: "Cert", Problem: "a client key was given without its certificate", Hint: "Give the certificate too."}
	case keyFile == "":
		return &ConfigError{Field: "Key", Problem: "a client certificate was given without its key", Hint: "Give the key too."}
	}
	cert, err := readFile("Cert", "client certificate", certFile)
	if err != nil {
		return err
	}
	key, err := readFile("Key", "client key", keyFile)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return &ConfigError{Field: "Cert", Value: certFile, Err: err,
			Problem: fmt.Sprintf("the client certificate %s and the key %s cannot be used", certFile, keyFile),
			Hint:    "Both have to be PEM files, and the key has to be the certificate's."}
	}
	out.Certificates = []tls.Certificate{pair}
	return nil
}

// readFile reads a certificate or key; what is larger than any of these is
// something else.
func readFile(field, what, path string) ([]byte, error) {
	const most = 4 << 20
	fail := func(err error) error {
		hint := "Check the path."
		if errors.Is(err, os.ErrPermission) {
			hint = "Check who may read it."
		}
		return &ConfigError{Field: field, Value: path, Err: err, Problem: fmt.Sprintf("the %s cannot be read", what), Hint: hint}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fail(err)
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fail(fmt.Errorf("%s is not a PEM file", path))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fail(err)
	}
	return b, nil
}
