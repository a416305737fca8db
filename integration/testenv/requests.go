package testenv

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Mark is a point in a log of requests or connections.
type Mark int

// Request is one HTTP request that the registry or a site got.
type Request struct {
	Time        time.Time
	Method      string
	Path        string
	Query       string
	Status      int   // 0 while the registry has not answered
	Sent        int64 // bytes of body that the client sent
	Received    int64 // bytes of body that the client got
	UserAgent   string
	Credentials bool // an Authorization header came with it
}

// String is the request as one line of a log.
func (r Request) String() string {
	target := r.Path
	if r.Query != "" {
		target += "?" + r.Query
	}
	return fmt.Sprintf("%s %s %s %d sent=%d received=%d agent=%q",
		r.Time.Format(time.RFC3339Nano), r.Method, target, r.Status, r.Sent, r.Received, r.UserAgent)
}

// requestLog records the requests that go through its handler. A request is
// in the log from its first byte, and has its status before the client sees
// it, so a test that has its answer finds it recorded.
type requestLog struct {
	file io.Writer // gets one line per finished request

	mu       sync.Mutex
	requests []*Request
}

func (l *requestLog) mark() Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Mark(len(l.requests))
}

func (l *requestLog) since(mark Mark) []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []Request
	for _, r := range l.requests[mark:] {
		found = append(found, *r)
	}
	return found
}

// update changes a recorded request under the lock.
func (l *requestLog) update(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// wrap returns a handler that records what it hands to next.
func (l *requestLog) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entry := &Request{
			Time: time.Now(), Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
			UserAgent: r.UserAgent(), Credentials: r.Header.Get("Authorization") != "",
		}
		l.update(func() { l.requests = append(l.requests, entry) })
		r.Body = &countedBody{ReadCloser: r.Body, log: l, entry: entry}
		defer l.update(func() { fmt.Fprintln(l.file, entry) }) // a lost line harms nothing
		next.ServeHTTP(&countedResponse{ResponseWriter: w, log: l, entry: entry}, r)
	})
}

// countedBody counts what the client sends.
type countedBody struct {
	io.ReadCloser
	log   *requestLog
	entry *Request
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.log.update(func() { b.entry.Sent += int64(n) })
	return n, err
}

// countedResponse notes the status and counts what the client gets.
type countedResponse struct {
	http.ResponseWriter
	log   *requestLog
	entry *Request
}

func (w *countedResponse) WriteHeader(status int) {
	if status >= 200 { // 1xx answers are not the answer yet
		w.log.update(func() { w.entry.Status = status })
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *countedResponse) Write(p []byte) (int, error) {
	w.log.update(func() {
		if w.entry.Status == 0 { // the handler leaves it to its first byte
			w.entry.Status = http.StatusOK
		}
	})
	n, err := w.ResponseWriter.Write(p)
	w.log.update(func() { w.entry.Received += int64(n) })
	return n, err
}

// Unwrap lets the reverse proxy flush.
func (w *countedResponse) Unwrap() http.ResponseWriter { return w.ResponseWriter }
