package notebook

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibuild/ibuild/frontends/source"
)

var update = flag.Bool("update", false, "write the golden files")

func read(t *testing.T, path string) Notebook {
	t.Helper()
	src, err := source.Read(path, Limit)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Read(src)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func notebooks(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.ipynb")
	if err != nil || len(paths) < 12 {
		t.Fatalf("%d notebooks, %v", len(paths), err)
	}
	return paths
}

// TestGolden compares the scripts of notebooks as juv, Jupyter, Colab and VS Code write them.
func TestGolden(t *testing.T) {
	for _, path := range notebooks(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			got := read(t, path)
			golden := strings.TrimSuffix(path, ".ipynb") + ".golden.py"
			if *update {
				if err := os.WriteFile(golden, got.Script, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got.Script)); diff != "" {
				t.Error(diff)
			}
			if made := !bytes.Contains(bytes.SplitN(got.Script, []byte("\n\n"), 2)[0], []byte("#   \"")); got.HasHeader != made {
				t.Errorf("HasHeader is %v", got.HasHeader)
			}
		})
	}
}

// TestPythonCompiles has Python compile every script.
func TestPythonCompiles(t *testing.T) {
	for _, path := range notebooks(t) {
		cmd := exec.Command("python3", "-c", "import sys; compile(sys.stdin.buffer.read(), sys.argv[1], 'exec', dont_inherit=True)", path)
		cmd.Stdin = bytes.NewReader(read(t, path).Script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
	}
}

// TestPythonRuns runs the scripts that need the standard library alone, for what their magics became.
func TestPythonRuns(t *testing.T) {
	for name, want := range map[string]string{
		"files":     "45\n",
		"no-magics": "3 ! \n%matplotlib inline\n!ls\n%%bash\n?help\n\n",
		"layout":    "ü ☃ 😀\n1\n",
		"future":    "",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command("python3", "-")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "HOME="+dir, "PYTHONIOENCODING=utf-8")
			cmd.Stdin = bytes.NewReader(read(t, "testdata/"+name+".ipynb").Script)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if diff := cmp.Diff(want, string(out)); diff != "" {
				t.Error(diff)
			}
			if name != "files" {
				return
			}
			written, err := os.ReadFile(filepath.Join(dir, "settings.toml"))
			if want := "# /// script\nname = \"x\\y\"\ttab\n\n%not a magic\n"; err != nil || string(written) != want {
				t.Errorf("%q, %v", written, err)
			}
			if written, err = os.ReadFile(filepath.Join(dir, "my notes.txt")); err != nil || len(written) != 0 {
				t.Errorf("%q, %v", written, err)
			}
		})
	}
}

// TestOutputsDoNotMatter changes all that a run of a notebook changes.
func TestOutputsDoNotMatter(t *testing.T) {
	for _, path := range notebooks(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		for i, c := range doc["cells"].([]any) {
			if c := c.(map[string]any); c["cell_type"] == "code" {
				c["execution_count"] = i + 100
				c["outputs"] = []any{map[string]any{"output_type": "stream", "text": []string{"# /// script\n", "!ls\n"}, "source": "x"}}
				c["metadata"].(map[string]any)["execution"] = map[string]any{"iopub.status.busy": "2024-01-01"}
			}
		}
		again, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		src, err := source.New(path, "", again)
		if err != nil {
			t.Fatal(err)
		}
		n, err := Read(src)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(read(t, path).Script), string(n.Script)); diff != "" {
			t.Errorf("%s:\n%s", path, diff)
		}
	}
}

// TestPlace compares every line of the scripts that is a cell's own with that cell.
func TestPlace(t *testing.T) {
	for _, path := range notebooks(t) {
		n := read(t, path)
		same := 0
		for i, line := range strings.Split(strings.TrimSuffix(string(n.Script), "\n"), "\n") {
			number, cellLine := n.Place(i + 1)
			lines := strings.Split(n.texts[number], "\n")
			if cellLine < 1 || cellLine > len(lines) {
				t.Fatalf("%s:%d is line %d of cell %d", path, i+1, cellLine, number)
			}
			if line != "" && strings.HasSuffix(lines[cellLine-1], line) {
				same++
			}
		}
		if same < 1 {
			t.Errorf("%s: %d lines are where Place says", path, same)
		}
	}
	if cell, line := (Notebook{}).Place(1); cell != 0 || line != 0 {
		t.Errorf("nothing has the place %d, %d", cell, line)
	}
}

func TestRewrite(t *testing.T) {
	n := read(t, "testdata/layout.ipynb")
	n.name = "nb.ipynb"
	at := func(text string) int {
		head, _, ok := strings.Cut(string(n.Script), text)
		if !ok {
			t.Fatalf("%q is not in the script", text)
		}
		return strings.Count(head, "\n") + 1
	}
	cause := errors.New("cause")
	err := n.Rewrite(source.Errors{
		{File: "nb.ipynb", Line: at("größe = 1"), Column: 3, Msg: "indented"},
		{File: "nb.ipynb", Line: 2, Column: 7, Msg: "header", Hint: "mend it", Err: cause},
		{File: "nb.ipynb", Line: at("print(größe)"), Msg: "no column"},
		{File: "nb.ipynb", Line: 99, Msg: "beyond"},
		{File: "nb.ipynb", Msg: "no line"},
		{File: "other.lock", Line: 3, Column: 4, Msg: "other file"},
	})
	want := "nb.ipynb (cell 2):3:7: indented\nnb.ipynb (cell 1):2:7: header; mend it\nnb.ipynb (cell 5):4: no column\nnb.ipynb (cell 5):4: beyond\nnb.ipynb: no line\nother.lock:3:4: other file"
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
	var first *source.Error
	if !errors.As(err, &first) || !strings.Contains(string(first.Data), "größe = 1") || strings.Contains(string(first.Data), "script") {
		t.Errorf("the text shown is %q", first.Data)
	}
	if n.Rewrite(nil) != nil {
		t.Error("nil is an error")
	}
}

// TestRewriteMadeHeader has findings in a header that pip lines made shown at these lines.
func TestRewriteMadeHeader(t *testing.T) {
	n := read(t, "testdata/uv-pip.ipynb")
	header, _, _ := strings.Cut(string(n.Script), "\n\n")
	for i, line := range strings.Split(header, "\n") {
		want := ""
		switch {
		case strings.Contains(line, "scipy"):
			want = "testdata/uv-pip.ipynb (cell 1):1:1: x"
		case strings.Contains(line, "einops @"):
			want = "testdata/uv-pip.ipynb (cell 2):1:1: x"
		default:
			continue
		}
		got := n.Rewrite(&source.Error{File: "testdata/uv-pip.ipynb", Line: i + 1, Column: 30, Msg: "x"})
		if got.Error() != want {
			t.Errorf("line %d: got %v, want %s", i+1, got, want)
		}
	}
}
