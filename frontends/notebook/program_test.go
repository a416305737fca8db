package notebook

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/frontends/source"
)

// program is the script of a notebook with these cells.
func program(t *testing.T, cells ...string) (Notebook, error) {
	t.Helper()
	type codeCell struct {
		CellType string   `json:"cell_type"`
		Source   string   `json:"source"`
		Metadata struct{} `json:"metadata"`
	}
	doc := map[string]any{"nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{}}
	var list []codeCell
	for _, c := range cells {
		list = append(list, codeCell{CellType: "code", Source: c})
	}
	doc["cells"] = list
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	src, err := source.New("nb.ipynb", "", data)
	if err != nil {
		t.Fatal(err)
	}
	return ReadProgram(src)
}

// TestProgramOutput runs scripts with Python: what is printed, and the results of the cells, in their order.
func TestProgramOutput(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3 to run the scripts")
	}
	cases := map[string]struct {
		cells []string
		want  string
	}{
		"a value":               {[]string{"x = 3\nx + 1"}, "4\n"},
		"between printed lines": {[]string{"print('a')\n'b'", "print('c')\n'd'"}, "a\n'b'\nc\n'd'\n"},
		"nothing for None":      {[]string{"print('a')", "None"}, "a\n"},
		"a semicolon hides it":  {[]string{"1;", "2"}, "2\n"},
		"the last of several":   {[]string{"a = 1; a + 1"}, "2\n"},
		"a tuple":               {[]string{"1, 2"}, "(1, 2)\n"},
		"an unpacked tuple":     {[]string{"*[1, 2], 3"}, "(1, 2, 3)\n"},
		"over several lines":    {[]string{"max(\n  1,  # one\n  2)"}, "2\n"},
		"a continued line":      {[]string{"1 + \\\n  2"}, "3\n"},
		"a comment after it":    {[]string{"7  # seven"}, "7\n"},
		"an assignment":         {[]string{"x = 1", "x += 1", "y: int = 2"}, ""},
		"a comparison":          {[]string{"1 == 1"}, "True\n"},
		"a keyword argument":    {[]string{"dict(a=1)"}, "{'a': 1}\n"},
		"a text":                {[]string{`"""two` + "\n" + `lines"""`}, "'two\\nlines'\n"},
		"a block":               {[]string{"for i in [1]:\n    i", "if True: 5"}, ""},
		"a loop before it":      {[]string{"for i in [1, 2]:\n    pass\ni"}, "2\n"},
		"a decorated function":  {[]string{"@staticmethod\ndef f(): pass"}, ""},
		"an f-string":           {[]string{"n = 1\nf'{n:03d}'"}, "'001'\n"},
		"not":                   {[]string{"not 1"}, "False\n"},
		"display":               {[]string{"display('x')"}, "x\n"},
		"an indented cell":      {[]string{"  x = 1\n  x"}, "1\n"},
		"a magic at the end":    {[]string{"5\n%matplotlib inline"}, ""},
		"a timed cell":          {[]string{"%%time\n6"}, "6\n"},
		"letters of all kinds":  {[]string{"ä = 'é'\nä"}, "'é'\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			nb, err := program(t, c.cells...)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "nb.py")
			if err := os.WriteFile(file, nb.Script, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), python, file)
			cmd.Env = append(os.Environ(), "PYTHONIOENCODING=utf-8")
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != c.want {
				t.Errorf("%v, printed %q, want %q\n%s", err, out, c.want, nb.Script)
			}
		})
	}
}

// TestProgramHeader is what a program need not have.
func TestProgramHeader(t *testing.T) {
	nb, err := program(t, "1")
	if err != nil || strings.Contains(string(nb.Script), opening) {
		t.Errorf("without a header: %v\n%s", err, nb.Script)
	}
	nb, err = program(t, "!pip install -q keras\nimport keras")
	if err != nil || nb.HasHeader || !strings.HasPrefix(string(nb.Script), opening+"\n# dependencies = [\n#   \"keras\",\n# ]\n# ///\n") {
		t.Errorf("a pip line without a version: %v\n%s", err, nb.Script)
	}
}

// FuzzProgram looks for cells that make ReadProgram panic, or lose lines.
func FuzzProgram(f *testing.F) {
	for _, s := range []string{"x", "a;b", "(\n1)", "\\\n1", "'''", "x = [", "\r\nx\r\n", "%%time\nx", "@d", "lambda: 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		doc := document{format: 4, cells: []rawCell{{number: 1, text: text}}}
		plain, plainErr := translate(&translator{name: "nb", bound: map[string]bool{}, program: true}, doc)
		if plainErr != nil {
			return
		}
		shown := strings.NewReplacer(showBegin, "", showEnd, "")
		if strings.Contains(text, "displayhook") || strings.Contains(text, showEnd) {
			return
		}
		image, err := translate(&translator{name: "nb", bound: map[string]bool{}}, document{format: 4, cells: []rawCell{{number: 1, text: text}}})
		if err == nil && shown.Replace(string(plain.Script)) != string(image.Script) {
			t.Errorf("more than the display is different:\n%s\n%s", plain.Script, image.Script)
		}
	})
}
