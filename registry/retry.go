package registry

import (
	"bytes"
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
// ggcr has such a transport too, but it knows no Retry-After. Requests with the bytes of a blob pass through: see
// sending.mend.
type retryTransport struct {
	policy retryPolicy
	mirror bool // a mirror that refuses connections has a next one to fall to
	log    func(format string, args ...any)
	slow   func() // told when the host says that it gets too much
	inner  http.RoundTripper
}

func (t *retryTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	left := t.policy.budget
	for attempt := 1; ; attempt++ {
		resp, err := t.inner.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusTooManyRequests {
			t.slow()
		}
		if isUpload(req) {
			return resp, err
		}
		if attempt >= t.policy.attempts || req.Context().Err() != nil {
			return resp, err
		}
		wait, again := t.pause(attempt, resp, err)
		if !again || wait > left {
			return resp, err
		}
		if err != nil && !mayRepeat(req) {
			return resp, err
		}
		t.log("%s: %s; trying again in %s", req.URL.Host, outcome(resp, err), wait.Round(time.Millisecond))
		if serr := sleep(req.Context(), wait); serr != nil {
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
		return max(wait, waitAsked(resp.Header, peeked(resp))), true
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
	var network net.Error
	return mayPass(err) && !(errors.As(err, &network) && network.Timeout())
}

// isCut tells whether a connection ended before its time.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

// isUpload tells whether req carries or commits the bytes of a blob. (The one
// other PUT is that of a manifest.)
func isUpload(req *http.Request) bool {
	return req != nil && (req.Method == http.MethodPatch ||
		req.Method == http.MethodPut && !strings.Contains(req.URL.Path, "/manifests/"))
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

// waitAsked returns how long an answer asks to wait, in its header or else in its text; 0: it does not.
func waitAsked(header http.Header, text string) time.Duration {
	if wait, ok := retryAfter(header.Get("Retry-After")); ok {
		return wait
	}
	return retryAfterText(text)
}

// retryAfter reads the header of that name: seconds or a date.
func retryAfter(header string) (time.Duration, bool) {
	v := strings.TrimSpace(header)
	if seconds, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at)), true
	}
	return 0, false
}

// retryAfterText finds what GHCR says in the text of an answer: "retry-after: 880µs, allowed: 44000/minute"
// (dependabot/cli#380). A number without unit is seconds.
func retryAfterText(text string) time.Duration {
	text = strings.ToLower(text)
	_, after, ok := strings.Cut(text, "retry-after")
	if !ok {
		if _, after, ok = strings.Cut(text, "retry after"); !ok {
			return 0
		}
	}
	after = strings.TrimLeft(after, "\": ")
	end := strings.IndexFunc(after, func(r rune) bool { return !strings.ContainsRune("0123456789.nuµμmsh", r) })
	if end >= 0 {
		after = after[:end]
	}
	after = strings.TrimRight(after, ".")
	if seconds, err := strconv.ParseUint(after, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	wait, err := time.ParseDuration(after)
	if err != nil {
		return 0
	}
	return max(0, wait)
}

// peeked returns the start of an answer's text, and leaves it there to read.
func peeked(resp *http.Response) string {
	const most = 4 << 10
	start, _ := io.ReadAll(io.LimitReader(resp.Body, most))
	resp.Body = readerAtCloser{io.MultiReader(bytes.NewReader(start), resp.Body), resp.Body}
	return string(start)
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

// isCutPut tells which failures of a manifest's PUT are worth another one: connections that were cut. All else was
// retried by retryTransport already.
func isCutPut(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var uerr *url.Error
	return errors.As(err, &uerr) && uerr.Op == "Put" && isCut(uerr.Err)
}
