package anatomy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/platforms"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/registry"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds of what is read of an image.
const (
	maxDocument = 8 << 20 // bytes of an index, manifest or config
	maxImages   = 200     // of an index
)

// Contents are the documents of an image.
type Contents struct {
	Root   ocispecs.Descriptor
	Index  bool    // the root is an index
	Images []Image // one per platform
	// Others are the entries of an index that are no images to run: attestations, facts about environments.
	Others []ocispecs.Descriptor
}

// Image is the image of one platform.
type Image struct {
	Platform    string // os/arch[/variant]
	Manifest    ocispecs.Descriptor
	Annotations map[string]string // of the manifest
	ConfigDesc  ocispecs.Descriptor
	Config      dockerspec.DockerOCIImage
	RawConfig   []byte // as it was read
	Layers      []Layer
}

// Layer is one layer with the step that made it.
type Layer struct {
	Desc   ocispecs.Descriptor // compressed
	DiffID digest.Digest       // of the uncompressed bytes
	// Step is what the history says of it, "" when history and layers do not agree in number.
	Step string
}

// FormatError says that a document of an image is not as it should be.
type FormatError struct {
	Digest digest.Digest
	Msg    string
}

func (e *FormatError) Error() string { return e.Digest.String() + ": " + e.Msg }

// Read reads the documents of an image, and no layers.
func Read(ctx context.Context, src Source) (*Contents, error) {
	c := &Contents{Root: src.Root()}
	if !registry.IsIndex(c.Root.MediaType) {
		img, err := readImage(ctx, src, c.Root)
		if err != nil {
			return nil, err
		}
		c.Images = []Image{img}
		return c, nil
	}
	c.Index = true
	var index ocispecs.Index
	if err := document(ctx, src, c.Root, &index); err != nil {
		return nil, err
	}
	if len(index.Manifests) > maxImages {
		return nil, &FormatError{c.Root.Digest, fmt.Sprintf("an index of %d entries, more than %d", len(index.Manifests), maxImages)}
	}
	for _, m := range index.Manifests {
		if !registry.IsImage(m) {
			c.Others = append(c.Others, m)
			continue
		}
		img, err := readImage(ctx, src, m)
		if err != nil {
			return nil, err
		}
		c.Images = append(c.Images, img)
	}
	return c, nil
}

func readImage(ctx context.Context, src Source, desc ocispecs.Descriptor) (Image, error) {
	img := Image{Manifest: desc}
	var m ocispecs.Manifest
	if !registry.IsManifest(desc.MediaType) {
		return img, &FormatError{desc.Digest, fmt.Sprintf("no image (media type %q)", desc.MediaType)}
	}
	if err := document(ctx, src, desc, &m); err != nil {
		return img, err
	}
	img.ConfigDesc, img.Annotations = m.Config, m.Annotations
	raw, err := bytesOf(ctx, src, m.Config)
	if err != nil {
		return img, err
	}
	img.RawConfig = raw
	if err := json.Unmarshal(raw, &img.Config); err != nil {
		return img, &FormatError{m.Config.Digest, "the image config: " + err.Error()}
	}
	img.Platform = platforms.FormatAll(platforms.Normalize(img.Config.Platform))
	ids := img.Config.RootFS.DiffIDs
	if len(ids) != len(m.Layers) {
		return img, &FormatError{m.Config.Digest, fmt.Sprintf("the config has %d layers, the manifest %d", len(ids), len(m.Layers))}
	}
	steps := layerSteps(img.Config.History)
	for i, l := range m.Layers {
		if err := errors.Join(l.Digest.Validate(), ids[i].Validate()); err != nil {
			return img, &FormatError{desc.Digest, fmt.Sprintf("layer %d: %v", i+1, err)}
		}
		layer := Layer{Desc: l, DiffID: ids[i]}
		if len(steps) == len(m.Layers) {
			layer.Step = steps[i]
		}
		img.Layers = append(img.Layers, layer)
	}
	return img, nil
}

// layerSteps are the history entries that made layers.
func layerSteps(history []ocispecs.History) []string {
	var list []string
	for _, h := range history {
		if !h.EmptyLayer {
			list = append(list, strings.Join(strings.Fields(h.CreatedBy), " "))
		}
	}
	return list
}

func document(ctx context.Context, src Source, desc ocispecs.Descriptor, into any) error {
	data, err := bytesOf(ctx, src, desc)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return &FormatError{desc.Digest, err.Error()}
	}
	return nil
}

func bytesOf(ctx context.Context, src Source, desc ocispecs.Descriptor) ([]byte, error) {
	if desc.Size > maxDocument {
		return nil, &FormatError{desc.Digest, fmt.Sprintf("a document of %d bytes, more than %d", desc.Size, maxDocument)}
	}
	rc, err := src.Open(ctx, desc, 0)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return cache.ReadAll(rc, maxDocument)
}
