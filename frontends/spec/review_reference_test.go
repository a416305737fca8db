package spec

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
)

// TestReviewFlytekitNames: all fields of flytekit's ImageSpec are keys of a spec (reference, section 3).
func TestReviewFlytekitNames(t *testing.T) {
	data, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema struct{ Properties map[string]any }
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields("name python_version builder source_root env registry packages conda_packages conda_channels requirements apt_packages cuda cudnn base_image platform pip_index pip_extra_index_url pip_secret_mounts pip_extra_args registry_config entrypoint commands tag_format source_copy_mode copy python_exec runtime_packages builder_options builder_config") {
		if schema.Properties[name] == nil {
			t.Errorf("there is no %s", name)
		}
	}
}

// TestReviewLocksInSubfolders: requirements may name the lock of a project in any folder.
func TestReviewLocksInSubfolders(t *testing.T) {
	for lock, dir := range map[string]string{"uv.lock": "uvproject", "poetry.lock": "poetry"} {
		top := t.TempDir()
		if err := os.CopyFS(filepath.Join(top, "deep/er"), os.DirFS(filepath.Join("testdata", dir))); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{"deep/er/" + lock, "./deep/er/" + lock, "deep/../deep/er/" + lock} {
			plan, err := DebianBase("3.12").WithRequirements(p, PipOptions{}).Plan(source.Source{Dir: top})
			if err != nil {
				t.Errorf("%s: %v", p, err)
				continue
			}
			if !strings.Contains(argsOf(plan), "/run/ibuild/project/deep/er") {
				t.Errorf("%s: %s", p, argsOf(plan))
			}
		}
	}
}

// TestReviewPylockSpellings: a lock named by another spelling of its path is the same layer.
func TestReviewPylockSpellings(t *testing.T) {
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, "a/pylock.toml"), "lock-version = \"1.0\"\ncreated-by = \"me\"\npackages = []\n")
	want := identify(t, DebianBase("3.12").WithRequirements("a/pylock.toml", PipOptions{}), placeOf(dir))
	if identify(t, DebianBase("3.12").WithRequirements("./a/pylock.toml", PipOptions{}), placeOf(dir)) != want {
		t.Error("./a/pylock.toml is another identifier than a/pylock.toml")
	}
}

// TestReviewBaseSpecsOwnRules: the files of the spec below are seen through the ignore file of its own folder, and
// entry point, user and labels come along.
func TestReviewBaseSpecsOwnRules(t *testing.T) {
	plan, err := planOf(t, "base_image: ./sub/base.yaml\ncopy: [data]\n", map[string]string{
		".dockerignore": "**/upper\n", "sub/.dockerignore": "**/lower\n", "data/x": "", "sub/data/x": "",
		"sub/base.yaml": "copy: [data]\nentrypoint: [a]\nuser: '7'\nlabels: {l: v}\n"})
	if err != nil {
		t.Fatal(err)
	}
	list := copies(plan)
	if len(list) != 2 || slices.Contains(list[0].Exclude, "**/upper") || !slices.Contains(list[0].Exclude, "**/lower") || !slices.Contains(list[1].Exclude, "**/upper") {
		t.Errorf("%+v", list)
	}
	said := ""
	for _, s := range plan.Image.Steps {
		switch s := s.(type) {
		case llb.User:
			said += "user " + s.Name + " "
		case llb.Entrypoint:
			said += "entrypoint " + s.Args[0] + " "
		case llb.Label:
			said += "label " + s.Key + " "
		}
	}
	if said != "user 7 entrypoint a label l " {
		t.Errorf("%q", said)
	}
}

// TestReviewCyclesOfBaseSpecs end with a finding, in a circle of one and of two.
func TestReviewCyclesOfBaseSpecs(t *testing.T) {
	for _, files := range []map[string]string{
		{"a.yaml": "base_image: ./a.yaml\n"}, {"a.yaml": "base_image: ./b/b.yaml\n", "b/b.yaml": "base_image: ../a.yaml\n"},
	} {
		if _, err := planOf(t, "base_image: ./a.yaml\n", files); err == nil {
			t.Error("no error")
		}
	}
}

// TestReviewLinksInsideFoldersStayLinks: a link that leads out of the folder is no way to bring a file (reference, section 9).
func TestReviewLinksInsideFoldersStayLinks(t *testing.T) {
	top := t.TempDir()
	writeTo(t, filepath.Join(top, "outside/secret"), "geheim")
	writeTo(t, filepath.Join(top, "project/app/x"), "1")
	for _, p := range []string{"project/app/link", "project/link"} {
		if err := os.Symlink(filepath.Join(top, "outside"), filepath.Join(top, p)); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(top, "project")
	img := DebianBase("3.12").WithCopy("app")
	before := identify(t, img, placeOf(dir))
	writeTo(t, filepath.Join(top, "outside/secret"), "other")
	if identify(t, img, placeOf(dir)) != before {
		t.Error("what a link leads to, out of the folder, counts")
	}
	for _, layer := range []Layer{Copy{Path: "link/secret"}, SourceFile{Src: "link/secret"}, SourceFolder{Src: "link"}, Pip{Requirements: "link/secret.txt"},
		UVProject{ProjectOptions{Path: "link"}, placed{}}, CodeBundle{Src: "link"}} {
		if err := DebianBase("3.12").With(layer).Validate(dir); err == nil {
			t.Errorf("%s: no error", layer.kind())
		}
	}
	for _, field := range []string{"secrets: [{id: k, from: link/secret, for: [packages]}]\npackages: [a]", "ca_certificates: [link/secret]", "dockerfile: link/secret", "uv_script: link/run.py", "layers: [{conda: {file: link/e.yml}}]"} {
		src, _ := source.New("image.yaml", dir, []byte(field+"\n"))
		if _, err := Load(src); err == nil {
			t.Errorf("%s: no error", field)
		}
	}
}

// TestReviewAptScriptTakesArgumentsAsTheyAre runs the script of apt with arguments that a shell would act upon;
// programs are stubs that print what they were given.
func TestReviewAptScriptTakesArgumentsAsTheyAre(t *testing.T) {
	dir := t.TempDir()
	stub := filepath.Join(dir, "apt-get")
	writeTo(t, stub, "#!/bin/sh\nfor a in \"$@\"; do printf '<%s>' \"$a\" >>"+dir+"/said; done\n")
	if err := os.Chmod(stub, 0o755); err != nil {
		t.Fatal(err)
	}
	step := llb.Apt([]string{"a; touch " + dir + "/ran", "$(touch " + dir + "/ran)", "x y", "*"}, llb.Lines{})
	script := strings.ReplaceAll(step.Args[2], "rm -rf", ": ") // it would clean up this machine
	cmd := exec.Command("/bin/sh", append([]string{"-c", script}, step.Args[3:]...)...)
	cmd.Env, cmd.Dir = []string{"PATH=" + dir + ":/usr/bin:/bin"}, dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	said, err := os.ReadFile(filepath.Join(dir, "said"))
	if err != nil || !strings.HasSuffix(string(said), "<--><$(touch "+dir+"/ran)><*><a; touch "+dir+"/ran><x y>") {
		t.Errorf("%s %v", said, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
		t.Error("an argument was run")
	}
}

// TestReviewOptionsAreNoNames: nothing that begins with "-" reaches a tool as an option by a list of names.
func TestReviewOptionsAreNoNames(t *testing.T) {
	for _, text := range []string{
		"apt_packages: ['-o=x']", "apt_packages: ['a-']", "apt_packages: ['a=1-']", "packages: ['--x']", "packages: [' --x']", "platform_packages: ['-e .']", "runtime_packages: ['--x']",
		"conda_packages: ['-x']", "conda_packages: ['--x']", "conda_packages: [a]\nconda_channels: ['-x']", "from_env: ['-x']", "layers: [{uv_project: {groups: ['-x']}}]", "layers: [{poetry_project: {extras: ['-x']}}]",
		"layers: [{user: '-x'}]", "layers: [{source_file: {src: f, owner: '-x'}}]", "layers: [{pixi_project: {environment: '-x'}}]", "base_image: '-x'", "packages: [a]\npip_index: '-x'",
		"runtime_packages: [\"a\\n--index-url https://h\"]", "runtime_packages: ['a --hash=sha256:0']",
	} {
		if _, err := planOf(t, text+"\n", map[string]string{"f": ""}); err == nil {
			t.Errorf("no error for %s", text)
		}
	}
}
