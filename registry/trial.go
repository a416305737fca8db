package registry

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
)

// Trial is what a registry was seen to do with an upload that was begun and given up.
type Trial struct {
	Host        string // as in references
	Credentials bool   // some were found for the host, and nobody refused them
	Profile     Profile
	Why         string // where the profile comes from, in words

	// Asks says that questions for blobs are answered: without that, each blob is sent.
	Asks bool
	// Mounts says that the registry takes part in mounting. Whether it then has the blob cannot be tried without leaving
	// one there.
	Mounts bool
	// Least is the least size of chunks that it wants, in bytes; 0: it has not said.
	Least int64
	// Chunks is why it does not take a blob in several requests; nil: it does. [ErrUntried]: nobody knows.
	Chunks error
	// Resumes says that it told where the upload stood, and took the next bytes from there.
	Resumes bool
	// Gone says that nothing is left of the upload. Where that is not known, registries clean up by themselves.
	Gone bool
}

const (
	trialChunk = 64 << 10 // bytes; of random bytes, so that nobody has the blob
	mostTrial  = 8 << 20  // bytes that are sent to a registry that wants large chunks
)

// ErrUntried says that chunks were not tried: a registry wants them larger than what is sent for a trial.
var ErrUntried = errors.New("the chunks that the registry wants are too large for a trial")

// Try finds out how a repository takes uploads: it begins one, sends two chunks, and gives it up. The error says that
// nothing can be pushed there, and why.
func (c *Client) Try(ctx context.Context, repo string) (Trial, error) {
	p, own, err := c.destination(repo)
	if err != nil {
		return Trial{}, err
	}
	t := Trial{Host: own.host, Profile: c.Profile(own.host), Why: c.profileWhy(own.host)}
	err = c.writing(own, p.text, func(w *repoWriter) error { return t.run(ctx, w) })
	t.Credentials = own.hasCredentials.Load()
	return t, err
}

// profileWhy says where a host's profile comes from.
func (c *Client) profileWhy(host string) string {
	why := "as for every host"
	if knownProfile(host) != usualProfile() {
		why = "known of this host"
	}
	if _, ok := c.opts.Profiles[host]; ok {
		why = "from the settings, else " + why
	}
	return why
}

func (t *Trial) run(ctx context.Context, w *repoWriter) error {
	data := make([]byte, trialChunk)
	_, _ = rand.Read(data) // does not fail
	unknown := digest.FromBytes(data)
	s, err := w.open(ctx, unknown, []name.Repository{w.own.repo})
	if err != nil {
		return err
	}
	if s == nil {
		return badAnswer("the registry says that it has a blob that nobody has")
	}
	defer func() { t.Gone = s.leave(ctx) }()
	_, refused := w.own.unmountable.Load(w.own.repo.RepositoryStr())
	t.Mounts, t.Least = !refused, s.least
	if t.Asks, err = w.answers(ctx, unknown); err != nil {
		return err
	}
	s.profile, s.count = t.Profile, &counted{}
	t.Resumes, t.Chunks = s.inParts(ctx, data)
	return ctx.Err()
}

// answers tells whether the registry says that it does not have a blob.
func (w *repoWriter) answers(ctx context.Context, unknown digest.Digest) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, w.url("/blobs/"+unknown.String()).String(), nil)
	if err != nil {
		return false, err
	}
	resp, err := w.do(req, nil, http.StatusNotFound)
	var answered *transport.Error
	if errors.As(err, &answered) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, resp.Body.Close()
}

// inParts sends a chunk, asks how far the upload is, and sends another one from there.
func (s *session) inParts(ctx context.Context, data []byte) (resumes bool, chunks error) {
	if s.least > mostTrial {
		return false, ErrUntried
	}
	length := max(int64(len(data)), s.least)
	all := bytes.Repeat(data, int(2*length)/len(data)+1)
	open := func(offset int64) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(all[offset:])), nil }
	if err := s.patch(ctx, open, length); err != nil {
		return false, err
	}
	has, ok, err := s.state(ctx)
	if err != nil {
		return false, err
	}
	if err := s.patch(ctx, open, length); err != nil {
		return false, err
	}
	return ok && has == length, nil
}

// leave gives the session up, and tells whether it is gone.
func (s *session) leave(ctx context.Context) bool {
	s.drop(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.at.String(), nil)
	if err != nil {
		return false
	}
	resp, err := s.w.do(req, nil, http.StatusNotFound)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return true
}
