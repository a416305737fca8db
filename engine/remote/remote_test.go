package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const quick = 300 * time.Millisecond

func TestStart(t *testing.T) {
	l := listen(t)
	serve(t, l, &daemon{workers: oneWorker()})
	b, err := Start(t.Context(), Config{Addr: "tcp://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	a := b.About()
	if a.BuildKit != "v0.99.0" || a.TLS || len(a.Workers) != 1 || a.Workers[0].ID != "w1" {
		t.Errorf("got %+v", a)
	}
	ps, err := b.Platforms(t.Context())
	if err != nil || len(ps) != 2 || ps[0].Architecture != "arm64" {
		t.Errorf("got %v, %v", ps, err)
	}
	c, err := b.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if ws, err := c.ListWorkers(t.Context()); err != nil || len(ws) != 1 {
		t.Errorf("got %v, %v", ws, err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestStartUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, &daemon{workers: oneWorker()})
	b, err := Start(t.Context(), Config{Addr: "unix://" + path})
	if err != nil {
		t.Fatal(err)
	}
	if b.Name() != "unix://"+path {
		t.Errorf("got %q", b.Name())
	}
}

func TestStartTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	later := time.Now().Add(time.Hour)
	serverCert, serverKey := ca.issue(t, "127.0.0.1", later)
	namedCert, namedKey := ca.issue(t, "builder.example", later)
	oldCert, oldKey := ca.issue(t, "127.0.0.1", time.Now().Add(-time.Hour))
	clientCert, clientKey := ca.issue(t, "client", later)
	strangerCert, strangerKey := other.issue(t, "client", later)

	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		addr := func(cert, key string) string {
			l := listen(t)
			serve(t, l, &daemon{workers: oneWorker()}, mutualTLS(t, cert, key, ca, version))
			return "tcp://" + l.Addr().String()
		}
		good, named, old := addr(serverCert, serverKey), addr(namedCert, namedKey), addr(oldCert, oldKey)
		for _, tc := range []struct {
			name string
			cfg  Config
			hint string // "" for success
		}{
			{"both sides trust", Config{Addr: good, CACert: ca.file, Cert: clientCert, Key: clientKey}, ""},
			{"by its name", Config{Addr: named, CACert: ca.file, Cert: clientCert, Key: clientKey, ServerName: "builder.example"}, ""},
			{"another authority", Config{Addr: good, CACert: other.file, Cert: clientCert, Key: clientKey}, "not trusted"},
			{"system's authorities", Config{Addr: good, Cert: clientCert, Key: clientKey}, "not trusted"},
			{"another name", Config{Addr: named, CACert: ca.file, Cert: clientCert, Key: clientKey}, "another name"},
			{"expired", Config{Addr: old, CACert: ca.file, Cert: clientCert, Key: clientKey}, "not valid now"},
			{"stranger", Config{Addr: good, CACert: ca.file, Cert: strangerCert, Key: strangerKey}, "refuses the client's certificate"},
			{"no client certificate", Config{Addr: good, CACert: ca.file}, "wants a certificate of the client"},
			{"no TLS", Config{Addr: good}, "ive the CA certificate, and the client's"},
		} {
			t.Run(tls.VersionName(version)+"/"+tc.name, func(t *testing.T) {
				b, err := Start(t.Context(), tc.cfg)
				if tc.hint == "" {
					if err != nil {
						t.Fatal(err)
					}
					if !b.About().TLS {
						t.Error("About does not say TLS")
					}
					return
				}
				expectUnreachable(t, err, tc.cfg.Addr, tc.hint)
			})
		}
	}
}

func expectUnreachable(t *testing.T, err error, addr, hint string) {
	t.Helper()
	var un *UnreachableError
	if !errors.As(err, &un) {
		t.Fatalf("got %T: %v", err, err)
	}
	if un.Addr != addr || un.Cause == nil || !strings.Contains(un.Hint, hint) {
		t.Errorf("got %v, hint %q", err, un.Hint)
	}
}

func TestStartUnreachable(t *testing.T) {
	ca := newAuthority(t)
	closed := listen(t)
	closed.Close()
	plain := listen(t)
	serve(t, plain, &daemon{workers: oneWorker()})
	other := listen(t)
	serve(t, other, nil)
	hanging := listen(t)
	serve(t, hanging, &daemon{hang: true})
	idle := listen(t)
	serve(t, idle, &daemon{})
	silent := listen(t) // the kernel takes the connection, nobody reads
	web := listen(t)
	go answer(web, "HTTP/1.1 400 Bad Request\r\n\r\n")
	alerting := listen(t)
	go answer(alerting, "\x15\x03\x01\x00\x02\x02\x46")
	rude := listen(t)
	go answer(rude, "")
	missing := filepath.Join(t.TempDir(), "none")
	stale := filepath.Join(t.TempDir(), "stale")
	leaveSocket(t, stale)

	tcp := func(l net.Listener) string { return "tcp://" + l.Addr().String() }
	for name, tc := range map[string]struct {
		cfg  Config
		hint string
	}{
		"refused":               {Config{Addr: tcp(closed)}, "Nobody listens"},
		"unknown host":          {Config{Addr: "tcp://no-such-host.invalid:1234"}, "host name is not known"},
		"no socket":             {Config{Addr: "unix://" + missing}, "no such socket"},
		"stale socket":          {Config{Addr: "unix://" + stale}, "Nobody listens"},
		"TLS to a plain server": {Config{Addr: tcp(plain), CACert: ca.file}, "Leave the certificates out"},
		"TLS to silence":        {Config{Addr: tcp(silent), CACert: ca.file}, "does not answer in TLS"},
		"not buildkitd":         {Config{Addr: tcp(other)}, "not buildkitd"},
		"hanging":               {Config{Addr: tcp(hanging)}, "does not answer"},
		"no worker":             {Config{Addr: tcp(idle)}, "no worker"},
		"silent":                {Config{Addr: tcp(silent)}, "says nothing"},
		"a web server":          {Config{Addr: tcp(web)}, "Check the address and the port"},
		"a TLS alert":           {Config{Addr: tcp(alerting)}, "Give the CA certificate"},
		"hangs up":              {Config{Addr: tcp(rude)}, "may want TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.cfg.Timeout = quick
			start := time.Now()
			_, err := Start(t.Context(), tc.cfg)
			expectUnreachable(t, err, tc.cfg.Addr, tc.hint)
			if d := time.Since(start); d > 10*quick {
				t.Errorf("it took %v", d)
			}
		})
	}
}

// answer sends every client the same.
func answer(l net.Listener, text string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_, _ = io.ReadFull(conn, make([]byte, 33)) // all of the greeting, or closing resets
			_, _ = io.WriteString(conn, text)
		}()
	}
}

func leaveSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestDialHintTimeout(t *testing.T) {
	err := &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
	if hint := dialHint(target{network: "tcp"}, err); !strings.Contains(hint, "Nothing answers") {
		t.Errorf("got %q", hint)
	}
}

func TestStartCancelled(t *testing.T) {
	silent := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	if _, err := Start(ctx, Config{Addr: "tcp://" + silent.Addr().String()}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestConfigErrors(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "x", time.Now().Add(time.Hour))
	_, otherKey := ca.issue(t, "y", time.Now().Add(time.Hour))
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	const tcp = "tcp://h:1"
	for name, tc := range map[string]struct {
		cfg   Config
		field string
		say   string
	}{
		"empty":                {Config{}, "Addr", "empty"},
		"no scheme":            {Config{Addr: "host:1234"}, "Addr", "not supported"},
		"only a path":          {Config{Addr: "/run/buildkit.sock"}, "Addr", "not an address"},
		"relative socket":      {Config{Addr: "unix://run/s"}, "Addr", "not absolute"},
		"no port":              {Config{Addr: "tcp://h"}, "Addr", "host and port"},
		"a path after":         {Config{Addr: "tcp://h:1/x"}, "Addr", "host and port"},
		"ssh":                  {Config{Addr: "ssh://me@h"}, "Addr", "ssh:// are not supported yet"},
		"kube-pod":             {Config{Addr: "kube-pod://p"}, "Addr", "kube-pod:// are not supported yet"},
		"docker-container":     {Config{Addr: "docker-container://c"}, "Addr", "not supported yet"},
		"podman-container":     {Config{Addr: "podman-container://c"}, "Addr", "not supported yet"},
		"certificates at unix": {Config{Addr: "unix:///s", CACert: ca.file}, "CACert", "unix:///s"},
		"no CA file":           {Config{Addr: tcp, CACert: "/no/such"}, "CACert", "cannot be read"},
		"CA is a folder":       {Config{Addr: tcp, CACert: t.TempDir()}, "CACert", "not a PEM file"},
		"CA is garbage":        {Config{Addr: tcp, CACert: garbage}, "CACert", "no PEM certificate"},
		"key alone":            {Config{Addr: tcp, Key: key}, "Cert", "without its certificate"},
		"certificate alone":    {Config{Addr: tcp, Cert: cert}, "Key", "without its key"},
		"no certificate file":  {Config{Addr: tcp, Cert: "/no/such", Key: key}, "Cert", "cannot be read"},
		"no key file":          {Config{Addr: tcp, Cert: cert, Key: "/no/such"}, "Key", "cannot be read"},
		"another key":          {Config{Addr: tcp, Cert: cert, Key: otherKey}, "Cert", "cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Start(t.Context(), tc.cfg)
			var ce *ConfigError
			if !errors.As(err, &ce) {
				t.Fatalf("got %T: %v", err, err)
			}
			if ce.Field != tc.field || ce.Hint == "" || !strings.Contains(err.Error(), tc.say) {
				t.Errorf("got %v, field %s, hint %q", err, ce.Field, ce.Hint)
			}
		})
	}
}
