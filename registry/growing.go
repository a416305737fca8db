package registry

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Growing is a blob that is still being made, and is sent meanwhile. Its methods may be called concurrently.
type Growing interface {
	// Open reads from an offset. A read waits for bytes that are not there yet; io.EOF is the end of the whole blob.
	// The caller closes the reader, which ends a read that waits.
	Open(offset int64) (io.ReadCloser, error)
	// Reached waits until more than size bytes are there (true), or until the blob is whole (false).
	Reached(ctx context.Context, size int64) (bool, error)
	// Done waits until the blob is whole, and returns its descriptor.
	Done(ctx context.Context) (ocispecs.Descriptor, error)
}

// worthwhile is the size in bytes from which on a blob is sent before it is whole, and the part of it that it is
// worth to ask for whether it is there. A line of 100 Mbit/s needs 0.7 s for it.
const worthwhile = 8 << 20

// errArrived ends a request whose blob turns out to be in the repository.
var errArrived = errors.New("the repository has the blob")

// PushGrowing uploads a blob while it is made, and returns its descriptor. What stays small is pushed when it is
// whole. An error of making it is returned as it is, and nothing of the blob is left at the registry.
// Other errors: *Error, or the context's.
func (c *Client) PushGrowing(ctx context.Context, repo string, g Growing, t *Traffic) (ocispecs.Descriptor, error) {
	p, own, err := c.destination(repo)
	if err != nil {
		return ocispecs.Descriptor{}, err
	}
	count := &counted{traffic: t}
	count.grows()
	large, err := g.Reached(ctx, worthwhile)
	if large && err == nil && !own.unstreamable.Load() && !isWhole(ctx, g) {
		desc, err := c.grow(ctx, own, p.text, g, t, count)
		if !errors.Is(err, errUnstreamable) {
			return desc, err
		}
		own.unstreamable.Store(true)
		count = &counted{traffic: t}
		count.grows()
	}
	var desc ocispecs.Descriptor
	if err == nil {
		desc, err = g.Done(ctx)
	}
	count.failed() // it is counted anew as one that is whole
	if err != nil {
		return desc, err
	}
	return desc, c.PushBlob(ctx, repo, Blob{Descriptor: desc, Open: g.Open, New: true, Trusted: true}, t)
}

// isWhole tells whether a blob is whole already: then there is nothing to be gained by not asking for it first.
func isWhole(ctx context.Context, g Growing) bool {
	soon, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	_, err := g.Done(soon)
	return err == nil
}

// grow sends a blob while it grows. It is counted by itself, and no longer as one that is waited for.
func (c *Client) grow(ctx context.Context, own target, text string, g Growing, t *Traffic, waiting *counted) (ocispecs.Descriptor, error) {
	var desc ocispecs.Descriptor
	var failed error
	err := c.writing(own, text, func(w *repoWriter) error {
		count := &counted{traffic: t} // a new one for each try, as the last ends with its try
		count.grows()
		waiting.failed()
		s := &sending{w: w, profile: c.Profile(own.host), open: g.Open, growing: g, count: count}
		if failed = s.run(ctx); failed == nil {
			w.has(s.desc.Digest)
		}
		desc = s.desc
		return failed
	})
	if errors.Is(failed, errUnstreamable) {
		return desc, failed
	}
	if err == nil {
		c.isIn(own, Blob{Descriptor: desc})
	}
	return desc, err
}

// errUnstreamable says that a registry does not take bytes whose number is not said before.
var errUnstreamable = errors.New("the registry does not take a blob that grows")

// stream sends what there is of a growing blob, until it is whole.
func (s *sending) stream(ctx context.Context) error {
	if chunk := s.chunkSize(); chunk < 1<<62 {
		for s.growing != nil {
			if more, err := s.growing.Reached(ctx, s.session.has+chunk-1); err != nil {
				return making(ctx, err)
			} else if !more {
				break
			}
			if err := s.session.patch(ctx, s.open, chunk); err != nil {
				return err
			}
			s.progress()
		}
		if err := s.whole(ctx); err != nil {
			return err
		}
		return s.rest(ctx)
	}
	arrived, err := s.streamAll(ctx)
	if err != nil {
		return err
	}
	if err := s.whole(ctx); err != nil {
		return err
	}
	if arrived {
		s.forget(ctx)
		s.count.ended(there)
		return nil
	}
	return s.rest(ctx)
}

// whole waits until the blob is, and knows it from then on.
func (s *sending) whole(ctx context.Context) error {
	desc, err := s.growing.Done(ctx)
	if err != nil {
		return making(ctx, err)
	}
	s.desc, s.growing = desc, nil
	s.count.whole(desc.Size)
	return nil
}

// making marks an error of who makes the blob.
func making(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return localError{err}
}

// streamAll sends the blob in one request to its end. When it is whole and much is left, the repository is asked
// whether it has it: then the request ends.
func (s *sending) streamAll(ctx context.Context) (arrived bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		if s.arrived(ctx) {
			cancel(errArrived)
		}
	}()
	err = s.session.patch(ctx, s.open, -1)
	cancel(nil)
	<-asked
	switch {
	case err == nil:
		s.progress()
		return false, nil
	case context.Cause(ctx) == errArrived:
		return true, nil
	case unstreamable(err):
		return false, errUnstreamable
	}
	return false, err
}

// arrived waits until the blob is whole, and tells whether the repository has it, if it is worth asking.
func (s *sending) arrived(ctx context.Context) bool {
	desc, err := s.growing.Done(ctx)
	if err != nil || desc.Size-s.session.tried.Load() < worthwhile {
		return false
	}
	there, err := s.w.ask(ctx, desc)
	return err == nil && there
}

// unstreamable tells whether a registry's answer may be due to the missing length.
func unstreamable(err error) bool {
	var answered *transport.Error
	if !errors.As(err, &answered) || !isUpload(answered.Request) {
		return false
	}
	switch answered.StatusCode {
	case 400, 405, 411, 416, 501:
		return true
	}
	return false
}
