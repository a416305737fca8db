package objectcache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// s3At is a bucket at a server, with credentials that must not leave it.
func s3At(t *testing.T, url string, more ...string) *bucket {
	t.Helper()
	attrs := map[string]string{"bucket": "b", "region": "r", "endpoint_url": url, "use_path_style": "true", "access_key_id": "ID", "secret_access_key": "CANARY"}
	for i := 0; i < len(more); i += 2 {
		attrs[more[i]] = more[i+1]
	}
	b, err := newS3(attrs)
	if err != nil {
		t.Fatal(err)
	}
	b.wait = func(context.Context, time.Duration) error { return nil }
	return b
}

func TestS3Addresses(t *testing.T) {
	for _, c := range []struct {
		attrs map[string]string
		want  string
	}{
		{map[string]string{"bucket": "b", "region": "eu-west-1"}, "https://b.s3.eu-west-1.amazonaws.com/p/sha256%3A1%20%2B"},
		{map[string]string{"bucket": "a.b", "region": "cn-north-1"}, "https://s3.cn-north-1.amazonaws.com.cn/a.b/p/sha256%3A1%20%2B"},
		{map[string]string{"bucket": "b", "region": "x", "endpoint_url": "http://h:1/"}, "http://b.h:1/p/sha256%3A1%20%2B"},
		{map[string]string{"bucket": "b", "region": "x", "endpoint_url": "http://h:1/s3", "use_path_style": "true"}, "http://h:1/s3/b/p/sha256%3A1%20%2B"},
	} {
		b, err := newS3(c.attrs)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.address("p/sha256:1 +").String(); got != c.want {
			t.Errorf("%v: %s, want %s", c.attrs, got, c.want)
		}
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ kind, key, value, want string }{
		{"s3", "bucket", "", "bucket and region"},
		{"s3", "endpoint_url", "storage.example.com", "endpoint_url is not an address"},
		{"s3", "endpoint_url", "ftp://h", "endpoint_url is not an address"},
		{"s3", "touch_refresh", "day", "touch_refresh"},
		{"s3", "upload_parallelism", "0", "upload_parallelism"},
		{"s3", "retry_mode", "adaptive", "only standard"},
		{"s3", "retry_max_attempts", "-1", "retry_max_attempts"},
		{"gha", "version", "3", "version"},
		{"gha", "timeout", "soon", "timeout"},
		{"gha", "url", "", "url is missing"},
		{"gha", "token", "x", "token"},
		{"azblob", "name", "x", "no caches of type azblob"},
	} {
		attrs := map[string]string{"bucket": "b", "region": "r", "url": "http://h", "token": "x"}
		attrs[c.key] = c.value
		if _, err := open(c.kind, attrs); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s=%s: %v", c.kind, c.key, c.value, err)
		}
	}
}

// TestS3Moods: servers fail for moments, refuse, send elsewhere and lie.
func TestS3Moods(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a request to another host, with %q", r.Header.Get("Authorization"))
	}))
	defer other.Close()
	for what, c := range map[string]struct {
		answer func(n int32, w http.ResponseWriter)
		want   string // of the error, "" for none
		asked  int32
	}{
		"fails twice": {func(n int32, w http.ResponseWriter) {
			if n < 3 {
				w.WriteHeader(503)
			}
		}, "", 3},
		"fails": {func(_ int32, w http.ResponseWriter) { w.WriteHeader(500) }, "500", 3},
		"refuses": {func(_ int32, w http.ResponseWriter) {
			w.WriteHeader(403)
			_, _ = io.WriteString(w, "<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>")
		}, "SignatureDoesNotMatch no", 1},
		"redirects": {func(_ int32, w http.ResponseWriter) {
			w.Header().Set("Location", other.URL)
			w.WriteHeader(307)
		}, "307", 1},
		"is elsewhere": {func(_ int32, w http.ResponseWriter) {
			w.Header().Set("X-Amz-Bucket-Region", "eu-north-1")
			w.WriteHeader(301)
		}, "is in the region eu-north-1, not in r", 1},
		"has no bucket": {func(_ int32, w http.ResponseWriter) {
			w.WriteHeader(404)
			_, _ = io.WriteString(w, "<Error><Code>NoSuchBucket</Code></Error>")
		}, "there is no bucket b", 1},
		"talks without an end": {func(_ int32, w http.ResponseWriter) {
			w.WriteHeader(400)
			_, _ = w.Write(bytes.Repeat([]byte("<x>"), 1<<20))
		}, "400", 1},
	} {
		var n atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { c.answer(n.Add(1), w) }))
		err := s3At(t, server.URL).setIndex(t.Context(), []byte("{}"))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("a server that %s: %v, want %q", what, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "CANARY") {
			t.Errorf("a server that %s: the secret is in %v", what, err)
		}
		if n.Load() != c.asked {
			t.Errorf("a server that %s was asked %d times, not %d", what, n.Load(), c.asked)
		}
		server.Close()
	}
}

// TestRangesSurviveCuts: a layer whose download is cut is read on from there.
func TestRangesSurviveCuts(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 100_000)
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Range"))
		if len(asked) == 1 {
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(data[:300_000])
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "x", time.Time{}, bytes.NewReader(data))
	}))
	defer server.Close()
	ra, err := s3At(t, server.URL).open(t.Context(), ocispecs.Descriptor{Size: int64(len(data))})
	if err != nil {
		t.Fatal(err)
	}
	defer ra.Close()
	var got []byte
	p := make([]byte, 64<<10)
	for tries := 0; len(got) < len(data) && tries < 100; tries++ {
		n, _ := ra.ReadAt(p, int64(len(got)))
		got = append(got, p[:n]...)
	}
	if !bytes.Equal(got, data) || len(asked) != 2 {
		t.Errorf("%d bytes of %d, asked for %q", len(got), len(data), asked)
	}
	if n, err := ra.ReadAt(p, int64(len(data))); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("behind the end: %d, %v", n, err)
	}
}

// emptyStore has no layers.
type emptyStore struct{ store }

func (emptyStore) has(context.Context, ocispecs.Descriptor) (bool, error) { return false, nil }

// FuzzIndex: whoever can write to a cache says what is in its index.
func FuzzIndex(f *testing.F) {
	const d = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	layer := `{"blob":"` + d + `","parent":-1,"annotations":{"diffID":"` + d + `","size":3,"createdAt":"2020-01-01T00:00:00Z"}}`
	for _, s := range []string{`{}`, `{"layers":[` + layer + `],"records":[{"digest":"` + d + `","layers":[{"layer":0}]},{"digest":"` + d + `","inputs":[[{"link":0}]]}]}`,
		`{"layers":[` + strings.Replace(layer, "-1", "0", 1) + `],"records":[{"digest":"x","layers":[{"layer":0}]}]}`, `{"layers":[` + strings.Replace(layer, "-1", "7", 1) + `]}`,
		`{"records":[{"inputs":[[{"link":0}]]}]}`, `{"layers":[{"blob":"x"}]}`, `[`, `{"records":[{"layers":[{"layer":-5}]}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		i := &importer{emptyStore{}}
		if chains, err := i.read(bytes.NewReader(data)); err == nil {
			_, _, _ = chains.Marshal(context.Background())
		}
	})
}
