package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/opencontainers/go-digest"
)

// session is one upload at a registry: a place for bytes that become a blob when they are whole.
type session struct {
	w       *repoWriter
	profile Profile
	count   *counted

	at    *url.URL     // the newest place that the registry has named
	has   int64        // bytes that the registry is known to have
	tried atomic.Int64 // up to here, bytes were sent: it cannot have more
	last  int64        // bytes of the last request; -1: not known when it began
	least int64        // the least size of chunks that the registry wants, in bytes; 0: it has not said
}

// open asks for a session. None without an error says that the blob was mounted from the other repository (from has
// at most one); a registry that fails at mounting is asked without.
func (w *repoWriter) open(ctx context.Context, d digest.Digest, from []name.Repository) (*session, error) {
	u := w.url("/blobs/uploads/")
	if len(from) > 0 {
		u.RawQuery = url.Values{"mount": {d.String()}, "from": {from[0].RepositoryStr()}}.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := w.do(req, from, http.StatusCreated, http.StatusAccepted)
	if err != nil && len(from) > 0 && w.mountFailed(ctx, err, from) {
		return w.open(ctx, d, nil)
	}
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	w.admitted.Store(true)
	if resp.StatusCode == http.StatusCreated {
		return nil, nil
	}
	s := &session{w: w, least: leastChunk(resp.Header.Get("OCI-Chunk-Min-Length"))}
	if err := s.move(resp); err != nil {
		return nil, err
	}
	if s.at == nil {
		return nil, badAnswer("the registry does not say where to send a blob to")
	}
	return s, nil
}

// leastChunk reads a header. More than maxChunk is nobody's to ask for.
func leastChunk(header string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(header), 10, 64)
	if err != nil || n < 0 || n > maxChunk {
		return 0
	}
	return n
}

// move follows the Location of an answer, if it has one. Each has to be fit for the bytes of a blob.
func (s *session) move(resp *http.Response) error {
	if resp.Header.Get("Location") == "" {
		return nil
	}
	asked := resp.Request.URL
	at, err := resp.Location()
	if err != nil {
		return badAnswer("the registry does not say where to send a blob to")
	}
	if asked.Scheme == "https" && at.Scheme != "https" {
		return &Error{Kind: ErrBadAnswer, Msg: "the registry wants a blob sent in plain text, to " + printable(at.Host),
			Hint: "a proxy before the registry has to tell it that it is asked by HTTPS (X-Forwarded-Proto)"}
	}
	if at.Scheme != "https" && at.Scheme != "http" || at.Host == "" {
		return badAnswer("the registry wants a blob sent to a place that is none")
	}
	if err := publicHost(at, asked); err != nil {
		if publicHost(at, s.w.url("")) != nil { // back to the registry's own address, it may go
			return err
		}
	}
	s.at = at
	return nil
}

// patch sends length bytes from where the registry is; -1 is all until their end, which may not be known yet.
func (s *session) patch(ctx context.Context, open func(offset int64) (io.ReadCloser, error), length int64) error {
	var sent int64
	b := s.body(open, length, &sent)
	req, err := s.request(ctx, http.MethodPatch, s.at, b)
	if err != nil {
		return err
	}
	if length >= 0 {
		req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", s.has, s.has+length-1))
	}
	// 201 is ECR's answer (dotnet/sdk-container-builds#279).
	resp, err := s.do(req, b, http.StatusAccepted, http.StatusCreated, http.StatusNoContent, http.StatusOK)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if length < 0 {
		length = sent
	}
	s.has += length
	return s.move(resp)
}

// put ends the session with the bytes that are left to size, and has the registry check the digest.
func (s *session) put(ctx context.Context, open func(offset int64) (io.ReadCloser, error), d digest.Digest, size int64) error {
	q := s.at.Query()
	q.Set("digest", d.String())
	to := *s.at
	to.RawQuery = q.Encode()
	var sent int64
	b := s.body(open, size-s.has, &sent)
	req, err := s.request(ctx, http.MethodPut, &to, b)
	if err != nil {
		return err
	}
	resp, err := s.do(req, b, http.StatusCreated, http.StatusOK, http.StatusNoContent)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if got := resp.Header.Get("Docker-Content-Digest"); got != "" && got != d.String() {
		return badAnswer("the registry stored a blob as %s that is %s", printable(got), d)
	}
	return nil
}

// body returns the bytes of a request from where the registry is.
func (s *session) body(open func(offset int64) (io.ReadCloser, error), length int64, sent *int64) *body {
	start := s.has
	s.last = length
	b := &body{length: length, profile: s.profile}
	b.open = func() (io.ReadCloser, error) {
		rc, err := open(start)
		if err == nil && length >= 0 {
			rc = readerAtCloser{io.LimitReader(rc, length), rc}
		}
		return rc, err
	}
	b.taken = func(n int, of int64) {
		s.count.sent(n, start+of)
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.ended {
			*sent = of
			s.tried.Store(max(s.tried.Load(), start+of))
		}
	}
	return b
}

// request makes a request with the body. Without length it is sent in the chunks of HTTP/1.1.
func (s *session) request(ctx context.Context, method string, to *url.URL, b *body) (*http.Request, error) {
	ctx, b.cancel = context.WithCancelCause(ctx)
	b.ctx = ctx
	req, err := http.NewRequestWithContext(ctx, method, to.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	if b.length == 0 {
		return req, nil // net/http takes 0 with a body for "not known"
	}
	if req.Body, err = b.reader(); err != nil {
		return nil, localError{err}
	}
	req.ContentLength, req.GetBody = b.length, b.reader
	return req, nil
}

// do sends a request of the session and says what kept it from success: our bytes, the clock, or the registry.
func (s *session) do(req *http.Request, b *body, want ...int) (*http.Response, error) {
	defer b.cancel(nil)
	b.watchAnswer()
	resp, err := s.w.do(req, nil, want...)
	b.end()
	if failed := b.failure(); failed != nil {
		return nil, localError{failed}
	}
	if cause := context.Cause(req.Context()); err != nil && (cause == errStalled || cause == errNoAnswer) {
		return nil, &url.Error{Op: "Put", URL: req.URL.String(), Err: cause}
	}
	return resp, err
}

// state asks the registry how many bytes it has. Not ok: the session is of no more use, or that cannot be known.
func (s *session) state(ctx context.Context) (has int64, ok bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.at.String(), nil)
	if err != nil {
		return 0, false, err
	}
	resp, err := s.w.do(req, nil, http.StatusNoContent, http.StatusAccepted, http.StatusOK)
	if err != nil {
		if refused(err) {
			return 0, false, nil
		}
		return 0, false, err
	}
	resp.Body.Close()
	has, ok = offsetOf(resp.Header.Get("Range"))
	if !ok || has < s.has || has > s.tried.Load() {
		return 0, false, nil
	}
	return has, true, s.move(resp)
}

// offsetOf reads from a Range how many bytes a registry has. "0-0" is one byte or none, which cannot be told apart:
// none is what it is not safe to believe, so that is not ok.
//
// Sources: distribution-spec#578, regclient#627; Quay's has "bytes=" in front and ends one byte later (its source).
func offsetOf(header string) (int64, bool) {
	text, quay := strings.CutPrefix(strings.TrimSpace(header), "bytes=")
	text, ok := strings.CutPrefix(text, "0-")
	if !ok {
		return 0, false
	}
	last, err := strconv.ParseInt(text, 10, 62)
	if err != nil || last <= 0 || text[0] == '+' {
		return 0, false
	}
	if quay {
		return last, true
	}
	return last + 1, true
}

// dropTimeout bounds the goodbye to a session, which nobody waits for gladly.
const dropTimeout = 2 * time.Second

// drop gives the session up, and tells the registry so if it can be reached, also when the push was cancelled.
func (s *session) drop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, s.at.String(), nil)
	if err != nil {
		return
	}
	if resp, err := s.w.do(req, nil, http.StatusNoContent, http.StatusOK, http.StatusAccepted); err == nil {
		resp.Body.Close()
	}
}
