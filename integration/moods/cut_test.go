//go:build integration

package moods

import (
	"math/rand/v2"
	"testing"

	"github.com/ibuild/ibuild/registry"
)

// A large blob, in bytes, and what an upload may send of it that is cut twice at 60 %, in parts of its size.
const (
	cutBlob  = 104 << 20
	mostSent = 1.15
)

// TestCutTwice: an upload goes on where it was cut.
func TestCutTwice(t *testing.T) {
	data := make([]byte, cutBlob)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(data) // it never fails
	blob := newPart("application/octet-stream", data)
	r := &round{plan: CutTwice(0.6), met: newTally()}
	proxy, client, _ := r.proxy(t, nil)
	traffic := &registry.Traffic{}
	if err := client.PushBlob(t.Context(), proxy.Host+"/moods/cut", blob.blob(), traffic); err != nil {
		t.Fatal(err)
	}
	if cuts := len(proxy.Happened()); cuts != 2 {
		t.Fatalf("the upload was cut %d times", cuts)
	}
	sent := proxy.BytesUp()
	t.Logf("%d bytes came of %d: %.3f times; the client says that it sent %d", sent, cutBlob, float64(sent)/cutBlob, traffic.Now().Sent)
	if float64(sent) > mostSent*cutBlob {
		t.Errorf("%d bytes came of %d", sent, cutBlob)
	}
	if told := traffic.Now().Sent; told < sent {
		t.Errorf("the client counts %d bytes, and %d came", told, sent)
	}
	url := "http://" + shared.env.Registry.Addr + "/v2/moods/cut/blobs/" + blob.Digest.String()
	if err := sameBytes(t.Context(), url, "", data); err != nil {
		t.Error(err)
	}
}
