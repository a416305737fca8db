package spec

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
)

// TestReviewRelativeWorkdirIntoProc is CVE-2024-21626 by two steps.
func TestReviewRelativeWorkdirIntoProc(t *testing.T) {
	for _, text := range []string{
		"layers: [{workdir: /}, {workdir: proc/self/fd/8}]\n",
		"base_image: scratch\nlayers: [{workdir: proc/self/fd/8}]\n",
		"workdir: /\nlayers: [{source_file: {src: f, dst: dev/x}}]\n",
	} {
		if _, err := planOf(t, text, map[string]string{"f": ""}); err == nil {
			t.Errorf("no error for %s", text)
		}
	}
}

// TestReviewNULIsRefused: a NUL in an argument ends in runc's words, or in a wrong command.
func TestReviewNULIsRefused(t *testing.T) {
	for _, text := range []string{
		`entrypoint: ["a\0b"]`, `cmd: ["a\0b"]`, `layers: [{shell: ["/bin/sh\0", "-c"]}]`,
		`{packages: [a], secrets: [{id: k, version: "a\0b", for: [packages]}]}`,
		`{packages: [a], pip_extra_args: ["--pre\0"]}`,
	} {
		if _, err := planOf(t, text+"\n", nil); err == nil {
			t.Errorf("no error for %s", text)
		}
	}
}

// TestReviewDirectReferencesKeepAll: what stands after the path of a direct reference counts.
func TestReviewDirectReferencesKeepAll(t *testing.T) {
	wheel := "x-1.0-py3-none-any.whl"
	for text, want := range map[string]string{
		"x @ ./" + wheel + "#sha256=0000000000000000000000000000000000000000000000000000000000000000": "#sha256=000",
		"x @ ./" + wheel + " ; python_version < '3'":                                                  "python_version",
	} {
		plan, err := planOf(t, "packages: [\""+text+"\"]\n", map[string]string{wheel: ""})
		if err != nil {
			t.Log(err) // refused is fine
			continue
		}
		if !strings.Contains(argsOf(plan), want) {
			t.Errorf("%s becomes %s", text, argsOf(plan))
		}
	}
}

// TestReviewEscapedFileURL: the argument of uv has to name the place where the file is mounted.
func TestReviewEscapedFileURL(t *testing.T) {
	plan, err := planOf(t, "packages: ['file:./my%20dir/x-1.0-py3-none-any.whl', 'y @ ./my dir/y-1.0-py3-none-any.whl']\n",
		map[string]string{"my dir/x-1.0-py3-none-any.whl": "", "my dir/y-1.0-py3-none-any.whl": ""})
	if err != nil {
		t.Log(err)
		return
	}
	args := argsOf(plan)
	if strings.Contains(args, "file:./") {
		t.Errorf("x is looked for where it is not: %s", args)
	}
	if strings.Contains(args, "file:///run/ibuild/requirements/my dir") {
		t.Errorf("y is no URL: %s", args)
	}
}

// TestReviewYAMLKeepsDebian: From("debian") is an image of that name; base_image: debian is ibuild's own base.
func TestReviewYAMLKeepsDebian(t *testing.T) { reviewRoundTrip(t, From("debian")) }

// TestReviewYAMLKeepsNamesThatLookLikeFiles: a repository may be called app.yaml.
func TestReviewYAMLKeepsNamesThatLookLikeFiles(t *testing.T) {
	reviewRoundTrip(t, From("registry.example/app.yaml"))
}

// TestReviewYAMLKeepsStartSecrets: UVScript takes mounts that no Secret declares.
func TestReviewYAMLKeepsStartSecrets(t *testing.T) {
	reviewRoundTrip(t, UVScript("run.py", Secret{ID: "token", Env: "TOKEN"}))
}

// TestReviewYAMLKeepsStartSecretOptions: what the mount says goes before what the secret says.
func TestReviewYAMLKeepsStartSecretOptions(t *testing.T) {
	reviewRoundTrip(t, UVScript("run.py", Secret{ID: "token", Env: "OTHER"}).WithSecrets(Secret{ID: "token", Env: "TOKEN"}))
}

// TestReviewYAMLKeepsStepsOfEveryKind has texts that YAML would change.
func TestReviewYAMLKeepsStepsOfEveryKind(t *testing.T) {
	for _, img := range []Image{
		DebianBase("3.12").With(Env{}), DebianBase("").WithEntrypoint(), DebianBase("").WithCmd(),
		DebianBase("3.12").WithBuilder("local", map[string]string{"a": "yes"}).WithAccelerator("1e3"),
		DebianBase("3.12").WithLabels(map[string]string{"yes": "no", "~": "~", "1_0": "0x1F", "": ""}),
		DebianBase("3.12").WithEnv(map[string]string{"A": " x\n", "B": "\n  x", "C": "a\rb", "D": "\u0085", "E": "\ufeff", "F": "\u2028", "G": "\t\n\t"}),
		DebianBase("3.12").WithCommands("\n\n  echo a\n echo b\n\n", "echo \t", "# x", "- a: b", "a\r\nb"),
	} {
		if err := img.Validate(t.TempDir()); err == nil {
			reviewRoundTrip(t, img)
		}
	}
}

func reviewRoundTrip(t *testing.T, img Image) {
	t.Helper()
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, "run.py"), strings.Replace(scriptText, "%s", "", 1))
	want, err := img.Plan(source.Source{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	data, err := img.YAML()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Load(source.Source{Dir: dir, Data: data})
	if err != nil {
		t.Errorf("%v\n%s", err, data)
		return
	}
	sameSteps(t, want, got)
	if t.Failed() {
		t.Logf("%s", data)
	}
}

// TestReviewNamesAreChecked: names of images are well-formed before anything is built (section 6).
func TestReviewNamesAreChecked(t *testing.T) {
	for _, text := range []string{
		"packages: [a]\nbuilder_config: {uv_image: 'https://Not A Ref'}\n",
		"name: x\ntag_format: fixed\n",
		"registry_config: ../../outside/config.json\n", "registry_config: missing.json\n", "registry_config: /etc/docker/config.json\n",
	} {
		if plan, err := planOf(t, text, nil); err == nil {
			t.Errorf("no error for %q: %q %q", text, plan.RegistryConfig, plan.TagFormat)
		}
	}
}

// TestReviewSecretIndexOfPip: a secret for an index that the pip layer does not have is a typing error, as in
// uv_project.
func TestReviewSecretIndexOfPip(t *testing.T) {
	_, err := planOf(t, "layers: [{pip: {packages: [a], index_url: 'corp=https://h/simple', secrets: [{id: k, index: crop}]}}]\n", nil)
	if err == nil {
		t.Error("no error")
	}
}

// TestReviewMessagesShowNoPasswords looks into what findings say, not only into the lines that they show.
func TestReviewMessagesShowNoPasswords(t *testing.T) {
	for _, text := range []string{
		"apt_packages: ['https://u:geheim@h/x']", "user: 'https://u:geheim@h'", "workdir: '~https://u:geheim@h'",
		"layers: [{source_file: 'https://u:geheim@h/*'}]", "copy: ['https://u:geheim@h/x']", "name: 'https://u:geheim@h'",
		"name: x\ntag: 'https://u:geheim@h'", "base_image: 'https://u:geh%eim@h'", "runtime_packages: ['x @ x https://u:geheim@h']",
		"platforms: ['https://u:geheim@h']", "requirements: 'https://u:geheim@h/r.txt'", "accelerator: 'https://u:geheim@h'",
		"python_version: 'https://u:geheim@h'", "'https://u:geheim@h': 1", "packages: 'https://u:geheim@h'",
		"secrets: ['https://u:geheim@h']", "packages: ['-i https://u:geheim@h']", "packages: ['x[ @ https://u:geheim@h']",
		"packages: [a]\npip_index: 'ftp://u:geheim@h/simple'\nallow_plain_credentials: true", "builder: 1\nbuilder_config: {uv_image: [https://u:geheim@h]}",
		"commands: ['RUN curl https://u:geheim@h']", "packages: [a, 'x @ https://u:geheim@h', 'x @ https://u:geheim@h']",
		"env: {'https://u:geheim@h': x}", "cuda: 'https://u:geheim@h'",
	} {
		_, err := planOf(t, text+"\n", nil)
		if err == nil {
			t.Logf("no error for %s", text)
			continue
		}
		if strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), "geh%eim") {
			t.Errorf("%v", err)
		}
	}
}

// TestReviewCredentialsAreRefusedEverywhere: each of these ends up in the definition, history or provenance.
func TestReviewCredentialsAreRefusedEverywhere(t *testing.T) {
	token := "ghp_" + strings.Repeat("a", 36)
	files := map[string]string{
		"Dockerfile": "FROM scratch\n", "p/pyproject.toml": "[project]\nname='p'\nversion='1'\nrequires-python='>=3.11'\n",
		"p/uv.lock": "version = 1\nrevision = 3\nrequires-python = \">=3.11\"\n\n[[package]]\nname = \"p\"\nversion = \"1\"\nsource = { virtual = \".\" }\n",
	}
	files["r.txt"] = "x @ git+https://" + token + "@github.com/o/r\n"
	files["i.txt"] = "--index-url https://" + token + "@h/simple\nx\n"
	for _, text := range []string{
		"requirements: r.txt", "requirements: i.txt",
		"packages: ['x @ git+https://" + token + "@github.com/o/r']",
		"packages: [x]\npip_index: 'https://" + token + "@h/simple'",
		"dockerfile: {file: Dockerfile, args: {GH_TOKEN: " + token + "}}",
		"dockerfile: Dockerfile\nlabels: {url: 'https://u:pw@h/'}",
		"layers: [{uv_project: {path: p, extra_args: ['--index', 'https://u:pw@h/simple']}}]",
		"runtime_packages: ['x @ git+https://" + token + "@github.com/o/r']",
		"packages: [x]\nsecrets: [{id: k, index: corp, username: " + token + ", for: [packages]}]",
	} {
		if _, err := planOf(t, text+"\n", files); err == nil {
			t.Errorf("no error for %s", text)
		}
	}
}

// TestReviewFindingsComeAllAtOnce: two bad names of a DockerConfig are two findings, every time.
func TestReviewFindingsComeAllAtOnce(t *testing.T) {
	for range 20 {
		_, err := planOf(t, "tensorflow_cloud: {image: 'A B', cache_from: 'C D', parent_image: tensorflow/tensorflow:2.16.1}\n", nil)
		if err == nil || !strings.Contains(err.Error(), "A B") || !strings.Contains(err.Error(), "C D") {
			t.Fatal(err)
		}
	}
}

// TestReviewPositionsOfBaseSpecs keeps places of the spec below apart from the child's.
func TestReviewPositionsOfBaseSpecs(t *testing.T) {
	_, err := planOf(t, "base_image: ./sub/base.yaml\n\n\npackages: [-x]\n", map[string]string{"sub/base.yaml": "\napt_packages: [BAD]\ncopy: [none]\n"})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"sub/base.yaml:2:16: ", `sub/base.yaml:3:8: there is no "sub/none"`, "image.yaml:4:12: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

// TestReviewFromSpecKeepsItsFile: an image that was parsed from one file, below one that was made in Go.
func TestReviewFromSpecKeepsItsFile(t *testing.T) {
	src, _ := source.New("base.yaml", t.TempDir(), []byte("\n\n\napt_packages: [curl]\n"))
	parent, err := Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	top, _ := source.New("top.yaml", src.Dir, []byte("name: x\n"))
	plan, err := FromSpec(parent).Plan(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range plan.Image.Steps {
		if e, ok := s.(llb.Exec); ok && e.Lines.First > 1 && plan.Image.Sources[e.Lines.File].Name == "top.yaml" {
			t.Errorf("%s is said to be in line %d of a file with one line", e.Title, e.Lines.First)
		}
	}
}
