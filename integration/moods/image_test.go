//go:build integration

package moods

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ibuild/ibuild/registry"
)

// Sizes of layers in bytes: those of the base, which another repository has; then one that is worth sending while it
// is made, one that goes up in one request, and small ones.
const (
	baseLayer   = 3 << 20
	largeLayer  = 12 << 20
	middleLayer = 6 << 20
	smallLayer  = 300 << 10
)

// platform is what the image says that it is for.
var platform = ocispecs.Platform{OS: "linux", Architecture: "amd64"}

// baseRepo has the base's layer.
const baseRepo = "moods/base"

// image is an index of one image, in memory. Its first layer is the base's, its second one the large one.
type image struct {
	layers    []part
	config    part
	manifests []registry.Content // the index last
}

type part struct {
	ocispecs.Descriptor
	data []byte
}

func newPart(mediaType string, data []byte) part {
	return part{ocispecs.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}, data}
}

// newImage makes an image, the same one for the same seed.
func newImage(seed byte) *image {
	random := rand.NewChaCha8([32]byte{seed})
	i := &image{}
	for _, size := range []int{baseLayer, largeLayer, middleLayer, smallLayer, smallLayer, smallLayer} {
		data := make([]byte, size)
		_, _ = random.Read(data) // it never fails
		i.layers = append(i.layers, newPart(ocispecs.MediaTypeImageLayerZstd, data))
	}
	config := ocispecs.Image{Platform: platform, RootFS: ocispecs.RootFS{Type: "layers"}}
	manifest := ocispecs.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispecs.MediaTypeImageManifest}
	for _, l := range i.layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.Digest)
		manifest.Layers = append(manifest.Layers, l.Descriptor)
	}
	i.config = newPart(ocispecs.MediaTypeImageConfig, mustJSON(config))
	manifest.Config = i.config.Descriptor
	m := newPart(ocispecs.MediaTypeImageManifest, mustJSON(manifest))
	entry := m.Descriptor
	entry.Platform = &config.Platform
	index := newPart(ocispecs.MediaTypeImageIndex, mustJSON(ocispecs.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispecs.MediaTypeImageIndex, Manifests: []ocispecs.Descriptor{entry}}))
	i.manifests = []registry.Content{{Descriptor: m.Descriptor, Bytes: m.data}, {Descriptor: index.Descriptor, Bytes: index.data}}
	return i
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// root is the index.
func (i *image) root() registry.Content { return i.manifests[len(i.manifests)-1] }

// blob is a part as package registry takes it.
func (p part) blob() registry.Blob {
	return registry.Blob{Descriptor: p.Descriptor, Open: func(offset int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(p.data[offset:])), nil
	}}
}

// upload is all of the image for a repository at a host, without the blobs of skip.
func (i *image) upload(host, repo string, skip digest.Digest, tags ...string) registry.Upload {
	up := registry.Upload{Repository: host + "/" + repo, Manifests: i.manifests, Blobs: []registry.Blob{i.config.blob()}}
	for n, l := range i.layers {
		b := l.blob()
		if n == 0 {
			b.From = host + "/" + baseRepo
		}
		if l.Digest != skip {
			up.Blobs = append(up.Blobs, b)
		}
	}
	for _, tag := range tags {
		up.Tags = append(up.Tags, up.Repository+":"+tag)
	}
	return up
}

// prepare puts the base's layer where it can be mounted from.
func (i *image) prepare(ctx context.Context, client *registry.Client, host string) error {
	return client.PushBlob(ctx, host+"/"+baseRepo, i.layers[0].blob(), nil)
}

// check reads the image past the proxy, and compares every byte with what it has to be.
func (i *image) check(ctx context.Context, host, repo string) error {
	var errs []error
	for _, m := range i.manifests {
		errs = append(errs, sameBytes(ctx, "http://"+host+"/v2/"+repo+"/manifests/"+m.Digest.String(), m.MediaType, m.Bytes))
	}
	for _, p := range append([]part{i.config}, i.layers...) {
		errs = append(errs, sameBytes(ctx, "http://"+host+"/v2/"+repo+"/blobs/"+p.Digest.String(), "", p.data))
	}
	return errors.Join(errs...)
}

func sameBytes(ctx context.Context, url, mediaType string, want []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if mediaType != "" {
		req.Header.Set("Accept", mediaType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
		return fmt.Errorf("%s: %s, %d bytes, want others (%d)", url, resp.Status, len(got), len(want))
	}
	return nil
}

// tagged is the digest that a tag stands for; empty for none.
func tagged(ctx context.Context, host, repo, tag string) (digest.Digest, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+host+"/v2/"+repo+"/manifests/"+tag, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", ocispecs.MediaTypeImageIndex+", "+ocispecs.MediaTypeImageManifest)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return "", nil
	}
	return digest.Digest(resp.Header.Get("Docker-Content-Digest")), nil
}

// maker is a blob that grows, a piece at a time, from when it is first asked for.
type maker struct {
	part
	begin sync.Once
	mu    sync.Mutex
	more  *sync.Cond
	size  int64
}

// A piece of a growing blob, in bytes, and how long it takes to make: 12 MB in a quarter of a second.
const (
	piece    = 256 << 10
	pieceFor = 5 * time.Millisecond
)

func newMaker(p part) *maker {
	m := &maker{part: p}
	m.more = sync.NewCond(&m.mu)
	return m
}

func (m *maker) start() {
	m.begin.Do(func() {
		go func() {
			for done := false; !done; {
				time.Sleep(pieceFor)
				m.mu.Lock()
				m.size = min(m.size+piece, m.Size)
				done = m.size == m.Size
				m.mu.Unlock()
				m.more.Broadcast()
			}
		}()
	})
}

// wait returns the size once it is more than size bytes, or whole.
func (m *maker) wait(size int64) int64 {
	m.start()
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.size <= size && m.size < m.Size {
		m.more.Wait()
	}
	return m.size
}

// Open implements registry.Growing.
func (m *maker) Open(offset int64) (io.ReadCloser, error) {
	return io.NopCloser(readerFunc(func(p []byte) (int, error) {
		end := m.wait(offset)
		n := copy(p, m.data[offset:end])
		offset += int64(n)
		if n == 0 {
			return 0, io.EOF
		}
		return n, nil
	})), nil
}

// Reached implements registry.Growing.
func (m *maker) Reached(_ context.Context, size int64) (bool, error) { return m.wait(size) > size, nil }

// Done implements registry.Growing.
func (m *maker) Done(context.Context) (ocispecs.Descriptor, error) {
	m.wait(m.Size)
	return m.Descriptor, nil
}
