package launch

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/runner/gke"
)

var update = flag.Bool("update", false, "write the golden files anew")

// accelerator is one of each kind, without the catalogue: its names are package gke's affair.
func accelerator(name string) gke.Accelerator {
	switch name {
	case "l4":
		return gke.Accelerator{Kind: gke.GPU, Name: "l4", Chips: 1, Hosts: 1, PerHost: 1, Arch: "amd64"}
	case "gb200":
		return gke.Accelerator{Kind: gke.GPU, Name: "gb200", Chips: 4, Hosts: 1, PerHost: 4, Arch: "arm64"}
	case "v5e":
		return gke.Accelerator{Kind: gke.TPU, Name: "v5e", Chips: 4, Hosts: 1, PerHost: 4, Arch: "amd64"}
	}
	return gke.Accelerator{Kind: gke.CPU, Name: "cpu", Hosts: 1, Arch: "amd64"}
}

// planCase is a folder, and what is asked for.
type planCase struct {
	name  string
	files map[string]string
	on    string // accelerator
	o     Options
	env   map[string]string
}

const (
	header = "# /// script\n# requires-python = \">=3.11\"\n# dependencies = [\"numpy\", \"jax==0.5.0\"]\n# ///\nimport jax\n"
	uvLock = `version = 1
requires-python = ">=3.11"

[[package]]
name = "app"
version = "0.1.0"
source = { virtual = "." }
dependencies = [{ name = "jax" }, { name = "numpy" }]

[package.metadata]
requires-dist = [{ name = "jax" }, { name = "numpy" }]

[[package]]
name = "jax"
version = "0.5.0"
source = { registry = "https://pypi.org/simple" }

[[package]]
name = "numpy"
version = "2.2.0"
source = { registry = "https://pypi.org/simple" }
`
	uvProject = "[project]\nname = \"app\"\nversion = \"0.1.0\"\nrequires-python = \">=3.11\"\ndependencies = [\"jax\", \"numpy\"]\n"
	pylock    = `lock-version = "1.0"
created-by = "test"
[[packages]]
name = "jax"
version = "0.5.0"
index = "https://pypi.org/simple"
wheels = [{ url = "https://files.example/jax-0.5.0-py3-none-any.whl", hashes = { sha256 = "aa" } }]
[[packages]]
name = "humanize"
version = "4.12.3"
marker = "python_version >= '3.10'"
wheels = [{ url = "https://files.example/humanize-4.12.3-py3-none-any.whl", hashes = { sha256 = "bb" } }]
`
	hashed = "numpy==2.2.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\njax==0.5.0 \\\n    --hash=sha256:cc \\\n    --hash=sha256:dd\nhumanize  # ibuild:keep\n"
)

func planCases() []planCase {
	train := func(more map[string]string) map[string]string {
		files := map[string]string{"train.py": "print(1)\n"}
		maps.Copy(files, more)
		return files
	}
	repo := "registry.example/team/train"
	bundled := Options{Source: "train.py", Repository: repo, Args: []string{"--lr", "1 e"}}
	prebuilt := Options{Source: "train.py", Repository: repo, Mode: Prebuilt}
	with := func(o Options, change func(*Options)) Options { change(&o); return o }
	return []planCase{
		{name: "nothing-needed", files: train(nil), o: bundled},
		{name: "requirements-cpu", files: train(map[string]string{"requirements.txt": "jax[cuda12]>=0.4\ntorch\nnumpy\n"}), o: bundled},
		{name: "requirements-gpu", files: train(map[string]string{"requirements.txt": "jax[tpu]>=0.4,<0.6 ; python_version >= '3.11'\ntorch==2.7.0\nflax\n"}), on: "l4", o: bundled},
		{name: "requirements-gb200", files: train(map[string]string{"requirements.txt": "torch\n"}), on: "gb200", o: bundled},
		{name: "requirements-tpu", files: train(map[string]string{"requirements.txt": "-r more.txt\noptax\n", "more.txt": "jaxlib==0.5\nlibtpu-nightly\n"}), on: "v5e", o: bundled},
		{name: "requirements-hashes", files: train(map[string]string{"requirements.txt": hashed}), on: "l4", o: bundled},
		{name: "requirements-kept", files: train(map[string]string{"requirements.txt": "jax==0.4.1 \\\n  ; python_version < '3.13' # kn:keep\n"}), on: "l4", o: bundled},
		{name: "require-hashes", files: train(map[string]string{"requirements.txt": "--require-hashes\njax==0.5 --hash=sha256:aa\n"}), on: "l4", o: bundled},
		{name: "local-lines", files: train(map[string]string{
			"requirements.txt": "-e .\n./wheels/a-1-py3-none-any.whl\nb @ file:///opt/b\n--find-links wheels\nnumpy\n-e ../elsewhere\n", "setup.py": "", "wheels/a-1-py3-none-any.whl": "",
		}), o: bundled},
		{name: "torch-too-old", files: train(map[string]string{"requirements.txt": "torch==1.4.0\n"}), on: "gb200", o: bundled},
		{name: "header-gpu", files: map[string]string{"train.py": header, "requirements.txt": "unused\n"}, on: "l4", o: bundled},
		{name: "header-broken", files: map[string]string{"train.py": "# /// script\n# dependencies = [\"numpy\n# ///\n"}, o: bundled},
		{name: "project", files: train(map[string]string{"pyproject.toml": "[project]\nname = \"x\"\nrequires-python = \">=3.13\"\ndependencies = [\n  \"numpy\",\n  \"jax\",  # ibuild:keep\n  \"jaxlib>=0.4\",\n]\n"}), on: "v5e", o: bundled},
		{name: "project-local", files: train(map[string]string{"pyproject.toml": "[project]\nname = \"x\"\ndependencies = [\n  \"a @ file:///a\",\n  \"b\",\n]\n[tool.uv.sources]\nb = { path = \"../b\" }\n"}), o: bundled},
		{name: "uv-lock-gpu", files: train(map[string]string{"pyproject.toml": uvProject, "uv.lock": uvLock, "requirements.txt": "unused\n"}), on: "l4", o: bundled},
		{name: "uv-lock-workspace", files: map[string]string{
			"uv.lock": strings.ReplaceAll(strings.Replace(uvLock, "\n\n", "\n\n[manifest]\nmembers = [\"app\"]\n\n", 1), `virtual = "."`, `virtual = "members/app"`), "pyproject.toml": "[tool.uv.workspace]\nmembers = [\"members/*\"]\n",
			"members/app/pyproject.toml": uvProject, "members/app/src/train.py": "",
		}, o: with(bundled, func(o *Options) { o.Source = "members/app/src/train.py" })},
		{name: "pylock-tpu", files: train(map[string]string{"pylock.toml": pylock, "requirements.txt": "unused\n"}), on: "v5e", o: bundled},
		{name: "poetry", files: train(map[string]string{"pyproject.toml": "[tool.poetry.dependencies]\nnumpy = \"*\"\n"}), o: bundled},
		{name: "manifest-broken", files: train(map[string]string{"pyproject.toml": "[project\n"}), o: bundled},
		{name: "nearest-folder", files: map[string]string{"requirements.txt": "far\n", "sub/requirements.txt": "near\n", "sub/deep/train.py": ""}, o: with(bundled, func(o *Options) { o.Source = "sub/deep/train.py" })},
		{name: "stops-at-git", files: map[string]string{"requirements.txt": "beyond\n", "sub/.git/HEAD": "", "sub/train.py": ""}, o: with(bundled, func(o *Options) { o.Source = "sub/train.py" })},
		{name: "git-folder-counts", files: map[string]string{"requirements.txt": "here\n", ".git/HEAD": "", "sub/train.py": ""}, o: with(bundled, func(o *Options) { o.Source = "sub/train.py" })},
		{name: "python-asked", files: train(nil), o: with(bundled, func(o *Options) { o.Python = "3.11" })},
		{name: "python-impossible", files: train(map[string]string{"pyproject.toml": "[project]\nname = \"x\"\nrequires-python = \"<3.5\"\ndependencies = []\n"}), o: bundled},

		{name: "prebuilt-requirements", files: train(map[string]string{"requirements.txt": "jax\n-c pins.txt\nnumpy\n", "pins.txt": "numpy<3\nlibtpu<1\n"}), on: "v5e", o: prebuilt, env: map[string]string{KineticRepoVariable: "kinetic.example/images"}},
		{name: "prebuilt-only-jax", files: train(map[string]string{"requirements.txt": "jax\n"}), on: "l4", o: prebuilt, env: map[string]string{BaseRepoVariable: "mine.example/b", KineticRepoVariable: "kinetic.example/images"}},
		{name: "prebuilt-header", files: map[string]string{"train.py": header}, o: prebuilt},
		{name: "prebuilt-header-index", files: map[string]string{"train.py": "# /// script\n# dependencies = [\"numpy\"]\n# [[tool.uv.index]]\n# url = \"https://x.example/simple\"\n# ///\n"}, o: prebuilt},
		{name: "prebuilt-uv-lock", files: train(map[string]string{"pyproject.toml": uvProject, "uv.lock": uvLock}), o: with(prebuilt, func(o *Options) { o.BaseRepo, o.BaseTag = "mine.example/b", "v2" })},
		{name: "prebuilt-pylock", files: train(map[string]string{"pylock.toml": pylock + "[[packages]]\nname = \"here\"\ndirectory = { path = \"here\" }\n"}), o: prebuilt},

		{name: "custom-program", files: train(map[string]string{"requirements.txt": "unused\n"}), o: with(bundled, func(o *Options) { o.Image = "mine.example/torch:1" })},
		{name: "custom-image", o: Options{Source: "mine.example/torch:1", Repository: repo, Args: []string{"serve"}}, on: "gb200"},
		{name: "custom-no-bootstrap", o: Options{Source: "mine.example/torch:1", NoBootstrap: true}},
		{name: "folder-main", files: map[string]string{"app/main.py": "", "app/requirements.txt": "numpy\n"}, o: with(bundled, func(o *Options) { o.Source = "app" })},
		{name: "folder-dunder-main", files: map[string]string{"app/__main__.py": ""}, o: with(bundled, func(o *Options) { o.Source = "app" })},
		{name: "folder-spec", files: map[string]string{"app/image.yaml": "packages: [numpy]\nentrypoint: [python]\n", "app/main.py": ""}, o: with(bundled, func(o *Options) { o.Source = "app" })},
		{name: "folder-two", files: map[string]string{"app/image.yaml": "", "app/Dockerfile": ""}, o: with(bundled, func(o *Options) { o.Source = "app" })},
		{name: "folder-nothing", files: map[string]string{"app/pyproject.toml": ""}, o: with(bundled, func(o *Options) { o.Source = "app" })},
		{name: "dockerfile", files: map[string]string{"app/Dockerfile": "FROM busybox\n"}, o: with(bundled, func(o *Options) { o.Source = "app" })},
		{name: "dockerfile-prebuilt", files: map[string]string{"app/Dockerfile": "FROM busybox\n"}, o: with(prebuilt, func(o *Options) { o.Source = "app" })},
		{name: "notebook", files: map[string]string{"nb/x.ipynb": notebookOf("x = 1", "x"), "requirements.txt": "numpy\n", "nb/requirements.txt": "unused\n"}, o: with(bundled, func(o *Options) { o.Source = "nb/x.ipynb" })},
		{name: "notebook-pip", files: map[string]string{"x.ipynb": notebookOf("!pip install keras", "import keras"), "x.py": "kept"}, o: with(prebuilt, func(o *Options) { o.Source = "x.ipynb" })},
		{name: "notebook-broken", files: map[string]string{"x.ipynb": notebookOf("# /// script\n# dependencies = [\n# ///\n1")}, o: with(bundled, func(o *Options) { o.Source = "x.ipynb" })},
		{name: "stdin", files: map[string]string{"requirements.txt": "numpy\n"}, o: with(bundled, func(o *Options) {
			o.Source, o.Stdin = "-", strings.NewReader("# /// script\n# dependencies = []\n# ///\n")
		})},
		{name: "folder-along", files: map[string]string{"src/train.py": "", "lib/x.py": ""}, o: with(bundled, func(o *Options) { o.Source, o.Folder = "src/train.py", "." })},
		{name: "folder-along-elsewhere", files: map[string]string{"src/train.py": "", "lib/x.py": ""}, o: with(bundled, func(o *Options) { o.Source, o.Folder = "src/train.py", "lib" })},
		{name: "imports-only", files: map[string]string{"train.py": "import lib.x\n", "lib/x.py": "", "data.bin": ""}, o: with(bundled, func(o *Options) { o.Carry = CarryImports })},

		{name: "all-wrong", files: train(map[string]string{"requirements.txt": "-e .\nnumpy = 1\n", "setup.py": ""}), o: Options{Source: "train.py", Repository: "Not/A Repo", Mode: Prebuilt, NoBootstrap: true, BaseRepo: "no repo"}},
		{name: "no-such-mode", files: train(nil), o: with(bundled, func(o *Options) { o.Mode = "prebuild" })},
		{name: "no-such-file", o: with(bundled, func(o *Options) { o.Source = "missing.py" })},
		{name: "a-word", o: with(bundled, func(o *Options) { o.Source = "train" })},
		{name: "image-bundled", o: with(bundled, func(o *Options) { o.Source, o.Mode = "a.example/b", Bundled })},
		{name: "two-images", o: with(bundled, func(o *Options) { o.Source, o.Image = "a.example/b", "a.example/c" })},
	}
}

func notebookOf(cells ...string) string {
	var list []string
	for _, c := range cells {
		list = append(list, fmt.Sprintf(`{"cell_type": "code", "metadata": {}, "source": %q}`, c))
	}
	return `{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [` + strings.Join(list, ",") + `]}`
}

// TestPlans compares what is planned, or all that is wrong, with golden files (go test -run TestPlans -update).
func TestPlans(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range planCases() {
		seen[c.name+".golden"] = true
		t.Run(c.name, func(t *testing.T) {
			dir := folder(t, c.files)
			t.Chdir(dir)
			c.o.Accelerator = accelerator(c.on)
			c.o.Dir, c.o.Home, c.o.Getenv = dir, filepath.Dir(dir), func(name string) string { return c.env[name] }
			p, err := NewPlan(c.o)
			got := describe(p, err)
			got = strings.ReplaceAll(got, dir, "$DIR")
			golden(t, filepath.Join(goldenFolder(), c.name+".golden"), got)
		})
	}
	files, err := os.ReadDir(goldenFolder())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !seen[f.Name()] {
			t.Errorf("%s belongs to no case", f.Name())
		}
	}
}

// testFolder is where the tests are; cases change the working folder.
var testFolder, _ = os.Getwd()

func goldenFolder() string { return filepath.Join(testFolder, "testdata", "plans") }

// folder writes files into a folder below another one, which is the home.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	home, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(home, "work")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the plan differs from %s (- is there, + is planned):\n%s", file, diff)
	}
}

// describe writes a plan for people.
func describe(p *Plan, err error) string {
	var b strings.Builder
	if err != nil {
		return "error:\n" + err.Error() + "\n"
	}
	fmt.Fprintf(&b, "kind: %s\nmode: %s\nplatform: %s/%s\n", p.Kind, p.Mode, p.Platform.OS, p.Platform.Architecture)
	if p.Base != "" {
		fmt.Fprintf(&b, "base: %s (%s)\n", p.Base, p.baseBy)
	}
	if p.Dependencies != "" {
		fmt.Fprintf(&b, "dependencies: %s\n", p.Dependencies)
	}
	describeBuild(&b, p.build)
	if c := p.code; c != nil {
		fmt.Fprintf(&b, "code: %s of %s\n", c.carry, c.dir)
		for _, name := range slices.Sorted(maps.Keys(c.extra)) {
			fmt.Fprintf(&b, "  with %s: %q\n", name, c.extra[name])
		}
		if c.plan != nil {
			fmt.Fprintf(&b, "  files: %s %s\n", c.step.Src, c.step.Only)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.install)) {
		fmt.Fprintf(&b, "install %s:\n%s", name, indent(p.install[name]))
	}
	if c := p.Container(); c != nil {
		fmt.Fprintf(&b, "container: %+v in %q\n", *c, p.Dir())
	}
	for _, d := range p.Dropped {
		fmt.Fprintf(&b, "dropped: %+v\n", d)
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	fmt.Fprintf(&b, "facts: %v\n", p.Facts())
	return b.String()
}

// describeBuild writes what a builder is given: bases, and of the steps what installs.
func describeBuild(b *strings.Builder, plan *llb.Plan) {
	if plan == nil {
		return
	}
	fmt.Fprintf(b, "build: %s %s\n", plan.Kind, plan.Name)
	if plan.Image == nil {
		return
	}
	fmt.Fprintf(b, "  from %s\n", plan.Image.Base.Ref)
	for _, s := range plan.Image.Steps {
		switch s := s.(type) {
		case llb.Exec:
			fmt.Fprintf(b, "  run %s\n", s.Title)
			if strings.Contains(s.Title, "virtual environment") {
				continue
			}
			fmt.Fprintf(b, "    %q\n", s.Args)
			for _, m := range s.Mounts {
				if m.Kind == llb.DataMount {
					fmt.Fprintf(b, "    %s:\n%s", m.Target, indent(m.Data))
				}
			}
		case llb.Copy, llb.WriteFile, llb.Entrypoint:
			fmt.Fprintf(b, "  %T %s\n", s, llb.Title(s))
		}
	}
}

func indent(data []byte) string {
	var b strings.Builder
	for line := range strings.Lines(string(data)) {
		b.WriteString("      |" + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}

// plainSource is a source without a text.
func plainSource() source.Source { return source.Source{Name: "test", Dir: "."} }
