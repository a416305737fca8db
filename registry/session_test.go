package registry

import (
	"net/http"
	"net/url"
	"testing"
	"time"
)

func TestOffsetOf(t *testing.T) {
	for header, want := range map[string]int64{
		"0-99": 100, " 0-99 ": 100, "bytes=0-100": 100, "0-1": 2,
		"0-0": -1, "0--1": -1, "bytes=0--1": -1, "": -1, "1-99": -1, "0-": -1, "0-+5": -1, "0-5-6": -1, "0-99999999999999999999": -1, "bytes 0-99/*": -1,
	} {
		got, ok := offsetOf(header)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %d, want %d", header, got, want)
		}
	}
}

func TestRetryAfterText(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"TOOMANYREQUESTS: retry-after: 880µs, allowed: 44000/minute": 880 * time.Microsecond,
		`{"message":"Retry-After: 1.5s."}`:                           1500 * time.Millisecond,
		"please retry after 30 seconds":                              30 * time.Second,
		"retry-after: 2m30s":                                         150 * time.Second,
		"retry-after: soon":                                          0,
		"retry-after: -5s":                                           0,
		"retry-after":                                                0,
		"try later":                                                  0,
	} {
		if got := retryAfterText(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func FuzzOffsetOf(f *testing.F) {
	for _, s := range []string{"0-99", "bytes=0-99", "0--1", "0-0", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if n, ok := offsetOf(header); ok && n <= 0 {
			t.Fatalf("%q: %d", header, n)
		}
		if n := leastChunk(header); n < 0 || n > maxChunk {
			t.Fatalf("%q: %d", header, n)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"120", "Fri, 31 Dec 1999 23:59:59 GMT", "retry-after: 880µs, allowed", "retry after 5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if wait := waitAsked(http.Header{"Retry-After": {text}}, text); wait < 0 {
			t.Fatalf("%q: %s", text, wait)
		}
	})
}

// FuzzLocation: bytes that were to go to a registry by HTTPS go nowhere else in plain text, and to no private address.
func FuzzLocation(f *testing.F) {
	for _, s := range []string{"/v2/app/blobs/uploads/1?_state=x", "https://storage.example.com/x", "http://registry.example.com/x", "//10.0.0.1/x", "file:///etc", "?", "%"} {
		f.Add(s)
	}
	c := New(Options{Keychain: StaticKeychain(nil)})
	_, own, err := c.destination("registry.example.com/app")
	if err != nil {
		f.Fatal(err)
	}
	asked := &url.URL{Scheme: "https", Host: "registry.example.com", Path: "/v2/app/blobs/uploads/"}
	f.Fuzz(func(t *testing.T, location string) {
		s := &session{w: c.writer(own)}
		err := s.move(&http.Response{Header: http.Header{"Location": {location}}, Request: &http.Request{URL: asked}})
		if err != nil || s.at == nil {
			return
		}
		if s.at.Scheme != "https" || s.at.Host == "" || publicHost(s.at, asked) != nil {
			t.Fatalf("%q leads to %s", location, s.at)
		}
	})
}
