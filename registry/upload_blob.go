package registry

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// How long an upload is tried. Both are counted from the last byte that the registry is known to have got.
const (
	uploadAttempts = 5               // including the first
	uploadPauses   = 2 * time.Minute // for all pauses, including those that the registry asks for
	longestBackoff = 20 * time.Second
)

// Sizes of the requests that a blob goes up in, in bytes, where it cannot go up in one.
const (
	firstChunk = 64 << 20 // below what Cloudflare takes (100 MB)
	minChunk   = 4 << 20
	maxChunk   = 128 << 20 // what a registry may ask for as the least
)

// sending is the way of one blob into a repository:
//
//	ask -> open a session (or mounted) -> bytes: one PUT, or PATCH after PATCH and an empty PUT -> done
//
// What fails goes through mend, which says whether and how it begins again at the top: with the session and what the
// registry has got of it, or with a new one.
type sending struct {
	w       *repoWriter
	profile Profile
	desc    ocispecs.Descriptor // without digest while the blob grows
	open    func(offset int64) (io.ReadCloser, error)
	from    []name.Repository // to mount from; at most one
	unasked bool
	growing Growing // nil when the blob is whole
	count   *counted

	session *session
	chunk   int64 // 0: one request takes all that is left
	began   bool  // the registry has taken requests of this upload
	afresh  bool  // the content was refused once, and is sent from its start

	tries  int // without progress
	waited time.Duration
	wrong  int64 // where a chunk was refused as out of place; -1: nowhere
}

// run brings the blob to the repository.
func (s *sending) run(ctx context.Context) error {
	s.wrong = -1
	for {
		err := s.step(ctx)
		if err == nil {
			return nil
		}
		if err = s.mend(ctx, err); err != nil {
			s.forget(ctx)
			s.count.failed()
			return err
		}
	}
}

// step goes from where the upload stands to its end.
func (s *sending) step(ctx context.Context) error {
	if s.growing == nil && (s.began || !s.unasked) { // what was cut off may have arrived
		there, err := s.there(ctx)
		if err != nil || there {
			return err
		}
	}
	leave, err := s.w.own.gate.enter(ctx, s.w.own.gate.places(s.size()))
	if err != nil {
		return err
	}
	defer leave()
	if err := s.resume(ctx); err != nil {
		return err
	}
	if s.session == nil {
		if s.session, err = s.w.open(ctx, s.desc.Digest, s.from); err != nil {
			return err
		}
		if s.session == nil {
			s.count.ended(mounted)
			return nil
		}
		s.session.profile, s.session.count = s.profile, s.count
		s.began = true
	}
	if s.growing != nil {
		return s.stream(ctx)
	}
	return s.rest(ctx)
}

// size is -1 as long as it is not known.
func (s *sending) size() int64 {
	if s.growing != nil {
		return -1
	}
	return s.desc.Size
}

// there asks whether the repository has the blob.
func (s *sending) there(ctx context.Context) (bool, error) {
	leave, err := s.w.own.gate.enter(ctx, 1)
	if err != nil {
		return false, err
	}
	defer leave()
	found, err := s.w.ask(ctx, s.desc)
	if err != nil || !found {
		return false, err
	}
	if s.session != nil && s.session.tried.Load() == s.desc.Size {
		s.session = nil // it has ended well: only the answer was lost
		s.count.ended(moved)
		return true, nil
	}
	s.forget(ctx)
	s.count.ended(there)
	return true, nil
}

// resume finds out what the registry has of a session that was cut, and gives the session up if that is nothing or
// not known.
func (s *sending) resume(ctx context.Context) error {
	if s.session == nil {
		return nil
	}
	if !s.profile.Resume {
		s.forget(ctx)
		return nil
	}
	has, ok, err := s.session.state(ctx)
	if err != nil {
		return err
	}
	if !ok || has == s.wrong {
		s.forget(ctx)
		return nil
	}
	s.w.client.logf("%s: an upload goes on at byte %d", s.w.own.host, has)
	if has > s.session.has {
		s.session.has = has
		s.progress()
	}
	return nil
}

// progress begins the count of attempts anew.
func (s *sending) progress() { s.tries, s.waited, s.wrong = 0, 0, -1 }

// rest sends what the registry does not have of a blob that is whole.
func (s *sending) rest(ctx context.Context) error {
	size, chunk := s.desc.Size, s.chunkSize()
	if s.session.has > 0 || chunk < size {
		for s.session.has < size {
			if err := s.session.patch(ctx, s.open, min(chunk, size-s.session.has)); err != nil {
				return err
			}
			s.progress()
		}
	}
	if err := s.session.put(ctx, s.open, s.desc.Digest, size); err != nil {
		return err
	}
	s.session = nil
	s.count.ended(moved)
	return nil
}

// chunkSize is how much goes up in one request; all of the blob, mostly.
func (s *sending) chunkSize() int64 {
	chunk := s.chunk
	if chunk == 0 {
		chunk = s.w.own.chunk.Load()
	}
	if chunk == 0 {
		chunk = s.profile.Chunk
	}
	if chunk == 0 && s.session.least > 0 {
		chunk = firstChunk // who has a least size keeps chunks, and mostly has a largest request, too
	}
	if chunk == 0 {
		return 1<<63 - 1
	}
	return max(chunk, s.session.least)
}

// forget gives up the session, if there is one.
func (s *sending) forget(ctx context.Context) {
	if s.session != nil {
		s.session.drop(ctx)
		s.session = nil
	}
}

// mend finds out what can be done after err, waits, and returns nil to try again; or the error that it ends with.
func (s *sending) mend(ctx context.Context, err error) error {
	var local localError
	var answered *transport.Error
	switch {
	case ctx.Err() != nil, errors.Is(err, errStalePing):
		return err
	case errors.As(err, &local):
		return err
	case errors.As(err, &answered) && isUpload(answered.Request):
		if answered.StatusCode == http.StatusRequestEntityTooLarge {
			return s.smaller(ctx, err)
		}
		if !s.answerMayPass(ctx, answered.StatusCode) {
			return err
		}
	case answered != nil:
		if !s.mayPassElsewhere(answered.StatusCode) {
			return err
		}
	case !s.began || !mayPass(err):
		return err
	}
	return s.wait(ctx, err)
}

// answerMayPass tells whether an answer to bytes of the blob is worth another attempt, and what to make of the session.
func (s *sending) answerMayPass(ctx context.Context, code int) bool {
	switch {
	case code == http.StatusUnauthorized:
		return s.w.admitted.Load() // others have used up the new token
	case code == http.StatusNotFound || code == http.StatusGone:
		s.session = nil // gone
		return true
	case code == http.StatusRequestedRangeNotSatisfiable && s.session.has > 0:
		s.wrong = s.session.has // the registry may have got on since it was asked
		return true
	case code == http.StatusBadRequest || code == http.StatusConflict || code == http.StatusRequestedRangeNotSatisfiable:
		// Another push may have won, or bytes were mixed up on the way.
		s.forget(ctx)
		first := !s.afresh
		if s.afresh = true; first {
			s.open = checking(s.open, s.desc) // or our own bytes are wrong
		}
		return first
	}
	return code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500
}

// mayPassElsewhere tells whether an answer to a request without bytes is worth another attempt. retryTransport has made
// some already, which is enough for an upload that has not begun.
func (s *sending) mayPassElsewhere(code int) bool {
	if code == http.StatusUnauthorized {
		return s.w.admitted.Load()
	}
	return s.began && (code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout)
}

// smaller goes over to chunks, or to smaller ones, which all later blobs for the host then come in, too.
func (s *sending) smaller(ctx context.Context, err error) error {
	refused, least := s.session.last, max(minChunk, s.session.least)
	s.forget(ctx)
	if refused < 0 {
		refused = 2 * firstChunk
	}
	if refused <= least {
		return err
	}
	chunk := min(refused, 2*firstChunk) / 2
	if others := s.w.own.chunk.Load(); others > 0 && others < refused {
		chunk = others // which other blobs have come to meanwhile
	}
	chunk = max(chunk, least)
	s.w.client.logf("%s takes no request of that size; trying chunks of %d bytes", s.w.own.host, chunk)
	s.chunk = chunk
	s.w.own.chunk.Store(chunk)
	return nil
}

// wait pauses before another attempt; or returns err when it was tried for long enough.
func (s *sending) wait(ctx context.Context, err error) error {
	s.tries++
	pause := s.w.client.retry.base
	for range s.tries - 1 {
		pause = min(3*pause, longestBackoff)
	}
	pause += time.Duration(rand.Int64N(int64(pause)/5 + 1)) // apart from other clients
	var r *refusal
	if errors.As(err, &r) {
		pause = max(pause, r.wait)
	}
	if s.waited += pause; s.tries >= uploadAttempts || s.waited > uploadPauses {
		return err
	}
	if s.tries == uploadAttempts/2 && s.growing == nil && s.profile.Resume && s.chunk == 0 && s.desc.Size > firstChunk {
		s.chunk = firstChunk // a proxy may cut what takes long, or refuse by a cut what is large
	}
	s.w.client.logf("%s: an upload was interrupted (%s); trying again in %s", s.w.own.host, cleanText(err), pause.Round(time.Millisecond))
	return sleep(ctx, pause)
}

// refused tells whether a registry has said that it does not want what was asked, and will say so again.
func refused(err error) bool {
	var answered *transport.Error
	if !errors.As(err, &answered) {
		return false
	}
	code := answered.StatusCode
	return code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests
}

// mayPass tells whether a failed request is likely to succeed later: it was cut, or there is no way for a moment.
func mayPass(err error) bool {
	if errors.Is(err, errStalled) || errors.Is(err, errNoAnswer) || errors.Is(err, errExpired) || errors.Is(err, syscall.ECONNREFUSED) {
		return true
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.IsTemporary && !dns.IsNotFound
	}
	var network net.Error
	return isCut(err) || errors.As(err, &network) && network.Timeout()
}
