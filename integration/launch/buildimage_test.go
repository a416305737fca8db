//go:build integration

package launch

import (
	"strings"
	"testing"

	"github.com/ibuild/ibuild/integration/imagetest"
)

// TestBuildImage publishes two images of a Dockerfile at once, in one in-process engine.
func TestBuildImage(t *testing.T) {
	file := write(t, "base.Dockerfile", "FROM "+busybox+"\nARG CATEGORY\nRUN sleep 1 && echo \"for $CATEGORY\" >/made\nCMD [\"cat\", \"/made\"]\n")
	repo := shared.env.Registry.Ref("bases/own")
	o := ibuild(t, "build-image", "--repo", repo, "--category", "cpu", "--category", "tpu", "--dockerfile", file, "--tag", "t1", "--yes")
	o.expect(t, 0, "export IBUILD_BASE_IMAGE_REPO="+repo)
	for _, kind := range []string{"cpu", "tpu"} {
		if !strings.Contains(o.out, repo+"/base-"+kind+":t1@sha256:") {
			t.Errorf("no word of %s:\n%s", kind, o.out)
		}
		img, err := imagetest.Pull(t.Context(), repo+"/base-"+kind+":t1", "linux/amd64")
		if err != nil {
			t.Fatal(err)
		}
		res, err := imagetest.Run(t.Context(), img, imagetest.RunOptions{})
		if err != nil || res.Stdout != "for "+kind+"\n" {
			t.Errorf("%s: %+v, %v", kind, res, err)
		}
	}
	ibuild(t, "build-image", "--repo", repo, "--category", "cpu", "--dockerfile", file).expect(t, 2, "nobody is there to be asked", "--yes")
	ibuild(t, "build-image", "--yes").expect(t, 2, "it is not said where the images go")
	bad := write(t, "bad.Dockerfile", "FROM "+busybox+"\nARG CATEGORY\nRUN test $CATEGORY = tpu\n")
	o = ibuild(t, "build-image", "--repo", repo, "--category", "cpu", "--category", "tpu", "--dockerfile", bad, "--tag", "t2", "--yes")
	o.expect(t, 1, "base-cpu:t2")
	if !strings.Contains(o.out, "base-tpu:t2@sha256:") || strings.Contains(o.out, "export ") {
		t.Errorf("one fails, and the other is not published:\n%s", o.out)
	}
}
