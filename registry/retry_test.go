package registry

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestRetries(t *testing.T) {
	s := newServer(t)
	push(t, s.host+"/app:1", testImage(t, amd64))
	failing := func(times, status int, header ...string) func(http.ResponseWriter, *http.Request) bool {
		var mu sync.Mutex
		return func(w http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			if times == 0 || r.URL.Path == "/v2/" {
				return false
			}
			times--
			if len(header) == 2 {
				w.Header().Set(header[0], header[1])
			}
			w.WriteHeader(status)
			return true
		}
	}
	for _, status := range []int{429, 500, 502, 503, 504} {
		s.be(failing(2, status))
		if _, err := newClient(t, Options{}).Resolve(ctx(t), s.host+"/app:1", amd64); err != nil {
			t.Errorf("%d twice: %v", status, err)
		}
		s.be(failing(1000, status))
		_, err := newClient(t, Options{}).Head(ctx(t), s.host+"/app:1")
		var e *Error
		if !errors.Is(err, ErrUnreachable) || !errors.As(err, &e) || e.Hint == "" {
			t.Errorf("%d always: %v", status, err)
		}
		if n := len(s.requests()); n != 3 {
			t.Errorf("%d always: %d requests", status, n)
		}
	}

	s.be(failing(1, 429, "Retry-After", "1"))
	start := time.Now()
	if _, err := newClient(t, Options{}).Head(ctx(t), s.host+"/app:1"); err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d < time.Second || d > 3*time.Second {
		t.Errorf("waited %s for Retry-After: 1", d)
	}

	s.be(failing(1000, 429, "Retry-After", "3600"))
	start = time.Now()
	_, err := newClient(t, Options{}).Head(ctx(t), s.host+"/app:1")
	if !errors.Is(err, ErrUnreachable) || time.Since(start) > time.Second || len(s.requests()) != 1 {
		t.Errorf("an hour: %v after %s, %q", err, time.Since(start), s.requests())
	}

	// A connection that is cut before an answer.
	var cuts sync.Once
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodHead {
			return false
		}
		done := false
		cuts.Do(func() { done = true; panic(http.ErrAbortHandler) })
		return done
	})
	if _, err := newClient(t, Options{}).Head(ctx(t), s.host+"/app:1"); err != nil {
		t.Errorf("cut once: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	for _, ref := range []string{"127.0.0.1:1/app:1", "nothing.invalid/app:1"} {
		start := time.Now()
		_, err := New(Options{Keychain: StaticKeychain(nil)}).Resolve(ctx(t), ref, amd64)
		var e *Error
		if !errors.Is(err, ErrUnreachable) || !errors.As(err, &e) || e.Hint == "" {
			t.Errorf("%s: %v", ref, err)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%s took %s", ref, d)
		}
		t.Logf("%s: %v (%s)", ref, err, time.Since(start))
	}
}

func TestCancel(t *testing.T) {
	s := newServer(t)
	block := make(chan struct{})
	defer close(block)
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		select {
		case <-block:
		case <-r.Context().Done():
		}
		return true
	})
	cctx, cancel := context.WithCancel(ctx(t))
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	_, err := newClient(t, Options{}).Resolve(cctx, s.host+"/app:1", amd64)
	if !errors.Is(err, context.Canceled) || time.Since(start) > time.Second {
		t.Errorf("got %v after %s", err, time.Since(start))
	}
	var e *Error
	if errors.As(err, &e) {
		t.Errorf("a cancellation is not the registry's fault: %v", err)
	}
}

func TestPingOnce(t *testing.T) {
	s := newServer(t)
	push(t, s.host+"/a:1", testImage(t, amd64))
	push(t, s.host+"/b:1", testImage(t, amd64))
	s.be(nil)
	c := newClient(t, Options{})
	for _, ref := range []string{"/a:1", "/b:1"} {
		if _, err := c.Head(ctx(t), s.host+ref); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.log; !slices.Equal(got, []string{"GET /v2/", "HEAD /v2/a/manifests/1", "HEAD /v2/b/manifests/1"}) {
		t.Errorf("got %q", got)
	}
}
