package settings

import (
	resolverconfig "github.com/moby/buildkit/util/resolver/config"
)

// Config is ibuild's configuration file. Paths in it are absolute. The zero value is that of no file.
type Config struct {
	// File is the absolute path of the file, "" when there is none.
	File string `toml:"-"`

	// Registry has settings by host, with the keys of buildkitd.toml.
	Registry map[string]resolverconfig.RegistryConfig `toml:"registry"`
	// Push is how pushes go, by host.
	Push     map[string]Push `toml:"push"`
	Build    Build           `toml:"build"`
	Builder  Builder         `toml:"builder"`
	Engine   Engine          `toml:"engine"`
	Cache    Cache           `toml:"cache"`
	Packages Packages        `toml:"packages"`
	// TokenHosts are, by registry, hosts outside of its domain that may be given its credentials to make
	// tokens of.
	TokenHosts map[string][]string `toml:"token_hosts"`
	// CacheNamespace keeps the cache mounts of one tenant apart from those of others on a shared builder.
	CacheNamespace string `toml:"cache_namespace"`
}

// Builder is the remote builder that is used when none is named.
type Builder struct {
	Addr       string `toml:"addr"` // unix:// or tcp://
	CA         string `toml:"ca"`
	Cert       string `toml:"cert"`
	Key        string `toml:"key"`
	ServerName string `toml:"server_name"`
}

// Engine is the in-process engine.
type Engine struct {
	Root        string `toml:"root"`
	Snapshotter string `toml:"snapshotter"` // "", "auto", "overlayfs", "fuse-overlayfs" or "native"
	Runtime     string `toml:"runtime"`     // name or path of an OCI runtime
	MaxSize     string `toml:"max_size"`    // of its layers, mounts and sources, see ParseSize; "" is the default
}

// Cache is what ibuild remembers.
type Cache struct {
	MaxSize string `toml:"max_size"` // see ParseSize; "" is the default
}

// Packages is how build steps reach package indexes. URLs may hold passwords: show them with care.
type Packages struct {
	IndexURL       string   `toml:"index_url"`
	ExtraIndexURLs []string `toml:"extra_index_urls"`
	// CA are files of PEM certificates. Empty and not nil means that steps get none, not even those found.
	CA         []string `toml:"ca"`
	HTTPProxy  string   `toml:"http_proxy"`
	HTTPSProxy string   `toml:"https_proxy"`
	NoProxy    string   `toml:"no_proxy"`
	AptProxy   string   `toml:"apt_proxy"`   // URL or "DIRECT"
	AptSources string   `toml:"apt_sources"` // path of a deb822 file
}
