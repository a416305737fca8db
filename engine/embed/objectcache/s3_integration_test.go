//go:build integration

package objectcache

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/ibuild/ibuild/integration/testenv"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// bytesAt is a layer in memory.
type bytesAt struct{ *bytes.Reader }

func (bytesAt) Close() error { return nil }

func layerOf(data []byte) (ocispecs.Descriptor, content.ReaderAt) {
	return ocispecs.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}, bytesAt{bytes.NewReader(data)}
}

// TestS3Server: a server that verifies signatures and the digests of what it gets.
func TestS3Server(t *testing.T) {
	env, err := testenv.Start(t.Context(), testenv.Options{Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	defer env.Close()
	server, err := env.StartS3(t.Context(), "builds", "the-secret-of-this-test")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	attrs := map[string]string{"bucket": "builds", "region": server.Region, "endpoint_url": server.URL, "use_path_style": "true",
		"access_key_id": server.KeyID, "secret_access_key": server.Secret, "prefix": "team a/ü+", "name": "main;branch", "touch_refresh": "0s"}
	b, err := newS3(attrs)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1000, largestPut + 3*partSize/2} {
		data := make([]byte, size)
		_, _ = rand.Read(data)
		desc, from := layerOf(data)
		holds(t, b, desc, false)
		if err := b.put(t.Context(), desc, from); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		before := written(t, b, desc)
		time.Sleep(1100 * time.Millisecond) // times of objects are in seconds
		holds(t, b, desc, true)
		if after := written(t, b, desc); after == before {
			t.Errorf("%d bytes: an old layer is not written anew", size)
		}
		ra, err := b.open(t.Context(), desc)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(ra, 0, desc.Size))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: read %d, %v", size, len(got), err)
		}
		ra.Close()
	}
	indexes(t, b, attrs)
	wrong, err := newS3(map[string]string{"bucket": "builds", "region": server.Region, "endpoint_url": server.URL, "use_path_style": "true", "access_key_id": server.KeyID, "secret_access_key": "wrong"})
	if err != nil {
		t.Fatal(err)
	}
	if err := wrong.setIndex(t.Context(), []byte("{}")); err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
		t.Errorf("a wrong secret: %v", err)
	}
	elsewhere, err := newS3(map[string]string{"bucket": "none", "region": server.Region, "endpoint_url": server.URL, "use_path_style": "true", "access_key_id": server.KeyID, "secret_access_key": server.Secret})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere.index(t.Context()); err == nil || !strings.Contains(err.Error(), "no bucket none") {
		t.Errorf("a bucket that is not there: %v", err)
	}
}

// written is the mark of the last copy. This server takes copies, and keeps the time of the first writing; S3 does not.
func written(t *testing.T, b *bucket, desc ocispecs.Descriptor) string {
	t.Helper()
	resp, err := b.do(t.Context(), request{method: http.MethodHead, key: b.layerKey(desc)})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.Header.Get("X-Amz-Meta-Updated-At")
}

func holds(t *testing.T, b *bucket, desc ocispecs.Descriptor, want bool) {
	t.Helper()
	if got, err := b.has(t.Context(), desc); err != nil || got != want {
		t.Errorf("%d bytes: there %v, %v", desc.Size, got, err)
	}
}

// indexes holds that all names get the index, and that each can be read.
func indexes(t *testing.T, b *bucket, attrs map[string]string) {
	t.Helper()
	if list, err := b.index(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("before the first build: %v, %v", list, err)
	}
	if err := b.setIndex(context.Background(), []byte(`{"records":[]}`)); err != nil {
		t.Fatal(err)
	}
	attrs["name"] = "branch"
	second, err := newS3(attrs)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []*bucket{b, second} {
		list, err := b.index(t.Context())
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		data, err := io.ReadAll(list[0])
		list[0].Close()
		if err != nil || string(data) != `{"records":[]}` {
			t.Errorf("%s, %v", data, err)
		}
	}
}
