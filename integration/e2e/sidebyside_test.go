//go:build integration

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestSideBySide builds OS packages and wheels side by side with every engine, and one after the other as a
// spec whose Python step may compile: the files are the same.
func TestSideBySide(t *testing.T) {
	spec := func(wheels string) string {
		return `python_version: "3.11"
layers:
  - apt: [jq]
  - pip: {packages: [tabulate==0.9.0], wheels_only: ` + wheels + `}
entrypoint: [sh, -c, "echo '[1]' | jq -c . && python -c 'import tabulate; print(tabulate.__version__)'"]
`
	}
	dir := files(t, "together/image.yaml", spec("true"), "apart/image.yaml", spec("false"))
	all := agreement{filesOnly: true}
	enginesAtOnce(t, engines(t), func(t *testing.T, e engine) {
		for _, how := range []string{"apart", "together"} {
			source := filepath.Join(dir, how)
			if dot := e.ibuild(t, "llb", "--format", "dot", source).stdout; strings.Contains(dot, "join OS packages and wheels") != (how == "together") {
				t.Errorf("%s: the graph is\n%s", how, dot)
			}
			ref := shared.env.Registry.Ref("sidebyside/" + how + "/" + e.name)
			e.ibuild(t, "build", "--progress", "plain", "--push", "-t", ref, source)
			img := pull(t, ref, amd64)
			prints(t, img, noOptions, "[1]\n0.9.0\n")
			all.add(t, img, amd64, func() {})
		}
	})
}
