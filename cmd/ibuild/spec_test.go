package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/ibuild/ibuild/frontends"
	"github.com/ibuild/ibuild/frontends/spec"
	"github.com/ibuild/ibuild/frontends/spec/draft"
	"github.com/ibuild/ibuild/llb"
)

// runSpec runs a command of ibuild spec in the current folder.
func runSpec(t *testing.T, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	return ibuild(t, stdin, append([]string{"spec"}, args...)...)
}

// inFolder makes a folder of files the current one.
func inFolder(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, data := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSpecSchemaCommand(t *testing.T) {
	want, err := spec.Schema()
	if err != nil {
		t.Fatal(err)
	}
	code, out, errs := runSpec(t, "", "schema")
	if code != 0 || out != string(want) || errs != "" || !json.Valid([]byte(out)) {
		t.Errorf("%d %s %s", code, out, errs)
	}
}

const flatSpec = `packages: [numpy]
apt_packages: [jq]
env: {A: "1"}
copy: [conf.toml]
entrypoint: python conf.toml
`

const shownSpec = `# image.yaml: image spec
# base docker.io/library/python:3.14-slim-bookworm, Python 3.14
# user app
python_version: "3.14"
layers:
  - env:
      A: "1"
  - apt: [jq]
  - pip: [numpy]
  - copy: conf.toml
entrypoint: [/bin/sh, -c, python conf.toml]
`

const scriptText = "# /// script\n# requires-python = \"<3.13\"\n# dependencies = [\"rich\"]\n# [tool.ibuild]\n# apt_packages = [\"jq\"]\n# ///\nprint(1)\n"

// notebookText is a notebook whose only cell is scriptText.
func notebookText(t *testing.T) string {
	t.Helper()
	cell := map[string]any{"cell_type": "code", "metadata": map[string]any{}, "outputs": []any{}, "execution_count": nil, "source": scriptText}
	data, err := json.Marshal(map[string]any{"nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{}, "cells": []any{cell}})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestSpecShow(t *testing.T) {
	inFolder(t, map[string]string{"image.yaml": flatSpec, "conf.toml": "", "d/Dockerfile": "FROM scratch\n", "d2/image.yaml": "dockerfile: Dockerfile\n", "d2/Dockerfile": "FROM scratch\n",
		"train.py": scriptText, "a.ipynb": notebookText(t), "bad.yaml": "pakages: [x]\nenv: 3\n", "noending": "? packages\n: [x]\n"})
	for _, c := range []struct {
		stdin string
		args  []string
		code  int
		out   string
		errs  string
	}{
		{"", []string{"show", "."}, 0, shownSpec[2:], ""},
		{"", []string{"show", "image.yaml"}, 0, shownSpec, ""},
		{"", []string{"show", "noending"}, 2, "", "say what it is with --frontend uvscript|notebook|dockerfile|spec\n"},
		{"", []string{"show", "--frontend", "spec", "noending"}, 0, "# noending: image spec\n", ""},
		{"", []string{"show", "-f", "image.yaml", "."}, 0, shownSpec, ""},
		{"packages: [x]", []string{"show", "-"}, 0, "# <stdin>: image spec\n# base docker.io/library/python:3.14-slim-bookworm, Python 3.14\n# user app\npython_version: \"3.14\"\nlayers:\n  - pip: [x]\n", ""},
		{"base_image: debian:12", []string{"show", "-f", "-", "."}, 0, "# <stdin>: image spec\n# base docker.io/library/debian:12\nbase_image: debian:12\n", ""},
		{"", []string{"show", "--format", "json", "image.yaml"}, 0, `"python_version": "3.14"`, ""},
		{"", []string{"show", "train.py"}, 0, "# train.py: uv script\n# base docker.io/library/python:3.12-slim-bookworm, Python 3.12\n# user app\nuv_script: train.py\nlayers:\n  - apt: [jq]\n", ""},
		{scriptText, []string{"show", "-"}, 0, "# save the script as script.py beside this spec\nuv_script: script.py\n", ""},
		{"", []string{"show", "d2/image.yaml"}, 0, "# a Dockerfile says all of the image\ndockerfile: Dockerfile\n", ""},
		{"", []string{"show", "a.ipynb"}, 0, "# a.ipynb: notebook\n# base docker.io/library/python:3.12-slim-bookworm, Python 3.12\n# user app\n# the script is what `ibuild spec show --script` prints; save it, too\nuv_script: a.py\nlayers:\n  - apt: [jq]\n", ""},
		{"", []string{"show", "--script", "a.ipynb"}, 0, scriptText[:len(scriptText)-len("print(1)\n")], ""},
		{"", []string{"show", "d"}, 2, "", "ERROR: d/Dockerfile: a Dockerfile says all of its image by itself, so there is no spec to show\nhint:  `ibuild llb` prints what the builder is asked to do\n"},
		{"", []string{"show", "bad.yaml"}, 2, "", "ERROR: bad.yaml:1:1: unknown key \"pakages\"; did you mean \"packages\"?\nERROR: bad.yaml:2:6: env must be a mapping (key: value), not a number\n"},
		{"", []string{"show"}, 2, "", "ERROR: the source is missing\nhint:  write ibuild spec show [flags] SOURCE\n"},
		{"", []string{"show", "a", "b"}, 2, "", "ERROR: ibuild spec show takes one argument: got a b\nhint:  write ibuild spec show [flags] SOURCE\n"},
		{"", []string{"show", "a", "--format", "json"}, 2, "", "ERROR: the flag --format comes after a\nhint:  flags go first: ibuild spec show [flags] SOURCE\n"},
		{"", []string{"show", "--format", "xml", "."}, 2, "", "ERROR: --format cannot be \"xml\"\nhint:  write yaml or json\n"},
		{"", []string{"show", "--script", "train.py"}, 2, "", "ERROR: train.py is no notebook, so --script has nothing to print\n"},
		{"", []string{"shoe"}, 2, "", "ERROR: ibuild spec has no command \"shoe\"\nhint:  did you mean ibuild spec show?\n"},
		{"", []string{"show", "--formt", "json", "."}, 2, "", "ERROR: there is no flag --formt\nhint:  did you mean --format?\n"},
	} {
		code, out, errs := runSpec(t, c.stdin, c.args...)
		if code != c.code || !strings.Contains(out, c.out) || (c.out == "") != (out == "") || !strings.Contains(errs, c.errs) || (c.errs == "") != (errs == "") {
			t.Errorf("%v: exit code %d\n%s\n%s\nwant %d\n%s\n%s", c.args, code, out, errs, c.code, c.out, c.errs)
		}
	}
}

// TestShownOnce counts how often the Python of from_env is run.
func TestShownOnce(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal(err)
	}
	inFolder(t, map[string]string{"image.yaml": "from_env: [pip]\n"})
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("python3", []byte("#!/bin/sh\necho run >> "+dir+"/runs\nexec "+python+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	code, out, errs := runSpec(t, "", "show", "image.yaml")
	runs, err := os.ReadFile("runs")
	if code != 0 || string(runs) != "run\n" || err != nil || !strings.HasSuffix(out, "\nfrom_env: [pip]\n") {
		t.Errorf("%d %s %s: %q, %v", code, out, errs, runs, err)
	}
}

// TestShownIsTheSame saves what is shown beside the source, and compares the plans of both.
func TestShownIsTheSame(t *testing.T) {
	inFolder(t, map[string]string{"image.yaml": flatSpec, "conf.toml": "", "train.py": scriptText, "d/Dockerfile": "FROM scratch\n",
		"nested.yaml":   "base_image: ./image.yaml\ncommands: [make]\n",
		"existing.yaml": "base_image: debian:12\nlayers: [{run: [a, b]}, {env: {B: ' x\n'}}, {source_file: conf.toml}]\nsecrets: [{id: k, for: [commands]}]\ncommands: ['true']\n",
		"all.yaml":      "name: a\nregistry: ghcr.io/me\nplatforms: [linux/arm64]\npython_version: '3.11'\nlabels: {a: b}\nuser: app\nworkdir: /w\nruntime_packages: [x]\naccelerator: l4\nca_certificates: []\npackages: [y]\n"})
	for _, name := range []string{"image.yaml", "nested.yaml", "existing.yaml", "all.yaml", "train.py"} {
		for _, format := range []string{"yaml", "json"} {
			code, out, errs := runSpec(t, "", "show", "--format", format, name)
			if code != 0 {
				t.Errorf("%s: %d %s", name, code, errs)
				continue
			}
			if err := os.WriteFile("shown.yaml", []byte(out), 0o644); err != nil {
				t.Fatal(err)
			}
			want, err := frontends.Load(frontends.Options{Source: name})
			if err != nil {
				t.Fatal(err)
			}
			got, err := frontends.Load(frontends.Options{Source: "shown.yaml"})
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, out)
				continue
			}
			if d := cmp.Diff(want, got, cmpopts.IgnoreTypes(llb.Lines{}), cmpopts.IgnoreFields(llb.Image{}, "Sources", "Name"),
				cmpopts.IgnoreFields(llb.Plan{}, "Warnings", "Kind", "Name"), cmpopts.IgnoreUnexported(llb.Local{}), cmpopts.EquateEmpty()); d != "" {
				t.Errorf("%s as %s (-source +shown):\n%s\n%s", name, format, d, out)
			}
		}
	}
}

// TestShownNotebook saves a notebook's script and spec. The script is then a file and no longer a part of the
// definition; all other steps are the same.
func TestShownNotebook(t *testing.T) {
	inFolder(t, map[string]string{"a.ipynb": notebookText(t)})
	for name, args := range map[string][]string{"a.py": {"show", "--script", "a.ipynb"}, "shown.yaml": {"show", "a.ipynb"}} {
		code, out, errs := runSpec(t, "", args...)
		if err := os.WriteFile(name, []byte(out), 0o644); err != nil || code != 0 {
			t.Fatal(code, errs, err)
		}
	}
	steps := func(source string) (llb.Base, []llb.Step) {
		plan, err := frontends.Load(frontends.Options{Source: source})
		if err != nil {
			t.Fatal(err)
		}
		var rest []llb.Step
		for _, s := range plan.Image.Steps {
			switch s := s.(type) {
			case llb.WriteFile:
				if script, err := os.ReadFile("a.py"); err != nil || s.Dst != "/home/app/a.py" || string(s.Data) != string(script) {
					t.Errorf("%v: %s is written as\n%s\nbut shown as\n%s", err, s.Dst, s.Data, script)
				}
			case llb.Copy:
				if s.Src != "a.py" || s.Dst != "/home/app/a.py" {
					t.Errorf("%+v", s)
				}
			default:
				rest = append(rest, s)
			}
		}
		return plan.Image.Base, rest
	}
	base, want := steps("a.ipynb")
	otherBase, got := steps("shown.yaml")
	if d := cmp.Diff(want, got, cmpopts.IgnoreTypes(llb.Lines{}), cmpopts.EquateEmpty()); d != "" || base.Ref != otherBase.Ref {
		t.Errorf("%s, %s\n%s", base.Ref, otherBase.Ref, d)
	}
}

func TestSpecInit(t *testing.T) {
	inFolder(t, map[string]string{"My App/requirements.txt": "numpy\n", "My App/main.py": "", "d/Dockerfile": "", "nb/a.ipynb": "{}", "s/train.py": scriptText, "there/image.yml": "", "file": ""})
	for _, c := range []struct {
		args []string
		code int
		out  string
		errs string
	}{
		{[]string{"init", "-o", "-", "My App"}, 0, "\nname: my-app\n", ""},
		{[]string{"init", "--no-input", "--name", "x", "--registry", "r.io/y", "--python", "3.11", "-o", "-", "My App"}, 0, "\nname: x\nregistry: r.io/y\n", ""},
		{[]string{"init", "My App"}, 0, "", "wrote My App/image.yaml; look it over, then: ibuild build My App/image.yaml\n"},
		{[]string{"init", "My App"}, 2, "", "ERROR: My App/image.yaml is there already\nhint:  look at it with `ibuild spec show`, or overwrite with --force\n"},
		{[]string{"init", "--force", "--name", "y", "My App"}, 0, "", "wrote My App/image.yaml"},
		{[]string{"init", "there"}, 2, "", "ERROR: there/image.yml is there already\n"},
		{[]string{"init", "-o", "other.yaml", "My App"}, 2, "", "ERROR: -o other.yaml is not in the folder My App, and the paths in a spec are relative to its own folder\nhint:  write it there, or to standard output: -o -\n"},
		{[]string{"init", "-o", "nowhere/image.yaml", "My App"}, 2, "", "ERROR: -o nowhere/image.yaml: no such file or directory\n"},
		{[]string{"init", "d"}, 2, "", "ERROR: no spec is needed: `ibuild build Dockerfile` takes the Dockerfile as it is\nhint:  ibuild spec init --from Dockerfile writes a spec that names it all the same\n"},
		{[]string{"init", "--from", "Dockerfile", "-o", "-", "d"}, 0, "\ndockerfile: Dockerfile\n", ""},
		{[]string{"init", "s"}, 2, "", "ERROR: no spec is needed: `ibuild build train.py` takes the uv script as it is\n"},
		{[]string{"init", "--from", "./train.py", "-o", "-", "s"}, 0, "\nuv_script: train.py\n", ""},
		{[]string{"init", "nb"}, 2, "", "ERROR: no spec is needed: `ibuild build a.ipynb` takes the notebook as it is\n"},
		{[]string{"init", "--from", "a.ipynb", "nb"}, 2, "", "ERROR: a.ipynb: an image spec cannot begin with a notebook\nhint:  `ibuild build a.ipynb` takes the notebook as it is\n"},
		{[]string{"init", "--from", "x", "My App", "-o"}, 2, "", "ERROR: the flag -o comes after My App\n"},
		{[]string{"init", "--from", "x", "-o", "-", "My App"}, 2, "", "ERROR: --from x: an image is not made from this file, or it is not there\nhint:  there are requirements.txt\n"},
		{[]string{"init", "--name", "A B", "-o", "-", "My App"}, 2, "", "ERROR: \"A B\" is not the name of an image\n"},
		{[]string{"init", "--python", "2.7", "-o", "-", "My App"}, 2, "", "ERROR: Python \"2.7\" is not supported\n"},
		{[]string{"init", "file"}, 2, "", "ERROR: file: not a directory\n"},
		{[]string{"init", "nowhere"}, 2, "", "ERROR: nowhere: no such file or directory\n"},
	} {
		code, out, errs := runSpec(t, "", c.args...)
		if code != c.code || !strings.Contains(out, c.out) || (c.out == "") != (out == "") || !strings.Contains(errs, c.errs) || (c.errs == "") != (errs == "") {
			t.Errorf("%v: exit code %d\n%s\n%s\nwant %d\n%s\n%s", c.args, code, out, errs, c.code, c.out, c.errs)
		}
	}
	if code, out, errs := runSpec(t, "", "validate", "My App"); code != 0 || out != "" {
		t.Errorf("the draft is not valid: %d %s %s", code, out, errs)
	}
}

// talk answers the questions of ibuild spec init.
func talk(t *testing.T, dir, lines string, given ...string) (*interview, string, error) {
	t.Helper()
	folder, err := draft.Find(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	i := &interview{in: bufio.NewScanner(strings.NewReader(lines)), out: &out, folder: folder, answers: draft.Answers{Name: "here"}}
	i.given = func(flag string) bool { return len(given) > 0 && flag == given[0] }
	err = i.run()
	return i, out.String(), err
}

func TestInterview(t *testing.T) {
	inFolder(t, map[string]string{"a/requirements.txt": "", "a/Dockerfile": "", "a/main.py": "", "a/.python-version": "3.12", "d/Dockerfile": "", "nb/x.ipynb": "", "e/.keep": ""})
	const choice = "What is the image made from?\n  1  requirements.txt (requirements)\n  2  Dockerfile (Dockerfile; needs no spec: `ibuild build Dockerfile` takes it as it is)\nNumber [1]: "
	for _, c := range []struct {
		dir, lines string
		want       draft.Answers
		asked      string
	}{
		{"a", "\n\n\n\n\n", draft.Answers{Name: "here", Python: "3.12", Entry: []string{"python", "main.py"}},
			choice + "The image's name [here]: Registry to push to, e.g. ghcr.io/me: Python [3.12]: What it runs [python main.py]: "},
		{"a", "7\n2\nNo No\nno\nhttps://x\nx.io\n", draft.Answers{Name: "no", Registry: "x.io"},
			choice + "write a number from 1 to 2\nNumber [1]: The image's name [here]: \"No No\" is not the name of an image; write lower-case letters, digits and . _ - / in between\nThe image's name [here]: " +
				"Registry to push to, e.g. ghcr.io/me: \"https://x\" is not a registry; write it without a scheme, e.g. ghcr.io/name\nRegistry to push to, e.g. ghcr.io/me: "},
		{"e", "\n\n3.9\n3.10\n\n", draft.Answers{Name: "here", Python: "3.10", NoEntry: true},
			"The image's name [here]: Registry to push to, e.g. ghcr.io/me: Python [3.14]: Python \"3.9\" is not supported; supported are 3.14, 3.13, 3.12, 3.11, 3.10\nPython [3.14]: What it runs [none]: "},
		{"e", "\n\n\n'\nsh -c 'a b'\n", draft.Answers{Name: "here", Python: "3.14", Entry: []string{"sh", "-c", "a b"}},
			"The image's name [here]: Registry to push to, e.g. ghcr.io/me: Python [3.14]: What it runs [none]: write a command, e.g. python main.py, or none\nWhat it runs [none]: "},
	} {
		i, asked, err := talk(t, c.dir, c.lines)
		if err != nil {
			t.Errorf("%s %q: %v", c.dir, c.lines, err)
			continue
		}
		if asked != c.asked {
			t.Errorf("%s %q asked\n%s\nwant\n%s", c.dir, c.lines, asked, c.asked)
		}
		if d := cmp.Diff(c.want, i.answers, cmpopts.IgnoreFields(draft.Answers{}, "From"), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s %q (-want +got):\n%s", c.dir, c.lines, d)
		}
	}
	for dir, c := range map[string]struct{ lines, want string }{
		"nb": {"", "no spec is needed: `ibuild build x.ipynb` takes the notebook as it is"},
		"a":  {"1\n", "the answer is missing: standard input has ended | --yes asks nothing"},
		"d":  {strings.Repeat("9\n", 9), "no usable answer after 5 questions | give it as a flag, see ibuild spec init --help"},
	} {
		_, _, err := talk(t, dir, c.lines)
		if got := usageOf(t, err); got != c.want {
			t.Errorf("%s: %q", dir, got)
		}
	}
	if _, asked, err := talk(t, "e", "\n\n\n", "name"); err != nil || strings.Contains(asked, "name") {
		t.Errorf("asked what a flag has given: %v\n%s", err, asked)
	}
}
