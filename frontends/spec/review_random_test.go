package spec

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/ibuild/ibuild/frontends/source"
)

// TestReviewRandomImages writes images of random layers with random fields left out, and reads them again.
func TestReviewRandomImages(t *testing.T) {
	dir := checkout(t)
	random := rand.New(rand.NewPCG(3, 4))
	tried := 0
	for range 600 {
		img := DebianBase("3.12").WithSecrets(Secret{ID: "token", Env: "TOKEN", Optional: true})
		if random.IntN(2) == 0 {
			img = From("registry.example/base:1").WithSecrets(Secret{ID: "token", File: "/run/token"})
		}
		for range 1 + random.IntN(3) {
			all := oneOfEach()
			pick := all[random.IntN(len(all))]
			layer := reflect.New(reflect.TypeOf(pick)).Elem()
			layer.Set(reflect.ValueOf(pick))
			leaveOut(layer, random)
			img = img.With(layer.Interface().(Layer))
		}
		src := source.Source{Dir: dir}
		want, err := img.Plan(src)
		if err != nil {
			continue
		}
		tried++
		data, err := img.YAML()
		if err != nil {
			t.Fatal(err)
		}
		src.Data = data
		got, err := Load(src)
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if sameSteps(t, want, got); t.Failed() {
			t.Fatalf("%s", data)
		}
	}
	if tried < 50 {
		t.Errorf("only %d images could be planned", tried)
	}
}

// leaveOut clears some fields of a struct.
func leaveOut(v reflect.Value, random *rand.Rand) {
	for i := range v.NumField() {
		f := v.Field(i)
		switch {
		case !v.Type().Field(i).IsExported():
		case v.Type().Field(i).Anonymous:
			leaveOut(f, random)
		case random.IntN(2) == 0:
			f.SetZero()
		}
	}
}

// TestReviewDockerfileSecrets: a Dockerfile mounts secrets by itself, so a spec that starts from one has to be able
// to say where they come from.
func TestReviewDockerfileSecrets(t *testing.T) {
	plan, err := planOf(t, "dockerfile: Dockerfile\nsecrets: [{id: token, from: token.txt}]\n", map[string]string{
		"Dockerfile": "FROM registry.example/base:1\nRUN --mount=type=secret,id=token cat /run/secrets/token\n", "token.txt": "s"})
	if err != nil {
		t.Error(err)
	} else if len(plan.Secrets) == 0 {
		t.Error("the plan needs no secret")
	}
}

// TestReviewCUDAOfOtherPythonLayers: torch of a uv project decides what CUDA has to be, as one of a pip layer does.
func TestReviewCUDAOfOtherPythonLayers(t *testing.T) {
	files := map[string]string{
		"p/pyproject.toml": "[project]\nname = \"p\"\nversion = \"1\"\nrequires-python = \">=3.11\"\ndependencies = [\"torch==1.13.1\"]\n",
		"p/uv.lock": "version = 1\nrevision = 3\nrequires-python = \">=3.11\"\n\n[[package]]\nname = \"p\"\nversion = \"1\"\nsource = { virtual = \".\" }\ndependencies = [{ name = \"torch\" }]\n\n" +
			"[package.metadata]\nrequires-dist = [{ name = \"torch\", specifier = \"==1.13.1\" }]\n\n[[package]]\nname = \"torch\"\nversion = \"1.13.1\"\nsource = { registry = \"https://pypi.org/simple\" }\n",
	}
	pip, pipErr := planOf(t, "python_version: '3.11'\ncuda: '12.8'\npackages: ['torch==1.13.1']\n", files)
	plan, err := planOf(t, "python_version: '3.11'\ncuda: '12.8'\nlayers: [{uv_project: p}]\n", files)
	if pipErr == nil && len(pip.Warnings) == 0 {
		t.Fatal("the pair is fine")
	}
	if err == nil && len(plan.Warnings) == 0 {
		t.Errorf("about the same torch in a pip layer something is said (%v), here nothing", pipErr)
	}
}
