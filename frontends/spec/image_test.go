package spec

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
)

// everything is an image with all that can be said, made in Go.
func everything() Image {
	return DebianBase("3.12").
		WithName("app").WithRegistry("localhost:5000").WithTag("v1").
		WithPlatforms("linux/amd64", "linux/arm64").
		WithEnv(map[string]string{"B": "2", "A": "1"}).
		WithAptPackages("git", "curl").
		WithPipPackages(PipOptions{
			IndexURL: "https://h/simple", ExtraIndexURLs: []string{"https://i/simple"}, Pre: true, WheelsOnly: true,
			ExtraArgs: []string{"--no-deps"}, Secrets: []Secret{{ID: "token"}},
		}, "numpy>=2").
		WithRequirements("requirements.txt", PipOptions{}).
		WithCommands("echo a", "echo b").
		WithWorkdir("/srv").
		WithSourceFolder("app", "").
		WithSourceFile("app/main.py", "bin/").
		With(SourceFolder{Src: "app", Dst: "/opt/app", Exclude: []string{"*.log"}, Owner: "app", AllFiles: true}, Copy{Path: "requirements.txt"}).
		WithUser("app").
		WithEntrypoint("python", "-m").WithCmd("app").
		WithLabels(map[string]string{"l": "1"}).
		WithSecrets(Secret{ID: "token", Env: "TOKEN", Optional: true})
}

func folderFor(t *testing.T) source.Source {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "app"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"app/main.py", "requirements.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("rich\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return source.Source{Dir: dir}
}

// asYAML is the same image as everything.
const asYAML = `
name: app
registry: localhost:5000
tag: v1
python_version: "3.12"
platforms: [linux/amd64, linux/arm64]
layers:
  - env: {A: "1", B: "2"}
  - apt: [git, curl]
  - pip:
      packages: [numpy>=2]
      index_url: https://h/simple
      extra_index_urls: [https://i/simple]
      pre: true
      wheels_only: true
      extra_args: [--no-deps]
      secrets: [token]
  - requirements: requirements.txt
  - run: [echo a, echo b]
  - workdir: /srv
  - source_folder: app
  - source_file: {src: app/main.py, dst: bin/}
  - source_folder: {src: app, dst: /opt/app, exclude: ["*.log"], owner: app, standard_ignores: false}
copy: [requirements.txt]
user: app
entrypoint: [python, -m]
cmd: [app]
labels: {l: "1"}
secrets: [{id: token, env: TOKEN, optional: true}]
`

func TestGoAndYAMLSayTheSame(t *testing.T) {
	src := folderFor(t)
	made, err := everything().Plan(src)
	if err != nil {
		t.Fatal(err)
	}
	src.Data = []byte(asYAML)
	src.Name = "image.yaml"
	read, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made, read, cmpopts.IgnoreTypes(llb.Lines{}), cmpopts.IgnoreFields(llb.Image{}, "Sources"), cmpopts.IgnoreUnexported(llb.Local{})); diff != "" {
		t.Error(diff)
	}
}

// TestMethodsKeepTheReceiver fails when a method changes the image that it is called on.
func TestMethodsKeepTheReceiver(t *testing.T) {
	img := everything()
	before := img.clone()
	methods := map[string]func() Image{
		"WithAptPackages":      func() Image { return img.WithAptPackages("x") },
		"WithPipPackages":      func() Image { return img.WithPipPackages(PipOptions{}, "x") },
		"WithRequirements":     func() Image { return img.WithRequirements("x.txt", PipOptions{}) },
		"WithCommands":         func() Image { return img.WithCommands("x") },
		"WithEnv":              func() Image { return img.WithEnv(map[string]string{"A": "x"}) },
		"WithWorkdir":          func() Image { return img.WithWorkdir("/x") },
		"WithUser":             func() Image { return img.WithUser("x") },
		"WithSourceFolder":     func() Image { return img.WithSourceFolder("x", "") },
		"WithSourceFile":       func() Image { return img.WithSourceFile("x", "") },
		"WithEntrypoint":       func() Image { return img.WithEntrypoint("x") },
		"WithCmd":              func() Image { return img.WithCmd() },
		"WithLabels":           func() Image { return img.WithLabels(map[string]string{"l": "x"}) },
		"WithPlatforms":        func() Image { return img.WithPlatforms("x") },
		"WithRegistry":         func() Image { return img.WithRegistry("x") },
		"WithName":             func() Image { return img.WithName("x") },
		"WithTag":              func() Image { return img.WithTag("x") },
		"WithSecrets":          func() Image { return img.WithSecrets(Secret{ID: "x"}) },
		"WithPlainCredentials": func() Image { return img.WithPlainCredentials() },
		"WithAllFiles":         func() Image { return img.WithAllFiles() },
		"With":                 func() Image { return img.With(Env{}) },
		"Clone":                func() Image { return img.Clone(Changes{Name: "x", Layer: Env{}, Platforms: []string{"x"}}) },
		"WithRuntimePackages":  func() Image { return img.WithRuntimePackages("x") },
		"WithPlatformPackages": func() Image { return img.WithPlatformPackages("x") },
		"WithPlatformOptions":  func() Image { return img.WithPlatformOptions(PipOptions{Pre: true}) },
		"WithCACertificates":   func() Image { return img.WithCACertificates("x") },
		"WithCUDA":             func() Image { return img.WithCUDA("12.4", "9") },
		"WithAccelerator":      func() Image { return img.WithAccelerator("l4") },
		"WithPythonVersion":    func() Image { return img.WithPythonVersion("3.11") },
		"WithPythonExec":       func() Image { return img.WithPythonExec("python3") },
		"WithTools":            func() Image { return img.WithTools(Tools{UVImage: "x"}) },
		"WithTagFormat":        func() Image { return img.WithTagFormat("{spec_hash}") },
		"WithBuilder":          func() Image { return img.WithBuilder("noop", map[string]string{"a": "b"}) },
		"WithRegistryConfig":   func() Image { return img.WithRegistryConfig("x") },
		"WithShell":            func() Image { return img.WithShell("/bin/bash", "-c") },
		"WithCopy":             func() Image { return img.WithCopy("x") },
		"WithCodeBundle":       func() Image { return img.WithCodeBundle("src", "main.py") },
		"WithPixiProject":      func() Image { return img.WithPixiProject(PixiOptions{}) },
		"WithUVProject":        func() Image { return img.WithUVProject(ProjectOptions{}) },
		"WithPoetryProject":    func() Image { return img.WithPoetryProject(ProjectOptions{}) },
		"WithCondaPackages":    func() Image { return img.WithCondaPackages(nil, "x") },
	}
	for name, change := range methods {
		if reflect.DeepEqual(change(), before) {
			t.Errorf("%s changes nothing", name)
		}
		if !reflect.DeepEqual(img, before) {
			t.Fatalf("%s changes the image it is called on", name)
		}
	}
	for i := range reflect.TypeFor[Image]().NumMethod() {
		name := reflect.TypeFor[Image]().Method(i).Name
		if _, ok := methods[name]; !ok && (name == "Clone" || strings.HasPrefix(name, "With")) {
			t.Errorf("this test does not know %s", name)
		}
	}
}

// TestBranchesShareNothing extends one image in two ways: the second must not overwrite what the first
// appended.
func TestBranchesShareNothing(t *testing.T) {
	base := DebianBase("").WithAptPackages("a").WithAptPackages("b").WithAptPackages("c")
	left := base.WithCommands("left").WithPlatforms("linux/amd64")
	right := base.WithCommands("right").WithPlatforms("linux/arm64")
	if c := left.layers[3].(Commands); c.Commands[0] != "left" {
		t.Errorf("the left one runs %q", c.Commands[0])
	}
	if c := right.layers[3].(Commands); c.Commands[0] != "right" {
		t.Errorf("the right one runs %q", c.Commands[0])
	}
}

// TestArgumentsAreCopied changes every slice and map after it was handed over.
func TestArgumentsAreCopied(t *testing.T) {
	list := []string{"a", "b"}
	vars := map[string]string{"K": "v"}
	options := PipOptions{ExtraIndexURLs: []string{"https://h"}, ExtraArgs: []string{"--x"}, Secrets: []Secret{{ID: "s"}}}
	folder := SourceFolder{Src: "x", Exclude: []string{"e"}}
	secrets := []Secret{{ID: "s"}}
	make := func() Image {
		return DebianBase("").WithAptPackages(list...).WithPipPackages(options, list...).WithCommands(list...).WithEnv(vars).
			WithEntrypoint(list...).WithCmd(list...).WithLabels(vars).WithPlatforms(list...).With(folder).WithSecrets(secrets...)
	}
	img := make()
	list[0], vars["K"], vars["N"] = "changed", "changed", "new"
	options.ExtraIndexURLs[0], options.ExtraArgs[0], options.Secrets[0].ID = "changed", "changed", "changed"
	folder.Exclude[0], secrets[0].ID = "changed", "changed"
	changed := make()
	list, vars = []string{"a", "b"}, map[string]string{"K": "v"}
	options = PipOptions{ExtraIndexURLs: []string{"https://h"}, ExtraArgs: []string{"--x"}, Secrets: []Secret{{ID: "s"}}}
	folder, secrets = SourceFolder{Src: "x", Exclude: []string{"e"}}, []Secret{{ID: "s"}}
	if !reflect.DeepEqual(img, make()) {
		t.Error("the image changed with its arguments")
	}
	if reflect.DeepEqual(img, changed) {
		t.Error("the test changes nothing")
	}
}

// TestPlansAreCopies changes what one plan has and looks at the next.
func TestPlansAreCopies(t *testing.T) {
	src := folderFor(t)
	img := everything()
	first, err := img.Plan(src)
	if err != nil {
		t.Fatal(err)
	}
	want, err := img.Plan(src)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range first.Image.Steps {
		switch s := s.(type) {
		case llb.Exec:
			for j := range s.Args {
				s.Args[j] = "changed"
			}
			for j := range s.Mounts {
				s.Mounts[j] = llb.Mount{}
			}
		case llb.Copy:
			for j := range s.Exclude {
				s.Exclude[j] = "changed"
			}
		case llb.Entrypoint:
			s.Args[0] = "changed"
		case llb.Cmd:
			s.Args[0] = "changed"
		}
		first.Image.Steps[i] = nil
	}
	first.Platforms[0].Architecture = "changed"
	again, err := img.Plan(src)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, again, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func TestValidate(t *testing.T) {
	src := folderFor(t)
	err := DebianBase("2.7").WithAptPackages("Git").WithCommands("true").WithSourceFile("no.txt", "").WithEnv(map[string]string{"A B": "x"}).Validate(src.Dir)
	want := `Python "2.7" is not supported; supported are 3.14, 3.13, 3.12, 3.11, 3.10
layer 1 (apt): "Git" is not a Debian package; did you mean "git"?
layer 3 (source_file): there is no "no.txt"
layer 4 (env): "A B" is not the name of an environment variable; write letters, digits and _, no digit first`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v", err)
	}
	if err := (Image{}).Validate(src.Dir); err != nil {
		t.Errorf("the zero value: %v", err)
	}
	if err := From("").Validate(src.Dir); err != nil {
		t.Errorf("scratch: %v", err)
	}
	if err := DebianBase("").Validate(filepath.Join(src.Dir, "no")); err == nil {
		t.Error("a missing folder is no error")
	}
}

// copies are the plan's Copy steps.
func copies(plan *llb.Plan) []llb.Copy {
	var out []llb.Copy
	for _, s := range plan.Image.Steps {
		if c, ok := s.(llb.Copy); ok {
			out = append(out, c)
		}
	}
	return out
}
