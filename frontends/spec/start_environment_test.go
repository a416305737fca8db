package spec

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/plantest"
	"github.com/ibuild/ibuild/llb"
)

// TestFromEnvironment reads the environment of the Python on PATH.
func TestFromEnvironment(t *testing.T) {
	out, err := exec.Command("python3", "-c", "import sys, importlib.metadata as m; print('%d.%d' % sys.version_info[:2], m.version('pip'))").Output()
	if err != nil {
		t.Fatal(err)
	}
	minor, version, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	at := placeOf(t.TempDir())
	plan, err := FromEnvironment("", PipOptions{}, "pip").Plan(at.Source)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Image.Base.Ref != llb.DebianPython(minor) {
		t.Errorf("base %s, want Python %s", plan.Image.Base.Ref, minor)
	}
	if last := plan.Image.Steps[len(plan.Image.Steps)-2].(llb.Exec); last.Args[len(last.Args)-1] != "pip=="+version {
		t.Errorf("installs %q, want pip %s", last.Args, version)
	}
	none := PipOptions{}
	for img, want := range map[*Image]string{
		ref(FromEnvironment("", none, "pip").WithPythonVersion("3.12")):                   "python_version goes with the Debian base only; remove it; from_env takes the Python of the environment",
		ref(FromEnvironment("", none, "no-such-package")):                                 `from_env: "no-such-package" is not installed for this Python`,
		ref(FromEnvironment("", none, "pip>=1")):                                          `from_env: "pip>=1" is not the name of a package`,
		ref(FromEnvironment("/no/such/python", none, "pip")):                              "from_env: the Python environment cannot be read: there is no Python on PATH",
		ref(FromEnvironment(fakePython(t, "exit 3"), none, "pip")):                        "exit status 3",
		ref(FromEnvironment(fakePython(t, "echo broken"), none, "pip")):                   "from_env: the Python environment cannot be read: invalid character",
		ref(FromEnvironment(fakePython(t, environmentA), none, "local")):                  `from_env: "local" was not installed from an index`,
		ref(FromEnvironment("/no/such/python", PipOptions{IndexURL: "pypi"}, "pip")):      `"pypi" is not the URL of a package index`,
		ref(FromEnvironment(fakePython(t, environmentB), PipOptions{IndexURL: "x"}, "a")): `"x" is not the URL of a package index`,
	} {
		if _, err := img.Plan(at.Source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

const (
	environmentA = `echo '{"python": "3.12", "packages": {"local": {"version": "1", "url": "{}"}}}'`
	environmentB = `echo '{"python": "3.12", "packages": {"a": {"version": "1"}, "Company.Models": {"version": "1.2"}, "rich": {"version": "13.9.4"}}}'`
)

func ref(img Image) *Image { return &img }

// fakePython is a program that answers as an interpreter would.
func fakePython(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "python3")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFromEnvironmentGolden has all that YAML says of the start, with an environment that is the same everywhere.
func TestFromEnvironmentGolden(t *testing.T) {
	t.Setenv("PATH", filepath.Dir(fakePython(t, environmentB)))
	src := read(t, "testdata/environment/spec.yaml")
	plan, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	if err := plantest.Compare("testdata/environment/plan.golden.json", plan, *update); err != nil {
		t.Error(err)
	}
	compareLLB(t, "testdata/llb/environment.json", plan)
	img, err := Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	writtenAndRead(t, img, src)
	made := FromEnvironment("", PipOptions{
		ExtraIndexURLs: []string{"corp=https://pypi.example.com/simple"}, WheelsOnly: true,
		Secrets: []Secret{{ID: "corp/token", Index: "corp", Username: "reader"}, {ID: "corp/ca"}},
	}, "company-models", "rich[jupyter]").WithAptPackages("git").WithSecrets(Secret{ID: "corp/token"}, Secret{ID: "corp/ca", File: "/run/corp/ca.pem"})
	same, err := made.Plan(source.Source{Dir: src.Dir, Name: src.Name})
	if err != nil {
		t.Fatal(err)
	}
	sameSteps(t, plan, same)
}

// TestFromEnvironmentFindings: what is wrong beside the packages is found in the text alone and with the
// environment, and where the environment is wrong, too.
func TestFromEnvironmentFindings(t *testing.T) {
	const text = `from_env:
  packages: [rich]
  index_url: https://u:geheim@h/simple
  extra_args: [-r, list.txt]
  secrets: [{id: token, index: corp}, {id: file, file: x}]
`
	want := []string{
		"3:14: the index URL has a password in it; mount the password as a secret, e.g. in a .netrc file",
		"4:16: -r in extra_args names a file, which the step does not have; use a requirements layer",
		`5:13: the secret "token" is for the index "corp", which there is not; the step has no index with a name: write index_url: name=https://host/path`,
		`5:39: the secret's file "x" is not an absolute path; write e.g. /root/.netrc`,
	}
	src, err := source.New("image.yaml", t.TempDir(), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, err error) {
		t.Helper()
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), "image.yaml:"+w) {
				t.Errorf("%s: no %q in\n%v", what, w, err)
			}
		}
	}
	_, err = Parse(src)
	check("the text alone", err)
	for what, environment := range map[string]string{"with packages": environmentB, "without the package": environmentA, "without an environment": "exit 3"} {
		t.Setenv("PATH", filepath.Dir(fakePython(t, environment)))
		_, err = Load(src)
		check(what, err)
	}
	src.Data = []byte("from_env: [rich]\nsecrets: [{id: token, for: [from_env]}]\n")
	if _, err := Parse(src); err != nil {
		t.Errorf("nobody has looked for the environment, and a secret of its step is wrong: %v", err)
	}
}

// TestOptionsOfStartsCount: whatever is said of the packages of a start, or of the platform's, decides what is in the
// image.
func TestOptionsOfStartsCount(t *testing.T) {
	at := placeOf(t.TempDir())
	interpreter := fakePython(t, environmentB)
	images := map[string]func(o PipOptions) Image{
		"from_env": func(o PipOptions) Image { return FromEnvironment(interpreter, o, "rich") },
		"platform_packages": func(o PipOptions) Image {
			return DebianBase("3.12").WithPlatformPackages("rich").WithPlatformOptions(o)
		},
	}
	for i := range reflect.TypeFor[PipOptions]().NumField() {
		if name := reflect.TypeFor[PipOptions]().Field(i).Name; reflect.ValueOf(everyOption()[name]).IsZero() {
			t.Errorf("this test does not know the option %s", name)
		}
	}
	seen := map[string]string{}
	for name, image := range images {
		for what, o := range everyOption() {
			id := identify(t, image(o), at).String()
			if other, ok := seen[id]; ok {
				t.Errorf("%s, %s is the same as %s", name, what, other)
			}
			seen[id] = name + ", " + what
		}
		secret := image(PipOptions{Secrets: []Secret{{ID: "token"}}})
		if identify(t, secret.WithSecrets(Secret{ID: "token", Version: "1"}), at) == identify(t, secret.WithSecrets(Secret{ID: "token", Version: "2"}), at) {
			t.Errorf("%s: the version of a secret changes nothing", name)
		}
	}
}

// everyOption are options that each differ in one field from none.
func everyOption() map[string]PipOptions {
	return map[string]PipOptions{
		"none": {}, "IndexURL": {IndexURL: "https://h/simple"}, "ExtraIndexURLs": {ExtraIndexURLs: []string{"https://h/simple"}}, "Pre": {Pre: true},
		"WheelsOnly": {WheelsOnly: true}, "ExtraArgs": {ExtraArgs: []string{"--no-deps"}}, "Secrets": {Secrets: []Secret{{ID: "token"}}},
	}
}

// TestStartsGetNoLayersCUDA: the packages that CUDA adds to a layer, and where its torch comes from, are that layer's.
func TestStartsGetNoLayersCUDA(t *testing.T) {
	at := placeOf(t.TempDir())
	writeTo(t, filepath.Join(at.Source.Dir, "requirements.txt"), "rich\n")
	for name, start := range map[string]Image{
		"from_env":          FromEnvironment(fakePython(t, environmentB), PipOptions{}, "rich"),
		"tensorflow_cloud":  TensorFlow(DockerConfig{TensorFlow: "2.18.0", Requirements: "requirements.txt"}),
		"platform_packages": DebianBase("3.12").WithPlatformPackages("rich"),
	} {
		plan, err := start.WithPipPackages(PipOptions{}, "torch==2.6.0").WithCUDA("11.8", "").Plan(at.Source)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, s := range plan.Image.Steps {
			e, ok := s.(llb.Exec)
			if !ok || len(e.Args) < 2 || e.Args[1] != "pip" {
				continue
			}
			if torch, backend := slices.Contains(e.Args, "torch==2.6.0"), slices.Contains(e.Args, "--torch-backend"); torch != backend {
				t.Errorf("%s: %q has torch: %v, PyTorch's index for CUDA: %v", name, e.Args, torch, backend)
			}
		}
	}
}

// TestOptionsOfStartsAreCopied changes what was given for the options, and adds to one image in two ways.
func TestOptionsOfStartsAreCopied(t *testing.T) {
	o := PipOptions{ExtraIndexURLs: []string{"https://h"}, ExtraArgs: []string{"--x"}, Secrets: []Secret{{ID: "s"}}}
	packages := []string{"a"}
	images := []Image{FromEnvironment("", o, packages...), DebianBase("").WithPlatformPackages(packages...).WithPlatformOptions(o)}
	text := func(img Image) string {
		data, err := img.YAML()
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	before := []string{text(images[0]), text(images[1])}
	o.ExtraIndexURLs[0], o.ExtraArgs[0], o.Secrets[0].ID, packages[0] = "changed", "changed", "changed", "changed"
	left := images[1].WithPlatformPackages("left")
	want := text(left)
	_ = images[1].WithPlatformPackages("right").WithPlatformOptions(o)
	for i, img := range images {
		if got := text(img); got != before[i] {
			t.Errorf("was\n%s\nand is\n%s", before[i], got)
		}
	}
	if text(left) != want {
		t.Error("two images share a list")
	}
}
