package tensorflow

import (
	"fmt"
	"strconv"
	"strings"

	pep440 "github.com/aquasecurity/go-pep440-version"
)

// repository has TensorFlow's official images.
const repository = "tensorflow/tensorflow"

// release is a version of TensorFlow as its images are tagged.
type release struct {
	tag                 string // without -gpu and -py3
	nightly             bool
	major, minor, patch int
}

// readRelease reads a version as people and as tf.__version__ write it: 2.15, v2.15.0, 2.16.0-rc1,
// 2.19.0-dev20241206. Tags have all three numbers, no dash before rc, and one name for all nightlies.
func readRelease(text string) (release, bool) {
	parsed, err := pep440.Parse(text)
	if err != nil || strings.Contains(text, "!") {
		return release{}, false
	}
	public, _, _ := strings.Cut(strings.ToLower(parsed.String()), "+")
	if strings.Contains(public, "dev") {
		return release{tag: "nightly", nightly: true}, true
	}
	end := strings.IndexFunc(public, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(public)
	}
	numbers, suffix := strings.TrimSuffix(public[:end], "."), public[end:]
	if strings.HasPrefix(suffix, "post") {
		suffix = "." + suffix
	}
	parts := strings.Split(numbers, ".")
	if len(parts) == 2 {
		parts = append(parts, "0")
	}
	if len(parts) != 3 {
		return release{}, false
	}
	out := release{tag: strings.Join(parts, ".") + suffix}
	for i, n := range []*int{&out.major, &out.minor, &out.patch} {
		if *n, err = strconv.Atoi(parts[i]); err != nil {
			return release{}, false
		}
	}
	return out, true
}

// before says whether the release is older than another one.
func (r release) before(major, minor, patch int) bool {
	if r.major != major {
		return r.major < major
	}
	if r.minor != minor {
		return r.minor < minor
	}
	return r.patch < patch
}

// ref is the reference of the image. Up to 1.15.0 and 2.1.0, tags without -py3 have Python 2 (Docker
// Hub's page of the repository).
func (r release) ref(gpu bool) string {
	ref := repository + ":" + r.tag
	if gpu {
		ref += "-gpu"
	}
	if !r.nightly && (r.major == 1 && r.before(1, 15, 1) || r.major == 2 && r.before(2, 1, 1)) {
		ref += "-py3"
	}
	return ref
}

// latest is the image of the newest release.
func latest(gpu bool) string {
	if gpu {
		return repository + ":latest-gpu"
	}
	return repository + ":latest"
}

// python is the Python (X.Y) that the image of a release has, "" when it is not known.
//
//   - 1.14 and later are on Ubuntu 18.04, whose Python is 3.6; before, it was 16.04 with 3.5
//     (tensorflow issue 30057);
//   - images made after September 2021 are on Ubuntu 20.04 with 3.8 (issues 57072 and 58556): 2.7 and
//     the patch releases of that time;
//   - since July 2023, after 2.13.0, they have 3.11 (tensorflow_runtime_dockerfiles in
//     tensorflow/build; issue 82529 for 2.18). That folder had 3.11 still when 2.21 came out.
func (r release) python() string {
	switch {
	case r.nightly || !r.before(2, 22, 0):
		return ""
	case !r.before(2, 14, 0):
		return "3.11"
	case !r.before(2, 7, 0) || r.patchedLate():
		return "3.8"
	case !r.before(1, 14, 0):
		return "3.6"
	case r.major == 1:
		return "3.5"
	}
	return ""
}

// patchedLate says whether an older release got its patch after the images had moved to Ubuntu 20.04.
func (r release) patchedLate() bool {
	first := map[string]int{"2.4": 4, "2.5": 2, "2.6": 1}
	patch, ok := first[fmt.Sprintf("%d.%d", r.major, r.minor)]
	return ok && r.patch >= patch
}
