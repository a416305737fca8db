//go:build integration

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// everyCommand builds a source into a registry and files, with all that is said in the process, and has it printed by
// all commands that print. ref is the image.
func (g *garden) everyCommand(t *testing.T, ref string, env []string, flags []string, source string) {
	t.Helper()
	dir := filepath.Join(g.out, fmt.Sprint("build", time.Now().UnixNano()))
	if err := g.user.Mkdir(dir); err != nil {
		t.Fatal(err)
	}
	build := append([]string{"--debug", "build", "--progress", "plain", "--push", "-t", ref, "-o", "type=oci,dest=" + filepath.Join(dir, "oci.tar"),
		"--metadata-file", filepath.Join(dir, "metadata.json"), "--iidfile", filepath.Join(dir, "iid")}, flags...)
	if o := g.run(t, 0, env, append(build, source)...); !strings.Contains(o.stderr, "built by") {
		t.Errorf("no builder made this:\n%s", o.stderr)
	}
	for _, progress := range []string{"rawjson", "quiet"} {
		g.run(t, 0, env, slices.Concat([]string{"build", "--force", "--progress", progress}, flags, []string{source})...)
	}
	flags = slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return f == "--secret" || strings.HasPrefix(f, "id=") })
	for _, format := range []string{"json", "dot", "svg"} {
		g.run(t, 0, env, slices.Concat([]string{"--debug", "llb", "--format", format}, flags, []string{source})...)
	}
	g.run(t, 0, env, slices.Concat([]string{"--debug", "lock"}, flags, []string{source})...)
	g.run(t, 0, env, slices.Concat([]string{"--debug", "exists", "-t", ref}, flags, []string{source})...)
	for _, format := range []string{"text", "json", "github"} {
		g.run(t, 0, env, "spec", "validate", "--format", format, source)
	}
}

// canarySpec has a secret of every kind that a spec can have.
func (g *garden) canarySpec(t *testing.T, netrc guarded) (dir string, flags []string) {
	t.Helper()
	dir = g.source(t, "pip.secret", g.marker.canary("pip-secret-mount"), "image.yaml", `python_version: "3.11"
pip_index: corp=http://`+g.index.host+`/simple/
packages: [ibuild-private-hello==1.1]
pip_secret_mounts: [[pip.secret, /run/pip-secret]]
secrets:
  - {id: ENV_SECRET, for: [commands], version: `+string(g.shown)+`}
  - {id: team/file, file: /run/file-secret, for: [commands]}
  - {id: team/index, index: corp, username: ibuild, for: [packages]}
  - {id: team/netrc, file: /root/.netrc}
commands:
  - test "$ENV_SECRET" = "$(sed s/file-secret/env-secret/ /run/file-secret)" && echo "two secrets" > /note
layers:
  - pip: {packages: [ibuild-newest-sdist==1.0], index_url: "http://`+netrc.host+`/simple/", secrets: [team/netrc]}
  - run: test -z "$ENV_SECRET" && test ! -s /run/file-secret && test ! -s /root/.netrc && test ! -s /run/pip-secret
  - source_file: code.txt
entrypoint: [ibuild-private-hello]
`, "code.txt", "code\n")
	secrets := g.source(t, "file", g.marker.canary("file-secret"), "index", g.index.password,
		"netrc", "machine 127.0.0.1 login ibuild password "+netrc.password+"\n")
	for _, id := range []string{"file", "index", "netrc"} {
		flags = append(flags, "--secret", "id=team/"+id+",src="+filepath.Join(secrets, id))
	}
	return dir, flags
}

// TestCanariesOfSpecs builds specs with secrets, a script and a notebook.
func TestCanariesOfSpecs(t *testing.T) {
	eachGarden(t, func(t *testing.T, g *garden) {
		netrc := guard(t, packageHost(), g.marker.canary("netrc"))
		dir, flags := g.canarySpec(t, netrc)
		ref := shared.env.Registry.Ref("canaries/spec/" + g.name)
		g.everyCommand(t, ref, nil, flags, filepath.Join(dir, "image.yaml"))
		g.run(t, 0, nil, "spec", "show", filepath.Join(dir, "image.yaml"))
		if g.index.let.Load() == 0 || netrc.let.Load() == 0 {
			t.Errorf("requests with a password: %d and %d", g.index.let.Load(), netrc.let.Load())
		}
		prints(t, pull(t, ref, amd64), noOptions, "ibuild-private-hello 1.1\n")
		if llb := g.run(t, 0, nil, "llb", filepath.Join(dir, "image.yaml")).stdout; !strings.Contains(llb, string(g.shown)) {
			t.Error("the secret's version is not a part of the graph")
		}

		header := `# /// script
# requires-python = "==3.11.*"
# dependencies = ["ibuild-private-hello"]
# [[tool.uv.index]]
# name = "corp"
# url = "http://` + g.index.host + `/simple/"
# [tool.ibuild]
# secrets = [{id = "team/index", index = "corp", username = "ibuild", for = ["script"]}]
# ///
`
		code := "import ibuild_private_hello\nibuild_private_hello.main()\n"
		notebook, err := json.Marshal(map[string]any{"nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{}, "cells": []any{
			map[string]any{"cell_type": "code", "id": "1", "metadata": map[string]any{}, "outputs": []any{}, "execution_count": nil,
				"source": strings.Replace(header, "private-hello", "private-hello>1", 1)}, // a step of its own
			map[string]any{"cell_type": "code", "id": "2", "metadata": map[string]any{}, "outputs": []any{}, "execution_count": nil, "source": code},
		}})
		if err != nil {
			t.Fatal(err)
		}
		dir = g.source(t, "main.py", header+code, "book.ipynb", string(notebook))
		for _, name := range []string{"main.py", "book.ipynb"} {
			before := g.index.let.Load()
			ref := shared.env.Registry.Ref("canaries/" + name + "/" + g.name)
			g.everyCommand(t, ref, nil, flags[2:4], filepath.Join(dir, name))
			prints(t, pull(t, ref, amd64), noOptions, "ibuild-private-hello 1.1\n")
			if g.index.let.Load() == before {
				t.Error("the index was not asked with the password")
			}
		}
	})
}

// TestCanariesOfStarts builds a spec whose start, and what the platform wants in every image, have secrets of their own.
func TestCanariesOfStarts(t *testing.T) {
	eachGarden(t, func(t *testing.T, g *garden) {
		netrc := guard(t, packageHost(), g.marker.canary("netrc-of-the-start"))
		dir := g.source(t, "image.yaml", `from_env:
  packages: [ibuild-private-hello]
  index_url: http://`+netrc.host+`/simple/
  secrets: [team/netrc, {id: ENV_SECRET, env: SEEN}]
platform_packages:
  packages: [ibuild-newest-sdist==1.0]
  index_url: corp=http://`+g.index.host+`/simple/
  secrets: [{id: team/index, index: corp, username: ibuild}]
secrets:
  - team/index
  - {id: team/netrc, file: /root/.netrc, version: `+string(g.shown)+`}
  - {id: team/file, file: /run/file-secret, for: [platform_packages, from_env]}
  - ENV_SECRET
commands:
  - test -z "$SEEN$UV_INDEX_CORP_PASSWORD" && test ! -s /run/file-secret && test ! -s /root/.netrc
entrypoint: [python, -c, "import ibuild_private_hello as h, ibuild_newest_sdist as n; h.main(); n.main()"]
`)
		secrets := g.source(t, "index", g.index.password, "netrc", "machine 127.0.0.1 login ibuild password "+netrc.password+"\n", "file", g.marker.canary("file-of-the-start"))
		var flags []string
		for _, id := range []string{"index", "netrc", "file"} {
			flags = append(flags, "--secret", "id=team/"+id+",src="+filepath.Join(secrets, id))
		}
		interpreter := g.source(t, "python3", `#!/bin/sh
echo '{"python": "3.11", "packages": {"ibuild-private-hello": {"version": "1.1", "url": ""}}}'
`)
		if err := os.Chmod(filepath.Join(interpreter, "python3"), 0o755); err != nil {
			t.Fatal(err)
		}
		env := []string{"PATH=" + interpreter + ":" + os.Getenv("PATH")}
		ref := shared.env.Registry.Ref("canaries/starts/" + g.name)
		g.everyCommand(t, ref, env, flags, filepath.Join(dir, "image.yaml"))
		g.run(t, 0, env, "spec", "show", filepath.Join(dir, "image.yaml"))
		if g.index.let.Load() == 0 || netrc.let.Load() == 0 {
			t.Errorf("requests with a password: %d and %d", g.index.let.Load(), netrc.let.Load())
		}
		prints(t, pull(t, ref, amd64), noOptions, "ibuild-private-hello 1.1\nibuild-newest-sdist 1.0\n")
	})
}

// machineIndexes are the ways in which a machine says that its index wants a password.
func (g *garden) machineIndexes(t *testing.T) map[string]func(guarded) []string {
	t.Helper()
	home := func(name, text string) []string {
		dir := g.source(t)
		write(t, filepath.Join(dir, name), text)
		return []string{"HOME=" + dir}
	}
	return map[string]func(guarded) []string{
		"pip's variables": func(m guarded) []string {
			return []string{"PIP_INDEX_URL=" + m.with("/simple/"), "PIP_EXTRA_INDEX_URL=" + m.with("/simple")}
		},
		"uv's variables": func(m guarded) []string {
			return []string{"UV_DEFAULT_INDEX=" + m.with("/simple/"), "UV_INDEX=corp=http://" + m.host + "/simple/",
				"UV_INDEX_CORP_USERNAME=ibuild", "UV_INDEX_CORP_PASSWORD=" + m.password, "PIP_INDEX_URL=" + m.with("/simple/")}
		},
		"pip.conf": func(m guarded) []string {
			return home(".config/pip/pip.conf", "[global]\nindex-url = "+m.with("/simple/")+"\nproxy = "+m.with("")+"\n")
		},
		"uv.toml": func(m guarded) []string {
			return append(home(".config/uv/uv.toml", "[[index]]\nurl = \""+m.with("/simple/")+"\"\ndefault = true\n"), "PIP_INDEX_URL="+m.with("/simple/"))
		},
		"config.toml": func(m guarded) []string {
			dir := g.source(t, "config.toml", read(t, filepath.Join(g.plants, "config.toml"))+"index_url = \""+m.with("/simple/")+"\"\n")
			return []string{"IBUILD_CONFIG=" + filepath.Join(dir, "config.toml")}
		},
	}
}

// TestCanariesOfTheMachine builds with an index of the machine's that needs a password. Specs and Dockerfiles take
// turns, the other way round with the other engine.
func TestCanariesOfTheMachine(t *testing.T) {
	eachGarden(t, func(t *testing.T, g *garden) {
		ways := g.machineIndexes(t)
		for i, name := range slices.Sorted(maps.Keys(ways)) {
			dir := g.source(t, "image.yaml", "python_version: '3.11'\nenv: {N: \""+name+"\"}\npackages: [ibuild-private-hello==1.1]\nentrypoint: [ibuild-private-hello]\n",
				"Dockerfile", "FROM "+python+"\nENV N=\""+name+"\"\nRUN pip install ibuild-private-hello==1.1\nCMD [\"ibuild-private-hello\"]\n")
			file := "Dockerfile"
			if (i%2 == 0) == g.remote {
				file = "image.yaml"
			}
			m := guard(t, packageHost(), g.marker.canary("machine-index"))
			ref := shared.env.Registry.Ref(fmt.Sprintf("canaries/machine-%s/%d", g.name, i))
			g.everyCommand(t, ref, ways[name](m), nil, filepath.Join(dir, file))
			if m.let.Load() == 0 {
				t.Errorf("%s, %s: the index was not asked with the password", name, file)
			}
			prints(t, pull(t, ref, amd64), noOptions, "ibuild-private-hello 1.1\n")
		}
		if notes := g.run(t, 0, nil, "--debug", "doctor"); !strings.Contains(notes.stdout+notes.stderr, "***@127.0.0.1:9") {
			t.Errorf("nothing is said of the machine's settings:\n%s%s", notes.stdout, notes.stderr)
		}
	})
}

// TestCanariesOfRegistries pushes with passwords of docker's configuration and of one that a spec names.
func TestCanariesOfRegistries(t *testing.T) {
	eachGarden(t, func(t *testing.T, g *garden) {
		docker := guard(t, shared.env.Registry.Addr, g.marker.canary("docker-config"))
		named := guard(t, shared.env.Registry.Addr, g.marker.canary("registry-config"))
		write(t, filepath.Join(g.plants, "home/.docker/config.json"), docker.dockerConfig())
		config := filepath.Join(g.plants, "config.toml")
		appendTo(t, config, "[registry.\""+docker.host+"\"]\nhttp = true\n[registry.\""+named.host+"\"]\nhttp = true\n")
		dir := g.source(t, "Dockerfile", "FROM busybox\nRUN echo "+g.name+"\n", "auth.json", named.dockerConfig(),
			"image.yaml", "base_image: busybox\nregistry_config: auth.json\ncommands: [echo "+g.name+" made]\n")
		for name, registry := range map[string]guarded{"Dockerfile": docker, "image.yaml": named} {
			g.everyCommand(t, registry.host+"/canaries/registry:"+g.name, nil, nil, filepath.Join(dir, name))
			if registry.let.Load() == 0 {
				t.Errorf("%s: the registry was not asked with the password", name)
			}
		}
		wrong := guard(t, shared.env.Registry.Addr, "another password")
		write(t, filepath.Join(g.plants, "home/.docker/config.json"), guarded{host: wrong.host, password: g.marker.canary("wrong")}.dockerConfig())
		appendTo(t, config, "[registry.\""+wrong.host+"\"]\nhttp = true\n")
		g.run(t, 3, nil, "--debug", "build", "--progress", "plain", "--push", "-t", wrong.host+"/canaries/wrong", filepath.Join(dir, "Dockerfile"))
	})
}

// TestCanariesOfDockerfiles: secrets are nowhere, and arguments are where docker has them.
func TestCanariesOfDockerfiles(t *testing.T) {
	eachGarden(t, func(t *testing.T, g *garden) {
		dir := g.source(t, "Dockerfile", `FROM busybox
ARG SHOWN
RUN echo "$SHOWN" > /shown
RUN --mount=type=secret,id=ENV_SECRET,env=ENV_SECRET,required=true --mount=type=secret,id=file,required=true \
    test "$ENV_SECRET" = "$(sed s/file-secret/env-secret/ /run/secrets/file)" && test -n "$HTTPS_PROXY"
RUN test -z "$ENV_SECRET" && test ! -s /run/secrets/file
`, "secret", g.marker.canary("file-secret"))
		ref := shared.env.Registry.Ref("canaries/dockerfile/" + g.name)
		flags := []string{"--secret", "id=ENV_SECRET", "--secret", "id=file,src=" + filepath.Join(dir, "secret"), "--build-arg", "SHOWN=" + g.shown.canary("argument"),
			"--build-arg", "HTTPS_PROXY=http://ibuild:" + url.QueryEscape(g.marker.canary("proxy-argument")) + "@127.0.0.1:9"}
		g.everyCommand(t, ref, nil, flags, filepath.Join(dir, "Dockerfile"))
		if config, err := pull(t, ref, amd64).ConfigFile(); err != nil || !slices.ContainsFunc(config.History, func(h v1.History) bool { return strings.Contains(h.CreatedBy, g.shown.canary("argument")) }) {
			t.Errorf("the argument is not in the history, %v", err)
		}
		found := g.shown.inFiles(t, filepath.Join(shared.env.Dir, "registry"), g.begin)
		if len(found) < 2 { // the config, and the layer with the file
			t.Errorf("the argument is in %v alone", found)
		}
	})
}

// TestCanariesOfFailures: steps that fail with secrets mounted. Only what a step prints itself is shown.
func TestCanariesOfFailures(t *testing.T) {
	eachGarden(t, func(t *testing.T, g *garden) {
		build := func(text string, env ...string) outcome {
			dir := g.source(t, "image.yaml", text)
			return g.run(t, 1, env, "--debug", "build", "--progress", "plain", "--push", "-t", shared.env.Registry.Ref("canaries/failure:"+g.name), dir)
		}
		const secret = "base_image: busybox\nsecrets: [{id: ENV_SECRET, for: [commands]}]\n"
		build(secret + "commands: ['test -z \"$ENV_SECRET\"']\n")
		build(secret + "commands: ['no-such-program-of-anybody \"$ENV_SECRET\"']\nuser: nobody\n")
		pip := "python_version: '3.11'\npip_index: corp=http://" + g.index.host + "/simple/\npackages: [no-such-package-of-anybody]\n"
		index := "secrets: [{id: INDEX_PASSWORD, index: corp, username: ibuild, for: [packages]}]\n"
		build(pip+index, "INDEX_PASSWORD="+g.index.password)
		build(pip+index, "INDEX_PASSWORD="+g.marker.canary("wrong"))
		for _, m := range []guarded{g.index, {host: g.index.host, password: g.marker.canary("wrong")}, {host: "127.0.0.1:9", password: g.marker.canary("unreachable")}} {
			build("python_version: '3.11'\npackages: [no-such-package-of-anybody]\n", "UV_DEFAULT_INDEX="+m.with("/simple/"))
		}
		o := build(secret+"commands: ['echo $ENV_SECRET; false']\n", "ENV_SECRET="+g.shown.canary("printed"))
		if lines := g.shown.inText(t, "", o.stderr); len(lines) == 0 {
			t.Error("what the step printed is not shown")
		}
		own := regexp.MustCompile(`(?m)^(#\d+ )?\d+\.\d+ `+regexp.QuoteMeta(g.shown.canary("printed"))+`$`).ReplaceAllString(o.stderr, "")
		for _, l := range g.shown.inText(t, "what is not the step's own line", own) {
			t.Errorf("the secret is in %s", l)
		}
		if found := g.shown.inFiles(t, g.cache(), g.begin); len(found) > 0 {
			t.Errorf("what the step printed is in %v", found)
		}
	})
}

// refusedSources have a canary where a source may have no secret: it would become a part of the image. The URL is one
// with a password, the text a secret alone.
func refusedSources(url, text string) map[string][]string {
	spec := func(text string) []string { return []string{"image.yaml", text} }
	script := func(lines ...string) []string {
		return []string{"main.py", "# /// script\n# requires-python = \"==3.11.*\"\n# " + strings.Join(lines, "\n# ") + "\n# ///\n"}
	}
	return map[string][]string{
		"env":            spec("env: {API_TOKEN: '" + text + "'}\n"),
		"env, a URL":     spec("env: {DATABASE: '" + url + "'}\n"),
		"env layer":      spec("layers: [{env: {DB_PASSWORD: '" + text + "'}}]\n"),
		"index":          spec("packages: [rich]\npip_index: '" + url + "'\n"),
		"named index":    spec("packages: [rich]\npip_index: 'corp=" + url + "'\n"),
		"extra index":    spec("packages: [rich]\npip_extra_index_url: ['" + url + "']\n"),
		"extra args":     spec("packages: [rich]\npip_extra_args: ['--index=" + url + "']\n"),
		"extra args, 2":  spec("packages: [rich]\npip_extra_args: [--index, '" + url + "']\n"),
		"git URL":        spec("packages: ['x @ git+" + url + "/x.git']\n"),
		"package's URL":  spec("packages: ['x @ " + url + "/x-1-py3-none-any.whl']\n"),
		"command":        spec("commands: ['git clone " + url + "']\n"),
		"platform index": spec("platform_packages: {packages: [rich], index_url: '" + url + "'}\n"),
		"platform args":  spec("platform_packages: {packages: [rich], extra_args: ['--index=" + url + "']}\n"),
		"platform's URL": spec("platform_packages: ['x @ git+" + url + "']\n"),
		"from_env index": spec("from_env: {packages: [pip], extra_index_urls: ['corp=" + url + "']}\n"),
		"from_env args":  spec("from_env: {packages: [pip], extra_args: [--index, '" + url + "']}\n"),
		"conda channel":  spec("conda_packages: [zlib]\nconda_channels: ['" + url + "']\n"),
		"label":          spec("labels: {source: '" + url + "'}\n"),
		"entrypoint":     spec("entrypoint: [serve, '" + url + "']\n"),
		"runtime":        spec("runtime_packages: ['x @ git+" + url + "']\n"),
		"base image":     spec("base_image: '" + url + "/x'\n"),
		"requirements":   {"image.yaml", "requirements: requirements.txt\n", "requirements.txt", "--index-url " + url + "\nrich\n"},
		"requirements 2": {"image.yaml", "requirements: requirements.txt\n", "requirements.txt", "x @ git+" + url + "\n"},
		"nested":         {"image.yaml", "requirements: requirements.txt\n", "requirements.txt", "-r more.txt\n", "more.txt", "--extra-index-url " + url + "\n"},
		"environment":    {"image.yaml", "layers: [{conda: {file: environment.yml}}]\n", "environment.yml", "channels: ['" + url + "']\ndependencies: [zlib]\n"},
		"uv project": {"image.yaml", "layers: [{uv_project: .}]\n", "uv.lock", "version = 1\nrequires-python = '>=3.11'\n",
			"pyproject.toml", "[project]\nname = 'x'\nversion = '1'\nrequires-python = '>=3.11'\n[[tool.uv.index]]\nname = 'corp'\nurl = '" + url + "'\n"},
		"uv lock": {"image.yaml", "layers: [{uv_project: .}]\n", "pyproject.toml", "[project]\nname = 'x'\nversion = '1'\nrequires-python = '>=3.11'\ndependencies = ['rich']\n",
			"uv.lock", "version = 1\nrequires-python = '>=3.11'\n[[package]]\nname = 'rich'\nversion = '1'\nsource = { registry = '" + url + "' }\n"},
		"script's index":      script(`dependencies = ["rich"]`, `[[tool.uv.index]]`, `url = "`+url+`"`),
		"script's index-url":  script(`dependencies = ["rich"]`, `[tool.uv]`, `index-url = "`+url+`"`),
		"script's dependency": script(`dependencies = ["x @ git+` + url + `"]`),
		"script's source":     script(`dependencies = ["x"]`, `[tool.uv.sources]`, `x = { git = "`+url+`" }`),
		"script's env":        script(`[tool.ibuild]`, `env = { API_TOKEN = "`+text+`" }`),
		"notebook": {"book.ipynb", `{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code", "id": "1", "metadata": {}, "outputs": [],
			"execution_count": null, "source": "%pip install --index-url ` + url + ` rich==13.9.4"}]}`},
	}
}

// TestCanariesInSources: what has no place in a source is an error that does not show it, however it is asked for.
func TestCanariesInSources(t *testing.T) {
	g := plant(t, engineNamed(t, "user"), newMarker())
	password, why := url.QueryEscape(g.marker.canary("source")), regexp.MustCompile(`password|credential|token|without a scheme`)
	for name, list := range refusedSources("https://ibuild:"+password+"@packages.example.com/simple", g.marker.canary("text")) {
		t.Run(name, func(t *testing.T) {
			source := filepath.Join(g.source(t, list...), list[0])
			for _, args := range [][]string{{"--debug", "build", "-t", "127.0.0.1:1/x"}, {"llb"}, {"lock"}, {"exists"},
				{"spec", "show"}, {"spec", "validate", "--format", "text"}, {"spec", "validate", "--format", "json"}, {"spec", "validate", "--format", "github"}} {
				o := g.run(t, 2, nil, append(args, source)...)
				if !why.MatchString(o.stdout + o.stderr) {
					t.Errorf("%v: it is an error for another reason:\n%s%s", args, o.stdout, o.stderr)
				}
			}
		})
	}
}
