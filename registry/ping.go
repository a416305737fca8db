package registry

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/ibuild/ibuild/cache"
)

// pingAnswer is what a host says about itself at /v2/: which scheme it speaks and how it wants to be
// authenticated to. ggcr asks anew for each repository and in each process; here one answer is kept, also
// in the cache, so that a build that finds everything known costs no more than its HEADs.
type pingAnswer struct {
	Scheme    string    `json:"scheme"`
	Status    int       `json:"status"`
	Challenge []string  `json:"challenge,omitempty"`
	Asked     time.Time `json:"asked"`

	remembered bool // from the cache: may be out of date
}

// pingLife is how long an answer is believed without asking again.
const pingLife = time.Hour

// errStalePing ends a request that was refused because of a remembered answer that no longer holds.
var errStalePing = errors.New("the registry wants credentials now")

func pingRecords(s *cache.Store) cache.Records[pingAnswer] {
	return cache.Bucket[pingAnswer](s, "pings/1")
}

// PlainHTTP says that a host answered without TLS when it was asked last, by this process or one before. It asks nothing.
func (c *Client) PlainHTTP(host string) bool {
	if c.opts.Cache == nil {
		return false
	}
	answer, ok := pingRecords(c.opts.Cache).Get(host)
	return ok && answer.Scheme == "http"
}

func isPing(req *http.Request) bool {
	return req.Method == http.MethodGet && req.URL.Path == "/v2/" && req.Response == nil
}

// pingOnce answers from memory what was asked before.
func (t *hostTransport) pingOnce(req *http.Request) (*http.Response, error) {
	if known := t.knownPing(); known != nil {
		return known.response(req)
	}
	resp, err := t.inner.RoundTrip(req)
	if err = t.certificate(resp, err); err != nil || resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	answer := &pingAnswer{Scheme: req.URL.Scheme, Status: resp.StatusCode, Challenge: resp.Header.Values("WWW-Authenticate"), Asked: time.Now()}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ping = answer
	if t.cached {
		_ = t.pings.Put(t.endpoint.host, *answer) // only a request less next time
	}
	return resp, nil
}

// certificate keeps the reason why HTTPS failed when HTTP is tried after it: all that a server of HTTPS says to that is
// that it was a bad request.
func (t *hostTransport) certificate(resp *http.Response, err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var refused *tls.CertificateVerificationError
	if errors.As(err, &refused) {
		t.untrusted = err
	}
	if err == nil && resp.StatusCode == http.StatusBadRequest && t.untrusted != nil {
		resp.Body.Close()
		return t.untrusted
	}
	return err
}

func (t *hostTransport) knownPing() *pingAnswer {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ping != nil || !t.cached {
		return t.ping
	}
	old, ok := t.pings.Get(t.endpoint.host)
	if !ok || time.Since(old.Asked) > pingLife || time.Since(old.Asked) < 0 || !t.allows(old.Scheme) {
		return nil
	}
	old.remembered = true
	t.ping = &old
	return t.ping
}

// forgetPing drops an answer of an earlier process that said that no credentials are needed, and says whether
// there was one: to each of the requests that went out with it, as several may be on their way.
func (t *hostTransport) forgetPing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ping != nil && t.ping.remembered && t.ping.Status == http.StatusOK {
		t.ping, t.stale = nil, true
		_ = t.pings.Delete(t.endpoint.host)
	}
	return t.stale
}

// errOtherScheme ends an attempt at a scheme that the host does not speak.
var errOtherScheme = errors.New("the host speaks the other scheme")

func (p *pingAnswer) response(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != p.Scheme {
		return nil, errOtherScheme
	}
	return &http.Response{
		Status: http.StatusText(p.Status), StatusCode: p.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:  http.Header{"Www-Authenticate": p.Challenge},
		Body:    io.NopCloser(bytes.NewReader(nil)),
		Request: req,
	}, nil
}
