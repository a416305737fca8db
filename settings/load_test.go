package settings

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	resolverconfig "github.com/moby/buildkit/util/resolver/config"
	"github.com/pelletier/go-toml/v2"
)

// write puts files into a folder of the test's and returns it.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const fullConfig = `cache_namespace = "team-a"

[registry."docker.io"]
mirrors = ["mirror.local:5000", "core.local/proxy", "https://other.local"]
ca = ["certs/ca.pem"]
tlsconfigdir = ["certs"]
[[registry."docker.io".keypair]]
key = "certs/key.pem"
cert = "certs/ca.pem"

[registry."mirror.local:5000"]
http = true
insecure = false

[push."mirror.local:5000"]
parallel = 4
chunk = "100MB"
resume = false
mount = false
compression = "gzip"
stall = "90s"
answer = "10m"

[push."other.local"]
chunk = "0"

[build]
compression = "zstd"
compression_level = 3

[builder]
addr = "tcp://build.local:1234"
ca = "~/ca.pem"
cert = "certs/ca.pem"
key = "certs/key.pem"
server_name = "buildkitd"

[engine]
root = "~/engine"
snapshotter = "native"
runtime = "crun"

[packages]
index_url = "https://user:pass@pypi.local/simple"
extra_index_urls = ["https://other.local/simple"]
ca = ["certs/ca.pem"]
http_proxy = "http://proxy.local:3128"
https_proxy = "http://proxy.local:3128"
no_proxy = "localhost,.local"
apt_proxy = "DIRECT"
apt_sources = "my.sources"
`

func fullFiles(t testing.TB) map[string]string {
	ca := testCert(t, "a", later)
	return map[string]string{
		"config.toml": fullConfig, "certs/ca.pem": ca, "certs/key.pem": "key", "home/ca.pem": ca,
		"my.sources": "Types: deb\nURIs: http://m.local/debian\nSuites: bookworm\nComponents: main\n",
	}
}

func TestLoad(t *testing.T) {
	dir := write(t, fullFiles(t))
	in := func(p string) string { return filepath.Join(dir, p) }
	t.Setenv("HOME", in("home"))
	yes, no, four := true, false, 4
	want := &Config{
		File: in("config.toml"),
		Registry: map[string]resolverconfig.RegistryConfig{
			"docker.io": {
				Mirrors: []string{"mirror.local:5000", "core.local/proxy", "https://other.local"}, RootCAs: []string{in("certs/ca.pem")},
				KeyPairs: []resolverconfig.TLSKeyPair{{Key: in("certs/key.pem"), Certificate: in("certs/ca.pem")}}, TLSConfigDir: []string{in("certs")},
			},
			"mirror.local:5000": {PlainHTTP: &yes, Insecure: &no},
		},
		Push: map[string]Push{
			"mirror.local:5000": {Parallel: &four, Chunk: "100MB", Resume: &no, Mount: &no, Compression: "gzip", Stall: "90s", Answer: "10m"},
			"other.local":       {Chunk: "0"},
		},
		Build:   Build{Compression: "zstd", CompressionLevel: 3},
		Builder: Builder{Addr: "tcp://build.local:1234", CA: in("home/ca.pem"), Cert: in("certs/ca.pem"), Key: in("certs/key.pem"), ServerName: "buildkitd"},
		Engine:  Engine{Root: in("home/engine"), Snapshotter: "native", Runtime: "crun"},
		Packages: Packages{
			IndexURL: "https://user:pass@pypi.local/simple", ExtraIndexURLs: []string{"https://other.local/simple"}, CA: []string{in("certs/ca.pem")},
			HTTPProxy: "http://proxy.local:3128", HTTPSProxy: "http://proxy.local:3128", NoProxy: "localhost,.local",
			AptProxy: "DIRECT", AptSources: in("my.sources"),
		},
		CacheNamespace: "team-a",
	}
	got, err := Load(in("config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestLoadWhere(t *testing.T) {
	dir := write(t, map[string]string{"ibuild/config.toml": `cache_namespace = "xdg"`, "named.toml": `cache_namespace = "named"`, "home/.config/ibuild/config.toml": `cache_namespace = "home"`})
	empty := t.TempDir()
	for _, c := range []struct{ path, env, xdg, home, want, err string }{
		{xdg: dir, home: empty, want: "xdg"},
		{xdg: "relative", home: dir + "/home", want: "home"},
		{xdg: empty, want: ""},
		{want: ""},
		{env: dir + "/named.toml", xdg: dir, want: "named"},
		{path: dir + "/named.toml", env: dir + "/none", want: "named"},
		{env: dir + "/none.toml", err: dir + "/none.toml: the configuration file cannot be read: there is no such file; name another with --config or IBUILD_CONFIG"},
		{path: dir, err: dir + ": the configuration file cannot be read: is a directory; name another with --config or IBUILD_CONFIG"},
		{path: "/dev/null", want: ""},
	} {
		t.Setenv("IBUILD_CONFIG", c.env)
		t.Setenv("XDG_CONFIG_HOME", c.xdg)
		t.Setenv("HOME", c.home)
		got, err := Load(c.path)
		if message(err) != c.err {
			t.Errorf("%+v: %v", c, err)
		} else if err == nil && got.CacheNamespace != c.want {
			t.Errorf("%+v: got %q", c, got.CacheNamespace)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestLoadErrors(t *testing.T) {
	dir := write(t, map[string]string{"x.pem": "nothing", "one.list": "deb http://x bookworm main\n", "no.sources": "Types: deb\n\n", "ca.pem": testCert(t, "a", later)})
	for _, c := range []struct{ config, want string }{
		// Syntax and kinds.
		{"a = \n", `c.toml:1:5: unexpected character U+000A at start of value`},
		{"cache_namespace = 'a'\ncache_namespace = 'b'", `c.toml:2:1: key cache_namespace is already defined`},
		{"cache_namespace = 1", `c.toml:1:19: cache_namespace takes a string; this is an integer`},
		{"[builder]\naddr = ['x']", `c.toml:2:8: builder.addr takes a string; this is an array`},
		{"builder = 'x'", `c.toml:1:11: builder takes a table; this is a string`},
		{"[[builder]]\naddr = 'x'", `c.toml:1:3: builder takes a table; this is an array table`},
		{"[cache_namespace]\nx = 1", `c.toml:1:2: cache_namespace takes a string; this is a table`},
		{"builder.addr.x = 3", `c.toml:1:14: builder.addr takes a string; this is a table`},
		{"[registry.'docker.io']\nmirrors = 'x'", `c.toml:2:11: registry."docker.io".mirrors takes a list of strings; this is a string`},
		{"[registry.'docker.io']\nhttp = 'yes'", `c.toml:2:8: registry."docker.io".http takes true or false; this is a string`},
		{"[registry.a]\nca = [\n  'ä', 1]", `c.toml:3:8: registry.a.ca takes a list of strings; this is an integer`},
		{"[registry.a]\nkeypair = {key = 'x'}", `c.toml:2:11: registry.a.keypair takes a list of tables; this is an inline table`},
		// Unknown keys, all at once.
		{"[bilder]\n[registry.'docker.io']\nmirors = []\nhttps = true\n[packages]\nindex-url = 'x'\ncolour = 1\n[[registry.a.keypair]]\ncertt = 'x'",
			"c.toml:1:2: unknown key bilder; did you mean builder?\n" +
				"c.toml:3:1: unknown key mirors in [registry.\"docker.io\"]; did you mean mirrors?\n" +
				"c.toml:4:1: unknown key https in [registry.\"docker.io\"]; did you mean http?\n" +
				"c.toml:6:1: unknown key index-url in [packages]; did you mean index_url?\n" +
				"c.toml:7:1: unknown key colour in [packages]; the keys here are index_url, extra_index_urls, ca, http_proxy, https_proxy, no_proxy, apt_proxy, apt_sources\n" +
				"c.toml:9:1: unknown key certt in [registry.a.keypair]; did you mean cert?"},
		// Pushes.
		{"[push.'https://a']", `c.toml:1:7: push."https://a": "https://a" has a scheme; write the host alone, such as [push."docker.io"] or [push."localhost:5000"]`},
		{"[push.'registry-1.docker.io']", `c.toml:1:7: push."registry-1.docker.io": Docker Hub's settings go by the name that references have; write [push."docker.io"]`},
		{"[push.a]\nparalell = 4", `c.toml:2:1: unknown key paralell in [push.a]; did you mean parallel?`},
		{"[push.a]\nparallel = '4'", `c.toml:2:12: push.a.parallel takes a whole number; this is a string`},
		{"[push.a]\nparallel = 1.5", `c.toml:2:12: push.a.parallel takes a whole number; this is a float`},
		{"[push.a]\nchunk = 100", `c.toml:2:9: push.a.chunk takes a string; this is an integer`},
		{"[push.a]\nresume = 'no'", `c.toml:2:10: push.a.resume takes true or false; this is a string`},
		{"[push.a]\nparallel = 0\n[push.b]\nparallel = 65", "c.toml:2:1: push.a.parallel: 0 is not a number of blobs at a time; write 1 to 64\nc.toml:4:1: push.b.parallel: 65 is not a number of blobs at a time; write 1 to 64"},
		{"[push.a]\nchunk = '4 parts'", `c.toml:2:9: push.a.chunk: "4 parts" is not a size; write 5MB to 5GB, or 0 to send each blob in one request`},
		{"[push.a]\nchunk = '1MB'", `c.toml:2:9: push.a.chunk: "1MB" is not a size that registries take; write 5MB to 5GB, or 0 to send each blob in one request`},
		{"[push.a]\ncompression = 'gzipp'", `c.toml:2:15: push.a.compression: there is no compression "gzipp"; did you mean gzip?`},
		{"[push.a]\nstall = '60'\nanswer = '2h'", "c.toml:2:9: push.a.stall: \"60\" is not a time to wait; write 1s to 1h, such as 90s or 5m\nc.toml:3:10: push.a.answer: \"2h\" is not a time to wait; write 1s to 1h, such as 90s or 5m"},
		{"[build]\ncompression = 'lz4'", `c.toml:2:15: build.compression: there is no compression "lz4"; there are zstd, gzip, uncompressed`},
		{"[build]\ncompression_level = 3", `c.toml:2:1: build.compression_level: there is a level without its compression; add compression: levels mean something else for each`},
		{"[build]\ncompression = 'gzip'\ncompression_level = 10", `c.toml:3:1: build.compression_level: gzip has no level 10; write 1 to 9`},
		{"[build]\ncompression = 'zstd'\ncompression_level = -1", `c.toml:3:1: build.compression_level: zstd has no level -1; write 1 to 22`},
		{"[build]\ncompression = 'uncompressed'\ncompression_level = 1", `c.toml:3:1: build.compression_level: there are no levels without compression; leave it out`},
		// Hosts.
		{"[registry.'https://docker.io']", `c.toml:1:11: registry."https://docker.io": "https://docker.io" has a scheme; write the host alone, such as [registry."docker.io"] or [registry."localhost:5000"]`},
		{"[registry.'a/b']", `c.toml:1:11: registry."a/b": "a/b" has a path; write the host alone, such as [registry."docker.io"] or [registry."localhost:5000"]`},
		{"[registry.'a:99999']", `c.toml:1:11: registry."a:99999": "a:99999" has a port that there is not; write the host alone, such as [registry."docker.io"] or [registry."localhost:5000"]`},
		{"[registry.'index.docker.io']", `c.toml:1:11: registry."index.docker.io": Docker Hub's settings go by the name that references have; write [registry."docker.io"]`},
		{"[registry.a]\nmirrors = ['ok.local', 'http://m.local:5000/x']", `c.toml:2:24: registry.a.mirrors: a mirror's scheme is not looked at; write it without http://, and add [registry."m.local:5000"] with http = true`},
		{"[registry.a]\nmirrors = ['u:secret@m']", `c.toml:2:12: registry.a.mirrors: "***@m" is not a host; write host[:port][/path]`},
		// Files.
		{"[registry.a]\nca = ['none.pem']", `c.toml:2:7: registry.a.ca: DIR/none.pem: there is no such file`},
		{"[registry.a]\nca = ['x.pem']", `c.toml:2:7: registry.a.ca: DIR/x.pem: there are no PEM certificates in it; it takes files with -----BEGIN CERTIFICATE-----`},
		{"[registry.a]\ntlsconfigdir = ['x.pem', 'none']", "c.toml:2:17: registry.a.tlsconfigdir: DIR/x.pem is not a folder\nc.toml:2:26: registry.a.tlsconfigdir: DIR/none: there is no such folder"},
		{"[[registry.a.keypair]]\nkey = 'ca.pem'\ncert = 'ca.pem'\n[[registry.a.keypair]]\nkey = 'ca.pem'", `c.toml:5:7: registry.a.keypair.key: there is a key without its cert`},
		{"[registry.a]\nkeypair = [{key = 'ca.pem', cert = 'ca.pem'}, {}]", `c.toml:2:1: registry.a.keypair: there is neither cert nor key`},
		{"[builder]\ncert = 'ca.pem'", `c.toml:2:8: builder.cert: there is a cert without its key`},
		{"[builder]\nca = ''\naddr = 'tcp://x'", `c.toml:3:8: builder.addr: "tcp://x" is not the address of a builder; write unix:///path/to/socket or tcp://host:port`},
		{"[builder]\nserver_name = 'a:1'", `c.toml:2:15: builder.server_name: "a:1" is not a host name; write the name that is in the builder's certificate`},
		{"[engine]\nsnapshotter = 'overlay-fs'", `c.toml:2:15: engine.snapshotter: there is no snapshotter "overlay-fs"; did you mean overlayfs?`},
		{"[engine]\nruntime = './runc'", `c.toml:2:11: engine.runtime: DIR/runc: there is no such file`},
		{"cache_namespace = '../x'", `c.toml:1:19: cache_namespace: "../x" is not a name; use letters, digits and . _ - /, at most 128, and begin with a letter or digit`},
		// URLs, without their passwords.
		{"[packages]\nindex_url = 'pypi.local/simple'", `c.toml:2:13: packages.index_url: pypi.local/simple is not a URL of http, https; begin it with http://`},
		{"[packages]\nindex_url = 'https://u:secret/x@pypi.local/simple'", `c.toml:2:13: packages.index_url: https://***@pypi.local/simple is not a URL; write characters such as "@", "/", "#" and "%" in a password as %40, %2F, %23 and %25`},
		{"[packages]\nextra_index_urls = ['https://a', 'https://u:secret@']", `c.toml:2:34: packages.extra_index_urls: https://***@: there is no host`},
		{"[packages]\nhttps_proxy = 'ftp://u:secret@p'", `c.toml:2:15: packages.https_proxy: ftp://***@p is not a URL of http, https, socks5, socks5h; begin it with http://`},
		{"[packages]\napt_sources = 'one.list'", `c.toml:2:15: packages.apt_sources: DIR/one.list: line 1 is not a field of a deb822 file; write stanzas of Types, URIs, Suites and Components, as in sources.list(5)`},
		{"[packages]\napt_sources = 'no.sources'", `c.toml:2:15: packages.apt_sources: DIR/no.sources: the stanza that ends at line 1 has no URIs; write stanzas of Types, URIs, Suites and Components, as in sources.list(5)`},
	} {
		_, err := parse("c.toml", filepath.Join(dir, "c.toml"), []byte(c.config))
		if d := cmp.Diff(c.want, strings.ReplaceAll(message(err), dir, "DIR")); d != "" {
			t.Errorf("%s\n%s", c.config, d)
		}
		var e *Error
		if !errors.As(err, &e) || e.Line == 0 {
			t.Errorf("%s: no place in %#v", c.config, err)
		}
	}
}

func TestBuildkitdTOML(t *testing.T) {
	dir := write(t, fullFiles(t))
	t.Setenv("HOME", filepath.Join(dir, "home"))
	cfg, err := Load(filepath.Join(dir, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	text := cfg.BuildkitdTOML()
	want := `[registry]
[registry.'docker.io']
mirrors = ['mirror.local:5000', 'core.local/proxy', 'https://other.local']
ca = ['DIR/certs/ca.pem']
tlsconfigdir = ['DIR/certs']

[[registry.'docker.io'.keypair]]
key = 'DIR/certs/key.pem'
cert = 'DIR/certs/ca.pem'

[registry.'mirror.local:5000']
http = true
insecure = false
`
	if d := cmp.Diff(want, strings.ReplaceAll(text, dir, "DIR")); d != "" {
		t.Error(d)
	}
	var back struct {
		Registry map[string]resolverconfig.RegistryConfig `toml:"registry"`
	}
	if err := toml.Unmarshal([]byte(text), &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(cfg.Registry, back.Registry); d != "" {
		t.Error(d)
	}
	for _, c := range []*Config{nil, {}} {
		if got := c.BuildkitdTOML(); got != "" {
			t.Errorf("got %q", got)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(fullConfig))
	f.Add([]byte("registry.a = {keypair = [{key = 'x'}, {cert = 'y'}]}"))
	f.Add([]byte("[[registry.a.keypair]]\n[[registry.a.keypair]]\n[registry.a.keypair.x]\n"))
	f.Add([]byte("[packages]\nindex_url = 'https://u:p@h'\nca=[]\n"))
	f.Add([]byte("[push.a]\nchunk = '1e99GB'\nparallel = 99999999999999999999\nstall = '9999999h'\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := parse("c.toml", filepath.Join(dir, "c.toml"), data)
		if (cfg == nil) == (err == nil) {
			t.Fatal(cfg, err)
		}
		if err != nil && strings.Contains(err.Error(), "\x1b") {
			t.Fatalf("%q", err)
		}
		cfg.BuildkitdTOML()
	})
}

func TestPushValues(t *testing.T) {
	p := Push{Chunk: "100MB", Stall: "90s", Answer: "5m"}
	if *p.ChunkBytes() != 100e6 || *p.StallTime() != 90*time.Second || *p.AnswerTime() != 5*time.Minute {
		t.Error(*p.ChunkBytes(), *p.StallTime(), *p.AnswerTime())
	}
	if n := (Push{Chunk: "0"}).ChunkBytes(); n == nil || *n != 0 {
		t.Error("no chunks are not told from nothing said")
	}
	if p = (Push{}); p.ChunkBytes() != nil || p.StallTime() != nil || p.AnswerTime() != nil {
		t.Error("nothing said is something")
	}
}
