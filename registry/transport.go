package registry

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/ibuild/ibuild/cache"
	"golang.org/x/net/publicsuffix"
)

// limits bound what is read from a registry, in bytes unless said otherwise.
type limits struct {
	manifest     int64
	config       int64
	indexEntries int // count
	redirects    int // count
}

func defaultLimits() limits {
	return limits{manifest: 4 << 20, config: 8 << 20, indexEntries: 1000, redirects: 5}
}

// hostTransport is below ggcr's authentication, on the way of every request for
// one endpoint, including those to its token server and where it redirects to.
// It allows only the schemes of the settings, keeps credentials where they
// belong, and limits manifests and redirects.
type hostTransport struct {
	endpoint   *endpoint
	schemes    schemes
	tokenHosts []string
	limits     limits
	inner      http.RoundTripper // to the registry
	foreign    http.RoundTripper // to all others: without client certificates

	pings  cache.Records[pingAnswer] // answers of earlier processes; only with a cache
	cached bool

	mu        sync.Mutex
	ping      *pingAnswer
	stale     bool  // what was remembered was wrong: the endpoint is no longer used
	untrusted error // why its certificate was refused, when it was
}

// RoundTrip lets a request with a body be sent again: if its token has expired, ggcr gets another one and sends the
// same request once more, whose body would be spent. So it gets a fresh one, and what is sent is a copy, as the first
// attempt may still be reading the old body.
func (t *hostTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.GetBody == nil {
		return t.overheard(req)
	}
	resp, err := t.overheard(req.Clone(req.Context()))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	if sent, ok := req.Body.(*bodyReader); ok && sent.body.tooMuchToRepeat() {
		resp.Body.Close()
		return nil, errExpired
	}
	body, err := req.GetBody()
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	req.Body = body
	return resp, nil
}

// overheard lets who wants to know how long a token is good read the answer, too.
func (t *hostTransport) overheard(req *http.Request) (*http.Response, error) {
	resp, err := t.roundTrip(req)
	if err != nil {
		return nil, err
	}
	if life, ok := req.Context().Value(tokenLifeKey{}).(*tokenLife); ok && !isPing(req) {
		if err := life.overhear(resp); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

func (t *hostTransport) roundTrip(req *http.Request) (*http.Response, error) {
	if n := redirects(req); n > t.limits.redirects {
		return nil, badAnswer("more than %d redirects", t.limits.redirects)
	}
	if !t.isRegistry(req.URL) {
		guarded, err := t.guard(req)
		if err != nil {
			return nil, err
		}
		return t.foreign.RoundTrip(guarded)
	}
	if !t.allows(req.URL.Scheme) {
		return nil, fmt.Errorf("%s is not used for %s", req.URL.Scheme, req.URL.Host)
	}
	if isPing(req) {
		return t.pingOnce(req)
	}
	if isUpload(req) {
		return t.inner.RoundTrip(req)
	}
	resp, err := t.inner.RoundTrip(t.withNamespace(req))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusUnauthorized && t.forgetPing() {
		resp.Body.Close()
		return nil, errStalePing
	}
	return t.limited(req, resp)
}

func (t *hostTransport) allows(scheme string) bool {
	return scheme == "https" && t.schemes.https || scheme == "http" && t.schemes.http
}

// isRegistry tells whether u is at the endpoint's own host and port.
func (t *hostTransport) isRegistry(u *url.URL) bool {
	return hostPort(u.Scheme, u.Host) == hostPort(u.Scheme, t.endpoint.registry.RegistryStr())
}

// hostPort returns host in lower case and with a port.
func hostPort(scheme, host string) string {
	host = strings.ToLower(host)
	if h, p, err := net.SplitHostPort(host); err == nil {
		return net.JoinHostPort(h, p)
	}
	port := "443"
	if scheme == "http" {
		port = "80"
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// guard returns the request as it may be sent to a host that is not the
// registry. If there are credentials for the registry, then only its token
// server gets them; a redirect's target, a foreign Location or a token server
// of somebody else gets the request without.
func (t *hostTransport) guard(req *http.Request) (*http.Request, error) {
	if !t.endpoint.hasCredentials.Load() || t.isTokenServer(req) {
		return req, nil
	}
	host := req.URL.Host
	if isTokenRequest(req) {
		t.endpoint.refusedRealm.Store(&host)
	}
	if isRefreshToken(req) {
		return nil, &Error{Kind: ErrDenied, Msg: "credentials were asked for by " + host, Hint: t.endpoint.loginHint()}
	}
	guarded := req.Clone(req.Context())
	guarded.Header.Del("Authorization")
	guarded.Header.Del("Cookie")
	return guarded, nil
}

// isTokenRequest tells whether ggcr asks for a token with this request: only
// then has it a basic Authorization for another host than the registry.
func isTokenRequest(req *http.Request) bool {
	return isRefreshToken(req) || strings.HasPrefix(req.Header.Get("Authorization"), "Basic ")
}

// isRefreshToken tells whether req has a credential in its body.
func isRefreshToken(req *http.Request) bool {
	return req.Method == http.MethodPost && req.Header.Get("Content-Type") == "application/x-www-form-urlencoded"
}

// isTokenServer tells whether req goes to a token server that belongs to the
// registry: under the same registrable domain (auth.docker.io for
// index.docker.io), or named in the settings; and not in plain text if the
// registry is not.
func (t *hostTransport) isTokenServer(req *http.Request) bool {
	if !isTokenRequest(req) || !t.allows(req.URL.Scheme) {
		return false
	}
	for _, host := range t.tokenHosts {
		if hostPort(req.URL.Scheme, host) == hostPort(req.URL.Scheme, req.URL.Host) {
			return true
		}
	}
	registry, _, _ := net.SplitHostPort(hostPort("https", t.endpoint.registry.RegistryStr()))
	return sameDomain(registry, req.URL.Hostname())
}

// sameDomain tells whether two DNS names are under one registrable domain.
// Addresses and single-label names are not under any.
func sameDomain(a, b string) bool {
	if net.ParseIP(a) != nil || net.ParseIP(b) != nil {
		return false
	}
	da, err := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(a))
	if err != nil {
		return false
	}
	db, err := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(b))
	return err == nil && da == db
}

// redirects returns how many redirects led to req. (ggcr's own check of
// redirects replaces the standard one, and does not count.)
func redirects(req *http.Request) int {
	n := 0
	for r := req.Response; r != nil && r.Request != nil; r = r.Request.Response {
		n++
	}
	return n
}

// withNamespace tells a mirror, as containerd does, which registry's image is
// asked for.
func (t *hostTransport) withNamespace(req *http.Request) *http.Request {
	if t.endpoint.namespace == "" || !strings.HasPrefix(req.URL.Path, "/v2/") {
		return req
	}
	out := req.Clone(req.Context())
	q := out.URL.Query()
	q.Set("ns", t.endpoint.namespace)
	out.URL.RawQuery = q.Encode()
	return out
}

// limited bounds what can be read of a manifest; ggcr would take 100 MB.
func (t *hostTransport) limited(req *http.Request, resp *http.Response) (*http.Response, error) {
	if req.Method != http.MethodGet || !strings.Contains(req.URL.Path, "/manifests/") {
		return resp, nil
	}
	if resp.ContentLength > t.limits.manifest {
		resp.Body.Close()
		return nil, badAnswer("a manifest of %d bytes, more than the limit of %d", resp.ContentLength, t.limits.manifest)
	}
	resp.Body = &limitedBody{ReadCloser: resp.Body, left: t.limits.manifest, limit: t.limits.manifest}
	return resp, nil
}

// limitedBody fails when more than its limit is read, instead of ending as if
// that were all.
type limitedBody struct {
	io.ReadCloser
	left, limit int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, badAnswer("a manifest larger than the limit of %d bytes", b.limit)
	}
	return n, err
}
