package spec

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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
	plan, err := FromEnvironment("", "pip").Plan(at.Source)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Image.Base.Ref != llb.DebianPython(minor) {
		t.Errorf("base %s, want Python %s", plan.Image.Base.Ref, minor)
	}
	if last := plan.Image.Steps[len(plan.Image.Steps)-2].(llb.Exec); last.Args[len(last.Args)-1] != "pip=="+version {
		t.Errorf("installs %q, want pip %s", last.Args, version)
	}
	for img, want := range map[*Image]string{
		ref(FromEnvironment("", "pip").WithPythonVersion("3.12")):  "python_version goes with the Debian base only; remove it; from_env takes the Python of the environment",
		ref(FromEnvironment("", "no-such-package")):                `from_env: "no-such-package" is not installed for this Python`,
		ref(FromEnvironment("", "pip>=1")):                         `from_env: "pip>=1" is not the name of a package`,
		ref(FromEnvironment("/no/such/python", "pip")):             "from_env: the Python environment cannot be read: there is no Python on PATH",
		ref(FromEnvironment(fakePython(t, "exit 3"), "pip")):       "exit status 3",
		ref(FromEnvironment(fakePython(t, "echo broken"), "pip")):  "from_env: the Python environment cannot be read: invalid character",
		ref(FromEnvironment(fakePython(t, environmentA), "local")): `from_env: "local" was not installed from an index`,
	} {
		if _, err := img.Plan(at.Source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

const environmentA = `echo '{"python": "3.12", "packages": {"local": {"version": "1", "url": "{}"}}}'`

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

// TestTensorFlow has the parent's rule as far as it depends on the machine: the environment variable, and what is
// installed here.
func TestTensorFlow(t *testing.T) {
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, "train.py"), "")
	parent := func(c DockerConfig) llb.Base {
		t.Helper()
		plan, err := TensorFlow(c).Plan(placeOf(dir).Source)
		if err != nil {
			t.Fatal(err)
		}
		return plan.Image.Base
	}
	t.Setenv("KAGGLE_DOCKER_IMAGE", "gcr.io/kaggle-images/python:v100")
	if b := parent(DockerConfig{EntryPoint: "train.py"}); b.Ref != "gcr.io/kaggle-images/python:v100" {
		t.Errorf("Kaggle's: %s", b.Ref)
	}
	if b := parent(DockerConfig{ParentImage: "busybox"}); b.Ref != "docker.io/library/busybox:latest" {
		t.Errorf("named: %s", b.Ref)
	}
	t.Setenv("KAGGLE_DOCKER_IMAGE", "")
	bin := filepath.Dir(fakePython(t, `echo '{"python": "3.11", "packages": {"tensorflow": {"version": "2.18.0", "url": ""}}}'`))
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	if b := parent(DockerConfig{GPU: true}); b.Ref != "docker.io/tensorflow/tensorflow:2.18.0-gpu" || b.Fallback == "" {
		t.Errorf("local: %+v", b)
	}
	_, err := TensorFlow(DockerConfig{ImageBuildBucket: "b", EntryPoint: "nb.ipynb", Image: "UPPER:tag"}).Plan(placeOf(dir).Source)
	for _, want := range []string{"image_build_bucket", "does not end in .py", `"UPPER:tag" is not an image reference`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	plan, err := TensorFlow(DockerConfig{ParentImage: "busybox", Image: "gcr.io/p/x"}).Plan(placeOf(dir).Source)
	if err != nil || plan.Tag != "gcr.io/p/x" || len(plan.CacheFrom) != 1 || plan.CacheFrom[0] != "gcr.io/p/x" {
		t.Errorf("%+v, %v", plan, err)
	}
}

// TestDockerfileStart builds what the Dockerfile says, and refuses everything on top of it, by name.
func TestDockerfileStart(t *testing.T) {
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, "docker/Dockerfile"), "ARG V\nFROM busybox:$V AS one\nRUN true\nFROM one\nRUN false\n")
	img := Dockerfile("docker/Dockerfile", DockerfileOptions{Context: ".", Target: "one", Args: map[string]string{"V": "1"}})
	id := identify(t, img, placeOf(dir))
	if other := identify(t, Dockerfile("docker/Dockerfile", DockerfileOptions{Context: ".", Args: map[string]string{"V": "1"}}), placeOf(dir)); other == id {
		t.Error("the target changes nothing")
	}
	plan, err := img.WithName("x").WithPlatforms("linux/arm64").Plan(placeOf(dir).Source)
	if err != nil || plan.Tag != "x" || len(plan.Platforms) != 1 || plan.Build == nil {
		t.Errorf("%+v, %v", plan, err)
	}
	plan, err = img.WithSecrets(Secret{ID: "token"}).Plan(placeOf(dir).Source)
	if err != nil || len(plan.Secrets) != 1 || plan.Secrets[0].ID != "token" {
		t.Errorf("secrets: %+v, %v", plan, err)
	}
	err = img.WithAptPackages("git").WithCommands("x").WithEntrypoint("y").WithCUDA("12.4", "").Validate(dir)
	for _, want := range []string{"WithAptPackages adds to an image that is a Dockerfile; write it into the Dockerfile", "WithCommands adds", "WithEntrypoint adds", "WithCUDA adds"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	if err := Dockerfile("docker", DockerfileOptions{}).Validate(dir); err == nil || !strings.Contains(err.Error(), `"docker" is a folder; name the Dockerfile in it`) {
		t.Error(err)
	}
}

// TestSpecsInACircle ends.
func TestSpecsInACircle(t *testing.T) {
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, "a.yaml"), "base_image: ./b.yaml\n")
	writeTo(t, filepath.Join(dir, "b.yaml"), "base_image: ./a.yaml\n")
	if err := FromSpecFile("a.yaml").Validate(dir); err == nil || !strings.Contains(err.Error(), "is based on itself") {
		t.Error(err)
	}
}
