package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// repoWriter sends blobs and manifests to one repository. It is safe for concurrent use.
//
// ggcr has a writer, too, which asks for every blob first, needs three requests in a row to send it, and begins it
// anew when it is cut.
type repoWriter struct {
	client *Client
	own    target

	admitted atomic.Bool // the registry has let us in: a 401 after that is about the token, not about us

	mu     sync.Mutex
	http   *http.Client // with a token for the scopes; nil before the first request
	renew  time.Time    // when the token has to be replaced; zero: not known
	scopes []string
	there  map[digest.Digest]bool          // blobs that the repository has got, or said that it has
	coming map[digest.Digest]chan struct{} // blobs that are on their way; closed when that is over
}

// writer returns the endpoint's writer for a repository.
func (c *Client) writer(own target) *repoWriter {
	w, _ := own.writers.LoadOrStore(own.repo.RepositoryStr(), &repoWriter{client: c, own: own,
		there: map[digest.Digest]bool{}, coming: map[digest.Digest]chan struct{}{},
		scopes: []string{own.repo.Scope(transport.PushScope)}}) // first, as some registries look at no other
	return w.(*repoWriter)
}

// writing runs do with the writer of a destination.
func (c *Client) writing(own target, text string, do func(*repoWriter) error) error {
	err := c.believing(&own, func() error { return do(c.writer(own)) })
	return classify(own.endpoint, text, err)
}

// authorized returns a client of HTTP that has credentials for the scopes at a registry.
func (c *Client) authorized(ctx context.Context, own target, scopes ...string) (*http.Client, error) {
	auth, err := endpointKeychain{inner: c.opts.Keychain, endpoint: own.endpoint, log: c.logf}.ResolveContext(ctx, own.repo)
	if err != nil {
		return nil, err
	}
	if auth == nil {
		auth = authn.Anonymous
	}
	named := transport.NewUserAgent(own.transport, c.opts.UserAgent)
	rt, err := transport.NewWithContext(ctx, own.repo.Registry, auth, named, scopes)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: rt, CheckRedirect: func(req *http.Request, via []*http.Request) error { return publicHost(req.URL, via[0].URL) }}, nil
}

// do sends a request with a token for the repository and for what has to be read of others. The answer has one of
// the wanted statuses; the caller closes its body.
func (w *repoWriter) do(req *http.Request, from []name.Repository, want ...int) (*http.Response, error) {
	client, err := w.withScopes(req.Context(), from)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(resp, want...); err != nil {
		resp.Body.Close()
		return nil, &refusal{err, waitAsked(resp.Header, err.Error())}
	}
	return resp, nil
}

// refusal is an answer with an error, and the pause that it asks for.
type refusal struct {
	error
	wait time.Duration
}

func (r *refusal) Unwrap() error { return r.error }

func (w *repoWriter) withScopes(ctx context.Context, from []name.Repository) (*http.Client, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, repo := range from {
		if scope := repo.Scope(transport.PullScope); repo != w.own.repo && !slices.Contains(w.scopes, scope) {
			w.scopes, w.http = append(w.scopes, scope), nil
		}
	}
	if w.http == nil || !w.renew.IsZero() && time.Now().After(w.renew) {
		var life tokenLife
		client, err := w.client.authorized(life.watch(ctx), w.own, w.scopes...)
		if err != nil {
			return nil, err
		}
		w.http, w.renew = client, life.renewal()
	}
	return w.http, nil
}

// withoutScopes gives up reading other repositories: some registries answer nothing to who asks for a repository that
// is not theirs to read.
func (w *repoWriter) withoutScopes(from []name.Repository) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, repo := range from { // at most one
		if i := slices.Index(w.scopes, repo.Scope(transport.PullScope)); i > 0 {
			w.scopes, w.http = slices.Delete(slices.Clone(w.scopes), i, i+1), nil
		}
	}
}

// url is where a path of the repository is.
func (w *repoWriter) url(path string) *url.URL {
	return &url.URL{Scheme: w.own.repo.Scheme(), Host: w.own.repo.RegistryStr(), Path: "/v2/" + w.own.repo.RepositoryStr() + path}
}

// again runs send, which stores a manifest, until it succeeds or fails for a reason that will not pass. What one
// request can repeat by itself was repeated by retryTransport already.
func (w *repoWriter) again(ctx context.Context, send func() error) error {
	pause := w.client.retry.base
	for attempt := 1; ; attempt++ {
		err := send()
		if err == nil || attempt >= w.client.retry.attempts || !isCutPut(err) {
			return err
		}
		w.client.logf("%s: the connection was cut; trying again in %s", w.own.host, pause)
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause *= 3
	}
}

// once runs bring for a blob that is not known to be there, one at a time: who comes second has nothing left to do,
// or tries itself after the first one has failed.
func (w *repoWriter) once(ctx context.Context, d digest.Digest, bring func() error) error {
	for {
		w.mu.Lock()
		if w.there[d] {
			w.mu.Unlock()
			return nil
		}
		other, busy := w.coming[d]
		if !busy {
			w.coming[d] = make(chan struct{})
			w.mu.Unlock()
			break
		}
		w.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := bring()
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.coming[d])
	delete(w.coming, d)
	if err == nil {
		w.there[d] = true
	}
	return err
}

// has remembers that the repository has a blob, lacks that it has not.
func (w *repoWriter) has(d digest.Digest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.there[d] = true
}

func (w *repoWriter) lacks(d digest.Digest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.there, d)
}

// ask finds out whether the repository has a blob. A registry that does not answer such questions, or says that a blob
// of another size is there, has it sent.
func (w *repoWriter) ask(ctx context.Context, desc ocispecs.Descriptor) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, w.url("/blobs/"+desc.Digest.String()).String(), nil)
	if err != nil {
		return false, err
	}
	resp, err := w.do(req, nil, http.StatusOK, http.StatusNotFound, http.StatusBadRequest, http.StatusUnauthorized,
		http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented)
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK && (resp.ContentLength < 0 || resp.ContentLength == desc.Size), nil
}

// mountFailed tells whether a failed mount may be done without. It is not tried again from that repository.
func (w *repoWriter) mountFailed(ctx context.Context, err error, from []name.Repository) bool {
	if ctx.Err() != nil || errors.Is(err, errStalePing) {
		return false
	}
	w.client.logf("%s: mounting a blob from %s failed, so it is sent", w.own.host, from[0].RepositoryStr())
	w.withoutScopes(from)
	w.own.unmountable.Store(from[0].RepositoryStr(), true)
	return true
}

// put stores a manifest under a tag or its digest. One that is about another (it has a subject) is ggcr's to put,
// which sees to the list of such manifests where the registry keeps none.
func (w *repoWriter) put(ctx context.Context, ref name.Reference, desc ocispecs.Descriptor, data []byte) error {
	if bytes.Contains(data, []byte(`"subject"`)) {
		return w.own.pusher.Put(ctx, ref, rawManifest{desc: desc, data: data})
	}
	err := w.again(ctx, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, w.url("/manifests/"+ref.Identifier()).String(), bytes.NewReader(data))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", desc.MediaType)
		resp, err := w.do(req, nil, http.StatusCreated, http.StatusOK, http.StatusAccepted)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	if _, tag := ref.(name.Tag); tag && refused(err) && w.isSet(ctx, ref, desc) {
		return nil // a tag that cannot be set again stands for this already
	}
	return err
}

// isSet tells whether a reference stands for a manifest. Doubt is no.
func (w *repoWriter) isSet(ctx context.Context, ref name.Reference, desc ocispecs.Descriptor) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, w.url("/manifests/"+ref.Identifier()).String(), nil)
	if err != nil {
		return false
	}
	req.Header.Set("Accept", desc.MediaType)
	resp, err := w.do(req, nil, http.StatusOK)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.Header.Get("Docker-Content-Digest") == desc.Digest.String()
}

// rawManifest is a manifest that ggcr can put.
type rawManifest struct {
	desc ocispecs.Descriptor
	data []byte
}

func (m rawManifest) RawManifest() ([]byte, error) { return m.data, nil }

func (m rawManifest) MediaType() (types.MediaType, error) {
	return types.MediaType(m.desc.MediaType), nil
}

// publicHost refuses to be sent from one host to an address in a private network: what is there is no registry's
// business. A registry that has such an address itself may stay there, and names are not looked up.
func publicHost(to, from *url.URL) error {
	host := to.Hostname()
	if host == from.Hostname() {
		return nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		// 127.1, 0x7f.1 and the like are addresses to a dialer, and no name ends in such a part.
		if last := host[strings.LastIndexByte(host, '.')+1:]; last == "" || last[0] < '0' || last[0] > '9' {
			return nil
		}
		return fmt.Errorf("%w: %s", errPrivateHost, printable(host))
	}
	ip = ip.WithZone("").Unmap()
	if ip.IsPrivate() || ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() {
		return fmt.Errorf("%w: %s", errPrivateHost, ip)
	}
	return nil
}

// errPrivateHost ends a request that a registry sends to an address in a private network.
var errPrivateHost = errors.New("sent to an address in a private network")
