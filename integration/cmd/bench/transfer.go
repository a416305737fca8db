package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ibuild/ibuild/integration/moods"
	"github.com/ibuild/ibuild/registry"
)

// readAll returns the bytes of a folder's files, one after the other.
func readAll(dir string) ([]byte, error) {
	var all []byte
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		all = append(all, data...)
		return err
	})
	return all, err
}

// randomBlob is a blob that is made while it is read, a piece at a time: the same one for the same seed.
func randomBlob(seed byte, size int64) (registry.Blob, error) {
	open := func(offset int64) (io.ReadCloser, error) {
		random := rand.NewChaCha8([32]byte{seed})
		if _, err := io.CopyN(io.Discard, random, offset); err != nil {
			return nil, err
		}
		return io.NopCloser(io.LimitReader(random, size-offset)), nil
	}
	r, err := open(0)
	if err != nil {
		return registry.Blob{}, err
	}
	d, err := digest.FromReader(r)
	return registry.Blob{Descriptor: ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageLayer, Digest: d, Size: size}, Open: open}, err
}

// pushCut is row p3: what goes up of a blob whose upload is cut twice, each time at 60 % of what is left. That it is
// at most 1.15 times the blob is a test (package moods).
func (b *bench) pushCut() error {
	blob, err := randomBlob(3, min(b.bytes, 256<<20))
	if err != nil {
		return err
	}
	proxy, err := moods.Start(moods.CutTwice(0.6), moods.Options{Registry: b.env.Registry.Addr, Patience: time.Second})
	if err != nil {
		return err
	}
	defer proxy.Close()
	client := registry.New(registry.Options{Keychain: registry.StaticKeychain(nil)})
	if err := client.PushBlob(b.ctx, proxy.Host+"/bench/p3", blob, nil); err != nil {
		return err
	}
	if cuts := len(proxy.Happened()); cuts != 2 {
		return fmt.Errorf("the upload was cut %d times", cuts)
	}
	ratio := float64(proxy.BytesUp()) / float64(blob.Size)
	met := ", met"
	if ratio > 1.15 {
		met = ", missed"
	}
	fmt.Printf("| p3 upload of %.0f MB, cut twice at 60 %%: bytes sent | %.2f times the blob | | | | ≤ 1.15%s |\n", float64(blob.Size)/1e6, ratio, met)
	return nil
}

// copyLayers is the number of layers of the image of row p4.
const copyLayers = 4

// copyWithin is row p4: a copy of a large image within one registry.
func (b *bench) copyWithin() error {
	if err := b.findCrane(); err != nil {
		return err
	}
	host := b.env.Registry.Addr
	from := host + "/bench/p4-source:1"
	if err := b.pushRandomImage(from, b.bytes/copyLayers); err != nil {
		return err
	}
	m := b.machine("copy", "")
	use := &usage{sent: map[string]int64{}}
	copySide := func(name, repo string, g goal, run func(to string) *exec.Cmd) side {
		to := host + "/" + repo + ":1"
		return side{name: name, goal: g,
			before: func() error { return b.emptyRepo(repo) },
			run: func() error {
				return b.counted(name, use, func() error { _, err := timed(run(to)); return err })
			}}
	}
	sides := []side{
		copySide("ibuild", "bench/p4-ibuild", goal{}, func(to string) *exec.Cmd { return m.plain("copy", from, to) }),
		copySide("crane", "bench/p4-crane", goal{}, func(to string) *exec.Cmd {
			cmd := exec.CommandContext(b.ctx, b.peers.crane, "copy", "--insecure", from, to)
			cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + b.dir}
			return cmd
		}),
	}
	mark := b.env.Registry.Mark()
	if _, err := b.hold(contest{work: "p4 " + b.amount() + " copied within one registry", sides: sides}); err != nil {
		return err
	}
	var moved int64
	for _, r := range b.env.Registry.Requests(mark) {
		if strings.Contains(r.Path, "/blobs/") && strings.HasPrefix(r.Path, "/v2/bench/p4-ibuild/") {
			moved += r.Sent + r.Received
		}
	}
	fmt.Printf("| p4: bytes of blobs that ibuild moved | %d | | | | 0 |\n", moved)
	return b.sameManifest(from, host+"/bench/p4-ibuild:1", host+"/bench/p4-crane:1")
}

// pushRandomImage pushes an image whose layers nobody else has.
func (b *bench) pushRandomImage(ref string, size int64) error {
	var blobs []registry.Blob
	var layers []ocispecs.Descriptor
	config := ocispecs.Image{Platform: ocispecs.Platform{OS: "linux", Architecture: goarch()}, RootFS: ocispecs.RootFS{Type: "layers"}}
	for i := range copyLayers {
		blob, err := randomBlob(byte(40+i), size)
		if err != nil {
			return err
		}
		blobs, layers = append(blobs, blob), append(layers, blob.Descriptor)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, blob.Digest)
	}
	conf, err := document(ocispecs.MediaTypeImageConfig, config)
	if err != nil {
		return err
	}
	manifest := ocispecs.Manifest{MediaType: ocispecs.MediaTypeImageManifest, Config: conf.Descriptor, Layers: layers}
	manifest.SchemaVersion = 2
	root, err := document(ocispecs.MediaTypeImageManifest, manifest)
	if err != nil {
		return err
	}
	client := registry.New(registry.Options{Keychain: registry.StaticKeychain(nil)})
	return client.Push(b.ctx, registry.Upload{Repository: ref[:strings.LastIndex(ref, ":")], Blobs: append(blobs, conf.Blob()), Manifests: []registry.Content{root}, Tags: []string{ref}})
}

// sameManifest fails unless all names stand for the same bytes.
func (b *bench) sameManifest(refs ...string) error {
	var want []byte
	for _, ref := range refs {
		got, err := manifest(b.ctx, ref)
		if err != nil {
			return err
		}
		if want == nil {
			want = got
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s is another image than %s", ref, refs[0])
		}
	}
	return nil
}

// document is a value as a part of an image.
func document(mediaType string, v any) (registry.Content, error) {
	data, err := json.Marshal(v)
	return registry.Content{Descriptor: ocispecs.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}, Bytes: data}, err
}

func manifest(ctx context.Context, ref string) ([]byte, error) {
	host, rest, _ := strings.Cut(ref, "/")
	i := strings.LastIndex(rest, ":")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/v2/%s/manifests/%s", host, rest[:i], rest[i+1:]), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", ocispecs.MediaTypeImageManifest)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", ref, resp.Status)
	}
	return io.ReadAll(resp.Body)
}
