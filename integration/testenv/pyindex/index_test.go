package pyindex

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func newIndex(t *testing.T) *Index {
	t.Helper()
	i, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestSameBytesEveryTime(t *testing.T) {
	a, b := newIndex(t), newIndex(t)
	if len(a.files) != len(releases()) {
		t.Fatalf("%d files, want one for each of %d releases", len(a.files), len(releases()))
	}
	for name, data := range a.files {
		if len(data) == 0 || !bytes.Equal(data, b.files[name]) {
			t.Errorf("%s differs or is empty", name)
		}
	}
}

func get(t *testing.T, i *Index, path, accept string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	i.ServeHTTP(w, r)
	return w
}

func TestPages(t *testing.T) {
	i := newIndex(t)
	const asJSON = "application/vnd.pypi.simple.v1+json, text/html;q=0.01"
	for _, test := range []struct {
		path, accept string
		status       int
		want         string
	}{
		{"/simple/", "text/html", 200, `<a href="ibuild-sdist-only/">`},
		{"/simple/", asJSON, 200, `{"meta":{"api-version":"1.0"},"projects":[{"name":"ibuild-newest-sdist"},{"name":"ibuild-private-hello"},`},
		{"/simple/ibuild-sdist-only/", "text/html", 200, `<a href="../../files/ibuild_sdist_only-1.0.tar.gz#sha256=`},
		{"/simple/ibuild-private-hello/", asJSON, 200, `"filename":"ibuild_private_hello-1.1-py3-none-any.whl"`},
		{"/simple/ibuild-private-hello", "", 301, "/simple/ibuild-private-hello/"},
		{"/simple/numpy/", "", 404, "not found"},
		{"/files/nothing", "", 404, "not found"},
		{"/", "", 404, "not found"},
	} {
		w := get(t, i, test.path, test.accept)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s (%s): %d %s, want %d %s", test.path, test.accept, w.Code, w.Body, test.status, test.want)
		}
	}
}

func TestPagesLeadToFiles(t *testing.T) {
	i := newIndex(t)
	server := httptest.NewServer(i)
	defer server.Close()
	for _, r := range releases() {
		page := "/simple/" + r.name + "/"
		var document struct{ Files []link }
		if err := json.Unmarshal(get(t, i, page, "application/vnd.pypi.simple.v1+json").Body.Bytes(), &document); err != nil {
			t.Fatal(err)
		}
		for _, l := range document.Files {
			address, err := url.Parse(server.URL + page)
			if err == nil {
				address, err = address.Parse(l.URL)
			}
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.Get(address.String())
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || !bytes.Equal(data, i.files[l.Filename]) {
				t.Errorf("%s%s: %d bytes, %v", page, l.URL, len(data), err)
			}
		}
	}
}

// TestInstall lets pip say whether these are packages.
func TestInstall(t *testing.T) {
	server := httptest.NewServer(newIndex(t))
	defer server.Close()
	venv := filepath.Join(t.TempDir(), "venv")
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("python3", "-m", "venv", venv)
	bin := filepath.Join(venv, "bin")
	run(filepath.Join(bin, "pip"), "--isolated", "install", "--no-cache-dir", "--index-url", server.URL+"/simple/",
		"ibuild-private-hello", "ibuild-sdist-only", "ibuild-newest-sdist")
	for name, want := range map[string]string{
		"ibuild-private-hello": "1.1", "ibuild-sdist-only": "1.0", "ibuild-newest-sdist": "2.0",
	} {
		if got := run(filepath.Join(bin, name)); got != name+" "+want {
			t.Errorf("%s says %q", name, got)
		}
	}
}
