package tensorflow

import (
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

// asked is a requirement for TensorFlow.
type asked struct {
	index      int
	text, name string
	spec       string
	pins       bool // it names one version, which is release
	release    release
}

// packages are the names that TensorFlow goes by.
func packages() []string {
	return []string{"tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tf-nightly", "tf-nightly-cpu", "tf-nightly-gpu"}
}

// readRequirements finds the requirements for TensorFlow. Those for other systems than the image's, and
// those by URL, say nothing about the image.
func readRequirements(lines []string) []asked {
	var out []asked
	for i, line := range lines {
		r, err := python.ParseRequirement(line)
		if err != nil || r.URL != "" || elsewhere(r.Marker) {
			continue
		}
		name := strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(r.Name))
		if !slices.Contains(packages(), name) {
			continue
		}
		a := asked{index: i, text: strings.TrimSpace(line), name: name, spec: r.Specifier}
		a.release, a.pins = pin(r.Specifier)
		if strings.HasPrefix(name, "tf-nightly") {
			a.release, a.pins = release{tag: "nightly", nightly: true}, true
		}
		out = append(out, a)
	}
	return out
}

// pin is the one version that a specifier lets in: "==2.15.0" and "===2.15.0" have one, "==2.*" and
// ">=2.10" do not.
func pin(spec string) (release, bool) {
	for _, clause := range strings.Split(spec, ",") {
		version, ok := strings.CutPrefix(strings.TrimSpace(clause), "==")
		version = strings.TrimSpace(strings.TrimPrefix(version, "="))
		if ok && !strings.HasSuffix(version, ".*") {
			return readRelease(version)
		}
	}
	return release{}, false
}

// elsewhere says whether a marker is for other systems than the official images, which are for Linux
// on amd64. Markers are not computed: one that names another system by == is taken to be for it.
func elsewhere(marker string) bool {
	if slices.Contains(strings.Fields(marker), "or") {
		return false
	}
	text := strings.NewReplacer(" ", "", `"`, "", "'", "").Replace(strings.ToLower(marker))
	for _, other := range []string{"darwin", "win32", "windows", "arm64", "aarch64"} {
		if strings.Contains(text, "=="+other) {
			return true
		}
	}
	return false
}
