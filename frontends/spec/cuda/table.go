package cuda

import (
	"fmt"
	"slices"
	"strings"
)

// Names of the frameworks, as messages and base images have them.
const (
	torchName      = "torch"
	jaxName        = "jax"
	tensorflowName = "tensorflow"
)

// framework is a library that brings or needs CUDA.
type framework struct {
	name       string
	packages   []string          // whose version is the framework's
	companions []string          // that bring the framework along
	wrong      map[string]string // packages without CUDA, and what to do about them
	releases   []release         // newest first
}

// release is one line of a framework's releases that are alike.
type release struct {
	minor                      string // "2.4"
	first, last                int    // patch releases
	oldestPython, newestPython string // "3.8"; "" when it was not looked up
	builds                     []build
	pypi                       string // CUDA of the wheels on PyPI for amd64, "" when they have none
	pypiArm64                  bool   // so have those for arm64
	arm64                      bool   // CUDA wheels for arm64 are known
	noWheels                   string // why CUDA cannot come by wheels, "" where it can
	partly                     bool   // it may have more builds than are known
}

// build is a CUDA that a release is made for, with the cuDNN that comes with it.
type build struct {
	cuda, cudnn string
	orLater     bool // later minor versions of both will do, and are not brought along by exact pins
}

// supports says whether the build is for a CUDA version, which may be a major one only.
func (b build) supports(cuda version) bool {
	if b.orLater {
		return cuda.atLeast(v(b.cuda))
	}
	return cuda.covers(v(b.cuda))
}

func (b build) bringsCuDNN(cudnn version) bool {
	if b.orLater {
		return !cudnn.given() || cudnn.atLeast(v(b.cudnn))
	}
	return cudnn.covers(v(b.cudnn))
}

func (b build) String() string {
	if b.orLater {
		return b.cuda + " and later"
	}
	return b.cuda
}

// samples are versions that stand for the release: all its patch releases, and what of a specifier
// belongs to it (2.15.0.post1, 2.4.0+cu121, 2.5.0rc1).
func (r release) samples(spec string) []string {
	var out []string
	for patch := r.first; patch <= r.last; patch++ {
		out = append(out, fmt.Sprintf("%s.%d", r.minor, patch))
	}
	for _, clause := range strings.Split(spec, ",") {
		literal := strings.TrimLeft(strings.TrimSpace(clause), "=<>!~ ")
		if r.has(literal) {
			out = append(out, literal)
		}
	}
	return out
}

// has says whether a version belongs to the release.
func (r release) has(text string) bool {
	numbers := strings.FieldsFunc(text, func(c rune) bool { return c < '0' || c > '9' })
	parsed, ok := parseVersion(strings.Join(numbers[:min(len(numbers), 3)], "."))
	return ok && parsed.short() == r.minor && max(parsed.patch, 0) >= r.first && max(parsed.patch, 0) <= r.last
}

func (r release) hasPython(minor string) bool {
	if r.oldestPython == "" {
		return true
	}
	wished, ok := parseVersion(minor)
	wished.patch = -1
	return !ok || wished.compare(v(r.oldestPython)) >= 0 && wished.compare(v(r.newestPython)) <= 0
}

// builds are those of the rows, newest CUDA first, each CUDA once.
func (u used) builds(rows []release) []build {
	var out []build
	for _, r := range rows {
		for _, b := range r.builds {
			if !slices.ContainsFunc(out, func(o build) bool { return o.String() == b.String() }) {
				out = append(out, b)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b build) int { return v(b.cuda).compare(v(a.cuda)) })
	return out
}

// cudaList words the CUDA versions of some releases.
func cudaList(rows []release, u used) string {
	var out []string
	for _, b := range u.builds(rows) {
		out = append(out, b.String())
	}
	slices.Reverse(out)
	return strings.Join(out, ", ")
}

// frameworks are the ones that ibuild knows.
func frameworks() []framework {
	return []framework{
		{name: torchName, packages: []string{"torch"}, companions: []string{"torchvision", "torchaudio"}, releases: torchReleases()},
		{name: jaxName, packages: []string{"jax"}, releases: jaxReleases()},
		{name: tensorflowName, packages: []string{"tensorflow", "tf-nightly"}, releases: tensorflowReleases(), wrong: map[string]string{
			"tensorflow-cpu": "write tensorflow",
			"tf-nightly-cpu": "write tf-nightly",
			"tensorflow-gpu": "the package was given up, write tensorflow",
		}},
	}
}

// torchReleases is PyTorch's release compatibility matrix (RELEASE.md of pytorch/pytorch, as of 2.14)
// with the cuDNN of each build. What PyPI has, and its cuDNN, was read from the wheels' metadata.
// Wheels for arm64: the notes of 2.9 say that from then on every CUDA build has one; those on PyPI have
// CUDA from 2.11 on.
func torchReleases() []release {
	return []release{
		{minor: "2.15", last: 9, oldestPython: "3.10", newestPython: "3.15", pypi: "13.2", pypiArm64: true, arm64: true, partly: true,
			builds: []build{{cuda: "13.2", cudnn: "9.26"}}},
		{minor: "2.14", last: 9, oldestPython: "3.10", newestPython: "3.15", pypi: "13.0", pypiArm64: true, arm64: true,
			builds: []build{{cuda: "13.2", cudnn: "9.24"}, {cuda: "13.0", cudnn: "9.24"}, {cuda: "12.6", cudnn: "9.10"}}},
		{minor: "2.13", last: 1, oldestPython: "3.10", newestPython: "3.15", pypi: "13.0", pypiArm64: true, arm64: true,
			builds: []build{{cuda: "13.2", cudnn: "9.20"}, {cuda: "13.0", cudnn: "9.20"}, {cuda: "12.6", cudnn: "9.10"}}},
		{minor: "2.12", last: 1, oldestPython: "3.10", newestPython: "3.14", pypi: "13.0", pypiArm64: true, arm64: true,
			builds: []build{{cuda: "13.2", cudnn: "9.20"}, {cuda: "13.0", cudnn: "9.20"}, {cuda: "12.6", cudnn: "9.10"}}},
		{minor: "2.11", last: 0, oldestPython: "3.10", newestPython: "3.14", pypi: "13.0", pypiArm64: true, arm64: true,
			builds: []build{{cuda: "13.0", cudnn: "9.19"}, {cuda: "12.8", cudnn: "9.17"}, {cuda: "12.6", cudnn: "9.10"}}},
		{minor: "2.10", last: 0, oldestPython: "3.10", newestPython: "3.14", pypi: "12.8", arm64: true,
			builds: []build{{cuda: "13.0", cudnn: "9.15"}, {cuda: "12.8", cudnn: "9.10"}, {cuda: "12.6", cudnn: "9.10"}}},
		{minor: "2.9", last: 1, oldestPython: "3.10", newestPython: "3.14", pypi: "12.8", arm64: true,
			builds: []build{{cuda: "13.0", cudnn: "9.13"}, {cuda: "12.8", cudnn: "9.10"}, {cuda: "12.6", cudnn: "9.10"}}},
		{minor: "2.8", last: 0, oldestPython: "3.9", newestPython: "3.13", pypi: "12.8",
			builds: []build{{cuda: "12.9", cudnn: "9.10"}, {cuda: "12.8", cudnn: "9.10"}, {cuda: "12.6", cudnn: "9.10"}}},
		{minor: "2.7", last: 1, oldestPython: "3.9", newestPython: "3.13", pypi: "12.6",
			builds: []build{{cuda: "12.8", cudnn: "9.7"}, {cuda: "12.6", cudnn: "9.5"}, {cuda: "11.8", cudnn: "9.1"}}},
		{minor: "2.6", last: 0, oldestPython: "3.9", newestPython: "3.13", pypi: "12.4",
			builds: []build{{cuda: "12.6", cudnn: "9.5"}, {cuda: "12.4", cudnn: "9.1"}, {cuda: "11.8", cudnn: "9.1"}}},
		{minor: "2.5", last: 1, oldestPython: "3.9", newestPython: "3.13", pypi: "12.4",
			builds: []build{{cuda: "12.4", cudnn: "9.1"}, {cuda: "12.1", cudnn: "9.1"}, {cuda: "11.8", cudnn: "9.1"}}},
		{minor: "2.4", last: 1, oldestPython: "3.8", newestPython: "3.12", pypi: "12.1",
			builds: []build{{cuda: "12.4", cudnn: "9.1"}, {cuda: "12.1", cudnn: "9.1"}, {cuda: "11.8", cudnn: "9.1"}}},
		{minor: "2.3", last: 1, oldestPython: "3.8", newestPython: "3.12", pypi: "12.1",
			builds: []build{{cuda: "12.1", cudnn: "8.9"}, {cuda: "11.8", cudnn: "8.7"}}},
		{minor: "2.2", last: 2, oldestPython: "3.8", newestPython: "3.12", pypi: "12.1",
			builds: []build{{cuda: "12.1", cudnn: "8.9"}, {cuda: "11.8", cudnn: "8.7"}}},
		{minor: "2.1", last: 2, oldestPython: "3.8", newestPython: "3.11", pypi: "12.1",
			builds: []build{{cuda: "12.1", cudnn: "8.9"}, {cuda: "11.8", cudnn: "8.7"}}},
		{minor: "2.0", last: 1, oldestPython: "3.8", newestPython: "3.11", pypi: "11.7",
			builds: []build{{cuda: "11.8", cudnn: "8.7"}, {cuda: "11.7", cudnn: "8.5"}}},
	}
}

// jaxReleases is from jax's change log: CUDA 11 was dropped with jaxlib 0.4.26, cuDNN 9.1 is the least
// with 0.4.31 and before it, 9.8 with 0.6.0. That the plugin's wheels are on PyPI, that 0.4.28 holds
// to cuDNN 8, that arm64 begins with 0.4.29 and CUDA 13 with 0.7.2 was read from their metadata.
func jaxReleases() []release {
	twelve := func(cudnn string) []build { return []build{{cuda: "12.1", cudnn: cudnn, orLater: true}} }
	both := []build{{cuda: "13.0", cudnn: "9.8", orLater: true}, {cuda: "12.1", cudnn: "9.8", orLater: true}}
	return []release{
		{minor: "0.12", last: 9, arm64: true, builds: both},
		{minor: "0.11", last: 9, arm64: true, builds: both},
		{minor: "0.10", last: 2, arm64: true, builds: both},
		{minor: "0.9", last: 2, arm64: true, builds: both},
		{minor: "0.8", last: 3, arm64: true, builds: both},
		{minor: "0.7", first: 2, last: 2, arm64: true, builds: both},
		{minor: "0.7", last: 1, arm64: true, builds: twelve("9.8")},
		{minor: "0.6", last: 2, arm64: true, builds: twelve("9.8")},
		{minor: "0.5", last: 3, arm64: true, builds: twelve("9.1")},
		{minor: "0.4", first: 29, last: 38, arm64: true, builds: twelve("9.1")},
		{minor: "0.4", first: 26, last: 28, builds: twelve("8.9")},
	}
}

// tensorflowReleases is the table of tested build configurations (tensorflow.org/install/source); from
// 2.20 on the and-cuda extra has ranges in place of exact pins. What the extra can do was tried
// against PyPI. There are no wheels with CUDA for arm64.
func tensorflowReleases() []release {
	later := []build{{cuda: "12.5", cudnn: "9.3", orLater: true}}
	one := func(cuda, cudnn string) []build { return []build{{cuda: cuda, cudnn: cudnn}} }
	const noExtra = "it has no and-cuda extra"
	const tensorrt = "its and-cuda extra needs a tensorrt that is not on PyPI"
	return []release{
		{minor: "2.21", last: 9, oldestPython: "3.10", newestPython: "3.13", builds: later},
		{minor: "2.20", last: 9, oldestPython: "3.9", newestPython: "3.13", builds: later},
		{minor: "2.19", last: 1, oldestPython: "3.9", newestPython: "3.12", builds: one("12.5", "9.3")},
		{minor: "2.18", last: 1, oldestPython: "3.9", newestPython: "3.12", builds: one("12.5", "9.3")},
		{minor: "2.17", last: 1, oldestPython: "3.9", newestPython: "3.12", builds: one("12.3", "8.9")},
		{minor: "2.16", first: 1, last: 2, oldestPython: "3.9", newestPython: "3.12", builds: one("12.3", "8.9")},
		{minor: "2.15", first: 1, last: 1, oldestPython: "3.9", newestPython: "3.11", builds: one("12.2", "8.9")},
		{minor: "2.15", last: 0, oldestPython: "3.9", newestPython: "3.11", builds: one("12.2", "8.9"), noWheels: tensorrt},
		{minor: "2.14", last: 1, oldestPython: "3.9", newestPython: "3.11", builds: one("11.8", "8.7"), noWheels: tensorrt},
		{minor: "2.13", last: 1, oldestPython: "3.8", newestPython: "3.11", builds: one("11.8", "8.6"), noWheels: noExtra},
		{minor: "2.12", last: 1, oldestPython: "3.8", newestPython: "3.11", builds: one("11.8", "8.6"), noWheels: noExtra},
		{minor: "2.11", last: 1, oldestPython: "3.7", newestPython: "3.10", builds: one("11.2", "8.1"), noWheels: noExtra},
		{minor: "2.10", last: 1, oldestPython: "3.7", newestPython: "3.10", builds: one("11.2", "8.1"), noWheels: noExtra},
	}
}
