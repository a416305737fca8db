package settings

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	resolverconfig "github.com/moby/buildkit/util/resolver/config"
)

// checker makes paths absolute and gathers what is wrong with values.
type checker struct {
	file string // as errors call it
	dir  string // what relative paths are relative to
	data []byte
	at   positions // made at the first finding
	errs []*Error
}

// bad adds a finding about a key; numbers in the key are places in lists.
func (c *checker) bad(key []string, hint, msg string, cause error) {
	if c.at == nil {
		c.at = indexPositions(c.data)
	}
	line, column := c.at.place(c.data, key)
	var name []string
	for i, k := range key {
		if _, err := strconv.Atoi(k); err != nil || i < 2 {
			name = append(name, k)
		}
	}
	c.errs = append(c.errs, &Error{File: c.file, Line: line, Column: column, Msg: keyName(name) + ": " + msg, Hint: hint, Err: cause})
}

func (c *checker) config(cfg *Config) {
	for _, host := range slices.Sorted(maps.Keys(cfg.Registry)) {
		r := cfg.Registry[host]
		c.registry(host, &r)
		cfg.Registry[host] = r
	}
	c.pushes(cfg.Push)
	c.build(cfg.Build)
	c.builder(&cfg.Builder)
	c.engine(&cfg.Engine)
	c.size([]string{"engine", "max_size"}, cfg.Engine.MaxSize)
	c.size([]string{"cache", "max_size"}, cfg.Cache.MaxSize)
	c.packages(&cfg.Packages)
	if ns := cfg.CacheNamespace; ns != "" && !namespace().MatchString(ns) {
		c.bad([]string{"cache_namespace"}, "use letters, digits and . _ - /, at most 128, and begin with a letter or digit",
			fmt.Sprintf("%q is not a name", ns), nil)
	}
}

var namespace = pattern(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$`)

func (c *checker) registry(host string, r *resolverconfig.RegistryConfig) {
	key := func(parts ...string) []string { return append([]string{"registry", host}, parts...) }
	c.registryHost("registry", host)
	for i, m := range r.Mirrors {
		c.mirror(key("mirrors", strconv.Itoa(i)), m)
	}
	for i := range r.RootCAs {
		c.certificates(key("ca", strconv.Itoa(i)), &r.RootCAs[i])
	}
	for i := range r.TLSConfigDir {
		c.path(key("tlsconfigdir", strconv.Itoa(i)), &r.TLSConfigDir[i], aFolder)
	}
	for i := range r.KeyPairs {
		at := func(name string) []string { return key("keypair", strconv.Itoa(i), name) }
		if r.KeyPairs[i] == (resolverconfig.TLSKeyPair{}) {
			c.bad(key("keypair", strconv.Itoa(i)), "", "there is neither cert nor key", nil)
		}
		c.pair(at("cert"), &r.KeyPairs[i].Certificate, at("key"), &r.KeyPairs[i].Key)
	}
}

// mirror is a host and perhaps a path. BuildKit ignores a scheme, so http:// would not mean what it says.
func (c *checker) mirror(key []string, m string) {
	if rest, ok := strings.CutPrefix(m, "http://"); ok {
		host, _, _ := strings.Cut(rest, "/")
		c.bad(key, fmt.Sprintf("write it without http://, and add [registry.%q] with http = true", redact(host)),
			"a mirror's scheme is not looked at", nil)
		return
	}
	host, _, _ := strings.Cut(strings.TrimPrefix(m, "https://"), "/")
	if why := hostProblem(host); why != "" {
		c.bad(key, "write host[:port][/path]", why, nil)
	}
}

func (c *checker) builder(b *Builder) {
	key := func(name string) []string { return []string{"builder", name} }
	scheme, rest, _ := strings.Cut(b.Addr, "://")
	switch {
	case b.Addr == "":
	case scheme == "unix" && rest != "":
		c.path(key("addr"), &rest, anything)
		b.Addr = "unix://" + rest
	case scheme == "tcp" && hostProblem(rest) == "" && hasPort(rest):
	default:
		c.bad(key("addr"), "write unix:///path/to/socket or tcp://host:port", fmt.Sprintf("%q is not the address of a builder", redact(b.Addr)), nil)
	}
	if b.CA != "" {
		c.certificates(key("ca"), &b.CA)
	}
	c.pair(key("cert"), &b.Cert, key("key"), &b.Key)
	if b.ServerName != "" && (hostProblem(b.ServerName) != "" || hasPort(b.ServerName)) {
		c.bad(key("server_name"), "write the name that is in the builder's certificate", fmt.Sprintf("%q is not a host name", redact(b.ServerName)), nil)
	}
}

func (c *checker) engine(e *Engine) {
	if e.Root != "" {
		c.path([]string{"engine", "root"}, &e.Root, anything)
	}
	c.oneOf([]string{"engine", "snapshotter"}, e.Snapshotter, "auto", "overlayfs", "fuse-overlayfs", "native")
	if strings.Contains(e.Runtime, "/") {
		c.path([]string{"engine", "runtime"}, &e.Runtime, aFile)
	}
}

func (c *checker) packages(p *Packages) {
	key := func(name string) []string { return []string{"packages", name} }
	if p.IndexURL != "" {
		c.url(key("index_url"), p.IndexURL, "http", "https")
	}
	for i, u := range p.ExtraIndexURLs {
		c.url(append(key("extra_index_urls"), strconv.Itoa(i)), u, "http", "https")
	}
	for i := range p.CA {
		c.certificates(append(key("ca"), strconv.Itoa(i)), &p.CA[i])
	}
	if p.HTTPProxy != "" {
		c.url(key("http_proxy"), p.HTTPProxy, "http", "https", "socks5", "socks5h")
	}
	if p.HTTPSProxy != "" {
		c.url(key("https_proxy"), p.HTTPSProxy, "http", "https", "socks5", "socks5h")
	}
	if strings.ContainsFunc(p.NoProxy, isControl) {
		c.bad(key("no_proxy"), "write hosts, separated by commas", "it has control characters", nil)
	}
	if p.AptProxy != "" && p.AptProxy != "DIRECT" {
		c.url(key("apt_proxy"), p.AptProxy, "http", "https", "socks5h")
	}
	if p.AptSources != "" && c.path(key("apt_sources"), &p.AptSources, aFile) {
		data, err := readRegular(p.AptSources)
		if err == nil {
			_, err = aptSources(data)
		}
		if err != nil {
			c.bad(key("apt_sources"), "write stanzas of Types, URIs, Suites and Components, as in sources.list(5)",
				fmt.Sprintf("%s: %s", p.AptSources, cause(err)), err)
		}
	}
}

type pathKind int

const (
	anything pathKind = iota
	aFile
	aFolder
)

// path makes a path absolute and reports whether what it names is there and of the kind.
func (c *checker) path(key []string, p *string, kind pathKind) bool {
	if *p == "" || strings.ContainsRune(*p, 0) {
		c.bad(key, "", fmt.Sprintf("%q is not a path", *p), nil)
		return false
	}
	if *p == "~" || strings.HasPrefix(*p, "~/") {
		home, err := os.UserHomeDir()
		if err != nil {
			c.bad(key, "write the path without ~", "the home folder is not known", err)
			return false
		}
		*p = filepath.Join(home, (*p)[1:])
	}
	if !filepath.IsAbs(*p) {
		*p = filepath.Join(c.dir, *p)
	}
	*p = filepath.Clean(*p)
	if kind == anything {
		return true
	}
	info, err := os.Stat(*p)
	if err == nil {
		switch {
		case kind == aFolder && !info.IsDir():
			err = fs.ErrInvalid
			c.bad(key, "", *p+" is not a folder", err)
		case kind == aFile && !info.Mode().IsRegular():
			err = fs.ErrInvalid
			c.bad(key, "", *p+" is not a file", err)
		}
		return err == nil
	}
	what := cause(err)
	if kind == aFolder && what == "there is no such file" {
		what = "there is no such folder"
	}
	c.bad(key, "", *p+": "+what, err)
	return false
}

// certificates checks a file of PEM certificates.
func (c *checker) certificates(key []string, p *string) {
	if !c.path(key, p, aFile) {
		return
	}
	data, err := readRegular(*p)
	if err != nil {
		c.bad(key, "", *p+": "+cause(err), err)
		return
	}
	if err := (&bundle{}).addStrict(data); err != nil {
		c.bad(key, "it takes files with -----BEGIN CERTIFICATE-----", *p+": "+err.Error(), err)
	}
}

// pair checks a certificate and its key, which come together or not at all.
func (c *checker) pair(certKey []string, cert *string, keyKey []string, key *string) {
	switch {
	case *cert == "" && *key == "":
	case *cert == "":
		c.bad(keyKey, "", "there is a key without its cert", nil)
	case *key == "":
		c.bad(certKey, "", "there is a cert without its key", nil)
	default:
		c.certificates(certKey, cert)
		c.path(keyKey, key, aFile)
	}
}
