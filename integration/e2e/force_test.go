//go:build integration

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestForceOfSpecs: --force is the caller's, so it holds for a spec on top of another, a nested one and one with layers
// added, as for any other.
func TestForceOfSpecs(t *testing.T) {
	e := engineNamed(t, "root").fresh(t)
	const base = "base_image: busybox\ncommands: [echo base > /base]\n"
	for name, text := range map[string]string{
		"plain":      base,
		"on-top":     "base_image: ./base.yaml\nlayers: [{run: cat /base}, {env: {A: b}}]\n",
		"nested":     "base_image: {base_image: ./base.yaml, commands: [echo nested]}\nlayers: [{workdir: /srv}]\n",
		"named-only": "base_image: ./base.yaml\nname: named-only\nregistry: " + shared.env.Registry.Ref("force-specs") + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			spec := filepath.Join(files(t, "base.yaml", base, "image.yaml", text), "image.yaml")
			args := []string{"build", "--progress", "plain", "--push"}
			if name != "named-only" { // its tag is made of its identity
				args = append(args, "-t", shared.env.Registry.Ref("force-specs/"+name))
			}
			e.watch(t, true, append(args, spec)...).withBuilder(t, "the first build")
			e.watch(t, false, append(args, spec)...).withoutBuilder(t, "the second build")
			e.watch(t, false, append(args, "--force", spec)...).withBuilder(t, "--force")
			e.watch(t, false, append(args, spec)...).withoutBuilder(t, "the build after that")
		})
	}
}

// TestCloudBuildComesLater: a spec that asks for it is refused in words, before anybody is asked to build.
func TestCloudBuildComesLater(t *testing.T) {
	e := engineNamed(t, "root").fresh(t)
	for text, want := range map[string]string{
		"base_image: busybox\nbuilder: cloudbuild\n":                              "the builder cloudbuild (asked for by image.yaml) cannot be used: it comes with a later version",
		"tensorflow_cloud: {parent_image: busybox, image_build_bucket: bucket}\n": "building with Google Cloud Build (image_build_bucket) is not supported yet",
	} {
		dir := files(t, "image.yaml", text)
		cmd := e.command(t, "build", "--progress", "plain", "image.yaml")
		cmd.Dir = dir
		if o := end(t, cmd); o.code != 2 || !strings.Contains(o.stderr, want) || exists(e.root()) {
			t.Errorf("exit code %d, want 2 and %q:\n%s", o.code, want, o.stderr)
		}
	}
}
