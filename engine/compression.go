package engine

import (
	"maps"
	"slices"
	"strconv"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/registry/codec"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
)

// Compression is how the layers are compressed that a build makes. The layers of base images stay as they are, unless
// gzip or no compression is asked for by name: then all layers are, so that what cannot read zstd can read the image.
type Compression struct {
	Name  string // see [codec.Names]; "" leaves it to the registries and archives that the image goes to
	Level int    // 0 is the default; without a name it is that of zstd, and nothing where another one is taken
}

// codec is the way to compress: the one that is asked for, else gzip where a registry or an archive wants it, else zstd.
func (o Outputs) codec(wantsGzip func(host string) bool) (codec.Codec, error) {
	name, level := o.Compression.Name, o.Compression.Level
	if name == "" {
		name = codec.Zstd
		archive := slices.ContainsFunc(o.Exports, func(e Export) bool { return e.Type.image() })
		refuses := o.Push && slices.ContainsFunc(o.Names, func(n reference.NamedTagged) bool { return wantsGzip(reference.Domain(n)) })
		if archive || refuses {
			name, level = codec.Gzip, 0
		}
	}
	return codec.New(name, level)
}

// leveled says that the level was asked for.
func (o Outputs) leveled(c codec.Codec) bool {
	return o.Compression.Level != 0 && (o.Compression.Name != "" || c.Name() == codec.Zstd)
}

// form is the part of an identity that says how an image is stored.
func (o Outputs) form(c codec.Codec) string {
	if !o.leveled(c) {
		return "oci " + c.Name()
	}
	return "oci " + c.Name() + " " + strconv.Itoa(c.Level())
}

// compressed adds to the attributes of BuildKit's exporter how layers are compressed. What they say already stays.
func (o Outputs) compressed(attrs map[string]string, c codec.Codec) map[string]string {
	all := map[string]string{string(exptypes.OptKeyLayerCompression): c.Name()}
	if o.leveled(c) {
		all[string(exptypes.OptKeyCompressionLevel)] = strconv.Itoa(c.Level())
	}
	if o.Compression.Name != "" && c.Name() != codec.Zstd {
		all[string(exptypes.OptKeyForceCompression)] = "true"
	}
	if _, set := attrs[string(exptypes.OptKeyLayerCompression)]; set {
		return attrs
	}
	maps.Copy(all, attrs)
	return all
}
