package cuda

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// show writes findings as a table has them.
func show(findings []Finding) []string {
	var out []string
	for _, f := range findings {
		s := "warning"
		if f.Severity == Error {
			s = "error"
		}
		where := string(f.Field)
		if f.Field == FieldPackage {
			where += fmt.Sprintf("[%d]", f.Package)
		}
		text := s + " " + where + ": " + f.Msg
		if f.Hint != "" {
			text += "; " + f.Hint
		}
		out = append(out, text)
	}
	return out
}

// wheelEnv is the environment of every image that gets CUDA by wheels.
func wheelEnv(more ...string) map[string]string {
	env := map[string]string{"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
	for i := 0; i < len(more); i += 2 {
		env[more[i]] = more[i+1]
	}
	return env
}

const (
	driver11 = "450.80.02"
	driver12 = "525.60.13"
	driver13 = "580.65.06"
)

func index(backend string) []string { return []string{"https://download.pytorch.org/whl/" + backend} }

func TestWheels(t *testing.T) {
	for _, test := range []struct {
		name     string
		wish     Wish
		want     Choice
		findings []string
	}{
		{"nothing is asked for", Wish{Requirements: []string{"torch==2.4.0"}}, Choice{}, nil},
		{"torch from its index", Wish{CUDA: "12.4", CuDNN: "9", Requirements: []string{"numpy", "torch==2.4.0"}, Python: "3.12"},
			Choice{CUDA: "12.4", CuDNN: "9.1", Indexes: index("cu124"), TorchBackend: "cu124", Env: wheelEnv(), MinDriver: driver12}, nil},
		{"torch whose PyPI wheel has that CUDA", Wish{CUDA: "12.4", Requirements: []string{"torch==2.5.1"}},
			Choice{CUDA: "12.4", CuDNN: "9.1", Env: wheelEnv(), MinDriver: driver12}, nil},
		{"PyPI for a range too", Wish{CUDA: "12.8", Requirements: []string{"torch>=2.8,<2.11"}},
			Choice{CUDA: "12.8", CuDNN: "9.10", Env: wheelEnv(), MinDriver: driver12}, nil},
		{"not for a range with another default in it", Wish{CUDA: "12.8", Requirements: []string{"torch>=2.7,<2.11"}},
			Choice{CUDA: "12.8", CuDNN: "9.10", Indexes: index("cu128"), TorchBackend: "cu128", Env: wheelEnv(), MinDriver: driver12}, nil},
		{"PyPI has no CUDA for arm64 before 2.11", Wish{CUDA: "12.8", Requirements: []string{"torch==2.9.1"}, Platforms: []string{"linux/amd64", "linux/arm64"}},
			Choice{CUDA: "12.8", CuDNN: "9.10", Indexes: index("cu128"), TorchBackend: "cu128", Env: wheelEnv(), MinDriver: driver12}, nil},
		{"torch without a pin", Wish{CUDA: "13.0", Requirements: []string{"torch"}},
			Choice{CUDA: "13.0", CuDNN: "9.24", Indexes: index("cu130"), TorchBackend: "cu130", Env: wheelEnv(), MinDriver: driver13}, nil},
		{"a major version: the newest torch that has one", Wish{CUDA: "12", Requirements: []string{"torch"}},
			Choice{CUDA: "12.6", CuDNN: "9.10", Indexes: index("cu126"), TorchBackend: "cu126", Env: wheelEnv(), MinDriver: driver12}, nil},
		{"a companion of torch", Wish{CUDA: "12.6", Requirements: []string{"torchvision==0.19.0"}},
			Choice{CUDA: "12.6", CuDNN: "9.10", Indexes: index("cu126"), TorchBackend: "cu126", Env: wheelEnv(), MinDriver: driver12}, nil},
		{"a major version: PyPI's", Wish{CUDA: "12", Requirements: []string{"torch==2.4.0"}},
			Choice{CUDA: "12.1", CuDNN: "9.1", Env: wheelEnv(), MinDriver: driver12}, nil},
		{"cudnn alone: PyPI's", Wish{CuDNN: "8", Requirements: []string{"torch==2.3.*"}},
			Choice{CUDA: "12.1", CuDNN: "8.9", Env: wheelEnv(), MinDriver: driver12}, nil},
		{"a local version that agrees", Wish{CUDA: "12.1", Requirements: []string{"torch==2.4.0+cu121"}},
			Choice{CUDA: "12.1", CuDNN: "9.1", Indexes: index("cu121"), TorchBackend: "cu121", Env: wheelEnv(), MinDriver: driver12}, nil},
		{"jax", Wish{CUDA: "12", Requirements: []string{"jax[k8s]>=0.4.30,<0.5 ; python_version<'3.14'"}},
			Choice{CUDA: "12.9", Additions: []Addition{{"jax[cuda12]>=0.4.30,<0.5 ; python_version<'3.14'", 0}}, Env: wheelEnv(), MinDriver: driver12}, nil},
		{"jax held to a minor version", Wish{CUDA: "12.4", CuDNN: "9.8", Requirements: []string{"jax==0.7.2"}},
			Choice{CUDA: "12.4", CuDNN: "9.8", Additions: []Addition{{"jax[cuda12]==0.7.2", 0},
				{"cuda-toolkit[cublas,cudart,cufft,cupti,curand,cusolver,cusparse,nvrtc,nvjitlink]==12.4.*", -1}, {"nvidia-cudnn-cu12==9.8.*", -1}},
				Env: wheelEnv(), MinDriver: driver12}, nil},
		{"jax that has its extra", Wish{CUDA: "13", Requirements: []string{"jax[cuda13]"}},
			Choice{CUDA: "13.5", Env: wheelEnv(), MinDriver: driver13}, nil},
		{"tensorflow", Wish{CUDA: "12.5", CuDNN: "9.3", Requirements: []string{"tensorflow==2.18.0"}, Python: "3.11"},
			Choice{CUDA: "12.5", CuDNN: "9.3", Additions: []Addition{{"tensorflow[and-cuda]==2.18.0", 0}}, Env: wheelEnv(), MinDriver: driver12}, nil},
		{"torch and tensorflow that have one in common", Wish{CUDA: "12", Requirements: []string{"torch==2.7.1", "tensorflow[and-cuda]==2.20.0"}},
			Choice{CUDA: "12.6", CuDNN: "9.5", Env: wheelEnv(), MinDriver: driver12}, nil},
		{"no framework", Wish{CUDA: "12.4.1", CuDNN: "9.1", Requirements: []string{"numpy"}, SitePackages: "/v/lib"},
			Choice{CUDA: "12.4", CuDNN: "9.1", Additions: []Addition{
				{"cuda-toolkit[cublas,cudart,cufft,cupti,curand,cusolver,cusparse,nvrtc,nvjitlink]==12.4.1.*", -1}, {"nvidia-cudnn-cu12==9.1.*", -1}},
				Env: wheelEnv("LD_LIBRARY_PATH", "/v/lib/nvidia/cublas/lib:/v/lib/nvidia/cuda_cupti/lib:/v/lib/nvidia/cuda_nvrtc/lib:/v/lib/nvidia/cuda_runtime/lib:"+
					"/v/lib/nvidia/cufft/lib:/v/lib/nvidia/curand/lib:/v/lib/nvidia/cusolver/lib:/v/lib/nvidia/cusparse/lib:/v/lib/nvidia/nvjitlink/lib:/v/lib/nvidia/cudnn/lib"),
				MinDriver: driver12}, nil},
		{"no framework, CUDA 13", Wish{CUDA: "13", SitePackages: "/v/lib/", Platforms: []string{"linux/arm64"}},
			Choice{CUDA: "13.5", Additions: []Addition{{"cuda-toolkit[cublas,cudart,cufft,cupti,curand,cusolver,cusparse,nvrtc,nvjitlink]==13.5.*", -1}},
				Env: wheelEnv("LD_LIBRARY_PATH", "/v/lib/nvidia/cu13/lib"), MinDriver: driver13}, nil},
		{"no framework, CUDA 11", Wish{CUDA: "11.8", CuDNN: "8"},
			Choice{CUDA: "11.8", CuDNN: "8", Additions: []Addition{{"cuda-toolkit[cublas,cudart,cufft,cupti,curand,cusolver,cusparse,nvrtc]==11.8.*", -1}, {"nvidia-cudnn-cu11==8.*", -1}},
				Env: wheelEnv(), MinDriver: driver11},
			[]string{"warning cuda: where the base installs wheels is not known, so the loader does not find the libraries of CUDA; set LD_LIBRARY_PATH in env"}},
		{"a base that says nothing of CUDA", Wish{CUDA: "12.4", Requirements: []string{"torch==2.5.0"}, Base: "python:3.12-slim"},
			Choice{CUDA: "12.4", CuDNN: "9.1", Env: wheelEnv(), MinDriver: driver12},
			[]string{`warning base_image: the tag of base_image "python:3.12-slim" names no CUDA, so wheels bring it; if the base has CUDA, remove cuda and cudnn`}},
		{"torch older than the table", Wish{CUDA: "11.7", Requirements: []string{"torch==1.13.1"}},
			Choice{CUDA: "11.7", Indexes: index("cu117"), TorchBackend: "cu117", Env: wheelEnv(), MinDriver: driver11},
			[]string{`warning packages[0]: which CUDA "torch==1.13.1" goes with is not known to ibuild, so cuda: "11.7" was not checked against it; known are torch 2.0 to 2.15`}},
		{"a release of which not all is known", Wish{CUDA: "13.0", Requirements: []string{"torch==2.15.0"}},
			Choice{CUDA: "13.0", Indexes: index("cu130"), TorchBackend: "cu130", Env: wheelEnv(), MinDriver: driver13},
			[]string{"warning packages[0]: whether torch==2.15.0 has wheels for CUDA 13.0 is not known to ibuild; known is CUDA 13.2"}},
		{"CUDA newer than the table", Wish{CUDA: "13.9", Requirements: []string{"jax"}},
			Choice{CUDA: "13.9", Additions: []Addition{{"jax[cuda13]", 0}, {"cuda-toolkit[cublas,cudart,cufft,cupti,curand,cusolver,cusparse,nvrtc,nvjitlink]==13.9.*", -1}},
				Env: wheelEnv(), MinDriver: driver13},
			[]string{`warning cuda: cuda: "13.9" is newer than all that are known to ibuild; the newest known is 13.5`}},
		{"torch for arm64 before 2.9", Wish{CUDA: "12.4", Requirements: []string{"torch==2.4.0"}, Platforms: []string{"linux/arm64"}},
			Choice{CUDA: "12.4", CuDNN: "9.1", Indexes: index("cu124"), TorchBackend: "cu124", Env: wheelEnv(), MinDriver: driver12},
			[]string{"warning packages[0]: wheels of torch==2.4.0 with CUDA for linux/arm64 are not known to ibuild; torch has them from 2.9 on"}},
		{"an open range for arm64 with a CUDA of before", Wish{CUDA: "12.4", Requirements: []string{"torch>=2.4"}, Platforms: []string{"linux/arm64"}},
			Choice{CUDA: "12.4", CuDNN: "9.1", Indexes: index("cu124"), TorchBackend: "cu124", Env: wheelEnv(), MinDriver: driver12},
			[]string{"warning packages[0]: wheels of torch>=2.4 with CUDA for linux/arm64 are not known to ibuild; torch has them from 2.9 on"}},
	} {
		t.Run(test.name, func(t *testing.T) { check(t, test.wish, test.want, test.findings) })
	}
}

func check(t *testing.T, wish Wish, want Choice, findings []string) {
	t.Helper()
	got, found := Choose(wish)
	if diff := cmp.Diff(findings, show(found)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBases(t *testing.T) {
	const nvidia, pytorch = "nvidia/cuda:12.4.1-cudnn-runtime-ubuntu22.04", "docker.io/pytorch/pytorch:2.4.0-cuda12.4-cudnn9-runtime@sha256:ab"
	for _, test := range []struct {
		name     string
		wish     Wish
		want     Choice
		findings []string
	}{
		{"versions agree", Wish{CUDA: "12.4", CuDNN: "9", Base: nvidia},
			Choice{CUDA: "12.4", CuDNN: "9", FromBase: true, MinDriver: driver12}, nil},
		{"other CUDA", Wish{CUDA: "12.1", Base: nvidia}, Choice{},
			[]string{`error cuda: cuda: "12.1", but base_image "` + nvidia + `" has CUDA 12.4; write cuda: "12.4", or take the base for CUDA 12.1`}},
		{"other patch release", Wish{CUDA: "12.4.0", Base: nvidia}, Choice{CUDA: "12.4", CuDNN: "9", FromBase: true, MinDriver: driver12},
			[]string{`warning cuda: cuda: "12.4.0", but base_image "` + nvidia + `" has CUDA 12.4.1`}},
		{"other cuDNN", Wish{CuDNN: "8", Base: nvidia}, Choice{},
			[]string{`error cudnn: cudnn: "8", but base_image "` + nvidia + `" has cuDNN 9; write cudnn: "9", or take another base`}},
		{"no cuDNN", Wish{CuDNN: "9", Base: "nvidia/cuda:12.4.1-runtime-ubuntu22.04"}, Choice{},
			[]string{`error cudnn: cudnn: "9", but the tag of base_image "nvidia/cuda:12.4.1-runtime-ubuntu22.04" names no cuDNN; take the base's tag with -cudnn- in it`}},
		{"torch takes the base's CUDA", Wish{CUDA: "12", Base: nvidia, Requirements: []string{"torch==2.4.0"}},
			Choice{CUDA: "12.4", CuDNN: "9.1", FromBase: true, Indexes: index("cu124"), TorchBackend: "cu124", MinDriver: driver12}, nil},
		{"torch has none for the base's", Wish{CUDA: "12", Base: "nvidia/cuda:12.2.2-cudnn8-devel-ubuntu22.04", Requirements: []string{"torch==2.2.0"}},
			Choice{CUDA: "12.2", CuDNN: "8.9", FromBase: true, MinDriver: driver12},
			[]string{`warning packages[0]: torch==2.2.0 has no wheels for CUDA 12.2 of base_image "nvidia/cuda:12.2.2-cudnn8-devel-ubuntu22.04"; those for CUDA 12.1 are taken, which bring their own CUDA`}},
		{"torch for another major version", Wish{CUDA: "13.0", Base: "nvcr.io/nvidia/cuda:13.0.2-cudnn-runtime-ubuntu24.04", Requirements: []string{"torch==2.4.0"}}, Choice{},
			[]string{`error packages[0]: torch==2.4.0 does not go with base_image "nvcr.io/nvidia/cuda:13.0.2-cudnn-runtime-ubuntu24.04", which has CUDA 13.0: its wheels are for CUDA 11.8, 12.1, 12.4; for CUDA 13.0 there is torch 2.9, 2.10, 2.11, 2.12, 2.13, 2.14`}},
		{"jax takes the base's CUDA", Wish{CUDA: "12.4", Base: nvidia, Requirements: []string{"jax==0.6.0"}},
			Choice{CUDA: "12.4", CuDNN: "9", FromBase: true, Additions: []Addition{{"jax[cuda12-local]==0.6.0", 0}}, MinDriver: driver12}, nil},
		{"jax that brings CUDA itself", Wish{CUDA: "12.4", Base: nvidia, Requirements: []string{"jax[cuda12]==0.6.0"}},
			Choice{CUDA: "12.4", CuDNN: "9", FromBase: true, MinDriver: driver12}, nil},
		{"jax with the other extra", Wish{CUDA: "12.4", Base: nvidia, Requirements: []string{"jax[cuda13]"}}, Choice{},
			[]string{`error packages[0]: the extra of jax[cuda13] is for CUDA 13, base_image "` + nvidia + `" has CUDA 12.4; remove the extra: ibuild adds the right one`}},
		{"jax and an old cuDNN", Wish{CUDA: "12.2", Base: "nvidia/cuda:12.2.2-cudnn8-runtime-ubuntu22.04", Requirements: []string{"jax==0.6.0"}}, Choice{},
			[]string{`error packages[0]: jax==0.6.0 is made for CUDA 12.1 and later, base_image "nvidia/cuda:12.2.2-cudnn8-runtime-ubuntu22.04" has CUDA 12.2 with cuDNN 8; for CUDA 12.2 there is jax 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.10, 0.11, 0.12`}},
		{"tensorflow as tested", Wish{CUDA: "12.3", Base: "nvidia/cuda:12.3.2-cudnn8-runtime-ubuntu22.04", Requirements: []string{"tensorflow==2.17.0"}},
			Choice{CUDA: "12.3", CuDNN: "8", FromBase: true, MinDriver: driver12}, nil},
		{"tensorflow not as tested", Wish{CUDA: "12.4", Base: nvidia, Requirements: []string{"tensorflow==2.18.0"}},
			Choice{CUDA: "12.4", CuDNN: "9", FromBase: true, MinDriver: driver12},
			[]string{`warning packages[0]: tensorflow==2.18.0 is made for CUDA 12.5, base_image "` + nvidia + `" has CUDA 12.4 with cuDNN 9; this pair is not tested`}},
		{"tensorflow and no cuDNN", Wish{CUDA: "12.5", Base: "nvidia/cuda:12.5.1-runtime-ubuntu22.04", Requirements: []string{"tensorflow==2.18.0"}},
			Choice{CUDA: "12.5", FromBase: true, MinDriver: driver12},
			[]string{`warning packages[0]: tensorflow==2.18.0 needs cuDNN, and the tag of base_image "nvidia/cuda:12.5.1-runtime-ubuntu22.04" names none; take the base's tag with -cudnn- in it`}},
		{"tensorflow for another major version", Wish{CUDA: "11.8", Base: "nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04", Requirements: []string{"tensorflow==2.18.0"}}, Choice{},
			[]string{`error packages[0]: tensorflow==2.18.0 is made for CUDA 12.5, base_image "nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04" has CUDA 11.8 with cuDNN 8`}},
		{"torch's own base", Wish{CUDA: "12.4", CuDNN: "9", Base: pytorch, Requirements: []string{"torch>=2.4"}},
			Choice{CUDA: "12.4", CuDNN: "9", FromBase: true, MinDriver: driver12}, nil},
		{"torch's own base, other torch", Wish{CUDA: "12.4", Base: pytorch, Requirements: []string{"torch==2.5.0"}},
			Choice{CUDA: "12.4", CuDNN: "9", FromBase: true, MinDriver: driver12},
			[]string{`warning packages[0]: "torch==2.5.0" replaces the torch 2.4.0 of base_image "` + pytorch + `"; take the base that has this version, or remove the requirement`}},
		{"tensorflow's own base", Wish{CUDA: "12.2", CuDNN: "8.9", Base: "tensorflow/tensorflow:2.15.0-gpu"},
			Choice{CUDA: "12.2", CuDNN: "8.9", FromBase: true, MinDriver: driver12}, nil},
		{"NVIDIA's frameworks", Wish{CUDA: "12.4", Base: "nvcr.io/nvidia/pytorch:24.05-py3"}, Choice{FromBase: true},
			[]string{`warning base_image: the tag of "nvcr.io/nvidia/pytorch:24.05-py3" does not tell its CUDA, so cuda: "12.4" was not checked`}},
	} {
		t.Run(test.name, func(t *testing.T) { check(t, test.wish, test.want, test.findings) })
	}
}

func FuzzChoose(f *testing.F) {
	f.Add("12.4", "9", "torch==2.4.0\njax[cuda12]", "3.12", "linux/arm64", "", "/s")
	f.Add("13", "9.1.0.70", "tensorflow~=2.18\ntorch==2.4.0+cpu", "", "", "nvidia/cuda:12.4.1-cudnn-runtime", "")
	f.Add("12,4", "x", "torch @ https://h/x ; os_name=='a'", "3", "linux/riscv64", "a/pytorch:2.4.0-cuda12.4-cudnn9", "")
	f.Add("", "8", "jax>=0.4.26,!=0.5.*\ntf-nightly", "3.9.1", "", "tensorflow/tensorflow:2.15.0-gpu@sha256:0", "")
	f.Add("14.1.2.3", "", "torchvision", "", "linux/amd64", "python:3", "")
	f.Fuzz(func(t *testing.T, cuda, cudnn, requirements, python, platform, base, site string) {
		w := Wish{CUDA: cuda, CuDNN: cudnn, Requirements: strings.Split(requirements, "\n"), Python: python, Base: base, SitePackages: site}
		if platform != "" {
			w.Platforms = []string{platform}
		}
		choice, findings := Choose(w)
		failed := false
		for _, f := range findings {
			failed = failed || f.Severity == Error
			if f.Msg == "" || f.Field == "" || f.Package < 0 || f.Package >= len(w.Requirements) {
				t.Fatalf("%#v", f)
			}
		}
		if failed && !cmp.Equal(choice, Choice{}) {
			t.Fatalf("%#v with %v", choice, findings)
		}
		asked := cuda != "" || cudnn != ""
		if asked && !failed && !choice.FromBase && choice.Env == nil {
			t.Fatal("nothing was decided")
		}
	})
}
