package spec

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/llb"
)

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
