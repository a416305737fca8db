package settings

import (
	resolverconfig "github.com/moby/buildkit/util/resolver/config"
	"github.com/pelletier/go-toml/v2"
)

// registryTOML is resolverconfig.RegistryConfig without the keys that are not set.
type registryTOML struct {
	Mirrors      []string                    `toml:"mirrors,omitempty"`
	PlainHTTP    *bool                       `toml:"http,omitempty"`
	Insecure     *bool                       `toml:"insecure,omitempty"`
	RootCAs      []string                    `toml:"ca,omitempty"`
	KeyPairs     []resolverconfig.TLSKeyPair `toml:"keypair,omitempty"`
	TLSConfigDir []string                    `toml:"tlsconfigdir,omitempty"`
}

// BuildkitdTOML is the registry section as it has to be in a remote builder's own buildkitd.toml: a client
// cannot tell buildkitd about registries. It is "" when there is none. Paths are those of this machine; the
// files have to be on the builder's, too.
func (c *Config) BuildkitdTOML() string {
	if c == nil || len(c.Registry) == 0 {
		return ""
	}
	out := struct {
		Registry map[string]registryTOML `toml:"registry"`
	}{map[string]registryTOML{}}
	for host, r := range c.Registry {
		out.Registry[host] = registryTOML(r)
	}
	data, err := toml.Marshal(out)
	if err != nil { // strings and booleans: there is nothing that could fail
		return ""
	}
	return string(data)
}
