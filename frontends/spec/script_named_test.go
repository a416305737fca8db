package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
)

// withSettings is a script whose header has the lines of TOML, too.
func withSettings(toml string) string {
	lines := ""
	for line := range strings.Lines(toml + "\n") {
		lines += "# " + line
	}
	return strings.Replace(scriptText, "%s", lines, 1)
}

// outline says in a few words per step what an image is made of.
func outline(img *llb.Image) string {
	var out []string
	for _, s := range img.Steps {
		switch s := s.(type) {
		case llb.Exec:
			out = append(out, s.Title)
		case llb.Copy:
			out = append(out, fmt.Sprintf("copy %s:%s to %s", s.Local, s.Src, s.Dst))
		case llb.Env:
			out = append(out, s.Key+"="+s.Value)
		case llb.Label:
			out = append(out, "label "+s.Key+"="+s.Value)
		case llb.User:
			out = append(out, "user "+s.Name)
		case llb.Workdir:
			out = append(out, "workdir "+s.Path)
		case llb.Entrypoint:
			out = append(out, "entrypoint "+strings.Join(s.Args, " "))
		case llb.Cmd:
			out = append(out, "cmd "+strings.Join(s.Args, " "))
		}
	}
	text := strings.Join(out, "\n") + "\n"
	_, text, _ = strings.Cut(text, "workdir /home/app\n") // what every Debian base begins with
	return text
}

// TestNamedScriptOrder has settings in the header and in the spec that names the script: part by part, and the
// spec has the last word.
func TestNamedScriptOrder(t *testing.T) {
	header := withSettings(`[tool.ibuild]
apt-packages = ["git"]
name = "fromheader"
tag = "v1"
platforms = ["linux/arm64"]
accelerator = "l4"
cmd = ["header"]
commands = ["echo header"]
runtime-packages = ["attrs"]
[tool.ibuild.labels]
a = "header"
b = "header"
[[tool.ibuild.layers]]
source_file = "data.txt"`)
	files := map[string]string{"code/run.py": header, "code/data.txt": "", "data.txt": ""}
	plan, err := planOf(t, `uv_script: code/run.py
apt_packages: [curl]
accelerator: a100
tag: v2
packages: [numpy]
labels: {a: spec}
cmd: [spec]
runtime_packages: [cattrs]
layers: [{source_file: {src: data.txt, dst: own.txt}}]
`, files)
	if err != nil {
		t.Fatal(err)
	}
	const want = `apt: git
apt: curl
uv: dependencies of the script
run: echo header
copy context-2:data.txt to data.txt
pip: numpy
copy context:data.txt to own.txt
copy context:code/run.py to /home/app/run.py
entrypoint python /home/app/run.py
user app
IBUILD_RUNTIME_PACKAGES=attrs
label b=header
IBUILD_RUNTIME_PACKAGES=attrs
cattrs
label dev.ibuild.accelerator=a100
cmd spec
label a=spec
`
	if got := outline(plan.Image); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if plan.Tag != "fromheader:v2" || len(plan.Platforms) != 1 || plan.Platforms[0].Architecture != "arm64" {
		t.Errorf("%s for %v", plan.Tag, plan.Platforms)
	}
	if filepath.Base(plan.Image.Locals["context-2"].Dir) != "code" {
		t.Errorf("the header's paths begin in %s", plan.Image.Locals["context-2"].Dir)
	}
	for _, s := range plan.Image.Steps {
		if e, ok := s.(llb.Exec); ok && e.Lines.First > 0 {
			name := filepath.Base(plan.Image.Sources[e.Lines.File].Name)
			if own := strings.Contains(e.Title, "curl") || strings.Contains(e.Title, "numpy"); own != (name == "image.yaml") {
				t.Errorf("%q is said to be in %s:%d", e.Title, name, e.Lines.First)
			}
		}
	}
}

// TestNamedScriptMeansTheSame: a spec that only names a script is the script's own image, and so is what
// `ibuild spec show` writes for the script, which says the settings again.
func TestNamedScriptMeansTheSame(t *testing.T) {
	for name, settings := range map[string]string{
		"nothing": "", "layers": "[tool.ibuild]\napt-packages = ['git']\ncommands = ['true']\ncopy = ['data.txt']\nuser = 'root'",
		"base":    "[tool.ibuild]\nbase_image = 'registry.example/python:3.12'\napt-packages = ['git']",
		"spec":    "[tool.ibuild]\nbase_image = './base.yaml'",
		"secrets": "[tool.ibuild]\nsecrets = [{ id = 'TOKEN', for = ['script'] }, { id = 'KEY', for = ['apt_packages'] }]\napt-packages = ['git']",
		"values":  "[tool.ibuild]\naccelerator = 'l4'\ncmd = ['x']\nruntime-packages = ['attrs']\nplatform_packages = ['rich']\nplatforms = ['linux/arm64']\n[tool.ibuild.labels]\na = 'b'",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range map[string]string{"run.py": withSettings(settings), "data.txt": "", "base.yaml": "python_version: '3.12'\nuser: root\n"} {
				writeTo(t, filepath.Join(dir, file), text)
			}
			script := read(t, filepath.Join(dir, "run.py"))
			img, err := ParseScript(script)
			if err != nil {
				t.Fatal(err)
			}
			shown, err := img.YAML()
			if err != nil {
				t.Fatal(err)
			}
			want, err := img.Plan(script)
			if err != nil {
				t.Fatal(err)
			}
			id := identify(t, img, placeOf(dir))
			for _, text := range []string{"uv_script: run.py\n", "uv_script: {file: ./run.py}\n", string(shown)} {
				src, _ := source.New("image.yaml", dir, []byte(text))
				named, err := Parse(src)
				if err != nil {
					t.Fatalf("%v\n%s", err, text)
				}
				got, err := named.Plan(src)
				if err != nil {
					t.Fatalf("%v\n%s", err, text)
				}
				if outline(got.Image) != outline(want.Image) || got.Image.Base.Ref != want.Image.Base.Ref || len(got.Secrets) != len(want.Secrets) {
					t.Errorf("%s is\n%s\nnot\n%s", text, outline(got.Image), outline(want.Image))
				}
				if other := identify(t, named, placeOf(dir)); other != id {
					t.Errorf("%s has another identifier than the script", text)
				}
			}
		})
	}
}

// TestScriptSecrets mounts what the header and the spec say, the spec's where both are at one place.
func TestScriptSecrets(t *testing.T) {
	header := withSettings("[tool.ibuild]\nsecrets = [{ id = 'a', env = 'A', for = ['script'] }, { id = 'b', env = 'B', for = ['script'] }]")
	plan, err := planOf(t, "secrets: [{id: c, env: B, for: [script]}]\nuv_script: {file: run.py, secrets: [{id: c, env: B}]}\n", map[string]string{"run.py": header})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range plan.Image.Steps {
		if e, ok := s.(llb.Exec); ok {
			for _, m := range e.Mounts {
				if m.Kind == llb.SecretMount {
					got = append(got, m.ID+" as "+m.Env)
				}
			}
		}
	}
	if text := strings.Join(got, ", "); text != "a as A, c as B" {
		t.Errorf("mounted are %s", text)
	}
}

// TestHeaderBase has the exact steps of a script on an image that is there.
func TestHeaderBase(t *testing.T) {
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, "run.py"), withSettings("[tool.ibuild]\nbase_image = 'registry.example/python:3.12'\nworkdir = '/srv'"))
	plan, err := LoadScript(read(t, filepath.Join(dir, "run.py")))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range plan.Image.Steps {
		switch s := s.(type) {
		case llb.Exec:
			got = append(got, s.Title)
			if !s.SystemPython || !strings.Contains(strings.Join(s.Args, " "), "--inexact") {
				t.Errorf("%s would not leave the base's own packages alone: %q", s.Title, s.Args)
			}
		case llb.Copy:
			got = append(got, "copy to "+s.Dst)
		case llb.Entrypoint:
			got = append(got, strings.Join(s.Args, " "))
		case llb.User:
			got = append(got, "user "+s.Name)
		}
	}
	if text := strings.Join(got, "; "); text != "uv: dependencies of the script; copy to run.py; python3 run.py" || plan.Image.Base.Ref != "registry.example/python:3.12" {
		t.Errorf("on %s: %s", plan.Image.Base.Ref, text)
	}
}

// TestNamedScriptErrors has the exact text of complaints, with places in the script and in the spec.
func TestNamedScriptErrors(t *testing.T) {
	for _, c := range []struct{ spec, script, want string }{
		{"uv_script: none.py", "", `image.yaml:1:12: there is no "none.py"`},
		{"uv_script: {file: none.py}", "", `image.yaml:1:19: there is no "none.py"`},
		{"uv_script: {secrets: [A]}", "", "image.yaml:1:1: uv_script names no file; add file: the path of the script"},
		{"uv_script: data", "", `image.yaml:1:12: uv_script: "data" does not end in .py; name a Python script`},
		{"pixi_script: dir.py", "", `image.yaml:1:14: pixi_script: "dir.py" is a folder; name a Python script`},
		{"uv_script: code/run.py\npython_version: '3.12'", withSettings(""), "image.yaml:2:17: python_version goes with the Debian base only; remove it; requires-python in the script's header says which Python"},
		{"uv_script: code/run.py\napt_packages: [BAD]", withSettings("[tool.ibuild]\napt-packages = ['Git']\nlabels = { '' = 'x' }\ncopy = ['none']"),
			`code/run.py:5:19: "Git" is not a Debian package; did you mean "git"?` + "\n" +
				`code/run.py:6:14: "" is not the name of a label` + "\n" + `code/run.py:7:11: there is no "code/none"` + "\n" +
				`image.yaml:2:16: "BAD" is not a Debian package; did you mean "bad"?`},
		{"uv_script: code/run.py", strings.Replace(withSettings("[tool.ibuild]\noops = 1"), "rich", "=", 1),
			`code/run.py:3:20: "=" is not a requirement: "=" does not begin with the name of a package; write e.g. numpy>=2 (PEP 508)` + "\n" +
				`code/run.py:5:3: unknown key "oops" in [tool.ibuild]; did you mean "copy"?`},
		{"uv_script: code/run.py", withSettings("[tool.ibuild]\nbase_image = 'scratch'"), "code/run.py:5:16: base_image: scratch has no Python to run the script; name an image that has one"},
		{"uv_script: code/run.py", withSettings("[tool.ibuild]\nbase_image = '../../base.yaml'"), ""},
	} {
		_, err := planOf(t, c.spec+"\n", map[string]string{"code/run.py": c.script, "data": "", "dir.py/x": ""})
		if err == nil || c.want != "" && err.Error() != c.want {
			t.Errorf("%s\ngot  %v\nwant %s", c.spec, err, c.want)
		}
	}
}

// TestScriptBaseThatHoldsItself ends.
func TestScriptBaseThatHoldsItself(t *testing.T) {
	_, err := planOf(t, "uv_script: run.py\n", map[string]string{"run.py": withSettings("[tool.ibuild]\nbase_image = './image2.yaml'"), "image2.yaml": "uv_script: run.py\n"})
	if err == nil {
		t.Error("no error")
	}
}

// TestScriptWithLimits: a header with more settings than an image can have is one finding.
func TestScriptWithLimits(t *testing.T) {
	src, _ := source.New("s.py", t.TempDir(), []byte(withSettings("[tool.ibuild]\napt-packages = ["+strings.Repeat("'a',", maxNodes)+"]")))
	if _, err := LoadScript(src); err == nil || !strings.HasPrefix(err.Error(), "s.py:4:4: [tool.ibuild] has more than 20000 values") {
		t.Errorf("%.300v", err)
	}
}

// TestScriptFolderLinks: the script's folder may be a link that stays inside; the lock and local packages are
// those beside the name that the spec has.
func TestScriptFolderLinks(t *testing.T) {
	dir := t.TempDir()
	more := "[tool.uv.sources]\nrich = { path = 'rich' }"
	writeTo(t, filepath.Join(dir, "v2/run.py"), withSettings(more))
	writeTo(t, filepath.Join(dir, "v2/rich/pyproject.toml"), "[project]\nname='rich'\nversion='1'\n")
	if err := os.Symlink("v2", filepath.Join(dir, "code")); err != nil {
		t.Fatal(err)
	}
	plan, err := UVScript("code/run.py").Plan(source.Source{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Image.CheckSources(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(outline(plan.Image), "copy context:v2/run.py to /home/app/run.py\n") {
		t.Error(outline(plan.Image))
	}
	if err := os.Remove(filepath.Join(dir, "code")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "code")); err != nil {
		t.Fatal(err)
	}
	if _, err := UVScript("code/run.py").Plan(source.Source{Dir: dir}); err == nil {
		t.Error("a folder outside is read")
	}
}

// TestScriptBesideItsPackage: a package in the script's own folder may have the script as a module; the header's
// bad name is said once.
func TestScriptBesideItsPackage(t *testing.T) {
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, "run.py"), withSettings("[tool.uv.sources]\nrich = { path = '.' }\n[tool.ibuild]\nname = 'BAD'"))
	writeTo(t, filepath.Join(dir, "pyproject.toml"), "[project]\nname='rich'\nversion='1'\n")
	src, _ := source.New("image.yaml", dir, []byte("uv_script: run.py\n"))
	if _, err := Load(src); err == nil || err.Error() != `run.py:7:10: "BAD" is not the name of an image; names are lower case: "bad"` {
		t.Error(err)
	}
	src.Data = []byte("uv_script: run.py\nname: good\n")
	writeTo(t, filepath.Join(dir, "run.py"), withSettings("[tool.uv.sources]\nrich = { path = '.' }"))
	plan, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	mounted := false
	for _, s := range plan.Image.Steps {
		if e, ok := s.(llb.Exec); ok {
			for _, m := range e.Mounts {
				if m.Kind == llb.LocalMount {
					mounted = true
					if strings.Contains(strings.Join(m.Exclude, " "), "run.py") {
						t.Errorf("the package is seen without %q", m.Exclude)
					}
				}
			}
		}
	}
	if !mounted {
		t.Error("the package is not mounted")
	}
}
