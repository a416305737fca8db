package imagetest

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Pull opens an image of a registry, by tag or digest, for a platform such as
// "linux/arm64". Layers are fetched when they are read.
func Pull(ctx context.Context, image, platform string) (v1.Image, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return nil, err
	}
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		return nil, err
	}
	img, err := remote.Image(ref, remote.WithContext(ctx), remote.WithPlatform(*p))
	if err != nil {
		return nil, fmt.Errorf("pull %s for %s: %w", image, platform, err)
	}
	return img, nil
}

// Config is an image's config as JSON with sorted keys, one per line, without
// what differs between two builds of the same: times and the digests of
// layers, whose files Files tells.
func Config(img v1.Image) (string, error) {
	raw, err := img.RawConfigFile()
	if err != nil {
		return "", err
	}
	return canonicalConfig(raw)
}

func canonicalConfig(raw []byte) (string, error) {
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		return "", fmt.Errorf("image config: %w", err)
	}
	delete(config, "created")
	delete(config, "rootfs")
	if history, ok := config["history"].([]any); ok {
		for _, step := range history {
			if step, ok := step.(map[string]any); ok {
				delete(step, "created")
			}
		}
	}
	text, err := json.MarshalIndent(config, "", "  ")
	return string(text), err
}

// Compare returns in what way got differs from want, in its config and in its
// files, for people to read; empty when it does not.
func Compare(want, got v1.Image) (string, error) {
	wantConfig, err := Config(want)
	if err != nil {
		return "", err
	}
	gotConfig, err := Config(got)
	if err != nil {
		return "", err
	}
	wantFiles, err := Files(want)
	if err != nil {
		return "", err
	}
	gotFiles, err := Files(got)
	if err != nil {
		return "", err
	}
	return cmp.Diff(wantConfig, gotConfig) + Diff(wantFiles, gotFiles), nil
}
