package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/registry/codec"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// dockerIndexFile is what an archive of docker save says of itself.
const dockerIndexFile = "manifest.json"

// dockerImage is an image in docker's archives: the names of files. Before docker 25 there is no more than that, and
// no manifest.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// readDocker reads manifest.json.
func (l *Layout) readDocker() error {
	data, err := l.read(dockerIndexFile, maxArchiveIndex)
	if err != nil {
		return err
	}
	list, err := decodeDockerIndex(data)
	if err != nil {
		return &LayoutError{l.name, dockerIndexFile + ": " + err.Error()}
	}
	for _, d := range list {
		img := LayoutImage{docker: &d}
		for _, tag := range d.RepoTags {
			named, err := reference.ParseNormalizedNamed(tag)
			if err != nil {
				return &LayoutError{l.name, fmt.Sprintf("%s: %q is no name of an image", dockerIndexFile, printable(tag))}
			}
			img.Names = append(img.Names, reference.TagNameOnly(named).String())
		}
		l.images = append(l.images, img)
	}
	return nil
}

func decodeDockerIndex(data []byte) ([]dockerImage, error) {
	var raw []json.RawMessage // counted before they are decoded
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, errors.New("not valid JSON: " + printable(err.Error()))
	}
	if len(raw) > maxArchiveImages {
		return nil, fmt.Errorf("%d images, more than the limit of %d", len(raw), maxArchiveImages)
	}
	list := make([]dockerImage, len(raw))
	for i, r := range raw {
		if err := json.Unmarshal(r, &list[i]); err != nil {
			return nil, errors.New("not valid JSON: " + printable(err.Error()))
		}
		if n := len(list[i].Layers); n > maxLayers {
			return nil, fmt.Errorf("an image of %d layers, more than the limit of %d", n, maxLayers)
		}
	}
	return list, nil
}

// FromLayout returns an image of a layout. One in docker's old form gets a manifest, of docker's types, and its layers
// are compressed with gzip into the cache, where the next call finds them. Errors: *LayoutError, or those of files.
func (c *Client) FromLayout(ctx context.Context, l *Layout, img LayoutImage) (Source, error) {
	if img.docker == nil {
		return l.Source(img)
	}
	src := &layoutSource{layout: l, made: map[digest.Digest]Blob{}}
	if err := c.convert(ctx, src, img.docker); err != nil {
		var missing *fs.PathError
		if errors.As(err, &missing) && errors.Is(err, fs.ErrNotExist) {
			err = &LayoutError{l.name, fmt.Sprintf("%s names %q, which is not in it", dockerIndexFile, printable(missing.Path))}
		}
		return nil, err
	}
	return src, nil
}

// convert makes a manifest for an image in docker's old form.
func (c *Client) convert(ctx context.Context, src *layoutSource, d *dockerImage) error {
	l := src.layout
	config, err := l.read(d.Config, c.limits.config)
	if err != nil {
		return err
	}
	var decoded struct {
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(config, &decoded); err != nil {
		return &LayoutError{l.name, "the image config: " + printable(err.Error())}
	}
	if n := len(decoded.RootFS.DiffIDs); n != len(d.Layers) {
		return &LayoutError{l.name, fmt.Sprintf("the config has %d layers, %s %d", n, dockerIndexFile, len(d.Layers))}
	}
	m := ocispecs.Manifest{MediaType: dockerManifest}
	m.SchemaVersion = 2
	m.Config = src.keep(dockerConfig, config)
	for i, name := range d.Layers {
		layer, err := c.convertLayer(ctx, l, name, decoded.RootFS.DiffIDs[i])
		if err != nil {
			return err
		}
		src.made[layer.Digest] = layer
		m.Layers = append(m.Layers, ocispecs.Descriptor{MediaType: layer.MediaType, Digest: layer.Digest, Size: layer.Size})
	}
	raw, err := encode(m)
	if err != nil {
		return err
	}
	src.root = src.keep(dockerManifest, raw)
	return nil
}

// keep adds a small document to what was made.
func (s *layoutSource) keep(mediaType string, data []byte) ocispecs.Descriptor {
	c := newContent(mediaType, data)
	s.made[c.Digest] = c.Blob()
	return c.Descriptor
}

// convertLayer finds out what a layer is, and compresses it if it is not.
func (c *Client) convertLayer(ctx context.Context, l *Layout, name string, diffID digest.Digest) (Blob, error) {
	if err := diffID.Validate(); err != nil {
		return Blob{}, &LayoutError{l.name, "the image config has no valid digest for " + printable(name)}
	}
	f, err := l.files.open(name)
	if err != nil {
		return Blob{}, err
	}
	defer f.closer.Close()
	start := make([]byte, 4)
	n, _ := f.ReadAt(start, 0)
	mediaType := map[string]string{"gzip": dockerLayerGzip, "zstd": dockerLayerZstd}[compressionOf(start[:n])]
	if mediaType == "" {
		return c.compressLayer(ctx, l, f, name, diffID)
	}
	sum, err := digest.FromReader(&contextReader{ctx, io.NewSectionReader(f, 0, f.size)})
	if err != nil {
		return Blob{}, err
	}
	desc := ocispecs.Descriptor{MediaType: mediaType, Digest: sum, Size: f.size}
	return Blob{Descriptor: desc, Open: func(offset int64) (io.ReadCloser, error) {
		f, err := l.files.open(name)
		if err != nil {
			return nil, err
		}
		return section(l.name, f, desc, offset), nil
	}}, nil
}

// compressLayer brings a layer into the cache, compressed, unless it is there.
func (c *Client) compressLayer(ctx context.Context, l *Layout, f layoutFile, name string, diffID digest.Digest) (Blob, error) {
	if c.opts.Cache == nil {
		return Blob{}, errors.New("there is no cache to compress layers into")
	}
	way, err := codec.New(codec.Gzip, 0)
	if err != nil {
		return Blob{}, err
	}
	done := cache.Bucket[ocispecs.Descriptor](c.opts.Cache, "compressed/1")
	key := diffID.String() + " " + way.Key()
	desc, ok := done.Get(key)
	if !ok || !c.opts.Cache.HasBlob(desc) {
		if desc, err = compressInto(ctx, c.opts.Cache, way, io.NewSectionReader(f, 0, f.size), diffID); err != nil {
			return Blob{}, fmt.Errorf("%s: %s: %w", l.name, printable(name), err)
		}
		_ = done.Put(key, desc) // forgotten, it is compressed again
	}
	desc.MediaType = dockerLayerGzip
	return Blob{Descriptor: desc, Open: func(offset int64) (io.ReadCloser, error) {
		rc, ok := c.openCached(ctx, desc, offset)
		if !ok {
			return nil, fmt.Errorf("%s is no longer in the cache: %w", desc.Digest, fs.ErrNotExist)
		}
		return rc, nil
	}}, nil
}

// compressInto compresses what r delivers, which must have the digest diffID, into a cache.
func compressInto(ctx context.Context, to *cache.Store, way codec.Codec, r io.Reader, diffID digest.Digest) (ocispecs.Descriptor, error) {
	store, err := to.Content()
	if err != nil {
		return ocispecs.Descriptor{}, err
	}
	ref := cache.IngestRef("compressed")
	w, err := content.OpenWriter(ctx, store, content.WithRef(ref))
	if err != nil {
		return ocispecs.Descriptor{}, err
	}
	defer w.Close()
	desc, err := compressTo(ctx, w, way, r, diffID)
	if err == nil {
		if err = w.Commit(ctx, desc.Size, desc.Digest); errdefs.IsAlreadyExists(err) {
			err = nil
		}
	}
	if err != nil {
		w.Close()
		_ = store.Abort(context.WithoutCancel(ctx), ref)
	}
	return desc, err
}

func compressTo(ctx context.Context, w io.Writer, way codec.Codec, r io.Reader, diffID digest.Digest) (ocispecs.Descriptor, error) {
	sum, check := digest.Canonical.Digester(), diffID.Verifier()
	out := &counter{w: io.MultiWriter(w, sum.Hash())}
	compressed, err := way.NewWriter(out)
	if err != nil {
		return ocispecs.Descriptor{}, err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{compressed}, io.TeeReader(&contextReader{ctx, r}, check), make([]byte, 1<<20))
	if err = errors.Join(err, compressed.Close()); err != nil {
		return ocispecs.Descriptor{}, err
	}
	if !check.Verified() {
		return ocispecs.Descriptor{}, errors.New("the layer does not have the digest that the image config gives it")
	}
	return ocispecs.Descriptor{Digest: sum.Digest(), Size: out.n}, nil
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
