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
