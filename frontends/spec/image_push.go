package spec

import "maps"

// WithRegistry sets where the image is pushed to: host[:port][/path].
func (img Image) WithRegistry(registry string) Image {
	img = img.clone()
	img.registry = registry
	return img
}

// WithName sets the image's name in its registry.
func (img Image) WithName(name string) Image {
	img = img.clone()
	img.name = name
	return img
}

// WithTag sets the image's tag. Without one, the tag is made of the image's identifier.
func (img Image) WithTag(tag string) Image {
	img = img.clone()
	img.tag = tag
	return img
}

// WithTagFormat makes the tag of the image's identifier, which stands for {spec_hash}: "{spec_hash}-dev".
func (img Image) WithTagFormat(format string) Image {
	img = img.clone()
	img.tagFormat = format
	return img
}

// WithBuilder names the builder that makes the image, with options of its own.
func (img Image) WithBuilder(name string, options map[string]string) Image {
	img = img.clone()
	img.builder, img.builderOptions = name, maps.Clone(options)
	return img
}

// WithRegistryConfig names a docker config.json whose credentials are used.
func (img Image) WithRegistryConfig(file string) Image {
	img = img.clone()
	img.registryConfig = file
	return img
}
