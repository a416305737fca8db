package launch

import (
	"github.com/ibuild/ibuild/frontends/spec"
	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/runner/gke"
)

// BaseKinds are the kinds of accelerators that there are base images for.
func BaseKinds() []gke.Kind { return []gke.Kind{gke.CPU, gke.GPU, gke.TPU} }

// BaseSpec is the base image of prebuilt mode for a kind of accelerator: the Debian base with a Python ("" is
// DefaultPython), uv, and the kind's variant of JAX. Nothing in it runs a program of the image's own platform, so it is
// made for all platforms without emulation.
//
// It runs as root, so that the pod can install into the environment that is there: another user would have to install
// beside it, and get JAX and what it needs a second time.
func BaseSpec(kind gke.Kind, py string) spec.Image {
	if py == "" {
		py = DefaultPython
	}
	extra, options := "", spec.PipOptions{}
	switch kind {
	case gke.GPU:
		extra = "cuda12"
	case gke.TPU:
		extra, options.ExtraArgs = "tpu", []string{"--find-links", libtpuOfJAX}
	}
	jax := withExtra(python.Requirement{Name: "jax"}, extra)
	return spec.DebianBase(py).WithPipPackages(options, "uv=="+llb.UVVersion(), jax).WithPlatforms(BasePlatforms(kind)...).WithUser("root")
}

// BasePlatforms are the platforms that the machines of a kind have: GB200 and GB300 are GPUs of arm64 machines.
func BasePlatforms(kind gke.Kind) []string {
	if kind == gke.GPU {
		return []string{"linux/amd64", "linux/arm64"}
	}
	return []string{"linux/amd64"}
}
