//go:build integration

package e2e

import (
	"debug/elf"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/integration/imagetest"
	"github.com/ibuild/ibuild/integration/testenv"
)

// private is a source whose packages come from an index with a password. Another index beside it is open.
type private struct {
	file  string   // what is built
	files []string // names and texts in turn
	// secret is the id of the one that is given, and value what it holds.
	secret, value string
	private       bool // all packages come from the private index, as it is looked at first and has them all
}

const privateProgram = "[python, -c, \"import ibuild_private_hello as h, ibuild_newest_sdist as n; h.main(); n.main()\"]"

// privateSources are the ways in which sources say how to log in.
func privateSources(t *testing.T) map[string]private {
	t.Helper()
	site, open := shared.env.Sites.Private, shared.env.Sites.Open
	const named = "secrets: [{id: team/password, index: company, username: ibuild, for: [packages]}]\n"
	netrc := "machine " + strings.TrimPrefix(site.URL, "http://") + "\nmachine 127.0.0.1 login " + site.User + " password " + site.Password + "\n"
	header := `# /// script
# requires-python = "==3.11.*"
# dependencies = ["ibuild-private-hello", "ibuild-newest-sdist==1.0"]
# [tool.uv.sources]
# ibuild-private-hello = { index = "company" }
# [[tool.uv.index]]
# name = "company"
# url = "` + site.Index() + `"
# explicit = true
# [[tool.uv.index]]
# url = "` + open.Index() + `"
# default = true
# [tool.ibuild]
# secrets = [{id = "team/password", index = "company", username = "ibuild", for = ["script"]}]
# ///
import ibuild_private_hello as h, ibuild_newest_sdist as n
h.main()
n.main()
`
	project := `[project]
name = "app"
version = "1"
requires-python = "==3.11.*"
dependencies = ["ibuild-private-hello", "ibuild-newest-sdist==1.0"]
[tool.uv.sources]
ibuild-private-hello = { index = "company" }
[[tool.uv.index]]
name = "company"
url = "` + site.Index() + `"
explicit = true
[[tool.uv.index]]
name = "open"
url = "` + open.Index() + `"
default = true
`
	return map[string]private{
		"index": {secret: "team/password", value: site.Password, private: true, file: "image.yaml", files: []string{"image.yaml", "python_version: '3.11'\npip_index: " + open.Index() +
			"\npip_extra_index_url: ['company=" + site.Index() + "']\npackages: [ibuild-private-hello==1.1, ibuild-newest-sdist==1.0]\n" + named + "entrypoint: " + privateProgram + "\n"}},
		"netrc": {secret: "team/netrc", value: netrc, file: "image.yaml", files: []string{"image.yaml", "python_version: '3.11'\nlayers:\n" +
			"- pip: {packages: [ibuild-private-hello==1.1], index_url: '" + site.Index() + "', secrets: [{id: team/netrc, file: /run/team/.netrc}]}\n" +
			"- pip: {packages: [ibuild-newest-sdist==1.0], index_url: '" + open.Index() + "'}\nentrypoint: " + privateProgram + "\n"}},
		"uv project": {secret: "team/password", value: site.Password, file: "image.yaml", files: []string{"pyproject.toml", project, "uv.lock", uvLock(t, project),
			"image.yaml", "python_version: '3.11'\nlayers:\n- uv_project: {path: ., secrets: [{id: team/password, index: company, username: ibuild}]}\nentrypoint: " + privateProgram + "\n"}},
		"script": {secret: "team/password", value: site.Password, file: "main.py", files: []string{"main.py", header}},
	}
}

// uvLock is the lock of a project, made by the uv that locks for everybody.
func uvLock(t *testing.T, project string) string {
	t.Helper()
	site, dir := shared.env.Sites.Private, files(t, "pyproject.toml", project)
	err := imagetest.View(t.Context(), pull(t, shared.env.Registry.Ref("astral-sh/uv:0.13.9"), amd64), func(root string) error {
		cmd := exec.CommandContext(t.Context(), filepath.Join(root, "uv"), "lock", "--no-cache", "--directory", dir)
		cmd.Env = append(cmd.Environ(), "HOME="+dir, "UV_INDEX_COMPANY_USERNAME="+site.User, "UV_INDEX_COMPANY_PASSWORD="+site.Password)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("uv lock: %w\n%s", err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return read(t, filepath.Join(dir, "uv.lock"))
}

// TestPrivateIndexes installs from an index with a password, on the builder's platform and natively for another one.
// The password goes to that index and to no other.
func TestPrivateIndexes(t *testing.T) {
	for name, x := range privateSources(t) {
		for _, engine := range []string{"root", "remote"} {
			t.Run(name+"/"+engine, func(t *testing.T) { x.test(t, engineNamed(t, engine).fresh(t)) })
		}
	}
}

func (x private) test(t *testing.T, e engine) {
	dir := files(t, x.files...)
	site, open := shared.env.Sites.Private, shared.env.Sites.Open
	secret := filepath.Join(files(t, "secret", x.value), "secret")
	ref := shared.env.Registry.Ref("private/" + strings.ToLower(strings.ReplaceAll(t.Name(), "_", "-")))
	before, beforeOpen := site.Mark(), open.Mark()
	// a cache of its own: uv asks nobody for what it has
	config := filepath.Join(files(t, "config.toml", "cache_namespace = \""+filepath.Base(dir)+"/\"\n"+read(t, shared.env.IbuildConfig())), "config.toml")
	o := e.ibuild(t, "--config", config, "build", "--progress", "plain", "--no-cache", "--push", "-t", ref, "--platform", amd64+","+arm64, "--secret", "id="+x.secret+",src="+secret, filepath.Join(dir, x.file))
	if !strings.Contains(o.stderr, ", natively\n") || strings.Contains(o.stderr, "with emulation") {
		t.Errorf("not all was done natively:\n%s", o.stderr)
	}
	prints(t, pull(t, ref, amd64), noOptions, "ibuild-private-hello 1.1\nibuild-newest-sdist 1.0\n")
	ofPlatform(t, pull(t, ref, arm64), elf.EM_AARCH64, 2)
	x.loggedIn(t, site.Requests(before))
	x.anonymous(t, open.Requests(beforeOpen))
	keepsSecret(t, e, o, ref, x.secret, site.Password)
}

// loggedIn: the wheel came with a password, and nothing came without one.
func (x private) loggedIn(t *testing.T, requests []testenv.Request) {
	t.Helper()
	wheels := 0
	for _, r := range requests {
		switch {
		case r.Credentials != (r.Status != 401):
			t.Errorf("%s, with a password: %v", r, r.Credentials)
		case r.Path == "/files/ibuild_private_hello-1.1-py3-none-any.whl":
			wheels++
		}
	}
	if wheels == 0 {
		t.Errorf("no wheel was fetched: %v", requests)
	}
}

// anonymous: the open index never got a password. It was asked for its package, unless the private one had that, too.
func (x private) anonymous(t *testing.T, requests []testenv.Request) {
	t.Helper()
	asked := false
	for _, r := range requests {
		if r.Credentials {
			t.Errorf("the open index got a password: %s", r)
		}
		asked = asked || strings.HasPrefix(r.Path, "/files/ibuild_newest_sdist-1.0")
	}
	if asked == x.private {
		t.Errorf("the open index gave its package: %v, want %v: %v", asked, !x.private, requests)
	}
}

// TestPrivateIndexWithoutPassword fails where the password is missing or wrong, and names the package and not the password.
func TestPrivateIndexWithoutPassword(t *testing.T) {
	e := engineNamed(t, "root")
	x := privateSources(t)["index"]
	dir := files(t, x.files...)
	for _, password := range []string{"", "not/the@password"} {
		secret := filepath.Join(files(t, "secret", password), "secret")
		o := e.fails(t, 1, []string{"ibuild-private-hello"}, "--secret", "id="+x.secret+",src="+secret, dir)
		if password != "" && strings.Contains(o.stderr, password) {
			t.Errorf("the password is shown:\n%s", o.stderr)
		}
	}
}
