package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// condaFolder has the files of the cases below.
func condaFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	const workspace = "[workspace]\nchannels = ['conda-forge']\nplatforms = ['linux-64']\n"
	const lock = "version: 6\nenvironments:\n  default:\n    packages:\n      linux-64:\n      - conda: https://h/c/linux-64/python-3.12.1-0.conda\n"
	for name, text := range map[string]string{
		"pip.yml": "dependencies:\n- numpy\n- pip:\n  - rich\n", "channel.yml": "channels: ['file:///srv/c']\ndependencies: [numpy]\n",
		"vars.yml": "dependencies: [numpy]\nvariables: {1x: y}\n", "bad.yml": "dependencies: ['-x']\n", "python.yml": "dependencies: [python=3.11]\n",
		"env.txt": "", "locked/pixi.toml": workspace, "locked/pixi.lock": lock, "unlocked/pixi.toml": workspace, "empty/x": "",
		"mac/pixi.toml": "[workspace]\nchannels = []\nplatforms = ['osx-arm64']\n", "mac/pixi.lock": "version: 6\nenvironments:\n  default:\n    packages: {}\n",
		"other/pixi.toml": workspace, "other/pixi.lock": lock,
		"plain.py": "# /// script\n# dependencies = []\n# ///\n", "none.py": "", "x.txt": "", "dir.py/x": "",
		"task.py":   "# /// script\n# [tool.pixi.tasks]\n# x = 'y'\n# [tool.pixi.activation.env]\n# A = 'b'\n# [tool.pixi.target.linux-64.activation]\n# x = 1\n# ///\n",
		"local.py":  "# /// script\n# [tool.pixi.pypi-dependencies]\n# x = { path = '.', editable = true }\n# ///\n",
		"secret.py": "# /// script\n# [tool.pixi.workspace]\n# channels = ['https://u:geheim@h/c']\n# ///\n",
		"table.py":  "# /// script\n# tool.pixi.workspace = 'x'\n# ///\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestCondaErrors compares what is refused with the exact words in testdata/conda/errors.txt.
func TestCondaErrors(t *testing.T) {
	const path = "testdata/conda/errors.txt"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := condaFolder(t)
	sections := strings.Split(string(data), "### ")
	if len(sections) < 50 {
		t.Errorf("%d sections only", len(sections))
	}
	for i, section := range sections {
		says, ok := strings.CutPrefix(section, "says\n")
		if !ok {
			continue
		}
		name, text, _ := strings.Cut(sections[i-1], "\n")
		got := complain(t, dir, text)
		if diff := cmp.Diff(says, got); diff != "" && !*update {
			t.Errorf("%s (run the test with -update when this is meant):\n%s", name, diff)
		}
		sections[i] = "says\n" + got
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(sections, "### ")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCondaName takes the name out of match specs.
func TestCondaName(t *testing.T) {
	for spec, want := range map[string]string{
		"numpy": "numpy", "Python=3.12": "python", "c/label/x::python>=3": "python", "https://h/c::x[build='y']": "x", "python 3.12.*": "python", "a~=1": "a",
		"": "", "-x": "", "x y\n": "", "x@1": "", "::": "",
	} {
		if got, ok := condaName(spec); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", spec, got, ok)
		}
	}
	for spec, want := range map[string]string{
		"python=3.12": "3.12", "python==3.11.4": "3.11", "python 3.10.*": "3.10", "c::python=3.9=h_cpython": "3.9", "python": "", "python>=3.10": "", "python=3": "", "python<3.12": "",
	} {
		if got := pythonOf(spec); got != want {
			t.Errorf("%q: %q, want %q", spec, got, want)
		}
	}
}
