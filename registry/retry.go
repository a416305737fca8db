package registry

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// retryPolicy says how often and how long one request is tried.
type retryPolicy struct {
	attempts int           // including the first
	base     time.Duration // pause before the second one; it triples
	budget   time.Duration // for all pauses, including those a server asks for
}

func defaultRetryPolicy() retryPolicy {
	return retryPolicy{attempts: 3, base: 250 * time.Millisecond, budget: 15 * time.Second}
}

// retryTransport tries requests again that failed for a reason that may pass.
// ggcr has such a transport too, but it knows no Retry-After.
type retryTransport struct {
	policy retryPolicy
	mirror bool // a mirror that refuses connections has a next one to fall to
	log    func(format string, args ...any)
	inner  http.RoundTripper
}

func (t *retryTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	left := t.policy.budget
	for attempt := 1; ; attempt++ {
		resp, err := t.inner.RoundTrip(req)
		if attempt >= t.policy.attempts || req.Context().Err() != nil {
			return resp, err
		}
		wait, again := t.pause(attempt, resp, err)
		if !again || wait > left {
			return resp, err
		}
		upload := isUpload(req)
		if err != nil && !mayRepeat(req) {
			return resp, err
		}
		t.log("%s: %s; trying again in %s", req.URL.Host, outcome(resp, err), wait.Round(time.Millisecond))
		if serr := sleep(req.Context(), wait); serr != nil {
			return resp, err
		}
		if upload {
			// The bytes are gone, ggcr begins the upload anew. It only had
			// to be kept from doing so too early.
			return resp, err
		}
		left -= wait
		if resp != nil {
			drain(resp)
		}
		if req, err = repeated(req); err != nil {
			return nil, err
		}
	}
}

// pause returns how long to wait before another attempt makes sense, if it does.
func (t *retryTransport) pause(attempt int, resp *http.Response, err error) (time.Duration, bool) {
	wait := t.policy.base
	for range attempt - 1 {
		wait *= 3
	}
	wait += time.Duration(rand.Int64N(int64(wait)/5 + 1)) // apart from other clients
	if err != nil {
		return wait, t.mayPass(err)
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if asked, ok := retryAfter(resp); ok {
			wait = max(wait, asked)
		}
		return wait, true
	case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout, 522:
		return wait, true
	}
	return 0, false
}

// mayPass tells whether a network error is likely to be gone in a moment. Those
// that took long already (timeouts) are not worth the same wait again.
func (t *retryTransport) mayPass(err error) bool {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return !t.mirror
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.IsTemporary && !dns.IsNotFound
	}
	return isCut(err)
}

// isCut tells whether a connection ended before its time.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

// isUpload tells whether req carries or commits the bytes of a blob. (The one
// other PUT is that of a manifest.)
func isUpload(req *http.Request) bool {
	return req.Method == http.MethodPatch ||
		req.Method == http.MethodPut && !strings.Contains(req.URL.Path, "/manifests/")
}

// mayRepeat tells whether a request that got no answer can be sent again here.
// A PUT may have been carried out: ggcr repeats it from where that is noticed.
func mayRepeat(req *http.Request) bool {
	return req.Method != http.MethodPut && req.Method != http.MethodPatch &&
		(req.Body == nil || req.Body == http.NoBody || req.GetBody != nil)
}

// repeated returns req with a fresh body.
func repeated(req *http.Request) (*http.Request, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, nil
	}
	if req.GetBody == nil {
		return nil, errors.New("the request cannot be repeated")
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	again := req.Clone(req.Context())
	again.Body = body
	return again, nil
}

// retryAfter returns what the header of that name asks for: seconds or a date.
func retryAfter(resp *http.Response) (time.Duration, bool) {
	v := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at)), true
	}
	return 0, false
}

func outcome(resp *http.Response, err error) string {
	if err != nil {
		return cleanText(err)
	}
	return printable(resp.Status)
}

// drain reads what is left of a small answer so that its connection can be used
// again.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isInterruptedUpload tells ggcr which failures are worth beginning an upload
// (or a manifest's PUT) again: connections that were cut, and servers that gave
// up on it for now. Everything else was retried by retryTransport already.
func isInterruptedUpload(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var answered *transport.Error
	if errors.As(err, &answered) {
		if answered.Request == nil || !isUpload(answered.Request) {
			return false
		}
		code := answered.StatusCode
		return code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code == http.StatusNotFound
	}
	var uerr *url.Error
	if !errors.As(err, &uerr) {
		return false
	}
	return (uerr.Op == "Patch" || uerr.Op == "Put") && isCut(uerr.Err)
}
