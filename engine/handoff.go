package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/engine/export"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/registry/codec"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// limited is a Builder that may not know a way to compress.
type limited interface{ Compresses(name string) bool }

// withoutZstd asks a builder that does not know zstd for gzip, which all know.
func (b *build) withoutZstd(exports []client.ExportEntry) []client.ExportEntry {
	l, ok := b.builder.(limited)
	if !ok || l.Compresses(codec.Zstd) {
		return exports
	}
	key := string(exptypes.OptKeyLayerCompression)
	for i, e := range exports {
		if e.Attrs[key] != codec.Zstd {
			continue
		}
		b.Progress.Known("the builder does not know zstd: layers are compressed with gzip")
		exports = slices.Clone(exports)
		exports[i].Attrs = maps.Clone(e.Attrs)
		exports[i].Attrs[key] = codec.Gzip
		delete(exports[i].Attrs, string(exptypes.OptKeyCompressionLevel)) // it means something else
	}
	return exports
}

// handsOver is a Builder whose exporter of images can hand them over while they are made (see package export).
type handsOver interface{ HandsOver() bool }

// takeOver turns the push of a builder that can hand images over into one of this process. The receiver is nil, and the
// exports are as they were, for all others.
func (b *build) takeOver(exports []client.ExportEntry, stop context.CancelCauseFunc) ([]client.ExportEntry, *receiver) {
	i := pushed(exports)
	h, ok := b.builder.(handsOver)
	if i < 0 || !ok || !h.HandsOver() {
		return exports, nil
	}
	exports = slices.Clone(exports)
	attrs := map[string]string{export.AttrHandOff: "true"}
	for key, value := range exports[i].Attrs {
		if key != "push" && key != "push-by-digest" && key != "name" {
			attrs[key] = value
		}
	}
	repos := strings.Split(exports[i].Attrs["name"], ",")
	exports[i].Attrs = attrs
	return exports, &receiver{build: b, repos: repos, stop: stop, over: make(chan struct{})}
}

// pushed is the place of the export that a builder is asked to push, -1 when there is none.
func pushed(exports []client.ExportEntry) int {
	return slices.IndexFunc(exports, func(e client.ExportEntry) bool { return e.Type == client.ExporterImage && e.Attrs["push"] == "true" })
}

// receiver pushes an image while the in-process BuildKit makes it: to the first repository as the layers grow, and from
// there, or from the engine's files, to the others.
type receiver struct {
	build *build
	repos []string
	stop  context.CancelCauseFunc // ends the solve

	pushes sync.WaitGroup // of parts, before the image is whole
	show   sync.Once
	over   chan struct{} // closed when all is pushed, or nothing more will be
	shown  sync.WaitGroup

	mu      sync.Mutex
	traffic *registry.Traffic
	ended   bool
	whole   bool  // all of the image is pushed
	err     error // the first one of pushing
}

// begin says whether a push may begin; who begins one says when it is done.
func (r *receiver) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.pushes.Add(1)
	}
	return !r.ended
}

// Made pushes layers while others are compressed.
func (r *receiver) Made(ctx context.Context, made export.Made) {
	if !r.begin() {
		return
	}
	defer r.pushes.Done()
	up := registry.Upload{Repository: r.repos[0], Traffic: r.watched()}
	for _, desc := range made.Layers {
		if !images.IsNonDistributable(desc.MediaType) {
			up.Blobs = append(up.Blobs, r.blob(engineBlobs(made.Blobs), desc, made.Sources[desc.Digest]))
		}
	}
	r.mayDeny(ctx, r.build.Registry.Push(ctx, up))
}

// Layer pushes a layer while it grows.
func (r *receiver) Layer(ctx context.Context, l *export.Layer) {
	if !r.begin() {
		return
	}
	defer r.pushes.Done()
	_, err := r.build.Registry.PushGrowing(ctx, r.repos[0], l, r.watched())
	r.mayDeny(ctx, err)
}

// mayDeny ends the build when the registry does not let us in. What else comes in the way of a layer is tried again
// when the image is whole.
func (r *receiver) mayDeny(ctx context.Context, err error) {
	if errors.Is(err, registry.ErrDenied) && ctx.Err() == nil {
		r.fail(err)
		r.stop(err)
	}
}

// Image pushes what is left of the image, and its manifests; tags come later.
func (r *receiver) Image(ctx context.Context, img export.Image) error {
	err := r.push(ctx, img)
	if err != nil {
		r.fail(err)
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.whole = true
	return nil
}

func (r *receiver) push(ctx context.Context, img export.Image) error {
	for i, repo := range r.repos {
		up, err := r.upload(img, repo)
		if err != nil {
			return err
		}
		if i == 0 {
			r.pushConfigs(ctx, up)
		}
		if i > 0 { // the first one has all of it by now
			for j := range up.Blobs {
				up.Blobs[j].From = r.repos[0]
			}
		}
		if err := r.build.Registry.Push(ctx, up); err != nil {
			return err
		}
	}
	return nil
}

// pushConfigs sends what is new while the last layers are on their way, and waits for them. What fails here is tried
// again with the whole image, which says so if it fails again.
func (r *receiver) pushConfigs(ctx context.Context, up registry.Upload) {
	up.Manifests = nil
	up.Blobs = slices.DeleteFunc(slices.Clone(up.Blobs), func(b registry.Blob) bool { return !b.New })
	_ = r.build.Registry.Push(ctx, up)
	r.pushes.Wait()
}

func (r *receiver) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// failure is why nothing was pushed, if pushing was the reason.
func (r *receiver) failure() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// outcome is what people are told of the push: one that is over before the image is whole was given up.
func (r *receiver) outcome() error {
	if err := r.failure(); err != nil || r.whole {
		return err
	}
	return context.Canceled
}

// watched returns the counters of the push, and has them shown from the first call on.
func (r *receiver) watched() *registry.Traffic {
	r.show.Do(func() {
		started := make(chan struct{})
		r.shown.Go(func() {
			_ = r.build.transfer("push "+strings.Join(r.repos, ", "), func(t *registry.Traffic) error {
				r.traffic = t
				close(started)
				<-r.over
				return r.outcome()
			})
		})
		<-started
	})
	return r.traffic
}

// end waits for what is still on its way, as the session of the build has ended, and until all is shown. It does
// nothing for nil.
func (r *receiver) end() {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.pushes.Wait()
	close(r.over)
	r.shown.Wait()
}

// upload lists all that makes up the image. What is not among the engine's blobs is in a repository of a base image.
func (r *receiver) upload(img export.Image, repo string) (registry.Upload, error) {
	up := registry.Upload{Repository: repo, Traffic: r.watched()}
	store := engineBlobs(img.Blobs)
	var walk func(desc ocispecs.Descriptor) error
	walk = func(desc ocispecs.Descriptor) error {
		if !images.IsManifestType(desc.MediaType) && !images.IsIndexType(desc.MediaType) {
			if !images.IsNonDistributable(desc.MediaType) {
				up.Blobs = append(up.Blobs, r.blob(store, desc, img.Sources[desc.Digest]))
			}
			return nil
		}
		data, err := store.document(desc)
		if err != nil {
			return err
		}
		var doc struct {
			Config    *ocispecs.Descriptor
			Layers    []ocispecs.Descriptor
			Manifests []ocispecs.Descriptor
		}
		if err := json.Unmarshal(data, &doc); err != nil {
			return err
		}
		below := append(doc.Layers, doc.Manifests...)
		if doc.Config != nil {
			below = append(below, *doc.Config)
		}
		for _, d := range below {
			if err := walk(d); err != nil {
				return err
			}
		}
		up.Manifests = append(up.Manifests, registry.Content{Descriptor: plainDescriptor(desc), Bytes: data})
		return nil
	}
	return up, walk(img.Root)
}

// blob is one blob of the image.
func (r *receiver) blob(store engineBlobs, desc ocispecs.Descriptor, sources []string) registry.Blob {
	b := registry.Blob{Descriptor: plainDescriptor(desc), From: r.build.resolver.repository(sources)}
	b.New = images.IsConfigType(desc.MediaType) // no repository has it
	if store.has(desc) {
		b.Open = func(offset int64) (io.ReadCloser, error) { return store.open(desc.Digest, offset) }
		b.Trusted = true
	}
	return b
}

// plainDescriptor is what a push needs of a descriptor.
func plainDescriptor(d ocispecs.Descriptor) ocispecs.Descriptor {
	return ocispecs.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// engineBlobs is the folder with the in-process engine's blobs, which it names by their digests. It is this user's own.
type engineBlobs string

func (s engineBlobs) path(d digest.Digest) string {
	return filepath.Join(string(s), d.Algorithm().String(), d.Encoded())
}

func (s engineBlobs) has(desc ocispecs.Descriptor) bool {
	if desc.Digest.Validate() != nil {
		return false
	}
	info, err := os.Stat(s.path(desc.Digest))
	return err == nil && info.Mode().IsRegular() && info.Size() == desc.Size
}

func (s engineBlobs) open(d digest.Digest, offset int64) (io.ReadCloser, error) {
	f, err := os.Open(s.path(d))
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// maxDocument is how large a manifest of the engine may be, in bytes: more than registries take.
const maxDocument = 16 << 20

func (s engineBlobs) document(desc ocispecs.Descriptor) ([]byte, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, err
	}
	if desc.Size > maxDocument {
		return nil, fmt.Errorf("a manifest of %d bytes", desc.Size)
	}
	rc, err := s.open(desc.Digest, 0)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(io.LimitReader(rc, maxDocument))
}

// repository is the repository, among those that images of this build were resolved in and those of its caches, that
// one of the sources is; sources have no ports, but where they are caches. "" when there is none.
func (r *resolver) repository(sources []string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, repo := range r.repos {
		named, err := reference.ParseNormalizedNamed(repo)
		if err != nil {
			continue
		}
		host, _, _ := strings.Cut(reference.Domain(named), ":")
		if slices.Contains(sources, host+"/"+reference.Path(named)) || slices.Contains(sources, repo) {
			return repo
		}
	}
	return ""
}
