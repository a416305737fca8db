package uvscript

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibuild/ibuild/frontends/source"
)

func pixiSource(t *testing.T, header string) source.Source {
	t.Helper()
	text := "# /// script\n"
	for line := range strings.Lines(header) {
		text += "# " + line
	}
	src, err := source.New("s.py", t.TempDir(), []byte(text+"# ///\n"))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// TestPixiManifest has the pixi.toml that is made of headers.
func TestPixiManifest(t *testing.T) {
	const rest = "\n[workspace]\nchannels = ['conda-forge']\nname = 'script'\nplatforms = ['@platform@']\n"
	for name, c := range map[string]struct {
		header, want string
		python       bool
	}{
		"channels and platforms are the image's": {"[tool.pixi]\n", rest[1:], false},
		"nothing of Python":                      {"[tool.pixi.dependencies]\ngdal = '*'\n", "[dependencies]\ngdal = '*'\n" + rest, false},
		"Python by name":                         {"[tool.pixi.dependencies]\npython = '3.12.*'\n", "[dependencies]\npython = '3.12.*'\n" + rest, true},
		"requires-python":                        {"requires-python = '>=3.8,<3.9'\n[tool.pixi]\n", "[dependencies]\npython = '>=3.8,<3.9'\n" + rest, true},
		"one Python":                             {"requires-python = '==3.11.*'\n[tool.pixi]\n", "[dependencies]\npython = '3.11.*'\n" + rest, true},
		"the conda package goes first":           {"requires-python = '>=3.11'\n[tool.pixi.dependencies]\npython = '3.12.*'\n", "[dependencies]\npython = '3.12.*'\n" + rest, true},
		"requirements": {"dependencies = ['A.b[c]>=1,<2 ; os_name == \"posix\"', 'a-B']\n[tool.pixi.pypi-dependencies]\nA_B = '==3'\n",
			"[dependencies]\npython = '*'\n\n[pypi-dependencies]\nA_B = '==3'\n" + rest, true},
		"extras and markers": {"dependencies = ['a[c]>=1 ; os_name == \"posix\"']\n[tool.pixi]\n",
			"[dependencies]\npython = '*'\n\n[pypi-dependencies]\n[pypi-dependencies.a]\nenv-markers = 'os_name == \"posix\"'\nextras = ['c']\nversion = '>=1'\n" + rest, true},
		"git without a revision": {"dependencies = ['a @ git+ssh://git@h/a']\n[tool.pixi]\n",
			"[dependencies]\npython = '*'\n\n[pypi-dependencies]\n[pypi-dependencies.a]\ngit = 'ssh://git@h/a'\n" + rest, true},
		"said by the header": {"[tool.pixi.project]\nname = 'x'\nchannels = []\nplatforms = ['linux-64']\n[tool.other]\nx = 1\n",
			"[project]\nchannels = []\nname = 'x'\nplatforms = ['linux-64']\n", false},
	} {
		s, err := ReadPixi(nil, pixiSource(t, c.header))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, string(s.Header)); diff != "" || s.PixiPython != c.python {
			t.Errorf("%s: Python %v\n%s", name, s.PixiPython, diff)
		}
	}
}

// TestPixiLock is the file that pixi lock --script writes.
func TestPixiLock(t *testing.T) {
	src := pixiSource(t, "[tool.pixi]\n")
	if s, err := ReadPixi(os.DirFS(src.Dir), src); err != nil || s.Lock != nil {
		t.Errorf("%q, %v", s.Lock, err)
	}
	if err := os.WriteFile(filepath.Join(src.Dir, "s.py.pixi.lock"), []byte("version: 6\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadPixi(os.DirFS(src.Dir), src); err != nil || string(s.Lock) != "version: 6\n" {
		t.Errorf("%q, %v", s.Lock, err)
	}
	if err := os.WriteFile(filepath.Join(src.Dir, "s.py.pixi.lock"), []byte("url: https://u:geheim@h/c\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPixi(os.DirFS(src.Dir), src); err == nil || strings.Contains(err.Error(), "geheim") || !strings.Contains(err.Error(), "s.py.pixi.lock") {
		t.Errorf("%v", err)
	}
}

// FuzzReadPixi reads headers that ReadPixi has to refuse or to turn into a manifest.
func FuzzReadPixi(f *testing.F) {
	for _, seed := range []string{
		"[tool.pixi.workspace]\nchannels = ['c']\n", "dependencies = ['a @ git+https://h/a@b#subdirectory=c', 'x>=1']\n[tool.pixi]\n",
		"tool.pixi = 1\n", "tool.pixi.workspace = []\n", "[[tool.pixi.dependencies]]\n", "tool = {pixi = {dependencies = {python = 1}}}\nrequires-python = ''\n",
		"[tool.pixi]\nx = 1979-05-27T07:32:00Z\n[tool.pixi.target.a.pypi-dependencies]\nb = {path = '.'}\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		src := source.Source{Name: "s.py", Dir: "testdata/none"}
		src.Data = []byte("# /// script\n# " + strings.ReplaceAll(header, "\n", "\n# ") + "\n# ///\n")
		s, err := ReadPixi(nil, src)
		if err == nil && !strings.Contains(string(s.Header), "script") && !strings.Contains(string(s.Header), "name") {
			t.Errorf("a manifest without a name: %s", s.Header)
		}
	})
}
