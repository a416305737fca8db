package spec_test

import (
	"fmt"

	"github.com/ibuild/ibuild/frontends/spec"
)

// What a platform wants in every image comes from its own index, with a password that is in no image.
func ExampleImage_WithPlatformOptions() {
	img := spec.DebianBase("3.12").
		WithPlatformPackages("platform-sdk>=2").
		WithPlatformOptions(spec.PipOptions{
			IndexURL: "corp=https://pypi.example.com/simple",
			Secrets:  []spec.Secret{{ID: "corp/token", Index: "corp", Username: "reader"}},
		})
	text, err := img.YAML()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s", text)
	// Output:
	// python_version: "3.12"
	// platform_packages:
	//   packages: [platform-sdk>=2]
	//   index_url: corp=https://pypi.example.com/simple
	//   secrets:
	//     - id: corp/token
	//       index: corp
	//       username: reader
}
