package draft_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec"
	"github.com/ibuild/ibuild/frontends/spec/draft"
)

var update = flag.Bool("update", false, "write the golden files")

func (f folder) fs() fs.FS {
	m := fstest.MapFS{}
	for name, data := range f {
		m[name] = &fstest.MapFile{Data: []byte(data)}
	}
	return m
}

func find(t testing.TB, f folder) draft.Folder {
	t.Helper()
	found, err := draft.Find(f.fs())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// parse reads a draft as a spec.
func parse(text []byte) error {
	src, err := source.New("image.yaml", ".", text)
	if err != nil {
		return err
	}
	_, err = spec.Parse(src)
	return err
}

// uncommented is the draft with all its suggestions.
func uncommented(text []byte) []byte {
	return regexp.MustCompile(`(?m)^( *)#([^ \n])`).ReplaceAll(text, []byte("$1$2"))
}

func TestGolden(t *testing.T) {
	for _, c := range draftCases() {
		t.Run(c.name, func(t *testing.T) {
			f := find(t, c.files)
			if c.from != "" {
				from, ok := f.Find(c.from)
				if !ok {
					t.Fatalf("%s was not found", c.from)
				}
				c.answer.From = from
			}
			got, err := f.Spec(c.answer)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", c.name+".yaml")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("run the test with -update when this is meant:\n%s", d)
			}
			if err := parse(got); err != nil {
				t.Errorf("the draft is no spec: %v", err)
			}
			all := uncommented(got)
			if strings.Count(string(all), "\n#") >= strings.Count(string(got), "\n#") {
				t.Error("there is no suggestion in the draft")
			}
			if err := parse(all); err != nil {
				t.Errorf("with its suggestions the draft is no spec: %v\n%s", err, all)
			}
		})
	}
}

// TestDefault looks at what is taken when nobody says anything.
func TestDefault(t *testing.T) {
	for _, c := range []struct {
		files folder
		kind  draft.Kind
		file  string
		ok    bool
	}{
		{folder{}, draft.Nothing, "", true},
		{folder{"train.py": script}, draft.UVScript, "train.py", false},
		{folder{"Dockerfile": "", "train.py": script, "nb.ipynb": ""}, draft.Dockerfile, "Dockerfile", false},
		{folder{"nb.ipynb": ""}, draft.Notebook, "nb.ipynb", false},
		{folder{"Dockerfile": "", "requirements.txt": ""}, draft.Requirements, "requirements.txt", true},
		{folder{"requirements.txt": "", "uv.lock": "", "pyproject.toml": uvProject}, draft.UVProject, "uv.lock", true},
		{folder{"uv.lock": ""}, draft.Nothing, "", true},
		{folder{"pyproject.toml": "[tool.ruff]\n", "setup.py": ""}, draft.Setup, "setup.py", true},
		{folder{"pyproject.toml": "[", "setup.py": ""}, draft.Setup, "setup.py", true},
		{folder{"requirements-dev.txt": ""}, draft.Nothing, "", true},
		{folder{"requirements/prod.txt": "", "requirements/dev.txt": "", "requirements/all.txt": ""}, draft.Requirements, "requirements/prod.txt", true},
	} {
		from, ok := find(t, c.files).Default()
		if from.Kind != c.kind || from.File != c.file || ok != c.ok {
			t.Errorf("%v: got %s %q %v", c.files, from.Kind, from.File, ok)
		}
	}
}

func TestPython(t *testing.T) {
	manifest := func(requires string) folder {
		return folder{"pyproject.toml": "[project]\nname = 'x'\nrequires-python = '" + requires + "'\n"}
	}
	poetry := func(constraint string) folder {
		return folder{"pyproject.toml": "[tool.poetry.dependencies]\npython = '" + constraint + "'\n"}
	}
	conda := func(dependency string) folder {
		return folder{"environment.yml": "dependencies: ['" + dependency + "']\n"}
	}
	for _, c := range []struct {
		files folder
		want  string
		notes int
	}{
		{folder{}, "", 0},
		{folder{".python-version": "# mine\n3.12.4\n"}, "3.12", 0},
		{folder{".python-version": "cpython-3.11-linux"}, "3.11", 0},
		{folder{".python-version": "3.13+freethreaded"}, "3.13", 0},
		{folder{".python-version": "pypy3.10"}, "", 1},
		{folder{".python-version": "3.8"}, "", 1},
		{manifest(">=3.11"), "3.14", 0},
		{manifest(">=3.11,<3.13"), "3.12", 0},
		{manifest("nonsense"), "", 1},
		{folder{".python-version": "3.10", "pyproject.toml": manifest(">=3.11")["pyproject.toml"]}, "3.10", 1},
		{folder{".python-version": "3.8", "pyproject.toml": manifest("<3.12")["pyproject.toml"]}, "3.11", 1},
		{poetry("^3.11"), "3.14", 0},
		{poetry("~3.11"), "3.11", 0},
		{poetry("~3"), "3.14", 0},
		{poetry("3.12.*"), "3.12", 0},
		{poetry(">=3.10, <3.12 || ^3.13"), "3.14", 0},
		{poetry("*"), "3.14", 0},
		{poetry("^4"), "", 1},
		{conda("python=3.11"), "3.11", 0},
		{conda("conda-forge::python==3.12.4"), "3.12", 0},
		{conda("python >=3.10,<3.13"), "3.12", 0},
		{conda("python"), "", 0},
		{conda("python-magic=3"), "", 0},
	} {
		f := find(t, c.files)
		if f.Python.Value != c.want || len(f.Notes) != c.notes {
			t.Errorf("%v: got %q, notes %q", c.files, f.Python.Value, f.Notes)
		}
	}
}

func TestEntries(t *testing.T) {
	for _, c := range []struct {
		files folder
		want  []string
	}{
		{folder{}, nil},
		{folder{"only.py": ""}, []string{"python only.py"}},
		{folder{"a.py": "", "b.py": ""}, nil},
		{folder{"train.py": "", "main.py": ""}, []string{"python main.py", "python train.py"}},
		{folder{"train.py": script}, nil},
		{folder{"src/main.py": ""}, []string{"python src/main.py"}},
		{folder{"src/pkg/__main__.py": "", "pkg/__main__.py": ""}, []string{"python -m pkg"}},
		{folder{"src/a-b/__main__.py": ""}, nil},
		{folder{"tests/__main__.py": "", "test_x.py": "", "setup.py": ""}, nil},
	} {
		var got []string
		for _, e := range find(t, c.files).Entries {
			got = append(got, strings.Join(e.Args, " "))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: got %q, want %q", c.files, got, c.want)
		}
	}
}

func TestImageName(t *testing.T) {
	for in, want := range map[string]string{"": "", "App": "app", "My_App 2": "my-app-2", "..": "", "-a-": "a", "Übung": "bung", strings.Repeat("x", 300): strings.Repeat("x", 100)} {
		if got := draft.ImageName(in); got != want {
			t.Errorf("%q: got %q", in, got)
		}
	}
}

func TestNotebook(t *testing.T) {
	f := find(t, folder{"nb.ipynb": "{}"})
	if _, err := f.Spec(draft.Answers{}); !errors.Is(err, draft.ErrNotebook) {
		t.Error(err)
	}
}

// TestUnreadable has what a folder may hold in place of files.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"pyproject.toml", "uv.lock", "requirements.txt", "Dockerfile", "main.py", ".python-version", "src/x.py"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "requirements.in")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "environment.yml"), []byte{0xff, 0xfe, 0}, 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f, err := draft.Find(root.FS())
	if err != nil {
		t.Fatal(err)
	}
	if from, ok := f.Default(); from.Kind != draft.Conda || !ok || len(f.From) != 1 {
		t.Errorf("%+v", f.From)
	}
	if len(f.Notes) != 1 || len(f.Entries) != 0 {
		t.Errorf("%q %v", f.Notes, f.Entries)
	}
	if _, err := draft.Find(os.DirFS(filepath.Join(dir, "nowhere"))); err == nil {
		t.Error("a folder that is not there was read")
	}
}

// FuzzFind makes drafts of any files: each must be a spec, with and without its suggestions.
func FuzzFind(f *testing.F) {
	for _, c := range draftCases() {
		g := c.files
		f.Add(g["pyproject.toml"], g["uv.lock"], g["environment.yml"], g["requirements.txt"], g[".python-version"], g["main.py"]+g["train.py"], "some.py")
	}
	f.Fuzz(func(t *testing.T, pyproject, lock, environment, requirements, version, code, name string) {
		files := folder{}
		add := func(name, data string) {
			if data != "" && fs.ValidPath(name) && name != "." {
				files[name] = data
			}
		}
		add("pyproject.toml", pyproject)
		add("poetry.lock", lock)
		add("environment.yml", environment)
		add("requirements.txt", requirements)
		add(".python-version", version)
		add("main.py", code)
		add("src/"+name, code)
		found, err := draft.Find(files.fs())
		if err != nil {
			t.Skip() // the name has made a folder of a file
		}
		for _, from := range append(found.From, draft.From{}) {
			text, err := found.Spec(draft.Answers{From: from})
			if errors.Is(err, draft.ErrNotebook) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range [][]byte{text, uncommented(text)} {
				if err := parse(text); err != nil {
					t.Fatalf("%v\n%s", err, text)
				}
			}
		}
	})
}
