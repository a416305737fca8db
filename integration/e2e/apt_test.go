//go:build integration

package e2e

import (
	"testing"

	"github.com/ibuild/ibuild/integration/imagetest"
)

// TestAptLeavesNothing: what apt has downloaded, package lists and packages, is in no image: there is what the base
// has, and no more.
func TestAptLeavesNothing(t *testing.T) {
	dir := files(t, "image.yaml", "python_version: \"3.11\"\napt_packages: [jq]\n")
	look := func(command string) imagetest.RunOptions {
		return imagetest.RunOptions{User: "0", Entrypoint: []string{"sh", "-c", "find /var/lib/apt/lists /var/cache/apt -type f | sort" + command}}
	}
	before, err := imagetest.Run(t.Context(), pull(t, shared.env.Registry.Ref("library/"+python), amd64), look(""))
	if err != nil || before.ExitCode != 0 {
		t.Fatalf("%+v, %v", before, err)
	}
	for _, e := range rootAndRemote(t) {
		t.Run(e.name, func(t *testing.T) {
			prints(t, pull(t, e.push(t, "apt/"+e.name, dir), amd64), look("; jq -n 1"), before.Stdout+"1\n")
		})
	}
}
