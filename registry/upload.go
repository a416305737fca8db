package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// repoWriter sends blobs and manifests to one repository. It is safe for concurrent use.
//
// ggcr has a writer, too, which asks for every blob first and then needs three requests in a row to send it. Here it
// is the POST and the PUT with all bytes that OCI's distribution specification wants from every registry, and that
// BuildKit's own pushes use. A POST that has the bytes in it would be one request, but most registries answer that
// they want the PUT all the same, so that the bytes would be sent twice.
type repoWriter struct {
	client *Client
	own    target

	mu     sync.Mutex
	http   *http.Client // with a token for the scopes; nil before the first request
	scopes []string
	there  map[digest.Digest]bool // blobs that the repository has got, or said that it has
}

// writer returns the endpoint's writer for a repository.
func (c *Client) writer(own target) *repoWriter {
	w, _ := own.writers.LoadOrStore(own.repo.RepositoryStr(), &repoWriter{client: c, own: own, there: map[digest.Digest]bool{},
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
		return nil, err
	}
	return resp, nil
}

func (w *repoWriter) withScopes(ctx context.Context, from []name.Repository) (*http.Client, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, repo := range from {
		if scope := repo.Scope(transport.PullScope); repo != w.own.repo && !slices.Contains(w.scopes, scope) {
			w.scopes, w.http = append(w.scopes, scope), nil
		}
	}
	if w.http == nil {
		client, err := w.client.authorized(ctx, w.own, w.scopes...)
		if err != nil {
			return nil, err
		}
		w.http = client
	}
	return w.http, nil
}

// withoutScopes gives up reading other repositories: some registries answer nothing to who asks for a repository that
// is not theirs to read.
func (w *repoWriter) withoutScopes(from []name.Repository) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, repo := range from {
		if i := slices.Index(w.scopes, repo.Scope(transport.PullScope)); i > 0 {
			w.scopes, w.http = slices.Delete(slices.Clone(w.scopes), i, i+1), nil
		}
	}
}

// url is where a path of the repository is.
func (w *repoWriter) url(path string) *url.URL {
	return &url.URL{Scheme: w.own.repo.Scheme(), Host: w.own.repo.RegistryStr(), Path: "/v2/" + w.own.repo.RepositoryStr() + path}
}

// again runs send until it succeeds or fails for a reason that will not pass. What one request can repeat by itself
// was repeated by retryTransport already.
func (w *repoWriter) again(ctx context.Context, send func(attempt int) error) error {
	pause := w.client.retry.base
	for attempt := 1; ; attempt++ {
		err := send(attempt)
		if err == nil || attempt >= w.client.retry.attempts || !isInterruptedUpload(err) {
			return err
		}
		w.client.logf("%s: the upload was interrupted; trying again in %s", w.own.host, pause)
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause *= 3
	}
}

// upload brings a blob to the repository unless it is there.
func (w *repoWriter) upload(ctx context.Context, b Blob, open func(int64) (io.ReadCloser, error), from []name.Repository) error {
	if w.has(b.Digest) {
		return nil
	}
	err := w.again(ctx, func(attempt int) error {
		if attempt > 1 || !b.unasked() { // what was cut off may have arrived
			there, err := w.ask(ctx, b.Digest)
			if err != nil || there {
				return err
			}
		}
		at, err := w.begin(ctx, b.Digest, from)
		if err != nil || at == nil {
			return err
		}
		return w.send(ctx, at, b.Descriptor, open)
	})
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.there[b.Digest] = true
	}
	return err
}

func (w *repoWriter) has(d digest.Digest) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.there[d]
}

// ask finds out whether the repository has a blob.
func (w *repoWriter) ask(ctx context.Context, d digest.Digest) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, w.url("/blobs/"+d.String()).String(), nil)
	if err != nil {
		return false, err
	}
	resp, err := w.do(req, nil, http.StatusOK, http.StatusNotFound)
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK, nil
}

// begin asks for a place to send a blob to; nil says that it was mounted from the other repository. A registry that
// fails at mounting is asked without.
func (w *repoWriter) begin(ctx context.Context, d digest.Digest, from []name.Repository) (*url.URL, error) {
	u := w.url("/blobs/uploads/")
	if len(from) > 0 {
		u.RawQuery = url.Values{"mount": {d.String()}, "from": {from[0].RepositoryStr()}}.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := w.do(req, from, http.StatusCreated, http.StatusAccepted)
	if err != nil && len(from) > 0 && ctx.Err() == nil && !errors.Is(err, errStalePing) {
		w.client.logf("%s: mounting a blob from %s failed, so it is sent", w.own.host, from[0].RepositoryStr())
		w.withoutScopes(from)
		return w.begin(ctx, d, nil)
	}
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusCreated {
		return nil, nil
	}
	at, err := resp.Location()
	if err != nil {
		return nil, badAnswer("the registry does not say where to send a blob to")
	}
	if resp.Request.URL.Scheme == "https" && at.Scheme != "https" {
		return nil, &Error{Kind: ErrBadAnswer, Msg: "the registry wants a blob sent in plain text, to " + printable(at.Host),
			Hint: "a proxy before the registry has to tell it that it is asked by HTTPS (X-Forwarded-Proto)"}
	}
	return at, publicHost(at, resp.Request.URL)
}

// send puts the bytes where the registry wants them.
func (w *repoWriter) send(ctx context.Context, at *url.URL, desc ocispecs.Descriptor, open func(int64) (io.ReadCloser, error)) error {
	q := at.Query()
	q.Set("digest", desc.Digest.String())
	to := *at
	to.RawQuery = q.Encode()
	body := func() (io.ReadCloser, error) {
		rc, err := open(0)
		if err != nil {
			return nil, err
		}
		return verified(rc, desc), nil // a file that changed is an error here, and not at the registry
	}
	rc, err := body()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, to.String(), rc)
	if err != nil {
		rc.Close()
		return err
	}
	req.ContentLength, req.GetBody = desc.Size, body
	if desc.Size == 0 {
		rc.Close()
		req.Body, req.GetBody = http.NoBody, nil // net/http takes 0 for "not known"
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := w.do(req, nil, http.StatusCreated, http.StatusOK, http.StatusNoContent)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// put stores a manifest under a tag or its digest. One that is about another (it has a subject) is ggcr's to put,
// which sees to the list of such manifests where the registry keeps none.
func (w *repoWriter) put(ctx context.Context, ref name.Reference, desc ocispecs.Descriptor, data []byte) error {
	if bytes.Contains(data, []byte(`"subject"`)) {
		return w.own.pusher.Put(ctx, ref, rawManifest{desc: desc, data: data})
	}
	return w.again(ctx, func(int) error {
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
