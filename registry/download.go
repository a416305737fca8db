package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// pullPolicy says when a download that was cut goes on, and when it is given up.
type pullPolicy struct {
	attempts int           // in a row that brought less than progress, including the first
	progress int64         // bytes after which an attempt was worth it, so that the count begins anew
	stall    time.Duration // without a byte: the connection counts as cut
}

func defaultPullPolicy() pullPolicy {
	return pullPolicy{attempts: 5, progress: 64 << 10, stall: 30 * time.Second}
}

// OpenBlob returns a blob's bytes as a stream from a repository or its mirrors. A download that is cut or stands still
// goes on where it was, up to five times in a row without getting on; after a mirror the next one goes on. The reader
// fails at its end if the bytes do not have the descriptor's digest and size. The caller closes it.
// Errors, also of the reader: *Error, or the context's.
func (c *Client) OpenBlob(ctx context.Context, repo string, desc ocispecs.Descriptor) (io.ReadCloser, error) {
	return c.openBlob(ctx, repo, desc, 0, nil)
}

// OpenBlobAt is OpenBlob from an offset on. Of a part, the digest cannot be checked: whoever joins it to what was
// before does.
func (c *Client) OpenBlobAt(ctx context.Context, repo string, desc ocispecs.Descriptor, offset int64) (io.ReadCloser, error) {
	return c.openBlob(ctx, repo, desc, offset, nil)
}

// FetchBlob gets a blob into the cache, if it is not there yet.
func (c *Client) FetchBlob(ctx context.Context, repo string, desc ocispecs.Descriptor) error {
	if c.opts.Cache == nil {
		return errors.New("there is no cache to fetch blobs into")
	}
	if c.opts.Cache.HasBlob(desc) {
		return nil
	}
	rc, err := c.OpenBlob(ctx, repo, desc)
	if err != nil {
		return err
	}
	defer rc.Close()
	return c.opts.Cache.WriteBlobFrom(ctx, desc, rc)
}

// openBlob opens a blob at an offset, and counts what is fetched.
func (c *Client) openBlob(ctx context.Context, repo string, desc ocispecs.Descriptor, offset int64, t *Traffic) (io.ReadCloser, error) {
	p, err := parseRepo(repo)
	if err != nil {
		return nil, err
	}
	if err := desc.Digest.Validate(); err != nil || offset < 0 || offset > desc.Size {
		return nil, c.blame(p, badAnswer("there is no blob %s with a byte %d", printable(desc.Digest.String()), offset))
	}
	targets, err := c.targets(p)
	if err != nil {
		return nil, err
	}
	return c.startDownload(&download{ctx: ctx, client: c, ref: p.pinned(desc.Digest), desc: desc, targets: targets, at: offset, begun: offset, traffic: t})
}

func (c *Client) startDownload(d *download) (io.ReadCloser, error) {
	if d.at > 0 && d.at == d.desc.Size {
		return d, nil // nothing is left to read
	}
	if err := d.connect(); err != nil {
		return nil, err
	}
	if d.at > 0 {
		return d, nil
	}
	return &blobReader{verified(d, d.desc), d}, nil
}

// readBlob returns the bytes of a small blob from one place. What was put together from parts and is wrong is fetched
// anew once: the first part may have been another text, such as a proxy's page.
func (c *Client) readBlob(ctx context.Context, t target, p parsedRef, desc ocispecs.Descriptor) ([]byte, error) {
	for again := false; ; again = true {
		d := &download{ctx: ctx, client: c, ref: p.pinned(desc.Digest), desc: desc, targets: []target{t}}
		rc, err := c.startDownload(d)
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(rc)
		_ = rc.Close()
		if !errors.Is(err, ErrBadAnswer) || d.fruitless == 0 || again {
			return data, err
		}
	}
}

// blobReader is a whole blob. It says where wrong bytes came from.
type blobReader struct {
	io.ReadCloser
	d *download
}

func (r *blobReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = classify(r.d.targets[0].endpoint, r.d.ref.text, err)
	}
	return n, err
}

// download reads a blob from one place after the other, and goes on where it was after a cut.
type download struct {
	ctx     context.Context
	client  *Client
	ref     parsedRef // pinned
	desc    ocispecs.Descriptor
	targets []target // the first is asked, the registry itself is the last
	traffic *Traffic

	at    int64        // of the next byte
	begun int64        // where the first request or the last one that was answered began
	body  *watchedBody // nil when the next read has to ask
	cut   error        // why the body ended before its time, if it did

	whole     bool // the place cannot send a part: all is sent, and what is known skipped
	fruitless int  // attempts in a row that did not get on
	passed    []string
}

func (d *download) Read(p []byte) (int, error) {
	for {
		if d.cut != nil {
			err := d.after(d.cut)
			if d.cut = nil; err != nil {
				return 0, err
			}
		}
		if d.body == nil {
			if d.at >= d.desc.Size {
				return 0, io.EOF
			}
			if err := d.connect(); err != nil {
				return 0, err
			}
		}
		n, err := d.body.Read(p[:min(int64(len(p)), d.desc.Size-d.at+1)])
		d.count(n)
		if d.at += int64(n); d.at > d.desc.Size {
			return 0, classify(d.targets[0].endpoint, d.ref.text, badAnswer("blob %s is larger than its %d bytes", d.desc.Digest, d.desc.Size))
		}
		if err != nil {
			_ = d.Close()
			if d.at < d.desc.Size {
				d.cut = d.cutBy(err)
			}
		}
		if n > 0 {
			return n, nil
		}
	}
}

// Close ends the download.
func (d *download) Close() error {
	if d.body == nil {
		return nil
	}
	body := d.body
	d.body = nil
	return body.Close()
}

func (d *download) count(n int) {
	d.traffic.change(func(s *Transferred) { s.Fetched += int64(n) })
}

// cutBy is the error of a body that ended before its time.
func (d *download) cutBy(err error) error {
	if err == io.EOF {
		return errors.Join(io.ErrUnexpectedEOF, badAnswer("blob %s has only %d of its %d bytes", d.desc.Digest, d.at, d.desc.Size))
	}
	return err
}

// connect asks for the bytes from d.at on until they come or nothing is left to try.
func (d *download) connect() error {
	for {
		body, err := d.request()
		if err == nil {
			d.body, d.begun = body, d.at
			return nil
		}
		if err := d.after(err); err != nil {
			return err
		}
	}
}

// after decides what a failure means: nil is to go on, with the next mirror or after a pause.
func (d *download) after(err error) error {
	t := d.targets[0]
	if d.ctx.Err() != nil {
		return classify(t.endpoint, d.ref.text, d.ctx.Err())
	}
	passing := isCut(err) || errors.Is(err, errPullStalled) || errors.Is(err, errStorage)
	known := classify(t.endpoint, d.ref.text, err)
	if d.at > 0 && errors.Is(known, ErrUnreachable) {
		passing = true // it was there a moment ago
	}
	if len(d.targets) > 1 {
		d.passed = append(d.passed, d.client.passOver(t, known)...)
		d.targets, d.whole, d.begun = d.targets[1:], false, d.at
		return nil
	}
	if d.at-d.begun >= d.client.pull.progress {
		d.fruitless = 0
	}
	d.begun = d.at
	if d.fruitless++; !passing || d.fruitless >= d.client.pull.attempts {
		return afterMirrors(known, d.passed)
	}
	pause := d.client.retry.base
	for range d.fruitless - 1 {
		pause *= 3
	}
	d.client.logf("%s: a download was cut after %d of %d bytes (%s); going on in %s", t.host, d.at, d.desc.Size, cleanText(err), pause)
	if err := sleep(d.ctx, pause); err != nil {
		return classify(t.endpoint, d.ref.text, err)
	}
	return nil
}

// request asks the first target for the bytes from d.at on.
func (d *download) request() (*watchedBody, error) {
	for {
		ctx, cancel := context.WithCancel(d.ctx)
		resp, err := d.ask(ctx)
		if err != nil {
			cancel()
			return nil, err
		}
		body := newWatchedBody(resp.Body, d.client.pull.stall, cancel)
		skip, err := d.check(resp)
		if err == nil && skip > 0 {
			var n int64
			n, err = io.CopyN(io.Discard, body, skip)
			d.count(int(n))
			err = d.cutBy(err)
		}
		if err == nil {
			return body, nil
		}
		_ = body.Close()
		if !errors.Is(err, errNoParts) || d.whole {
			return nil, err
		}
		d.whole = true
	}
}

// ask sends the request. Where the registry redirects to is asked for anew each time: signed addresses expire.
func (d *download) ask(ctx context.Context) (resp *http.Response, err error) {
	t := &d.targets[0]
	err = d.client.believing(t, func() error {
		client, err := d.client.reader(ctx, *t)
		if err != nil {
			return err
		}
		at := url.URL{Scheme: t.repo.Scheme(), Host: t.repo.RegistryStr(), Path: "/v2/" + t.repo.RepositoryStr() + "/blobs/" + d.desc.Digest.String()}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
		if err != nil {
			return err
		}
		if d.at > 0 && !d.whole {
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", d.at, d.desc.Size-1)) // some know no range without an end
		}
		if resp, err = client.Do(req); err != nil {
			return err
		}
		if err := transport.CheckError(resp, http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable); err != nil {
			resp.Body.Close()
			if resp.Request.URL.Host != at.Host {
				return errors.Join(errStorage, err)
			}
			return err
		}
		return nil
	})
	return resp, err
}

var (
	// errStorage is about an answer of the place that a registry redirects to; the next redirect may lead elsewhere.
	errStorage = errors.New("the registry's storage failed")
	// errNoParts is about an answer to who asked for a part of a blob.
	errNoParts = errors.New("parts of blobs cannot be had")
)

// check says how many bytes of an answer come before the one at d.at.
func (d *download) check(resp *http.Response) (skip int64, err error) {
	switch resp.StatusCode {
	case http.StatusPartialContent:
		var first, last int64
		var total string
		n, _ := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%s", &first, &last, &total)
		if n == 3 && first == d.at && last >= first && last < d.desc.Size && (total == "*" || total == fmt.Sprint(d.desc.Size)) {
			return 0, nil
		}
		return 0, errors.Join(errNoParts, badAnswer("asked for blob %s from byte %d on, the registry sent %q", d.desc.Digest, d.at, printable(resp.Header.Get("Content-Range"))))
	case http.StatusRequestedRangeNotSatisfiable:
		return 0, errors.Join(errNoParts, badAnswer("the registry says that blob %s has no byte %d, of %d", d.desc.Digest, d.at, d.desc.Size))
	}
	if resp.ContentLength > d.desc.Size { // fewer of them are a download that was cut
		return 0, badAnswer("blob %s is larger than its %d bytes", d.desc.Digest, d.desc.Size)
	}
	return d.at, nil
}

// reader returns a client of HTTP that may read a repository.
func (c *Client) reader(ctx context.Context, t target) (*http.Client, error) {
	one, _ := t.readers.LoadOrStore(t.repo.RepositoryStr(), &asked[*http.Client]{})
	return one.(*asked[*http.Client]).get(func() (*http.Client, error) {
		return c.authorized(ctx, t, t.repo.Scope(transport.PullScope))
	})
}

// errPullStalled ends a connection on which nothing came for too long.
var errPullStalled = errors.New("nothing came any more")

// watchedBody is an answer's body that fails when a read takes too long. Time between reads does not count.
type watchedBody struct {
	io.ReadCloser
	stall  time.Duration
	timer  *time.Timer // runs while a read waits
	late   atomic.Bool
	cancel context.CancelFunc
}

func newWatchedBody(rc io.ReadCloser, stall time.Duration, cancel context.CancelFunc) *watchedBody {
	b := &watchedBody{ReadCloser: rc, stall: stall, cancel: cancel}
	b.timer = time.AfterFunc(stall, func() { b.late.Store(true); cancel() })
	b.timer.Stop()
	return b
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.stall)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF && b.late.Load() {
		err = errPullStalled
	}
	return n, err
}

// Close frees the connection, or gives it up when it has not been read to its end.
func (b *watchedBody) Close() error {
	b.timer.Stop()
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}
