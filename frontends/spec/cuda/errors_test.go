package cuda

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		name string
		wish Wish
		want []string
	}{
		{"a comma", Wish{CUDA: "12,4"}, []string{`error cuda: cuda: "12,4" is not a version of CUDA; did you mean "12.4"?`}},
		{"the name of an index", Wish{CUDA: "cu124"}, []string{`error cuda: cuda: "cu124" is not a version of CUDA; did you mean "12.4"?`}},
		{"a prefix", Wish{CUDA: "v12.4"}, []string{`error cuda: cuda: "v12.4" is not a version of CUDA; did you mean "12.4"?`}},
		{"words", Wish{CUDA: "latest"}, []string{`error cuda: cuda: "latest" is not a version of CUDA; write major and minor version, e.g. 12.4`}},
		{"never released", Wish{CUDA: "12.7.9"}, []string{`error cuda: cuda: there is no CUDA 12.7.9; did you mean "12.6"?`}},
		{"after the last of 12", Wish{CUDA: "12.11"}, []string{`error cuda: cuda: there is no CUDA 12.11; did you mean "12.9"?`}},
		{"before the first", Wish{CUDA: "10.2"}, []string{`error cuda: cuda: there is no CUDA 10.2; did you mean "11.8"?`}},
		{"after the newest by far", Wish{CUDA: "99.1"}, []string{`error cuda: cuda: there is no CUDA 99.1; did you mean "13.5"?`}},
		{"far away", Wish{CUDA: "124"}, []string{`error cuda: cuda: there is no CUDA 124; did you mean "12.4"?`}},
		{"a patch release", Wish{CUDA: "12.4.9", Requirements: []string{"torch==2.5.0"}},
			[]string{`warning cuda: cuda: "12.4.9" is not known to ibuild, the newest of CUDA 12.4 is 12.4.1; did you mean "12.4"?`}},
		{"cuDNN words", Wish{CuDNN: "nine"}, []string{`error cudnn: cudnn: "nine" is not a version of cuDNN; write major version, or major and minor, e.g. "9" or "9.1"`}},
		{"an old cuDNN", Wish{CuDNN: "7"}, []string{`error cudnn: cudnn: "7" is for CUDA 10 and older, which ibuild does not know; take an existing image as the base, or a newer cuDNN`}},
		{"no such cuDNN", Wish{CuDNN: "10"}, []string{`error cudnn: cudnn: there is no cuDNN 10; did you mean "9"?`}},
		{"no such cuDNN 8", Wish{CuDNN: "8.12"}, []string{`error cudnn: cudnn: there is no cuDNN 8.12; did you mean "8"?`}},
		{"a newer cuDNN", Wish{CuDNN: "9.90", SitePackages: "/s"}, []string{`warning cudnn: cudnn: "9.90" is newer than all that are known to ibuild; the newest known is 9.28`}},
		{"cuDNN 8 and CUDA 13", Wish{CUDA: "13.0", CuDNN: "8"},
			[]string{`error cudnn: cudnn: "8" does not go with cuda: "13.0": there is no cuDNN 8 for CUDA 13; write cudnn: "9.28"`}},
		{"a newer cuDNN 9 and CUDA 11", Wish{CUDA: "11.8", CuDNN: "9.11"},
			[]string{`error cudnn: cudnn: "9.11" does not go with cuda: "11.8": there is no cuDNN 9.11 for CUDA 11; write cudnn: "9.10"`}},
		{"an older cuDNN 9 and CUDA 13", Wish{CUDA: "13.0", CuDNN: "9.1"},
			[]string{`error cudnn: cudnn: "9.1" does not go with cuda: "13.0": there is no cuDNN 9.1 for CUDA 13; write cudnn: "9.28"`}},
		{"a platform", Wish{CUDA: "12.4", Platforms: []string{"linux/amd64", "linux/riscv64"}},
			[]string{`error platforms: cuda: "12.4": there is no CUDA for the platform "linux/riscv64"; take linux/amd64 and linux/arm64, or make an image without cuda for the other platforms`}},
		{"cuDNN 8 and torch 2.4", Wish{CUDA: "12.4", CuDNN: "8", Requirements: []string{"torch==2.4.0"}},
			[]string{`error cudnn: cudnn: "8" does not go with torch==2.4.0: its wheels for CUDA 12.4 bring cuDNN 9.1; write cudnn: "9.1"`}},
		{"cuDNN 9.5 and torch 2.4", Wish{CUDA: "12.4", CuDNN: "9.5", Requirements: []string{"torch==2.4.0"}},
			[]string{`error cudnn: cudnn: "9.5" does not go with torch==2.4.0: its wheels for CUDA 12.4 bring cuDNN 9.1; write cudnn: "9.1"`}},
		{"CUDA 11.8 and tensorflow 2.18", Wish{CUDA: "11.8", Requirements: []string{"tensorflow==2.18.0"}},
			[]string{`error cuda: cuda: "11.8" does not go with tensorflow==2.18.0, which is made for CUDA 12.5; write cuda: "12.5"`}},
		{"CUDA 13 and torch 2.4", Wish{CUDA: "13", Requirements: []string{"numpy", "torch==2.4.*"}},
			[]string{`error cuda: cuda: "13" does not go with torch==2.4.*, which is made for CUDA 11.8, 12.1, 12.4; write cuda: "12.4"; for CUDA 13 there is torch 2.9, 2.10, 2.11, 2.12, 2.13, 2.14, 2.15`}},
		{"CUDA 12.2 and torch 2.4", Wish{CUDA: "12.2", Requirements: []string{"torch>=2.4,<2.5"}},
			[]string{`error cuda: cuda: "12.2" does not go with torch>=2.4,<2.5, which is made for CUDA 11.8, 12.1, 12.4; write cuda: "12.4"`}},
		{"CUDA 11.8 and jax", Wish{CUDA: "11.8", Requirements: []string{"jax==0.4.30"}},
			[]string{`error cuda: cuda: "11.8" does not go with jax==0.4.30, which is made for CUDA 12.1 and later; write cuda: "12.1"`}},
		{"CUDA 13 and an older jax", Wish{CUDA: "13.0", Requirements: []string{"jax==0.7.1"}},
			[]string{`error cuda: cuda: "13.0" does not go with jax==0.7.1, which is made for CUDA 12.1 and later; write cuda: "12.1"; for CUDA 13.0 there is jax 0.7, 0.8, 0.9, 0.10, 0.11, 0.12`}},
		{"the other extra of jax", Wish{CUDA: "13", Requirements: []string{"jax[CUDA12]"}},
			[]string{`error packages[0]: cuda: "13", but the extra of jax[CUDA12] is for CUDA 12; remove the extra: ibuild adds the right one`}},
		{"the local extra of jax", Wish{CUDA: "12", Requirements: []string{"jax[cuda12_local]"}},
			[]string{`error packages[0]: the extra of jax[cuda12_local] takes CUDA from the base, which has none; remove the extra: ibuild adds the right one`}},
		{"frameworks of two major versions", Wish{CuDNN: "9", Requirements: []string{"torch==2.4.0", "jax[cuda13]==0.8.0"}},
			[]string{`error packages[1]: cudnn: "9": these need different CUDA versions in one image: torch==2.4.0 (CUDA 11.8, 12.1, 12.4), jax[cuda13]==0.8.0 (CUDA 12.1 and later, 13.0 and later); take releases that have a CUDA version in common, or make two images`}},
		{"frameworks of two minor versions", Wish{CUDA: "12", Requirements: []string{"torch==2.4.0", "tensorflow==2.18.0"}},
			[]string{`error packages[1]: cuda: "12": these need different CUDA versions in one image: torch==2.4.0 (CUDA 11.8, 12.1, 12.4), tensorflow==2.18.0 (CUDA 12.5); take releases that have a CUDA version in common, or make two images`}},
		{"the wheel of another CUDA", Wish{CUDA: "12.4", Requirements: []string{"torch==2.4.0+cu121"}},
			[]string{`error packages[0]: cuda: "12.4", but torch==2.4.0+cu121 is the wheel for CUDA 12.1; write cuda: "12.1", or remove the part after +`}},
		{"the wheel without CUDA", Wish{CUDA: "12.4", Requirements: []string{"torch==2.4.0+cpu"}},
			[]string{`error packages[0]: cuda: "12.4": torch==2.4.0+cpu is a wheel without CUDA; remove +cpu`}},
		{"a wheel without CUDA of a release of which not all is known", Wish{CUDA: "12.6", Requirements: []string{"torch==2.15.0+cpu"}},
			[]string{`error packages[0]: cuda: "12.6": torch==2.15.0+cpu is a wheel without CUDA; remove +cpu`}},
		{"cuDNN of a release of which not all is known", Wish{CUDA: "13.2", CuDNN: "9.20", Requirements: []string{"torch==2.15.0"}},
			[]string{`error cudnn: cudnn: "9.20" does not go with torch==2.15.0: its wheels for CUDA 13.2 bring cuDNN 9.26; write cudnn: "9.26"`}},
		{"packages without CUDA", Wish{CUDA: "12.5", Requirements: []string{"tensorflow-cpu==2.18.0", "tensorflow_gpu"}}, []string{
			`error packages[0]: cuda: "12.5": "tensorflow-cpu==2.18.0" has no CUDA; write tensorflow`,
			`error packages[1]: cuda: "12.5": "tensorflow_gpu" has no CUDA; the package was given up, write tensorflow`}},
		{"tensorflow without an extra", Wish{CUDA: "11.8", Requirements: []string{"tensorflow==2.13.0"}},
			[]string{`error packages[0]: cuda: "11.8": wheels cannot bring CUDA for tensorflow==2.13.0: it has no and-cuda extra; take tensorflow>=2.15.1, or base_image: tensorflow/tensorflow:2.13.0-gpu`}},
		{"tensorflow with a broken extra", Wish{CUDA: "12.2", Requirements: []string{"tensorflow==2.15.0.post1"}},
			[]string{`error packages[0]: cuda: "12.2": wheels cannot bring CUDA for tensorflow==2.15.0.post1: its and-cuda extra needs a tensorrt that is not on PyPI; take tensorflow>=2.15.1, or base_image: tensorflow/tensorflow:2.15.0-gpu`}},
		{"tensorflow for arm64", Wish{CUDA: "12.5", Requirements: []string{"tensorflow==2.18.0"}, Platforms: []string{"linux/arm64"}},
			[]string{"error packages[0]: tensorflow==2.18.0 has no wheels with CUDA for linux/arm64; build it for linux/amd64 only"}},
		{"jax for arm64", Wish{CUDA: "12.4", Requirements: []string{"jax==0.4.28"}, Platforms: []string{"linux/arm64"}},
			[]string{"error packages[0]: jax==0.4.28 has no wheels with CUDA for linux/arm64; jax has them from 0.4.29 on"}},
		{"libraries for arm64", Wish{CUDA: "12.1", SitePackages: "/s", Platforms: []string{"linux/arm64"}},
			[]string{`error cuda: cuda: "12.1": there are no wheels for CUDA 12.1 on linux/arm64; the oldest of CUDA 12 is 12.3`}},
		{"libraries before there were wheels", Wish{CUDA: "11.2", SitePackages: "/s"},
			[]string{`error cuda: cuda: "11.2": there are no wheels for CUDA 11.2; the oldest is 11.8; or take a base that has it`}},
		{"a Python that torch does not have", Wish{CUDA: "12.4", Requirements: []string{"torch==2.4.0"}, Python: "3.13"},
			[]string{"error packages[0]: torch==2.4.0 has no wheels for Python 3.13, which the image has; torch 2.4 is for Python 3.8 to 3.12"}},
		{"torch by URL", Wish{CUDA: "12.4", Requirements: []string{"torch @ https://h/torch.whl"}},
			[]string{`warning packages[0]: which CUDA "torch @ https://h/torch.whl" goes with is not known to ibuild, so cuda: "12.4" was not checked against it; known are torch 2.0 to 2.15`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, got := Choose(test.wish)
			if diff := cmp.Diff(test.want, show(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTables looks for typing errors in the tables.
func TestTables(t *testing.T) {
	known := map[string]bool{}
	for i, r := range cudaReleases() {
		known[r.version.short()] = true
		if i > 0 && r.version.compare(cudaReleases()[i-1].version) >= 0 {
			t.Errorf("CUDA %s is not in order", r.version.short())
		}
	}
	for _, f := range frameworks() {
		for i, r := range f.releases {
			name := f.name + " " + r.minor
			if i > 0 {
				before := f.releases[i-1]
				if c := v(r.minor).compare(v(before.minor)); c > 0 || c == 0 && r.last >= before.first {
					t.Errorf("%s is not in order", name)
				}
			}
			if r.first > r.last || len(r.builds) == 0 || (r.oldestPython == "") != (r.newestPython == "") {
				t.Errorf("%s: %+v", name, r)
			}
			pypi := r.pypi == ""
			for _, b := range r.builds {
				if !known[b.cuda] || !cudnnFits(v(b.cudnn), v(b.cuda).major) && !b.orLater {
					t.Errorf("%s: CUDA %s with cuDNN %s", name, b.cuda, b.cudnn)
				}
				pypi = pypi || b.cuda == r.pypi
			}
			if !pypi {
				t.Errorf("%s: PyPI's CUDA %s is not among its builds", name, r.pypi)
			}
		}
	}
}
