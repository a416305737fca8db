package notebook

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibuild/ibuild/frontends/pysource"
	"github.com/ibuild/ibuild/frontends/source"
)

// cells makes a notebook of code cells.
func cells(t testing.TB, texts ...string) source.Source {
	t.Helper()
	list := []any{}
	for _, text := range texts {
		list = append(list, map[string]any{"cell_type": "code", "metadata": map[string]any{}, "outputs": []any{}, "source": text})
	}
	data, err := json.Marshal(map[string]any{"nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{}, "cells": list})
	if err != nil {
		t.Fatal(err)
	}
	src, err := source.New("nb.ipynb", "", data)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// check reads a notebook that must fail and compares the message.
func check(t *testing.T, src source.Source, want string) {
	t.Helper()
	_, err := Read(src)
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(err.Error(), "\n")); diff != "" {
		t.Error(diff)
	}
}

const header = "# /// script\n# dependencies = []\n# ///\n"

// TestErrors has the exact text of every complaint about a cell that follows a header.
func TestErrors(t *testing.T) {
	const skip = "or give the cell the tag skip-build"
	for _, test := range []struct{ name, text, want string }{
		{"bash", "x = 1\n%%bash\nls", "2:1: %%bash is not in the first line of its cell; move it there"},
		{"bash first", "%%bash\n%x\n!y", "1:1: %%bash runs shell commands, which works in a notebook only; call subprocess.run, " + skip},
		{"html", "\n%%html\n<b>", "2:1: %%html shows something in a notebook only; make it a Markdown cell, " + skip},
		{"other language", "%%ruby", "1:1: %%ruby runs another program, which works in a notebook only; call subprocess.run, " + skip},
		{"unknown cell magic", "%%sql\nselect", "1:1: %%sql is a magic, which works in a notebook only; write it in Python, " + skip},
		{"cell magic in another", "%%time\n%%capture\n%%bash\n!x", "3:1: %%bash runs shell commands, which works in a notebook only; call subprocess.run, " + skip},
		{"capture into a name", "%%capture out\nx", "1:1: %%capture keeps the cell's output in out, which works in a notebook only; use contextlib.redirect_stdout, or capture nothing"},
		{"time with a statement", "%%time x = 1", "1:1: %%time has a statement in its line; put it below"},
		{"writefile without a name", "%%writefile\nx", "1:1: %%writefile: the name of one file must follow; write the file with Python code"},
		{"writefile with a variable", "%%writefile {x}\nx", "1:1: %%writefile: the name of the file is known in a notebook only; write the file with Python code"},
		{"writefile with a quote", "%%file 'x\nx", "1:1: %%file: the name of the file has a quote that is not closed; write the file with Python code"},
		{"command", "if x:\n  !ls 'a (", "2:3: a shell command (!) works in a notebook only; call subprocess.run, " + skip},
		{"captured command", "ü = !ls", "1:5: a shell command (!) works in a notebook only; call subprocess.run, " + skip},
		{"apt", "!sudo apt-get install git", "1:1: a shell command (!) works in a notebook only; list the packages in an image spec, " + skip},
		{"run", "%run a.py", "1:1: %run is a magic, which works in a notebook only; import the script, or call runpy.run_path"},
		{"store", "%store x", "1:1: %store is a magic, which works in a notebook only; write the value to a file"},
		{"pylab", "%pylab", "1:1: %pylab is a magic, which works in a notebook only; import numpy and matplotlib by name"},
		{"conda", "%conda install x", "1:1: %conda is a magic, which works in a notebook only; list the packages in an image spec, or in the header if they are on PyPI"},
		{"assigned magic", "x = %env HOME", "1:5: %env is a magic, which works in a notebook only; use os.environ"},
		{"assigned pip", "x = %pip list", "1:5: %pip is a magic, which works in a notebook only; write it in Python, " + skip},
		{"env with a name", "%env X=$HOME", `1:1: %env: the value is known in a notebook only; write os.environ["NAME"] = … instead`},
		{"env with spaces", "%env X Y=1", `1:1: %env: the name of the variable has spaces or is missing; write os.environ["NAME"] = … instead`},
		{"cd back", "%cd -", "1:1: %cd must name one folder that is known before the notebook runs; write os.chdir(…) instead"},
		{"cd home", "%cd", "1:1: %cd must name one folder that is known before the notebook runs; write os.chdir(…) instead"},
		{"help before", "?len", "1:1: help (?) is shown in a notebook only; remove the line"},
		{"help after", "a.b??", "1:1: help (?) is shown in a notebook only; remove the line"},
		{"magic within a magic", "x = 1\ny = %time %timeit x", "2:5: %time before another magic works in a notebook only; " + strings.TrimPrefix(skip, "or ")},
		{"help for a magic", "%time?", "1:1: help (?) is shown in a notebook only; remove the line"},
		{"automatic call", "/f 1 2", `1:1: a line that begins with "/" is a call in a notebook only; write the call with parentheses`},
		{"prompt", ">>> x", "1:1: the prompt >>> is no Python; remove the prompts"},
		{"pip without a magic", "pip install x", "1:1: pip without a % is a command of a notebook only; write %pip"},
		{"get_ipython", "x = get_ipython()", "1:5: get_ipython is there in a notebook only; remove it, or give the cell the tag skip-build"},
		{"get_ipython and its methods", "from IPython import get_ipython\nget_ipython().system('ls')", "2:1: get_ipython is there in a notebook only; remove it, or give the cell the tag skip-build"},
		{"await", "def f():\n  await x\nif y:\n  await z", "4:3: await outside of a function works in a notebook only; put it into an async function and call that with asyncio.run"},
		{"async with", "async with x:\n  pass", "1:1: async outside of a function works in a notebook only; put it into an async function and call that with asyncio.run"},
		{"future and more", "from __future__ import x; y", "1:25: another statement in the line of a __future__ import; put it into a line of its own"},
		{"open bracket", "x\nf(a,\n", "2:2: the bracket ( is not closed in this cell"},
		{"open text", "x = '''\na", "1:5: a text is not closed in this cell"},
		{"indented cell", "  x\n  !y", "2:3: a shell command (!) works in a notebook only; call subprocess.run, " + skip},
		{"second header", "x\n" + header, "2:1: the header (PEP 723) is not in the first code cell; move it there"},
		{"pip beside the header", "%pip install a==1 'b>2'", `1:1: the notebook has a header, so pip lines are not run; add "a==1", "b>2" to its dependencies and remove the line`},
		{"all at once", "!a\n%run b\nx = !c", "1:1: a shell command (!) works in a notebook only; call subprocess.run, " + skip +
			"\nnb.ipynb (cell 2):2:1: %run is a magic, which works in a notebook only; import the script, or call runpy.run_path" +
			"\nnb.ipynb (cell 2):3:5: a shell command (!) works in a notebook only; call subprocess.run, " + skip},
	} {
		t.Run(test.name, func(t *testing.T) {
			check(t, cells(t, header, test.text), "nb.ipynb (cell 2):"+test.want)
		})
	}
}

// TestHeaderErrors is about notebooks without a header.
func TestHeaderErrors(t *testing.T) {
	const (
		pin  = `; pin them with ==, or begin the first code cell with these lines: "# /// script", "# dependencies = [`
		none = "the notebook has no header (PEP 723), so its dependencies are not known; begin the first code cell with these lines: \"# /// script\", \"# dependencies = [\\\"numpy\\\"]\", \"# ///\""
	)
	for _, test := range []struct{ name, text, want string }{
		{"none", "import sys", "1:1: " + none},
		{"loose", "x\n!pip install numpy pandas==2.2.2 'rich>=13'", `2:1: pip installs whatever version there is of numpy, rich>=13` + pin + `\"numpy\", \"pandas==2.2.2\", \"rich>=13\"]", "# ///"`},
		{"wildcard", "%pip install a==1.*", `1:1: pip installs whatever version there is of a==1.*` + pin + `\"a==1.*\"]", "# ///"`},
		{"two versions", "%pip install a_b==1\n%pip install A.B==2", "2:1: two pip lines ask for different versions of a-b; keep one"},
		{"two indexes", "%pip install a==1 -i https://a\n%pip install b==1 --index-url=https://b", "2:1: two pip lines name different indexes instead of PyPI; keep one, the other as --extra-index-url"},
		{"file", "%pip install -r requirements.txt", "1:1: pip install -r has no place in a header; list the requirements of the file in the line, pinned"},
		{"file without a space", "!pip install -rx.txt a==1", "1:1: pip install -r has no place in a header; list the requirements of the file in the line, pinned"},
		{"editable", "!pip install -e .", "1:1: pip install -e has no place in a header; publish the package to an index or name it by a URL"},
		{"unknown option", "!pip install --no-deps a==1", "1:1: pip install --no-deps has no place in a header; remove it, or write the header (PEP 723) by hand"},
		{"option without a value", "!pip install a==1 -i", "1:1: -i has no value"},
		{"local", "!pip install ./a", `1:1: local packages ("./a") are not supported; publish the package to an index or name it by a URL`},
		{"URL alone", "!pip install git+https://h/x", `1:1: "git+https://h/x" does not say which package it is; write "name @ git+https://h/x"`},
		{"not a requirement", "!pip install 'a b'", `1:1: "a b" is not a requirement; write e.g. numpy==2.1.0`},
		{"nothing", "!pip install -q", "1:1: pip install names no package; remove the line"},
		{"redirect", "!pip install numpy>=2", `1:1: the shell reads > as a redirect, not as part of a version; quote the requirement and pin it, e.g. "numpy==2.1.0"`},
		{"two commands", "!pip install a==1 && pip install b==1", "1:1: the pip line has more than one command (&); give each its own line"},
		{"variable", "%pip install 'a=={v}'", "1:1: the pip line has a part ({) that is known in a notebook only; write it out"},
		{"quote", "!pip install 'a", "1:1: the pip line has a quote that is not closed"},
		{"uninstall", "!pip uninstall a", "1:1: pip uninstall works in a notebook only; remove the line"},
		{"uv add", "%uv add a", "1:1: %uv is a magic, which works in a notebook only; write it in Python, or give the cell the tag skip-build"},
	} {
		t.Run(test.name, func(t *testing.T) {
			check(t, cells(t, test.text), "nb.ipynb (cell 1):"+test.want)
		})
	}
}

// TestNotebookErrors is about what is wrong with the file.
func TestNotebookErrors(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", "nb.ipynb:1:1: the notebook is not valid JSON: unexpected end of JSON input; open it in Jupyter and save it again"},
		{"no JSON", "{\n\"cells\": [x]}", "nb.ipynb:2:11: the notebook is not valid JSON: invalid character 'x' looking for beginning of value; open it in Jupyter and save it again"},
		{"cut off", `{"nbformat": 4, "cells": [{"source": "`, "nb.ipynb:1:38: the notebook is not valid JSON: unexpected end of JSON input; open it in Jupyter and save it again"},
		{"list", "[]", "nb.ipynb: this is not a notebook: it is not a JSON object"},
		{"more", `{"nbformat": 4} {}`, "nb.ipynb:1:17: the notebook is not valid JSON: invalid character '{' after top-level value; open it in Jupyter and save it again"},
		{"no format", `{"cells": []}`, `nb.ipynb: this is not a notebook: it has no "nbformat"`},
		{"format 3", `{"nbformat": 3, "worksheets": []}`, "nb.ipynb: the notebook has the old format 3; convert it: jupyter nbconvert --to notebook --nbformat 4 --inplace nb.ipynb"},
		{"format 5", `{"nbformat": 5}`, "nb.ipynb: the notebook has format 5, which is not known; save it as format 4"},
		{"format as a text", `{"nbformat": "4"}`, "nb.ipynb: the value must not be a JSON string"},
		{"kernel", `{"nbformat": 4, "metadata": {"kernelspec": {"name": "ir", "language": "R"}}}`, "nb.ipynb: the notebook is written in R; only Python notebooks can be built"},
		{"language", `{"nbformat": 4, "metadata": {"language_info": {"name": "julia"}}}`, "nb.ipynb: the notebook is written in julia; only Python notebooks can be built"},
		{"no cells", `{"nbformat": 4, "cells": []}`, "nb.ipynb: the notebook has no code"},
		{"cells", `{"nbformat": 4, "cells": {}}`, `nb.ipynb: "cells" must be a list`},
		{"cell", `{"nbformat": 4, "cells": [{"cell_type": "raw"}, 1]}`, "nb.ipynb (cell 2): the value must not be a JSON number"},
		{"cell language", `{"nbformat": 4, "cells": [{"cell_type": "code", "metadata": {"vscode": {"languageId": "sql"}}}]}`, "nb.ipynb (cell 1): the cell is written in sql; only Python cells can be built: give the cell the tag skip-build"},
		{"tags", `{"nbformat": 4, "cells": [{"cell_type": "code", "metadata": {"tags": "x"}}]}`, `nb.ipynb (cell 1): the cell's "tags" must be a list of texts`},
		{"no source", `{"nbformat": 4, "cells": [{"cell_type": "code"}]}`, `nb.ipynb (cell 1): the cell's "source" must be a text or a list of texts`},
		{"source", `{"nbformat": 4, "cells": [{"cell_type": "code", "source": [["x"]]}]}`, `nb.ipynb (cell 1): the cell's "source" must be a text or a list of texts`},
	} {
		t.Run(test.name, func(t *testing.T) {
			src, err := source.New("nb.ipynb", "", []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			check(t, src, test.want)
		})
	}
}

func TestLimits(t *testing.T) {
	large := strings.Repeat("x = 1\n", source.ScriptLimit/6)
	check(t, cells(t, header, large), "nb.ipynb (cell 2): the notebook's code is larger than the limit of 16 MiB")

	many := `{"nbformat": 4, "cells": [` + strings.Repeat(`{"cell_type":"raw"},`, cellLimit) + `{}]}`
	src, err := source.New("nb.ipynb", "", []byte(many))
	if err != nil {
		t.Fatal(err)
	}
	check(t, src, "nb.ipynb (cell 50001): more than 50000 cells")
}

// TestShownText has the cell's text in the finding, for the lines below the message.
func TestShownText(t *testing.T) {
	_, err := Read(cells(t, header, "a\n!b"))
	var found source.Errors
	found.Collect(err)
	if len(found) != 1 || string(found[0].Data) != "a\n!b" {
		t.Errorf("%+v", found)
	}
}

// FuzzRead gives any bytes to the reader.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"nbformat": 4, "cells": [{"cell_type": "code", "source": ["# /// script\n", "# ///"], "metadata": {"tags": []}}]}`))
	f.Add([]byte(`{"cells": [{}, null, {"cell_type": "code", "source": null}], "metadata": {"kernelspec": null}, "nbformat": 4}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		src, err := source.New("nb.ipynb", "", data)
		if err != nil {
			return
		}
		if n, err := Read(src); err == nil && len(n.Script) == 0 {
			t.Fatal("neither a script nor an error")
		}
	})
}

// FuzzCells wants, of a notebook of two cells that is accepted, a script with a place for each line
// and without any line that is a notebook's.
func FuzzCells(f *testing.F) {
	for _, s := range [][2]string{
		{header, "%%time\nx = %time y\n"}, {header + "x", "%%writefile 'a b'\nx\n"}, {"%pip install a==1 \\\n b==2\n", "  if x:\n    !pip list\n"},
		{"\n  # /// script\n  # ///\n%cd x", "from __future__ import (a,\nb)\ndisplay(1)"}, {"%uv pip install -i u a@b://c", "%env a b\n%timeit \\\nx"},
		{header, "x = \\\n%time y \\\n"}, {header, "f'{x:\n%time"}, {header, "%%timeit\n%%bash"}, {"#///sCript", "=!"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		src := cells(t, first, second)
		n, err := Read(src)
		if err != nil {
			var found source.Errors
			found.Collect(err)
			for _, e := range found {
				if e.Line > strings.Count(string(e.Data), "\n")+1 {
					t.Fatalf("%v is behind the end of %q", e, e.Data)
				}
			}
			return
		}
		script := string(n.Script)
		if lines := strings.Count(script, "\n"); lines != len(n.places) {
			t.Fatalf("%d places for %d lines", len(n.places), lines)
		}
		if !n.HasHeader && !strings.HasPrefix(script, opening+"\n") {
			t.Fatalf("no header: %q", script)
		}
		s := pysource.NewCell(script)
		for {
			line, ok := s.Next()
			if !ok {
				break
			}
			for _, token := range line.Tokens {
				if token.Kind == pysource.Escape {
					t.Fatalf("%q is left in %q", s.Text(token), script)
				}
			}
		}
	})
}
