package spec

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/reference"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
)

// planOf loads a spec whose folder has the files.
func planOf(t *testing.T, text string, files map[string]string) (*llb.Plan, error) {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		writeTo(t, filepath.Join(dir, name), data)
	}
	src, err := source.New("image.yaml", dir, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Load(src)
}

// argsOf are the arguments of all steps that run something, one line per step.
func argsOf(plan *llb.Plan) string {
	var out []string
	for _, s := range plan.Image.Steps {
		if e, ok := s.(llb.Exec); ok {
			out = append(out, strings.Join(e.Args, " "))
		}
	}
	return strings.Join(out, "\n")
}

const scriptText = "# /// script\n# requires-python = \">=3.11\"\n# dependencies = [\"rich\"]\n%s# ///\nprint(1)\n"

// TestReviewHeaderBaseIsUsed: [tool.ibuild] takes base_image, so the image has to start from it, or the key
// has to be refused.
func TestReviewHeaderBaseIsUsed(t *testing.T) {
	text := strings.Replace(scriptText, "%s", "# [tool.ibuild]\n# base_image = \"registry.example/python:3.12\"\n", 1)
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, "run.py"), text)
	plan, err := LoadScript(read(t, filepath.Join(dir, "run.py")))
	if err == nil && plan.Image.Base.Ref != "registry.example/python:3.12" {
		t.Errorf("base_image is read and ignored: the image starts from %s", plan.Image.Base.Ref)
	}
}

// TestReviewNamedScriptsSettingsCount: UVScript says that [tool.ibuild] adds to the image.
func TestReviewNamedScriptsSettingsCount(t *testing.T) {
	text := strings.Replace(scriptText, "%s", "# [tool.ibuild]\n# apt-packages = [\"libgomp1\"]\n", 1)
	plan, err := planOf(t, "uv_script: run.py\n", map[string]string{"run.py": text})
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Warnings) == 0 && !strings.Contains(argsOf(plan), "libgomp1") {
		t.Error("[tool.ibuild] of a script that is named by uv_script is ignored without a word")
	}
}

// TestReviewLinkedNamedScript names a script by a link to a file in another folder of the spec's folder.
func TestReviewLinkedNamedScript(t *testing.T) {
	dir := t.TempDir()
	text := strings.Replace(scriptText, "%s", "", 1)
	writeTo(t, filepath.Join(dir, "code/real.py"), text)
	if err := os.Symlink("code/real.py", filepath.Join(dir, "run.py")); err != nil {
		t.Fatal(err)
	}
	plan, err := UVScript("run.py").Plan(source.Source{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Image.CheckSources(); err != nil {
		t.Error(err)
	}
}

// TestReviewScriptsKeepTheirOwnSource: the file that is copied has to be the one whose header was read.
func TestReviewScriptsKeepTheirOwnSource(t *testing.T) {
	dir := t.TempDir()
	text := strings.Replace(scriptText, "%s", "", 1)
	writeTo(t, filepath.Join(dir, "code/real.py"), text)
	writeTo(t, filepath.Join(dir, "code/run.py"), "print('another script')\n")
	if err := os.Symlink("code/real.py", filepath.Join(dir, "run.py")); err != nil {
		t.Fatal(err)
	}
	plan, err := UVScript("run.py").Plan(source.Source{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range copies(plan) {
		if filepath.Base(c.Src) != "real.py" {
			t.Errorf("the image gets %s of %s", c.Src, plan.Image.Locals[c.Local].Dir)
		}
	}
}

// TestReviewParentsSecretsStayApart: both specs have a pip_secret_mounts, each with a file of its own.
func TestReviewParentsSecretsStayApart(t *testing.T) {
	plan, err := planOf(t, "base_image: ./base.yaml\npackages: [b]\npip_secret_mounts: [[child.txt, /run/child]]\n", map[string]string{
		"base.yaml": "packages: [a]\npip_secret_mounts: [[parent.txt, /run/parent]]\n", "parent.txt": "p", "child.txt": "c"})
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, s := range plan.Secrets {
		files = append(files, filepath.Base(s.File))
	}
	slices.Sort(files)
	if !slices.Equal(files, []string{"child.txt", "parent.txt"}) {
		t.Errorf("the steps get the secrets %q: the child's step is given the parent's file", files)
	}
}

// TestReviewParentsGPUIsNotTheChilds: the parent's layer 1 needs the wheels of CUDA, the child's does not.
func TestReviewParentsGPUIsNotTheChilds(t *testing.T) {
	parent := DebianBase("3.12").WithCUDA("12.4", "9").WithPipPackages(PipOptions{}, "jax==0.4.38")
	plan, err := FromSpec(parent).WithPipPackages(PipOptions{}, "rich").Plan(source.Source{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(argsOf(plan), "\n") {
		if strings.Contains(line, "rich") && strings.Contains(line, "jax") {
			t.Errorf("the child's step is %s", line)
		}
	}
}

// TestReviewParentsToolsAreUsed: the parent's own helper image makes the parent's steps.
func TestReviewParentsToolsAreUsed(t *testing.T) {
	plan, err := planOf(t, "base_image: ./base.yaml\n", map[string]string{
		"base.yaml": "packages: [a]\nbuilder_config: {uv_image: registry.example/uv:1}\n"})
	if err != nil {
		t.Fatal(err)
	}
	if plan.Image.Tools[llb.UVImage] == "" && len(plan.Warnings) == 0 {
		t.Error("builder_config of the spec below is ignored without a word")
	}
}

// TestReviewParentsRuntimePackagesStay: a child that adds some must not take the parent's away.
func TestReviewParentsRuntimePackagesStay(t *testing.T) {
	parent := DebianBase("3.12").WithRuntimePackages("attrs")
	plan, err := FromSpec(parent).WithRuntimePackages("rich").Plan(source.Source{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	last := ""
	for _, s := range plan.Image.Steps {
		if e, ok := s.(llb.Env); ok && e.Key == RuntimeVariable {
			last = e.Value
		}
	}
	if !strings.Contains(last, "attrs") || !strings.Contains(last, "rich") {
		t.Errorf("%s is %q", RuntimeVariable, last)
	}
}

type askedFor struct{ platforms []ocispecs.Platform }

func (a *askedFor) Find(_ context.Context, _ reference.Named, list []ocispecs.Platform) (bool, bool, string) {
	a.platforms = list
	return true, true, ""
}

// TestReviewExistsAsksForTheParentsPlatforms: the image is made for the platforms of the spec below.
func TestReviewExistsAsksForTheParentsPlatforms(t *testing.T) {
	parent := DebianBase("3.12").WithPlatforms("linux/amd64", "linux/arm64")
	img := FromSpec(parent).WithName("x").WithTag("v1")
	at := placeOf(t.TempDir())
	plan, err := img.Plan(at.Source)
	if err != nil {
		t.Fatal(err)
	}
	var a askedFor
	img.Exists(t.Context(), at, &a)
	if len(plan.Platforms) != len(a.platforms) {
		t.Errorf("the image has %d platforms, and %d are looked for", len(plan.Platforms), len(a.platforms))
	}
}

// TestReviewURIOfDockerConfig: Image of a DockerConfig is the image's name.
func TestReviewURIOfDockerConfig(t *testing.T) {
	img := TensorFlow(DockerConfig{Image: "registry.example/me/train:v1", ParentImage: "tensorflow/tensorflow:2.16.1"})
	uri, err := img.URI(t.Context(), placeOf(t.TempDir()))
	if err != nil || uri != "registry.example/me/train:v1" {
		t.Errorf("%q, %v", uri, err)
	}
}

// TestReviewScratchKeepsCertificates: ca_certificates with base_image: scratch are neither added nor refused.
func TestReviewScratchKeepsCertificates(t *testing.T) {
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, "ca.pem"), testCA(t))
	plan, err := From("scratch").WithCACertificates("ca.pem").Plan(source.Source{Dir: dir})
	if err == nil && len(plan.Image.Steps) == 0 {
		t.Error("ca_certificates is ignored without a word")
	}
}

// TestReviewDockerfileRefusesWhatItIgnores: what a Dockerfile cannot have is refused, not ignored.
func TestReviewDockerfileRefusesWhatItIgnores(t *testing.T) {
	for _, more := range []string{"accelerator: l4", "standard_ignores: false", "builder_config: {uv_image: registry.example/uv:1}"} {
		plan, err := planOf(t, "dockerfile: Dockerfile\n"+more+"\n", map[string]string{"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
		if err == nil && len(plan.Warnings) == 0 && plan.Attrs["label:"+AcceleratorLabel] == "" {
			t.Errorf("%s has no effect on a Dockerfile, and nobody says so", more)
		}
	}
}

// TestReviewDockerfileMethodNames: the error names the method that cannot be used (reference, section 1).
func TestReviewDockerfileMethodNames(t *testing.T) {
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, "Dockerfile"), "FROM scratch\n")
	err := Dockerfile("Dockerfile", DockerfileOptions{}).WithPipPackages(PipOptions{}, "rich").Validate(dir)
	if err == nil || !strings.Contains(err.Error(), "WithPipPackages") {
		t.Errorf("%v", err)
	}
}
