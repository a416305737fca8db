package llb

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// ImageIDVariable is the environment variable in which an image made from an [Image] carries its identity,
// so that a program can ask whether it runs in it.
const ImageIDVariable = "IBUILD_IMAGE_ID"

// SetImageID writes the identity into the image's environment, as the last variable; "" leaves none there. It
// comes after the identity is known, so it is no part of it.
func (c *Config) SetImageID(id digest.Digest) {
	c.unsetEnv(ImageIDVariable)
	if id != "" {
		c.setEnv(ImageIDVariable, id.String())
	}
}

func (c *Config) unsetEnv(key string) {
	c.img.Config.Env = slices.DeleteFunc(c.img.Config.Env, func(kv string) bool {
		k, _, _ := strings.Cut(kv, "=")
		return k == key
	})
}

// WithImageID returns the recording of an [Image] with the identity in the config of every platform; r stays
// as it is. What is printed and identified is r, what is built is the result.
func (r *Recording) WithImageID(id digest.Digest) (*Recording, error) {
	out := *r
	out.meta, out.Images = maps.Clone(r.meta), slices.Clone(r.Images)
	for i, img := range out.Images {
		config, err := ParseConfig(img.Config, img.Platform)
		if err != nil {
			return nil, err
		}
		config.SetImageID(id)
		data, err := config.Marshal()
		if err != nil {
			return nil, err
		}
		out.Images[i].Config, out.meta[r.configKey(img)] = data, data
	}
	return &out, nil
}

// identityTagLength is how many hexadecimal digits of an identity make a tag. 128 bits are enough that two
// different images never meet under one tag.
const identityTagLength = 32

// tagPlaceholder is what the identity stands for in a tag format, as in flytekit's ImageSpec.
const tagPlaceholder = "{spec_hash}"

// IdentityTag is the tag that an image gets from its identity: 32 hexadecimal digits of it, in the place of
// {spec_hash} in the format. The empty format is {spec_hash} alone.
func IdentityTag(format string, id digest.Digest) (string, error) {
	if err := id.Validate(); err != nil {
		return "", fmt.Errorf("the identity %q: %w", id, err)
	}
	if err := CheckTagFormat(format); err != nil {
		return "", err
	}
	return expandTag(format, id.Encoded()[:identityTagLength]), nil
}

// CheckTagFormat says what is wrong with a tag format, in words for the one who wrote it; nil for nothing.
func CheckTagFormat(format string) error {
	switch {
	case format == "":
		return nil
	case !strings.Contains(format, tagPlaceholder):
		return fmt.Errorf("the tag format %q has no %s, so the tag would stay when the image changes", format, tagPlaceholder)
	}
	tag := expandTag(format, strings.Repeat("0", identityTagLength))
	if strings.ContainsAny(tag, "{}") {
		return fmt.Errorf("the tag format %q has a placeholder other than %s", format, tagPlaceholder)
	}
	if !isTag(tag) {
		return fmt.Errorf("the tag format %q makes no valid tag: letters, digits, _, . and -, at most 128, and no . or - first", format)
	}
	return nil
}

func expandTag(format, hash string) string {
	if format == "" {
		return hash
	}
	return strings.ReplaceAll(format, tagPlaceholder, hash)
}

// isTag asks the library that parses references.
func isTag(tag string) bool { return reference.TagRegexp.FindString(tag) == tag && tag != "" }
