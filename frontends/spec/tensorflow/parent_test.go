package tensorflow

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
		if f.Field == FieldRequirement {
			where += fmt.Sprintf("[%d]", f.Requirement)
		}
		text := s + " " + where + ": " + f.Msg
		if f.Hint != "" {
			text += "; " + f.Hint
		}
		out = append(out, text)
	}
	return out
}

func TestParent(t *testing.T) {
	const latestCPU, latestGPU = "tensorflow/tensorflow:latest", "tensorflow/tensorflow:latest-gpu"
	for _, test := range []struct {
		name                  string
		in                    Input
		ref, fallback, python string
		reason                string
		findings              []string
	}{
		{"nothing", Input{}, latestCPU, "", "", "nothing names a version of TensorFlow, and none is installed locally", nil},
		{"nothing, with a GPU", Input{GPU: true}, latestGPU, "", "", "nothing names a version of TensorFlow, and none is installed locally", nil},
		{"the user's", Input{ParentImage: "gcr.io/p/x:1", KaggleImage: "k", Version: "2.15", GPU: true},
			"gcr.io/p/x:1", "", "", "parent_image names it", nil},
		{"the user's without CUDA", Input{ParentImage: "tensorflow/tensorflow:2.15.0", GPU: true},
			"tensorflow/tensorflow:2.15.0", "", "", "parent_image names it",
			[]string{`warning parent_image: "tensorflow/tensorflow:2.15.0" has no CUDA, and an accelerator is a GPU; take "tensorflow/tensorflow:2.15.0-gpu"`}},
		{"Kaggle's", Input{KaggleImage: "gcr.io/kaggle-gpu-images/python:v1", Version: "2.15.0", Local: Local{TensorFlow: "2.14.0"}},
			"gcr.io/kaggle-gpu-images/python:v1", "", "", "KAGGLE_DOCKER_IMAGE names it", nil},
		{"a named version", Input{Version: "2.15.0", GPU: true, Requirements: []string{"tensorflow==2.15.0"}, Local: Local{TensorFlow: "2.12.0", Python: "3.11.4"}},
			"tensorflow/tensorflow:2.15.0-gpu", latestGPU, "3.11", "TensorFlow 2.15.0 was asked for", nil},
		{"a short version", Input{Version: "v2.15"}, "tensorflow/tensorflow:2.15.0", latestCPU, "3.11", "TensorFlow v2.15 was asked for", nil},
		{"no version", Input{Version: "newest"}, "", "", "", "",
			[]string{`error version: "newest" is not a version of TensorFlow; write it in full, e.g. 2.18.0`}},
		{"a version that requirements replace", Input{Version: "2.15.0", Requirements: []string{"numpy", "tensorflow==2.16.1"}},
			"tensorflow/tensorflow:2.15.0", latestCPU, "3.11", "TensorFlow 2.15.0 was asked for",
			[]string{`warning requirements[1]: "tensorflow==2.16.1" replaces the TensorFlow 2.15.0 of the parent image; ask for the same version in both places`}},
		{"a named version, other Python", Input{Version: "2.12.0", Local: Local{Python: "3.10.1"}},
			"tensorflow/tensorflow:2.12.0", latestCPU, "3.8", "TensorFlow 2.12.0 was asked for",
			[]string{`warning local: the local Python is 3.10, the image tensorflow/tensorflow:2.12.0 has Python 3.8; use Python 3.8 locally, or name a parent_image with Python 3.10`}},
		{"pinned", Input{Requirements: []string{"-r x", "tensorflow[and-cuda]==2.18.0", "keras"}, GPU: true, Local: Local{TensorFlow: "2.12.0"}},
			"tensorflow/tensorflow:2.18.0-gpu", latestGPU, "3.11", `the requirement "tensorflow[and-cuda]==2.18.0" asks for it`, nil},
		{"pinned, for the CPU", Input{Requirements: []string{"tensorflow-cpu===2.18.0"}},
			"tensorflow/tensorflow:2.18.0", latestCPU, "3.11", `the requirement "tensorflow-cpu===2.18.0" asks for it`, nil},
		{"pinned for the CPU, with a GPU", Input{Requirements: []string{"tensorflow_cpu==2.18.0"}, GPU: true},
			"tensorflow/tensorflow:2.18.0-gpu", latestGPU, "3.11", `the requirement "tensorflow_cpu==2.18.0" asks for it`,
			[]string{`warning requirements[0]: "tensorflow_cpu==2.18.0" has no CUDA, and an accelerator is a GPU; write tensorflow`}},
		{"pinned twice", Input{Requirements: []string{"tensorflow==2.18.0", "TensorFlow-GPU==2.11.0"}}, "", "", "", "",
			[]string{`error requirements[1]: "tensorflow==2.18.0" and "TensorFlow-GPU==2.11.0" pin two versions of TensorFlow; remove one`}},
		{"pinned twice, the same", Input{Requirements: []string{"tensorflow==2.18", "tensorflow==2.18.0"}},
			"tensorflow/tensorflow:2.18.0", latestCPU, "3.11", `the requirement "tensorflow==2.18" asks for it`, nil},
		{"pinned for other systems too", Input{Requirements: []string{
			`tensorflow-macos==2.12.0; sys_platform == "darwin"`, `tensorflow==2.12.0 ; sys_platform == 'darwin'`, `tensorflow==2.15.0; sys_platform != "darwin"`}},
			"tensorflow/tensorflow:2.15.0", latestCPU, "3.11", `the requirement "tensorflow==2.15.0; sys_platform != \"darwin\"" asks for it`, nil},
		{"a release candidate", Input{Requirements: []string{"tensorflow==2.16.0-rc0"}},
			"tensorflow/tensorflow:2.16.0rc0", latestCPU, "3.11", `the requirement "tensorflow==2.16.0-rc0" asks for it`, nil},
		{"a post release", Input{Requirements: []string{"tensorflow==2.15.0.post1"}},
			"tensorflow/tensorflow:2.15.0.post1", latestCPU, "3.11", `the requirement "tensorflow==2.15.0.post1" asks for it`, nil},
		{"nightly", Input{Requirements: []string{"tf-nightly"}, GPU: true},
			"tensorflow/tensorflow:nightly-gpu", latestGPU, "", `the requirement "tf-nightly" asks for it`, nil},
		{"nightly of a day", Input{Requirements: []string{"tf_nightly==2.19.0.dev20241206"}},
			"tensorflow/tensorflow:nightly", latestCPU, "", `the requirement "tf_nightly==2.19.0.dev20241206" asks for it`, nil},
		{"any patch release is no pin", Input{Requirements: []string{"tensorflow==2.*"}, Local: Local{TensorFlow: "2.14.0", Python: "3.11"}},
			"tensorflow/tensorflow:2.14.0", latestCPU, "3.11", "TensorFlow 2.14.0 is installed locally", nil},
		{"a lower bound is no pin", Input{Requirements: []string{"tensorflow>=2.10"}},
			latestCPU, "", "", "nothing names a version of TensorFlow, and none is installed locally", nil},
		{"a lower bound above what is local", Input{Requirements: []string{"tensorflow>=2.10"}, Local: Local{TensorFlow: "2.9.1", Python: "3.8.10"}},
			latestCPU, "", "", "the local TensorFlow is of no use for it, and nothing pins a version",
			[]string{`warning requirements[0]: "tensorflow>=2.10" does not let the local TensorFlow 2.9.1 in, so it does not choose the parent image; pin the version that is meant, e.g. tensorflow==2.18.0`}},
		{"local", Input{Local: Local{TensorFlow: "2.13.0", Python: "3.8.18"}, GPU: true},
			"tensorflow/tensorflow:2.13.0-gpu", latestGPU, "3.8", "TensorFlow 2.13.0 is installed locally", nil},
		{"local, Python not known", Input{Local: Local{TensorFlow: "2.13.0"}},
			"tensorflow/tensorflow:2.13.0", latestCPU, "3.8", "TensorFlow 2.13.0 is installed locally", nil},
		{"local, other Python", Input{Local: Local{TensorFlow: "2.16.1", Python: "3.12.3"}}, "", "", "", "",
			[]string{`error local: the local Python is 3.12, the image tensorflow/tensorflow:2.16.1 has Python 3.11; use Python 3.11 locally, or name a parent_image with Python 3.12, or name the version of TensorFlow to take its image all the same`}},
		{"local release candidate", Input{Local: Local{TensorFlow: "2.17.0-rc1"}},
			"tensorflow/tensorflow:2.17.0rc1", latestCPU, "3.11", "TensorFlow 2.17.0-rc1 is installed locally", nil},
		{"local nightly", Input{Local: Local{TensorFlow: "2.19.0-dev20241206", Python: "3.12"}},
			"tensorflow/tensorflow:nightly", latestCPU, "", "TensorFlow 2.19.0-dev20241206 is installed locally", nil},
		{"local build of one's own", Input{Local: Local{TensorFlow: "2.14.0+nv23.11"}},
			"tensorflow/tensorflow:2.14.0", latestCPU, "3.11", "TensorFlow 2.14.0+nv23.11 is installed locally", nil},
		{"local nonsense", Input{Local: Local{TensorFlow: "git-1"}},
			latestCPU, "", "", "the local TensorFlow is of no use for it, and nothing pins a version",
			[]string{`warning local: the local TensorFlow has the version "git-1", of which there is no image; name a parent_image`}},
		{"the last with Python 2", Input{Version: "2.1.0", GPU: true}, "tensorflow/tensorflow:2.1.0-gpu-py3", latestGPU, "3.6", "TensorFlow 2.1.0 was asked for", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			img, findings := Parent(test.in)
			if diff := cmp.Diff(test.findings, show(findings)); diff != "" {
				t.Error(diff)
			}
			want := Image{Ref: test.ref, Fallback: test.fallback, Python: test.python, Reason: test.reason, FallbackWarning: img.FallbackWarning}
			if diff := cmp.Diff(want, img); diff != "" {
				t.Error(diff)
			}
			if (img.Fallback == "") != (img.FallbackWarning == "") {
				t.Errorf("fallback %q with warning %q", img.Fallback, img.FallbackWarning)
			}
		})
	}
}

func TestFallbackWarning(t *testing.T) {
	img, _ := Parent(Input{Version: "2.13.1", GPU: true})
	const want = "there is no image tensorflow/tensorflow:2.13.1-gpu; tensorflow/tensorflow:latest-gpu is taken, whose versions of TensorFlow and Python may be others. " +
		"If that breaks the program, name a parent_image (not every patch release has an image)"
	if img.FallbackWarning != want {
		t.Error(img.FallbackWarning)
	}
}

func TestPython(t *testing.T) {
	for version, want := range map[string]string{
		"1.13.1": "3.5", "1.14.0": "3.6", "1.15.0": "3.6", "2.0.0": "3.6", "2.4.3": "3.6", "2.4.4": "3.8", "2.6.0": "3.6", "2.6.1": "3.8",
		"2.7.0": "3.8", "2.13.0": "3.8", "2.14.0": "3.11", "2.21.0": "3.11", "2.22.0": "", "3.0.0": "", "2.19.0.dev1": "",
	} {
		r, ok := readRelease(version)
		if !ok || r.python() != want {
			t.Errorf("%s: %q, %v", version, r.python(), ok)
		}
	}
}

func TestRef(t *testing.T) {
	for version, want := range map[string]string{
		"1.15.0": "1.15.0-py3", "1.15.2": "1.15.2", "2.0.0": "2.0.0-py3", "2.1.0": "2.1.0-py3", "2.1.1": "2.1.1", "2.2": "2.2.0",
	} {
		r, ok := readRelease(version)
		if got := r.ref(false); !ok || got != repository+":"+want {
			t.Errorf("%s: %s", version, got)
		}
	}
	for _, bad := range []string{"", "2", "2.1.2.3", "1!2.0.0", "x", "2.99999999999999999999.0", "2.1.0 x", "*"} {
		if r, ok := readRelease(bad); ok {
			t.Errorf("%q is %v", bad, r)
		}
	}
}

func FuzzParent(f *testing.F) {
	f.Add("", "2.15", "tensorflow>=2.10\ntf-nightly", "2.16.0-rc1", "3.11.2", "", true)
	f.Add("tensorflow/tensorflow:2", "", "tensorflow==2.*\ntensorflow===2.1", "2.1+a", "3", "k", false)
	f.Add("", "", "tensorflow~=2.1; sys_platform=='darwin' or os_name=='a'\ntensorflow==1!2", "2.9.dev0", "", "", true)
	f.Fuzz(func(t *testing.T, parent, version, requirements, local, python, kaggle string, gpu bool) {
		img, findings := Parent(Input{ParentImage: parent, Version: version, Requirements: strings.Split(requirements, "\n"),
			Local: Local{TensorFlow: local, Python: python}, GPU: gpu, KaggleImage: kaggle})
		failed := false
		for _, f := range findings {
			failed = failed || f.Severity == Error
			if f.Msg == "" || f.Requirement < 0 || f.Requirement > strings.Count(requirements, "\n") {
				t.Fatalf("%#v", f)
			}
		}
		if failed != (img.Ref == "") || !failed && img.Reason == "" {
			t.Fatalf("%#v with %v", img, findings)
		}
	})
}
