//go:build integration

package e2e

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// marker is a text that all canaries of one kind have in them, so that one search finds them all.
type marker string

func newMarker() marker { return marker("canary" + strings.ToLower(rand.Text()[:16])) }

// canary is a secret with a name, by which a leak is recognised, and with what URLs, shells and patterns have to
// escape. The marker is on both sides of that: half of a password is a leak, too.
func (m marker) canary(name string) string { return string(m) + "." + name + "/@:%" + string(m) }

// forms are the ways in which the marker may be written: as it is, in capitals, in hex, and in base64 at each of the
// three places where it may begin in a group. The marker has nothing that URLs or JSON escape, and none of its base64
// has a character in which the alphabets differ.
func (m marker) forms() [][]byte {
	text := []byte(m)
	list := [][]byte{text, bytes.ToUpper(text), []byte(hex.EncodeToString(text)), []byte(strings.ToUpper(hex.EncodeToString(text)))}
	for shift := range 3 {
		code := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), text...))
		first := (shift*8 + 5) / 6 // the characters before it have bits of what stands before the marker
		last := (shift + len(text)) * 8 / 6
		list = append(list, []byte(code[first:last]))
	}
	return list
}

// leak is a place where the marker is.
type leak struct{ where, text string }

func (l leak) String() string { return l.where + ": " + l.text }

// inText looks for the marker in what a program printed, line by line.
func (m marker) inText(t *testing.T, what, text string) (found []leak) {
	t.Helper()
	search := newSearch(m.forms()...)
	for line := range strings.Lines(text) {
		where, err := search.unpacked(strings.NewReader(line))
		if err != nil {
			t.Fatal(err)
		}
		if where != "" {
			found = append(found, leak{what, where})
		}
	}
	return found
}

// inFiles looks for the marker in the files below dir that are newer than a time, and in their names. What the tests
// themselves wrote, below the folders of skip, does not count.
func (m marker) inFiles(t *testing.T, dir string, since time.Time, skip ...string) (found []leak) {
	t.Helper()
	files, search := 0, newSearch(m.forms()...)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it is gone by now
		case err != nil:
			return err
		case slices.Contains(skip, name):
			return fs.SkipDir
		case strings.Contains(d.Name(), string(m)):
			found = append(found, leak{name, "the name"})
		}
		if !d.Type().IsRegular() || !changedSince(d, since) {
			return nil
		}
		files++
		f, err := os.Open(name)
		if err != nil {
			return ignoreMissing(err)
		}
		defer f.Close()
		where, err := search.unpacked(f)
		if where != "" {
			found = append(found, leak{name, where})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Errorf("nothing below %s is newer than %s: nothing was searched", dir, since)
	}
	return found
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// changedSince goes by the time that no program sets: unpacked files have any other.
func changedSince(d fs.DirEntry, since time.Time) bool {
	info, err := d.Info()
	if err != nil {
		return false // it is gone by now
	}
	changed := info.Sys().(*syscall.Stat_t).Ctim
	return !time.Unix(changed.Unix()).Before(since)
}

// garden is a machine with canaries in every place where people have passwords, and an engine to build with.
type garden struct {
	engine
	marker marker    // of what may be nowhere
	shown  marker    // of what the user shows: it has to be found where it belongs
	begin  time.Time // what is older has no canaries in it
	plants string    // the folder in which the canaries are planted
	out    string    // the folder in which commands write files
	env    []string
	index  guarded // for the specs' own credentials
}

// guarded is a server that hands on to another one who knows the password.
type guarded struct {
	host     string // host:port
	password string
	let      *atomic.Int64 // requests that were handed on
}

// guard asks for a password in front of another server on plain HTTP.
func guard(t *testing.T, host, password string) guarded {
	t.Helper()
	g := guarded{password: password, let: new(atomic.Int64)}
	next := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(&url.URL{Scheme: "http", Host: host})
		p.Out.Host = p.In.Host // answers have absolute addresses
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, got, _ := r.BasicAuth()
		if user != "ibuild" || subtle.ConstantTimeCompare([]byte(got), []byte(password)) == 0 {
			w.Header().Set("WWW-Authenticate", `Basic realm="canaries"`)
			http.Error(w, "log in first", http.StatusUnauthorized)
			return
		}
		g.let.Add(1)
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	g.host = server.Listener.Addr().String()
	return g
}

// with is a URL of the server with the password in it.
func (g guarded) with(path string) string {
	u := url.URL{Scheme: "http", User: url.UserPassword("ibuild", g.password), Host: g.host, Path: path}
	return u.String()
}

func (g guarded) dockerConfig() string {
	auth := base64.StdEncoding.EncodeToString([]byte("ibuild:" + g.password))
	return fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, g.host, auth)
}

func packageHost() string { return strings.TrimPrefix(shared.env.Sites.Open.URL, "http://") }

// plant makes a garden: proxies, package indexes, registries and files, all with passwords that have the marker.
func plant(t *testing.T, e engine, marker marker) *garden {
	t.Helper()
	g := &garden{engine: e.fresh(t), marker: marker, shown: newMarker(), begin: time.Now(), plants: folder(t), out: folder(t)}
	g.index = guard(t, packageHost(), g.marker.canary("index"))
	login := func(kind string) string {
		return "http://ibuild:" + url.QueryEscape(g.marker.canary(kind)) + "@127.0.0.1:9"
	}
	home, temp := filepath.Join(g.plants, "home"), filepath.Join(g.out, "tmp")
	for _, dir := range []string{home, temp} {
		if err := e.user.Mkdir(dir); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(home, ".netrc"), "machine 127.0.0.1 login ibuild password "+g.marker.canary("home-netrc")+"\n")
	config := filepath.Join(g.plants, "config.toml")
	write(t, config, read(t, shared.env.IbuildConfig())+"[packages]\napt_proxy = \""+login("apt-proxy")+"\"\n")
	g.env = []string{
		"HOME=" + home, "TMPDIR=" + temp, "IBUILD_CONFIG=" + config,
		"HTTP_PROXY=" + login("http-proxy"), "HTTPS_PROXY=" + login("https-proxy"), "ALL_PROXY=" + login("all-proxy"),
		"http_proxy=" + login("lower-http-proxy"), "https_proxy=" + login("lower-https-proxy"),
		"NO_PROXY=127.0.0.1,localhost", "no_proxy=127.0.0.1,localhost",
		"ENV_SECRET=" + g.marker.canary("env-secret"), "UNUSED_TOKEN=" + g.marker.canary("unused"),
	}
	return g
}

// run runs ibuild and looks for canaries in what it prints.
func (g *garden) run(t *testing.T, code int, env []string, args ...string) outcome {
	t.Helper()
	cmd := g.command(t, args...)
	cmd.Env = slices.Concat(cmd.Env, g.env, env)
	o := end(t, cmd)
	if o.code != code {
		t.Errorf("%s: exit code %d, want %d\n%s", strings.Join(args, " "), o.code, code, regexp.MustCompile(`(?m)^time=.*\n`).ReplaceAllString(o.stderr, ""))
	}
	for what, text := range map[string]string{"standard output": o.stdout, "standard error": o.stderr} {
		for _, l := range g.marker.inText(t, what, text) {
			t.Errorf("%s: a canary is in the %s", strings.Join(args, " "), l)
		}
	}
	return o
}

// source makes a folder of a source, with names and texts in turn.
func (g *garden) source(t *testing.T, list ...string) string {
	t.Helper()
	dir := filepath.Join(g.plants, fmt.Sprint("source", time.Now().UnixNano()))
	for i := 0; i < len(list); i += 2 {
		write(t, filepath.Join(dir, list[i]), list[i+1])
	}
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o777)); err != nil { // ibuild.lock is written there
		t.Fatal(err)
	}
	return dir
}

// eachGarden has one with the in-process engine and one with the rootless daemon, side by side, and then searches all
// that was written since they were planted: images and uploads in the registry, the folders of both engines with their
// databases and cache mounts, ibuild's cache, outputs, logs and temporary files.
func eachGarden(t *testing.T, test func(t *testing.T, g *garden)) {
	var gardens []*garden
	begin, marker, skip := time.Now(), newMarker(), []string{shared.imagesDir()}
	for _, e := range rootAndRemote(t) {
		g := plant(t, e, marker)
		gardens, skip = append(gardens, g), append(skip, g.plants)
	}
	t.Run("with", func(t *testing.T) {
		for _, g := range gardens {
			t.Run(g.name, func(t *testing.T) {
				t.Parallel()
				test(t, g)
			})
		}
	})
	for _, l := range marker.inFiles(t, shared.env.Dir, begin, skip...) {
		t.Errorf("a canary is in %s", l)
	}
}

// TestSearch finds what it has to find: without this, no leak would mean nothing.
func TestSearch(t *testing.T) {
	m := newMarker()
	secret := m.canary("x")
	var zipped, unzipped, packed bytes.Buffer
	gz := gzip.NewWriter(&zipped)
	fmt.Fprint(gz, strings.Repeat("a long text ", 1e5)+secret)
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(z, secret)
	archive := zip.NewWriter(&unzipped)
	w, err := archive.Create("file")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, secret)
	if err := errors.Join(gz.Close(), z.Close(), archive.Close()); err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"plain": "password=" + secret, "capitals": strings.ToUpper(secret), "hex": hex.EncodeToString([]byte(secret)), "HEX": fmt.Sprintf("%X", secret),
		"base64": base64.StdEncoding.EncodeToString([]byte(secret)), "base64, 1 after": base64.URLEncoding.EncodeToString([]byte("a" + secret)),
		"base64, 2 after": base64.StdEncoding.EncodeToString([]byte("ab" + secret)), "base64, of more": base64.StdEncoding.EncodeToString([]byte("user:" + secret)),
		"half": secret[:len(secret)/2], "other half": secret[len(secret)/2:],
		"gzip": zipped.String(), "zstd": packed.String(), "zip": unzipped.String(),
		"between two windows": strings.Repeat("x", 1<<20-10) + secret,
	} {
		if found, err := newSearch(m.forms()...).unpacked(strings.NewReader(text)); found == "" || err != nil {
			t.Errorf("%s: not found, %v", what, err)
		}
	}
	for _, text := range []string{"", "canary", newMarker().canary("x"), "\x1f\x8b broken", strings.Repeat("x", 3<<20)} {
		if found, err := newSearch(m.forms()...).unpacked(strings.NewReader(text)); found != "" || err != nil {
			t.Errorf("found %s, %v", found, err)
		}
	}
	begin := time.Now().Add(-time.Second)
	dir := files(t, "a/b", "text", "c", secret, "skipped/d", secret)
	if found := m.inFiles(t, dir, begin, filepath.Join(dir, "skipped")); len(found) != 1 || found[0].where != filepath.Join(dir, "c") {
		t.Errorf("found %v", found)
	}
}
