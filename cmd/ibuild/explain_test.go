package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
)

// TestIdentityIsNotTheCallers: who builds, with which secrets and credentials, where to and with what, is in no
// identity. What is in the image is.
func TestIdentityIsNotTheCallers(t *testing.T) {
	d := newDesk(t)
	d.push("base:1")
	d.push("uv:1")
	const spec = "base_image: HOST/base:1\nbuilder_config: {uv_image: HOST/uv:1}\n" +
		"layers: [{commands: {commands: [make], secrets: [{id: token, env: TOKEN}]}}]\n"
	text := strings.ReplaceAll(spec, "HOST", d.host)
	explain := func(text string, flags ...string) string {
		t.Helper()
		file := d.file(d.dir, "image.yaml", text)
		code, out, errs := d.runPlainly(append(append([]string{"explain", "--format", "json"}, flags...), file)...)
		var e explanation
		if err := json.Unmarshal([]byte(out), &e); code != 0 || err != nil || e.Now == nil || e.Now.Identity == "" {
			t.Fatalf("%d, %v\n%s%s", code, err, out, errs)
		}
		return e.Now.Identity.String()
	}
	here := []string{"--builder", "local", "--platform", "linux/amd64"}
	t.Setenv("TOKEN", "one")
	before := explain(text, here...)
	same := func(what, text string, flags ...string) {
		t.Helper()
		if explain(text, flags...) != before {
			t.Errorf("%s is in the identity", what)
		}
	}
	same("another name", text, append(here, "-t", d.host+"/app:1")...)
	same("where it is built", text, "--builder", "remote", "--platform", "linux/amd64")
	same("registry, name and tag", text+"registry: "+d.host+"\nname: team/app\ntag: v2\n", here...)
	same("the builder that the source asks for", text+"builder: local\n", here...)
	t.Setenv("TOKEN", "two")
	same("the value of a secret", text, here...)
	d.file(d.dir, "config.json", `{"auths": {"`+d.host+`": {"auth": "bWU6cGFzc3dvcmQ="}}}`)
	same("who is logged in", text+"registry_config: config.json\n", here...)
	if explain(text+"cmd: [a]\n", here...) == before {
		t.Error("a command of the image is not in its identity")
	}
}

// TestExplainAfterTheSaltIsLost: what was hidden then cannot be compared, and is not said to be different. What can
// be compared is.
func TestExplainAfterTheSaltIsLost(t *testing.T) {
	d := newDesk(t)
	const docker = "FROM scratch\nARG API_TOKEN\nENV API_TOKEN=$API_TOKEN\nCOPY a.txt /\n"
	d.file(d.dir, "Dockerfile", docker)
	d.file(d.dir, "a.txt", "1")
	flags := []string{"--builder", "local", "--platform", "linux/amd64", "--build-arg", "API_TOKEN=canary-of-the-test"}
	d.run(append(append([]string{"build", "-q", "--root", "/dev/null/none", "--push", "-t", d.host + "/app:1"}, flags...), d.dir)...)
	explain := func(want ...string) {
		t.Helper()
		code, out, errs := d.run(append(append([]string{"explain", "-t", d.host + "/app:1"}, flags...), d.dir)...)
		for _, w := range want {
			if code != 0 || !strings.Contains(out, w) {
				t.Errorf("%d, no %q in\n%s%s", code, w, out, errs)
			}
		}
	}
	explain("nothing changed since build 1")
	store, err := cache.Open(d.cache)
	d.check(err)
	d.check(cache.Facts[llb.Salt](store).Delete("journal/1 salt"))
	d.check(store.Close())
	explain("nothing changed since build 1") // its identity is the same
	d.file(d.dir, "a.txt", "22")
	explain("changed since build 1", "file a.txt: 1 byte -> 2 bytes", "variable API_TOKEN is hidden, and cannot be compared")
}
