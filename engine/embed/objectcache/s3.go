package objectcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// bucket is a cache in S3: <prefix><manifests_prefix><name> is the index, <prefix><blobs_prefix><digest> a layer.
type bucket struct {
	s3
	prefix, blobs, manifests string
	names                    []string
	touchAfter               time.Duration // when a layer is old enough to be written anew
	layersAtATime            int
}

func newS3(attrs map[string]string) (*bucket, error) {
	b := &bucket{prefix: attrs["prefix"], blobs: "blobs/", manifests: "manifests/", names: []string{"buildkit"}, touchAfter: 24 * time.Hour, layersAtATime: 4}
	for key, to := range map[string]*string{"blobs_prefix": &b.blobs, "manifests_prefix": &b.manifests} {
		if v, set := attrs[key]; set {
			*to = v
		}
	}
	if v := attrs["name"]; v != "" {
		b.names = strings.Split(v, ";")
	}
	if v, set := attrs["touch_refresh"]; set {
		var err error
		if b.touchAfter, err = time.ParseDuration(v); err != nil {
			return nil, fmt.Errorf("touch_refresh: %q is not a duration such as 24h", v)
		}
	}
	if err := positive(attrs, "upload_parallelism", &b.layersAtATime); err != nil {
		return nil, err
	}
	return b, b.s3.configure(attrs)
}

func positive(attrs map[string]string, key string, to *int) error {
	v, set := attrs[key]
	if !set {
		return nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return fmt.Errorf("%s: %q is not a positive number", key, v)
	}
	*to = n
	return nil
}

func (b *bucket) name() string  { return "exporting cache to Amazon S3" }
func (b *bucket) parallel() int { return b.layersAtATime }

func (b *bucket) layerKey(layer ocispecs.Descriptor) string {
	return b.prefix + b.blobs + layer.Digest.String()
}

// index reads the first of the names; the others are for other builds to read.
func (b *bucket) index(ctx context.Context) ([]io.ReadCloser, error) {
	resp, err := b.do(ctx, request{method: http.MethodGet, key: b.prefix + b.manifests + b.names[0]})
	if errors.Is(err, errNoObject) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []io.ReadCloser{resp.Body}, nil
}

func (b *bucket) setIndex(ctx context.Context, data []byte) error {
	for _, name := range b.names {
		if err := b.write(ctx, b.prefix+b.manifests+name, digest.FromBytes(data), bytes.NewReader(data), int64(len(data))); err != nil {
			return err
		}
	}
	return nil
}

// has says whether a layer is there. An old one is copied onto itself: buckets have rules that remove what was not
// written for some days. Where a copy is not possible, it is taken for absent, and sent again.
func (b *bucket) has(ctx context.Context, layer ocispecs.Descriptor) (bool, error) {
	resp, err := b.do(ctx, request{method: http.MethodHead, key: b.layerKey(layer)})
	if errors.Is(err, errNoObject) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	at, err := http.ParseTime(resp.Header.Get("Last-Modified"))
	if err != nil || time.Since(at) <= b.touchAfter {
		return true, nil
	}
	const largestCopy = 5 << 30 // bytes, S3's limit
	if layer.Size > largestCopy {
		return false, nil
	}
	resp, err = b.do(ctx, request{method: http.MethodPut, key: b.layerKey(layer), header: http.Header{
		"X-Amz-Copy-Source":        {b.copySource(b.layerKey(layer))},
		"X-Amz-Metadata-Directive": {"REPLACE"},
		"X-Amz-Meta-Updated-At":    {time.Now().UTC().Format(time.RFC3339)},
	}})
	if err != nil {
		return false, err
	}
	return true, copied(resp.Body)
}

func (b *bucket) put(ctx context.Context, layer ocispecs.Descriptor, from content.ReaderAt) error {
	if layer.Size > largestPut {
		return b.writeParts(ctx, b.layerKey(layer), from, layer.Size)
	}
	return b.write(ctx, b.layerKey(layer), layer.Digest, from, layer.Size)
}

// open returns the layer, read in ranges as it is asked for.
func (b *bucket) open(ctx context.Context, layer ocispecs.Descriptor) (content.ReaderAt, error) {
	// The layer is read after this call, and its context is over by then.
	return &ranges{ctx: context.WithoutCancel(ctx), s3: &b.s3, key: b.layerKey(layer), size: layer.Size}, nil
}

// ranges reads an object from one position to the end, and begins anew where it is read at another one.
type ranges struct {
	ctx  context.Context // of whoever opened it: io.ReaderAt has none
	s3   *s3
	key  string
	size int64

	at   int64
	body io.ReadCloser
}

// Size is in bytes.
func (r *ranges) Size() int64 { return r.size }

// ReadAt reads at off. Calls are one after the other.
func (r *ranges) ReadAt(p []byte, off int64) (int, error) {
	if off >= r.size {
		return 0, io.EOF
	}
	if r.body == nil || r.at != off {
		if err := r.seek(off); err != nil {
			return 0, err
		}
	}
	n, err := io.ReadFull(r.body, p[:min(int64(len(p)), r.size-off)])
	r.at += int64(n)
	if err != nil { // a cut is mended by the next call
		_ = r.Close()
	}
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (r *ranges) seek(off int64) error {
	_ = r.Close()
	resp, err := r.s3.do(r.ctx, request{method: http.MethodGet, key: r.key, header: http.Header{"Range": {fmt.Sprintf("bytes=%d-", off)}}})
	if err != nil {
		return err
	}
	if off > 0 && resp.StatusCode != http.StatusPartialContent {
		resp.Body.Close()
		return fmt.Errorf("s3: %s: a range was asked for, and status %d is no part", r.key, resp.StatusCode)
	}
	r.at, r.body = off, resp.Body
	return nil
}

// Close ends the request that is going on.
func (r *ranges) Close() error {
	if r.body == nil {
		return nil
	}
	err := r.body.Close()
	r.body = nil
	return err
}

// address is where an object is. Buckets with a dot in their name match no certificate, so they go into the path.
func (s *s3) address(key string) *url.URL {
	u := *s.endpoint
	if s.pathStyle {
		key = s.bucket + "/" + key
	} else {
		u.Host = s.bucket + "." + u.Host
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + "/" + key
	u.RawPath = escapePath(u.Path)
	return &u
}

func (s *s3) copySource(key string) string { return escapePath("/" + s.bucket + "/" + key) }
