package registry

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/ibuild/ibuild/cache"
	resolverconfig "github.com/moby/buildkit/util/resolver/config"
)

// Options say how registries are talked to. The zero value is usable.
type Options struct {
	// Hosts are the settings of registries and mirrors by host[:port], with the
	// meaning they have in BuildKit. Docker Hub is "docker.io".
	Hosts map[string]resolverconfig.RegistryConfig
	// TokenHosts adds, by registry, hosts of token servers that may be given the
	// registry's credentials. Those under the registry's own domain always may.
	TokenHosts map[string][]string
	// Profiles change what is known of how hosts take uploads, by host[:port] as in references.
	Profiles map[string]ProfileChange
	// Keychain finds credentials; nil means docker's and podman's files and
	// credential helpers.
	Keychain Keychain
	// Cache keeps manifests and configs. Nil means that nothing is kept.
	Cache *cache.Store
	// UserAgent is sent along, for example "ibuild/1.0".
	UserAgent string
	// Log is told, in one line each, what people may want to know when things
	// are slow or odd: retries, mirrors that were passed over. Nil is silent.
	Log func(msg string)
}

// Client talks to registries. It is safe for concurrent use and meant to live as
// long as a process; it keeps connections and tokens.
type Client struct {
	opts   Options
	limits limits
	retry  retryPolicy
	pull   pullPolicy

	mu        sync.Mutex
	endpoints map[endpointKey]*endpoint
}

// endpointKey tells endpoints apart: a host used as a mirror for another one
// has requests that differ from those for its own images.
type endpointKey struct{ host, namespace string }

// endpoint is one host with its own transport, credentials and tokens.
type endpoint struct {
	host      string // as in references: docker.io
	registry  name.Registry
	namespace string            // the host this one is a mirror of, or empty
	transport http.RoundTripper // below authentication
	puller    *remote.Puller
	pusher    *remote.Pusher
	writers   sync.Map // of repoWriters, by the repository's path
	gate      *gate    // that all uploads pass

	// What was found out of how it takes uploads.
	chunk        atomic.Int64 // the size of requests that it takes, in bytes; 0: it has refused none
	unstreamable atomic.Bool  // it wants the length of each request
	unmountable  sync.Map     // repositories, by path, from which it mounts nothing
	readers      sync.Map     // of *asked[*http.Client], by the repository's path

	hasCredentials atomic.Bool            // some were found for this host
	refusedRealm   atomic.Pointer[string] // a token server that got none of them
	downUntil      atomic.Int64           // for mirrors: unix nanoseconds
}

// New returns a client. It reads no files and makes no connections: settings of
// a host that cannot be used are the error of the first request to it.
func New(opts Options) *Client {
	if opts.Keychain == nil {
		opts.Keychain = DefaultKeychain()
	}
	if opts.Log == nil {
		opts.Log = func(string) {}
	}
	return &Client{
		opts:      opts,
		limits:    defaultLimits(),
		retry:     defaultRetryPolicy(),
		pull:      defaultPullPolicy(),
		endpoints: map[endpointKey]*endpoint{},
	}
}

func (c *Client) logf(format string, args ...any) {
	c.opts.Log(fmt.Sprintf(format, args...))
}

// endpoint returns the endpoint for host, made on first use. With a namespace
// it is a mirror of that host.
func (c *Client) endpoint(host, namespace string) (*endpoint, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := endpointKey{host, namespace}
	if e, ok := c.endpoints[key]; ok {
		return e, nil
	}
	e, err := c.newEndpoint(host, namespace)
	if err != nil {
		return nil, err
	}
	c.endpoints[key] = e
	return e, nil
}

// renew replaces an endpoint whose remembered ping turned out to be out of date.
func (c *Client) renew(e *endpoint) (*endpoint, error) {
	c.mu.Lock()
	key := endpointKey{e.host, e.namespace}
	if c.endpoints[key] == e {
		delete(c.endpoints, key)
	}
	c.mu.Unlock()
	return c.endpoint(e.host, e.namespace)
}

func (c *Client) newEndpoint(host, namespace string) (*endpoint, error) {
	settings := c.settings(host)
	schemes := schemesFor(host, settings)
	var nameOpts []name.Option
	if schemes.http {
		nameOpts = append(nameOpts, name.Insecure)
	}
	reg, err := name.NewRegistry(host, nameOpts...)
	if err != nil {
		return nil, &Error{Kind: ErrBadAnswer, Host: host, Ref: host, Msg: "this is not a registry's host name"}
	}
	tlsConfig, err := loadTLS(settings)
	if err != nil {
		return nil, &Error{Kind: ErrDenied, Host: host, Ref: host, Msg: "its TLS settings cannot be used: " + printable(err.Error()),
			Hint: "check ca and keypair for this host in the registry settings"}
	}
	profile := c.Profile(host)
	e := &endpoint{host: host, registry: reg, namespace: namespace, gate: newGate(profile.Parallel)}
	rt := &hostTransport{
		endpoint:   e,
		schemes:    schemes,
		tokenHosts: c.opts.TokenHosts[host],
		limits:     c.limits,
		inner:      c.retrying(e, newHTTPTransport(tlsConfig, profile.Answer)),
	}
	rt.foreign = rt.inner
	if c.opts.Cache != nil {
		rt.pings, rt.cached = pingRecords(c.opts.Cache), true
	}
	if len(tlsConfig.Certificates) > 0 {
		// Who the user is, is only this host's business.
		anonymous := tlsConfig.Clone()
		anonymous.Certificates = nil
		rt.foreign = c.retrying(e, newHTTPTransport(anonymous, profile.Answer))
	}
	e.transport = rt
	return e, c.connect(e, rt)
}

func (c *Client) retrying(e *endpoint, inner http.RoundTripper) http.RoundTripper {
	return &retryTransport{policy: c.retry, mirror: e.namespace != "", log: c.logf, slow: e.gate.slowDown, inner: inner}
}

// connect gives the endpoint its puller and pusher. ggcr retries nothing but
// interrupted uploads, as these start anew; retryTransport does the rest.
func (c *Client) connect(e *endpoint, rt http.RoundTripper) (err error) {
	options := []remote.Option{
		remote.WithTransport(rt),
		remote.WithAuthFromKeychain(endpointKeychain{inner: c.opts.Keychain, endpoint: e, log: c.logf}),
		remote.WithRetryBackoff(remote.Backoff{Duration: c.retry.base, Factor: 3, Jitter: 0.1, Steps: c.retry.attempts}),
		remote.WithRetryPredicate(isCutPut),
		remote.WithRetryStatusCodes(),
		remote.WithUserAgent(c.opts.UserAgent),
	}
	if e.puller, err = remote.NewPuller(options...); err != nil {
		return err
	}
	e.pusher, err = remote.NewPusher(options...)
	return err
}

// loginName returns what people type after "docker login" for this host.
func (e *endpoint) loginName() string {
	if e.registry.RegistryStr() == name.DefaultRegistry {
		return "docker.io"
	}
	return e.host
}

func (e *endpoint) loginHint() string {
	if realm := e.refusedRealm.Load(); realm != nil {
		return fmt.Sprintf("%s asked for credentials at %s, which is not under its domain, so none were sent; if it belongs to it, allow it in the settings: [token_hosts] %q = [HOST]", e.host, *realm, e.host)
	}
	if e.hasCredentials.Load() {
		return "the stored credentials do not allow this; log in with others: docker login " + e.loginName()
	}
	return "no credentials were found for " + e.host + "; log in: docker login " + e.loginName()
}

// mirrorPause is how long a mirror that could not be reached is passed over.
const mirrorPause = 30 * time.Second

func (e *endpoint) markDown()    { e.downUntil.Store(time.Now().Add(mirrorPause).UnixNano()) }
func (e *endpoint) isDown() bool { return time.Now().UnixNano() < e.downUntil.Load() }

// Keychain finds credentials for a registry.
type Keychain = authn.Keychain
