package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxHistory bounds the history entries of a base image.
const maxHistory = 10_000

// ImageParts are the documents of an image: its manifest and its config.
type ImageParts struct {
	Manifest []byte
	Config   []byte
}

// Assembled is a new image. Its descriptor has the platform, for Index.
type Assembled struct {
	Manifest Content
	Config   Content
}

// AssembleOptions change how an image is put together.
type AssembleOptions struct {
	// Edit changes the config. It sees what docker's image format knows; keys
	// beyond that are kept as they are in the base. Nil changes nothing.
	Edit func(*Config) error
	// Created is the time in the history entries of the new layers; zero means
	// that they have none. (The time of the image is for Edit to set.)
	Created time.Time
}

// Assemble puts layers on top of a base image. It needs no byte of the base's
// layers, and makes the same bytes for the same inputs.
//
// The result is an OCI image if all layers of the base have a name in OCI, as
// those that docker makes do; otherwise it stays in docker's format.
func Assemble(base ImageParts, layers []Layer, opts AssembleOptions) (Assembled, error) {
	doc, err := decodeDocument(base.Manifest, defaultLimits())
	if err != nil {
		return Assembled{}, fmt.Errorf("base image: %w", err)
	}
	if doc.image == nil {
		return Assembled{}, errors.New("base image: an index, not an image")
	}
	if digest.FromBytes(base.Config) != doc.image.Config.Digest {
		return Assembled{}, errors.New("base image: the config is not the one of the manifest")
	}
	config, err := newConfig(base.Config, len(doc.image.Layers), layers, opts)
	if err != nil {
		return Assembled{}, fmt.Errorf("base image: %w", err)
	}
	toOCI := canBeOCI(doc.image.Layers)
	out := Assembled{Config: newContent(ocispecs.MediaTypeImageConfig, config)}
	if !toOCI {
		out.Config.MediaType = dockerConfig
	}
	manifest, err := newManifest(base.Manifest, out.Config.Descriptor, layers, toOCI)
	if err != nil {
		return Assembled{}, fmt.Errorf("base image: %w", err)
	}
	out.Manifest = newContent(ocispecs.MediaTypeImageManifest, manifest)
	if !toOCI {
		out.Manifest.MediaType = dockerManifest
	}
	platform, err := decodeConfig(config)
	if err != nil {
		return Assembled{}, err
	}
	platform = platforms.Normalize(platform)
	out.Manifest.Platform = &platform
	return out, nil
}

func newContent(mediaType string, data []byte) Content {
	return Content{
		Descriptor: ocispecs.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))},
		Bytes:      data,
	}
}

// newConfig returns the base's config with the edit and the layers added.
func newConfig(base []byte, baseLayers int, layers []Layer, opts AssembleOptions) ([]byte, error) {
	config, err := decodeObject(base)
	if err != nil {
		return nil, fmt.Errorf("the config is malformed: %w", err)
	}
	if opts.Edit != nil {
		if err := editConfig(config, opts.Edit); err != nil {
			return nil, err
		}
	}
	if err := appendDiffIDs(config, baseLayers, layers); err != nil {
		return nil, err
	}
	if err := appendHistory(config, layers, opts.Created); err != nil {
		return nil, err
	}
	data, err := encode(config)
	if err != nil {
		return nil, err
	}
	// What the base had, and was kept, must be readable for a runtime too.
	if err := json.Unmarshal(data, &Config{}); err != nil {
		return nil, fmt.Errorf("the config is malformed: %w", err)
	}
	return data, nil
}

func appendDiffIDs(config object, baseLayers int, layers []Layer) error {
	rootfs, err := decodeObject(config.get("rootfs"))
	if err != nil {
		return fmt.Errorf("the config's rootfs is malformed: %w", err)
	}
	ids := []digest.Digest{}
	if raw := rootfs.get("diff_ids"); raw != nil {
		if err := json.Unmarshal(raw, &ids); err != nil {
			return fmt.Errorf("the config's rootfs is malformed: %w", err)
		}
	}
	if len(ids) != baseLayers {
		return fmt.Errorf("the config has %d layers, the manifest %d", len(ids), baseLayers)
	}
	for _, l := range layers {
		ids = append(ids, l.DiffID)
	}
	raw, err := encode(ids)
	if err != nil {
		return err
	}
	rootfs.set("diff_ids", raw)
	rootfs.set("type", json.RawMessage(`"layers"`)) // there is no other
	if raw, err = encode(rootfs); err != nil {
		return err
	}
	config.set("rootfs", raw)
	return nil
}

func appendHistory(config object, layers []Layer, created time.Time) error {
	var history []json.RawMessage
	if raw := config.get("history"); raw != nil {
		if err := json.Unmarshal(raw, &history); err != nil {
			return fmt.Errorf("the config's history is malformed: %w", err)
		}
	}
	if len(history) > maxHistory {
		return fmt.Errorf("the config has %d history entries, more than the limit of %d", len(history), maxHistory)
	}
	if len(layers) == 0 {
		return nil
	}
	for _, l := range layers {
		h := ocispecs.History{CreatedBy: l.CreatedBy, Comment: "ibuild"}
		if !created.IsZero() {
			t := created.UTC()
			h.Created = &t
		}
		raw, err := encode(h)
		if err != nil {
			return err
		}
		history = append(history, raw)
	}
	raw, err := encode(history)
	if err != nil {
		return err
	}
	config.set("history", raw)
	return nil
}

// newManifest returns the base's manifest with another config and more layers.
// Annotations stay; a subject does not, as the new image is not about it.
func newManifest(base []byte, config ocispecs.Descriptor, layers []Layer, toOCI bool) ([]byte, error) {
	manifest, err := decodeObject(base)
	if err != nil {
		return nil, err
	}
	var all []object
	if raw := manifest.get("layers"); raw != nil {
		if err := json.Unmarshal(raw, &all); err != nil {
			return nil, err
		}
	}
	if toOCI {
		for _, l := range all {
			toOCILayer(l)
		}
	}
	for _, l := range layers {
		desc := l.Descriptor
		if !toOCI {
			desc.MediaType = dockerLayerType(desc.MediaType)
		}
		raw, err := encode(desc)
		if err != nil {
			return nil, err
		}
		o, err := decodeObject(raw)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	mediaType := ocispecs.MediaTypeImageManifest
	if !toOCI {
		mediaType = dockerManifest
	}
	for key, value := range map[string]any{"schemaVersion": 2, "mediaType": mediaType, "config": config, "layers": all} {
		raw, err := encode(value)
		if err != nil {
			return nil, err
		}
		manifest.set(key, raw)
	}
	manifest.set("subject", nil)
	return encode(manifest)
}

// ociLayerType returns OCI's name for docker's type of a layer, or the type
// itself if it is OCI's already. The bytes of such layers are the same.
func ociLayerType(mediaType string) (string, bool) {
	switch mediaType {
	case dockerLayer:
		return ocispecs.MediaTypeImageLayer, true
	case dockerLayerGzip:
		return ocispecs.MediaTypeImageLayerGzip, true
	case dockerLayerZstd:
		return ocispecs.MediaTypeImageLayerZstd, true
	case dockerForeignLayer:
		return "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", true
	case ocispecs.MediaTypeImageLayer, ocispecs.MediaTypeImageLayerGzip, ocispecs.MediaTypeImageLayerZstd,
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":
		return mediaType, true
	}
	return "", false
}

// dockerLayerType is docker's name for the type of a layer that was made here.
func dockerLayerType(oci string) string {
	switch oci {
	case ocispecs.MediaTypeImageLayerZstd:
		return dockerLayerZstd
	case ocispecs.MediaTypeImageLayer:
		return dockerLayer
	}
	return dockerLayerGzip
}

// canBeOCI tells whether an image can be described in OCI's terms without loss.
func canBeOCI(layers []ocispecs.Descriptor) bool {
	for _, l := range layers {
		if _, ok := ociLayerType(l.MediaType); !ok {
			return false
		}
	}
	return true
}

func toOCILayer(layer object) {
	var mediaType string
	if json.Unmarshal(layer.get("mediaType"), &mediaType) != nil {
		return
	}
	oci, _ := ociLayerType(mediaType)
	if raw, err := encode(oci); err == nil && oci != mediaType {
		layer.set("mediaType", raw)
	}
}

// Index returns an OCI index of images, in the given order. Each descriptor has
// its platform, and no platform is there twice.
func Index(images []ocispecs.Descriptor) (Content, error) {
	if len(images) == 0 {
		return Content{}, errors.New("an index without images")
	}
	index := ocispecs.Index{MediaType: ocispecs.MediaTypeImageIndex}
	index.SchemaVersion = 2
	seen := map[string]bool{}
	for _, img := range images {
		if img.Platform == nil || !IsManifest(img.MediaType) {
			return Content{}, fmt.Errorf("%s: not an image with a platform", img.Digest)
		}
		name := platforms.FormatAll(platforms.Normalize(*img.Platform))
		if seen[name] {
			return Content{}, fmt.Errorf("two images for %s", name)
		}
		seen[name] = true
		index.Manifests = append(index.Manifests, img)
	}
	data, err := encode(index)
	if err != nil {
		return Content{}, err
	}
	return newContent(ocispecs.MediaTypeImageIndex, data), nil
}
