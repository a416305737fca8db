package testenv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ibuild/ibuild/integration/process"
)

// Registry is an OCI registry on loopback, plain HTTP, without credentials.
type Registry struct {
	Addr      string // host:port, as it stands in image names
	AccessLog string // file with one line per finished request

	server  *http.Server
	log     *requestLog
	direct  *http.Transport // to the program itself: what the harness does is not in the log
	logFile *os.File
	process *process.Process
	serving errgroup.Group
}

// Mark returns the present end of the request log.
func (r *Registry) Mark() Mark { return r.log.mark() }

// Requests returns the requests that came after the mark, oldest first; the
// zero mark gives all.
func (r *Registry) Requests(since Mark) []Request { return r.log.since(since) }

// Ref is the name of an image in this registry: Ref("team/app:1").
func (r *Registry) Ref(name string) string { return r.Addr + "/" + name }

// startRegistry runs the registry program on a socket in dir, which nobody
// else can take, and serves it on a loopback port through a proxy.
func startRegistry(ctx context.Context, program, dir string) (_ *Registry, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "registry.sock")
	config, err := writeRegistryConfig(dir, socket)
	if err != nil {
		return nil, err
	}
	r := &Registry{AccessLog: filepath.Join(dir, "access.log"), direct: socketTransport(socket)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	cmd := exec.Command(program, "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	if r.process, err = process.Start(cmd, "registry", filepath.Join(dir, "registry.log")); err != nil {
		return nil, err
	}
	if err := r.serve(); err != nil {
		return nil, err
	}
	return r, r.process.WaitFor(ctx, r.ping)
}

// serve puts the recording proxy in front of the registry's socket.
func (r *Registry) serve() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if r.logFile, err = os.Create(r.AccessLog); err != nil {
		return errors.Join(err, listener.Close())
	}
	r.Addr = listener.Addr().String()
	r.log = &requestLog{file: r.logFile}
	proxy := &httputil.ReverseProxy{
		Rewrite:       keepHost,
		Transport:     r.direct,
		FlushInterval: -1, // stream
		ErrorLog:      log.New(r.logFile, "proxy: ", 0),
	}
	r.server = &http.Server{Handler: r.log.wrap(proxy), ReadHeaderTimeout: time.Minute}
	r.serving.Go(func() error { return r.server.Serve(listener) })
	return nil
}

// keepHost hands a request on with the Host header of the client, from which
// the registry makes the upload locations that it answers with. The URL is the
// same for all, so that they share connections, whatever they call the registry.
func keepHost(p *httputil.ProxyRequest) {
	p.SetURL(&url.URL{Scheme: "http", Host: "registry"})
	p.Out.Host = p.In.Host
}

// socketTransport reaches the registry past the recording proxy, whatever the
// address in the request.
func socketTransport(socket string) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableCompression:  true, // the bytes of the registry, not ours
		MaxIdleConnsPerHost: 16,
	}
}

func writeRegistryConfig(dir, socket string) (string, error) {
	config := fmt.Sprintf(`version: 0.1
log:
  accesslog: {disabled: true}
storage:
  filesystem: {rootdirectory: %q}
  delete: {enabled: true}
http:
  net: unix
  addr: %q
  secret: %q
`, filepath.Join(dir, "data"), socket, rand.Text())
	file := filepath.Join(dir, "config.yml")
	return file, os.WriteFile(file, []byte(config), 0o600)
}

// ping asks the registry whether it is there.
func (r *Registry) ping(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Addr+"/v2/", nil)
	if err != nil {
		return err
	}
	resp, err := r.direct.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// close stops the proxy and the program.
func (r *Registry) close() error {
	if r == nil {
		return nil
	}
	var errs []error
	if r.server != nil {
		errs = append(errs, r.server.Close())
		if err := r.serving.Wait(); !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, err)
		}
	}
	r.direct.CloseIdleConnections()
	errs = append(errs, r.process.Stop())
	if r.logFile != nil {
		errs = append(errs, r.logFile.Close())
	}
	return errors.Join(errs...)
}
