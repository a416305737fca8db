package remote

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/moby/buildkit/client"
	_ "github.com/moby/buildkit/util/grpcutil/encoding/proto" // the codec of BuildKit's messages
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// DefaultTimeout bounds each step of connecting: the connection itself, the
// first bytes on it, and the daemon's first answer.
const DefaultTimeout = 5 * time.Second

// Config says where the daemon is and how to be let in.
type Config struct {
	// Addr is unix:///path or tcp://host:port.
	Addr string
	// CACert, Cert and Key are PEM files: what signs the server's certificate
	// ("" means the system's authorities), and the client's certificate and its
	// key. If any of these or ServerName is set, TLS is used. Only for tcp.
	CACert, Cert, Key string
	// ServerName is the name in the server's certificate, if it is not the host
	// of Addr.
	ServerName string
	// Timeout bounds each step of connecting; 0 means DefaultTimeout.
	Timeout time.Duration
}

// About describes a daemon as it was when Start asked.
type About struct {
	Addr     string
	TLS      bool
	BuildKit string // such as "v0.33.1"; "" if the daemon does not say
	Workers  []Worker
}

// Worker is one of a daemon's workers. Builds use the first.
type Worker struct {
	ID        string
	Platforms []ocispecs.Platform // the native one first
	Labels    map[string]string
}

// Builder is a daemon that answered. Its methods may be called concurrently.
type Builder struct {
	target target
	tls    *tls.Config // nil: plain
	about  About
}

// Start connects to the daemon once, asks what it is, and closes the connection
// again; a Builder holds none.
//
// Errors are a *ConfigError (the address or a file is wrong; a usage error), an
// *UnreachableError (the daemon, the network or a certificate is; another try or
// another daemon may help), or the cause of ctx's end.
func Start(ctx context.Context, cfg Config) (*Builder, error) {
	t, err := parseAddr(cfg.Addr)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := loadTLS(cfg, t)
	if err != nil {
		return nil, err
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	t.timeout = cfg.Timeout
	b := &Builder{target: t, tls: tlsConfig, about: About{Addr: t.addr, TLS: tlsConfig != nil}}
	if err := b.probe(ctx); err != nil {
		return nil, ended(ctx, err)
	}
	if err := b.ask(ctx); err != nil {
		return nil, ended(ctx, err)
	}
	return b, nil
}

// ended prefers the end of the caller's context to what it led to.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Name is the daemon's address.
func (b *Builder) Name() string { return b.target.addr }

// About describes the daemon. It costs nothing.
func (b *Builder) About() About { return b.about }

// Compresses says whether the daemon knows a way to compress layers. All know gzip; zstd came with BuildKit v0.10, and
// what says its version is v0.11 or newer.
func (b *Builder) Compresses(name string) bool { return name != "zstd" || b.about.BuildKit != "" }

// Platforms lists what the daemon's first worker runs, the native one first.
func (b *Builder) Platforms(context.Context) ([]ocispecs.Platform, error) {
	return b.about.Workers[0].Platforms, nil
}

// Client returns a new connection to the daemon, which the caller closes. All
// calls of one build have to go over connections to the same daemon, which one
// client guarantees. The connection is made on first use, and made anew if it is
// lost; a broken one is noticed in about a minute.
func (b *Builder) Client(ctx context.Context) (*client.Client, error) {
	opts := []client.ClientOpt{client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return b.target.dial(ctx)
	})}
	if b.tls != nil {
		opts = append(opts,
			client.WithGRPCDialOption(grpc.WithTransportCredentials(credentials.NewTLS(b.tls.Clone()))),
			client.WithGRPCDialOption(grpc.WithAuthority(b.tls.ServerName))) // has to be the name that is verified
	}
	return client.New(ctx, b.target.addr, opts...)
}

// Close frees what the builder holds, which is nothing; clients are their
// callers'.
func (b *Builder) Close() error { return nil }

// ask fills in About with the daemon's own words.
func (b *Builder) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.target.timeout)
	defer cancel()
	c, err := b.Client(ctx)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", b.target.addr, err)
	}
	defer c.Close()
	workers, err := c.ListWorkers(ctx)
	if err != nil {
		return b.answerError(err)
	}
	if len(workers) == 0 {
		return &UnreachableError{Addr: b.target.addr, Cause: errNoWorkers,
			Hint: "The daemon runs but cannot build: look at its log for why it found no worker."}
	}
	b.about.BuildKit = workers[0].BuildkitVersion.Version
	for _, w := range workers {
		b.about.Workers = append(b.about.Workers, Worker{ID: w.ID, Platforms: w.Platforms, Labels: w.Labels})
	}
	return nil
}
