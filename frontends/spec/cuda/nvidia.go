package cuda

import "strings"

// cudaRelease is a minor version of CUDA with its newest patch release.
type cudaRelease struct {
	version version
	patch   int
}

// cudaReleases are newest first. From 11.8 on they are those of the package cuda-toolkit on PyPI, the
// older ones are from NVIDIA's toolkit archive. There was no 12.7.
func cudaReleases() []cudaRelease {
	return []cudaRelease{
		{v("13.5"), 0}, {v("13.4"), 3}, {v("13.3"), 1}, {v("13.2"), 2}, {v("13.1"), 2}, {v("13.0"), 3},
		{v("12.9"), 2}, {v("12.8"), 2}, {v("12.6"), 3}, {v("12.5"), 1}, {v("12.4"), 1}, {v("12.3"), 2},
		{v("12.2"), 2}, {v("12.1"), 1}, {v("12.0"), 1},
		{v("11.8"), 0}, {v("11.7"), 1}, {v("11.6"), 2}, {v("11.5"), 2}, {v("11.4"), 4}, {v("11.3"), 1},
		{v("11.2"), 2}, {v("11.1"), 1}, {v("11.0"), 3},
	}
}

const (
	// oldestToolkitWheel is the first CUDA that the package cuda-toolkit on PyPI has.
	oldestToolkitWheel = "11.8"
	// firstArm64Wheel is the first CUDA 12 whose libraries are on PyPI for arm64; those of 11.8 are, too.
	firstArm64Wheel = "12.3"

	oldestCuDNNMajor = 8
	lastCuDNN8       = 9
	// newestCuDNNRelease is the newest of nvidia-cudnn-cu13 on PyPI.
	newestCuDNNRelease = "9.28"
	// lastCuDNNFor11 and firstCuDNNFor13 are the ends of nvidia-cudnn-cu11 and -cu13 on PyPI.
	lastCuDNNFor11  = "9.10"
	firstCuDNNFor13 = "9.12"
)

// cudnnFits says whether a cuDNN is made for a major version of CUDA. The CUDA of a version that is
// newer than the table is not known to have left any cuDNN 9 out.
func cudnnFits(cudnn version, cudaMajor int) bool {
	switch {
	case cudnn.major == 8:
		return cudaMajor == 11 || cudaMajor == 12
	case cudaMajor == 11:
		return cudnn.minor <= v(lastCuDNNFor11).minor
	case cudaMajor == 13:
		return cudnn.minor < 0 || cudnn.minor >= v(firstCuDNNFor13).minor
	}
	return true
}

// newestCuDNN is a cuDNN to suggest for a major version of CUDA.
func newestCuDNN(cudaMajor int) string {
	if cudaMajor == 11 {
		return lastCuDNNFor11
	}
	return newestCuDNNRelease
}

// minDriver is the oldest Linux driver for all minor versions of a major one ("" when it is not known):
// the table of minor version compatibility in the release notes of the CUDA toolkit.
func minDriver(cudaMajor int) string {
	switch cudaMajor {
	case 11:
		return "450.80.02"
	case 12:
		return "525.60.13"
	case 13:
		return "580.65.06"
	}
	return ""
}

// toolkitExtras are the runtime libraries of the package cuda-toolkit, which holds each to the version of
// one CUDA release. Compilers are not among them: jax brings a newer ptxas than its CUDA.
func toolkitExtras(cudaMajor int) string {
	extras := "cublas,cudart,cufft,cupti,curand,cusolver,cusparse,nvrtc"
	if cudaMajor > 11 {
		extras += ",nvjitlink"
	}
	return extras
}

// libraryPath is where the wheels have their libraries, for LD_LIBRARY_PATH. From CUDA 13 on one
// folder has all but cuDNN; before, each library has its own.
func libraryPath(site string, cudaMajor int, cudnn bool) string {
	folders := []string{"cublas", "cuda_cupti", "cuda_nvrtc", "cuda_runtime", "cufft", "curand", "cusolver", "cusparse"}
	if cudaMajor == 12 {
		folders = append(folders, "nvjitlink")
	}
	if cudaMajor >= 13 {
		folders = []string{"cu13"}
	}
	if cudnn {
		folders = append(folders, "cudnn")
	}
	for i, f := range folders {
		folders[i] = strings.TrimSuffix(site, "/") + "/nvidia/" + f + "/lib"
	}
	return strings.Join(folders, ":")
}
