package registry

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// errStalled and errNoAnswer end a request that the host does not get on with: it counts as cut.
var (
	errStalled  = errors.New("the registry takes no more bytes")
	errNoAnswer = errors.New("the registry does not answer after the last byte")
)

// localError is a failure to read what is to be sent, which is no registry's fault.
type localError struct{ error }

func (e localError) Unwrap() error { return e.error }

// body is what one request sends of a blob. It counts what the connection takes, and ends the request when the host
// takes nothing for too long, or does not answer. Time that its own bytes are waited for does not count.
type body struct {
	open    func() (io.ReadCloser, error) // anew each time: the request may have to be repeated
	length  int64                         // -1 when not known before
	profile Profile
	taken   func(n int, of int64) // n more bytes were taken, which makes of the request's
	ctx     context.Context       // the request's; its end closes the readers
	cancel  context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	ended bool
	err   error // of reading
	sent  int64 // by the newest reader
}

// reader returns the body from its start.
func (b *body) reader() (io.ReadCloser, error) {
	rc, err := b.open()
	if err != nil {
		b.fail(err)
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = 0
	r := &bodyReader{body: b, rc: rc}
	// net/http waits for a read to return before it gives a request up, and a read may wait for bytes to be made.
	r.unbind = context.AfterFunc(b.ctx, func() { r.Close() })
	return r, nil
}

func (b *body) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
}

// failure is why the body could not be read, if it could not.
func (b *body) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// end is called when the request is answered or has failed.
func (b *body) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.stop()
}

// watchAnswer lets the clock run for a request without bytes.
func (b *body) watchAnswer() {
	if b.length == 0 {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.start(b.profile.Answer, errNoAnswer)
	}
}

// stop stops the clock, start lets it run. The lock is held.
func (b *body) stop() {
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
}

func (b *body) start(after time.Duration, why error) {
	if b.stop(); !b.ended && after > 0 {
		b.timer = time.AfterFunc(after, func() { b.cancel(why) })
	}
}

// repeatable is how much of a request may have been taken, in bytes, for it to be simply repeated with a new token:
// more is rather gone on with.
const repeatable = 8 << 20

// tooMuchToRepeat says that so much of the body was taken that who has to send the request again should rather go on.
func (b *body) tooMuchToRepeat() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent > repeatable
}

type bodyReader struct {
	body   *body
	rc     io.ReadCloser
	n      int64
	unbind func() bool
	closed bool // guarded by the body's lock
}

func (r *bodyReader) Read(p []byte) (int, error) {
	b := r.body
	b.mu.Lock()
	b.stop()
	b.mu.Unlock()
	n, err := r.rc.Read(p)
	r.n += int64(n)

	b.mu.Lock()
	b.sent = r.n
	switch {
	case err != nil && err != io.EOF:
		if b.err == nil && !r.closed && !b.ended { // net/http closes the reader of a request that has failed
			b.err = err
		}
	case err == io.EOF || r.n == b.length:
		b.start(b.profile.Answer, errNoAnswer)
	default:
		b.start(b.profile.Stall, errStalled)
	}
	b.mu.Unlock()
	if n > 0 {
		b.taken(n, r.n)
	}
	return n, err
}

func (r *bodyReader) Close() error {
	r.body.mu.Lock()
	closed := r.closed
	r.closed = true
	r.body.mu.Unlock()
	if closed {
		return nil
	}
	r.unbind()
	return r.rc.Close()
}
