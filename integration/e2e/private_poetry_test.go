//go:build integration

package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// poetrySource is a project whose package comes from a source that wants a password, and its lock.
func poetrySource(t *testing.T) (manifest, lock string) {
	t.Helper()
	site := shared.env.Sites.Private
	url := strings.TrimSuffix(site.Index(), "/")
	manifest = `[project]
name = "app"
version = "1"
requires-python = ">=3.11,<4"
dependencies = ["ibuild-private-hello==1.1"]
[tool.poetry]
package-mode = false
[[tool.poetry.source]]
name = "company-index"
url = "` + url + `"
priority = "primary"
`
	// What poetry locks by, in the form that Python's json writes.
	content := `{"project": {"dependencies": ["ibuild-private-hello==1.1"], "requires-python": ">=3.11,<4"}, ` +
		`"tool": {"poetry": {"source": [{"name": "company-index", "priority": "primary", "url": "` + url + `"}]}}}`
	return manifest, `[[package]]
name = "ibuild-private-hello"
version = "1.1"
description = "a package of ibuild's tests"
optional = false
python-versions = ">=3.8"
groups = ["main"]
files = [
    {file = "ibuild_private_hello-1.1-py3-none-any.whl", hash = "sha256:` + wheelDigest(t) + `"},
]

[package.source]
type = "legacy"
url = "` + url + `"
reference = "company-index"

[metadata]
lock-version = "2.1"
python-versions = ">=3.11,<4"
content-hash = "` + fmt.Sprintf("%x", sha256.Sum256([]byte(content))) + `"
`
}

// wheelDigest is what the index says of the wheel.
func wheelDigest(t *testing.T) string {
	t.Helper()
	resp, err := http.Get(shared.env.Sites.Open.Index() + "ibuild-private-hello/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`hello-1\.1-py3-none-any\.whl#sha256=([0-9a-f]{64})`).FindSubmatch(page)
	if found == nil {
		t.Fatalf("the index has no digest of the wheel:\n%s", page)
	}
	return string(found[1])
}

// TestPrivatePoetrySource logs in to a source of a poetry project: the password goes there and nowhere else. With a
// wrong one the build fails, and does not show it.
func TestPrivatePoetrySource(t *testing.T) {
	manifest, lock := poetrySource(t)
	x := private{files: []string{"pyproject.toml", manifest, "poetry.lock", lock, "image.yaml", `python_version: '3.11'
layers:
  - poetry_project: {path: ., secrets: [{id: team/password, index: company-index, username: ibuild}]}
entrypoint: [python, -c, "import ibuild_private_hello as h; h.main()"]
`}}
	site, open := shared.env.Sites.Private, shared.env.Sites.Open
	for _, name := range []string{"root", "remote"} {
		t.Run(name, func(t *testing.T) {
			e, dir := engineNamed(t, name).fresh(t), files(t, x.files...)
			secrets := files(t, "right", site.Password, "wrong", "not/the@password")
			// a cache of its own: poetry asks nobody for what it has
			config := filepath.Join(files(t, "config.toml", "cache_namespace = \""+filepath.Base(dir)+"/\"\n"+read(t, shared.env.IbuildConfig())), "config.toml")
			ref := shared.env.Registry.Ref("private/poetry-" + name)
			build := func(secret string) []string {
				return []string{"--config", config, "build", "--progress", "plain", "--no-cache", "--push", "-t", ref, "--secret", "id=team/password,src=" + filepath.Join(secrets, secret), dir}
			}
			if o := end(t, e.command(t, build("wrong")...)); o.code != 1 || strings.Contains(o.stderr, "not/the@password") || !strings.Contains(o.stderr, "company-index") {
				t.Errorf("with a wrong password: exit code %d\n%s", o.code, o.stderr)
			}
			before, beforeOpen := site.Mark(), open.Mark()
			o := e.ibuild(t, build("right")...)
			prints(t, pull(t, ref, amd64), noOptions, "ibuild-private-hello 1.1\n")
			x.loggedIn(t, site.Requests(before))
			for _, r := range open.Requests(beforeOpen) {
				if r.Credentials {
					t.Errorf("the open index got a password: %s", r)
				}
			}
			keepsSecret(t, e, o, ref, "team/password", site.Password)
		})
	}
}
