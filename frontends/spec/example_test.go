package spec_test

import (
	"fmt"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec"
)

func ExampleImage() {
	base := spec.DebianBase("3.12").WithAptPackages("libgomp1")
	// Each method returns a new image: both of these start from the same base.
	train := base.WithPipPackages(spec.PipOptions{WheelsOnly: true}, "xgboost>=2").WithName("train")
	serve := base.WithPipPackages(spec.PipOptions{}, "flask").WithEntrypoint("flask", "run").WithName("serve")

	for _, img := range []spec.Image{train, serve} {
		plan, err := img.Plan(source.Source{Dir: "."})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(plan.Tag, len(plan.Image.Steps))
	}
	// Output:
	// train 8
	// serve 9
}

func ExampleLoad() {
	src, err := source.New("image.yaml", ".", []byte("pakages: [numpy]\npython_version: 3.9\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = spec.Load(src)
	fmt.Println(err)
	// Output:
	// image.yaml:1:1: unknown key "pakages"; did you mean "packages"?
	// image.yaml:2:17: Python "3.9" is not supported; supported are 3.14, 3.13, 3.12, 3.11, 3.10
}

func ExampleFromSpec() {
	team := spec.DebianBase("3.12").WithPlatformPackages("flytekit").WithEnv(map[string]string{"TEAM": "vision"})
	// The steps of both are one graph: what the team's images share is built once.
	img := spec.FromSpec(team).WithPipPackages(spec.PipOptions{}, "torch==2.5.1").WithName("train")
	text, err := img.YAML()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(text))
	// Output:
	// base_image:
	//   python_version: "3.12"
	//   platform_packages: [flytekit]
	//   layers:
	//     - env:
	//         TEAM: vision
	// name: train
	// layers:
	//   - pip: [torch==2.5.1]
}

func ExampleImage_Clone() {
	img := spec.From("ghcr.io/me/serve:v3").WithCommands("make -C /opt/model").WithName("serve")
	gpu := img.Clone(spec.Changes{Name: "serve-gpu", Base: "ghcr.io/me/serve-cuda:v3", Layer: spec.Env{Vars: map[string]string{"DEVICE": "cuda"}}})
	for _, i := range []spec.Image{img, gpu} {
		plan, err := i.Plan(source.Source{Dir: "."})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(plan.Tag, plan.Image.Base.Ref, len(plan.Image.Steps))
	}
	// Output:
	// serve ghcr.io/me/serve:v3 1
	// serve-gpu ghcr.io/me/serve-cuda:v3 2
}

func ExampleImage_Validate() {
	img := spec.Dockerfile("Dockerfile", spec.DockerfileOptions{}).WithAptPackages("git").WithTag("v 1").WithName("x")
	fmt.Println(img.Validate("testdata"))
	// Output:
	// layer 1: WithAptPackages adds to an image that is a Dockerfile; write it into the Dockerfile, or use the built image as base_image of another spec
	// there is no "Dockerfile"
	// "v 1" is not a tag; write up to 128 letters, digits and _ . -, e.g. v1.2
}
