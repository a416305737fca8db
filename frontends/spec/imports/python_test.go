package imports

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// astScript prints the import statements of 200 files of the standard library, as Python's parser has
// them.
const astScript = `
import ast, glob, json, sysconfig
paths = sorted(p for p in glob.glob(sysconfig.get_path("stdlib") + "/**/*.py", recursive=True) if "-packages/" not in p)
out = []
for path in paths[::max(1, len(paths) // 200)]:
    try:
        module = ast.parse(open(path, "rb").read())
    except Exception:
        continue
    found = []
    for n in ast.walk(module):
        if isinstance(n, ast.Import):
            found += [{"Module": a.name} for a in n.names]
        if isinstance(n, ast.ImportFrom):
            found.append({"Level": n.level, "Module": n.module or "", "Names": [a.name for a in n.names], "From": True})
    out.append({"Path": path, "Imports": found})
print(json.dumps(out))
`

type pythonImport struct {
	Level  int
	Module string
	Names  []string
	From   bool
}

func sortImports(list []pythonImport) []pythonImport {
	slices.SortFunc(list, func(a, b pythonImport) int {
		return cmp.Or(cmp.Compare(a.Module, b.Module), cmp.Compare(a.Level, b.Level), cmp.Compare(strings.Join(a.Names, ","), strings.Join(b.Names, ",")))
	})
	return list
}

// TestStatementsAgainstPython compares the import statements of the standard library with those that
// Python's own parser finds.
func TestStatementsAgainstPython(t *testing.T) {
	out, err := exec.Command("python3", "-c", astScript).Output()
	if err != nil {
		t.Fatalf("python3: %v", err)
	}
	var files []struct {
		Path    string
		Imports []pythonImport
	}
	if err := json.Unmarshal(out, &files); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, file := range files {
		text, err := os.ReadFile(file.Path)
		if err != nil {
			t.Fatal(err)
		}
		var got []pythonImport
		for _, st := range read(strings.TrimPrefix(string(text), "\ufeff")).statements {
			if !st.optional {
				got = append(got, pythonImport{Level: st.level, Module: st.module, Names: st.names, From: st.from})
			}
		}
		count += len(got)
		want := slices.Clip(file.Imports)
		if len(want) == 0 {
			want = nil
		}
		if diff := gocmp.Diff(sortImports(want), sortImports(got)); diff != "" {
			t.Errorf("%s:\n%s", file.Path, diff)
		}
	}
	if len(files) < 100 || count < 500 {
		t.Errorf("only %d files with %d imports were compared", len(files), count)
	}
}

// finderScript prints the files below a folder that Python's modulefinder finds for a program.
const finderScript = `
import modulefinder, os, sys
root, program = sys.argv[1:]
f = modulefinder.ModuleFinder(path=[os.path.dirname(program), root, os.path.join(root, "src")] + sys.path[1:])
f.run_script(program)
for m in f.modules.values():
    if m.__file__ and m.__file__.startswith(root + os.sep):
        print(os.path.relpath(m.__file__, root))
`

// TestFindAgainstPython compares a whole program with what modulefinder has. It knows neither namespace
// packages nor __all__ nor import_module; these are in TestFind.
func TestFindAgainstPython(t *testing.T) {
	dir, fsys := tree(t, map[string]string{
		"app/main.py":                "import os, json\nfrom shop import models as m, views\nimport tools.text\ndef f():\n    from shop.cart import Cart\nif f: import near\n",
		"app/near.py":                "import shop.late\n",
		"app/far.py":                 "",
		"shop/__init__.py":           "from .version import VERSION\n",
		"shop/version.py":            "VERSION = '1'\n",
		"shop/models.py":             "from . import fields, version\nfrom .sub.deep import (\n    thing,  # a comment\n    other as o,\n)\n",
		"shop/fields.py":             "try:\n    import simplejson as json\nexcept ImportError:\n    import json\n",
		"shop/views.py":              "'''\nimport unused\n'''\nx = f\"import unused {1}\"; import logging; from .models import *\n",
		"shop/cart.py":               "class Cart:\n    from .sub import tax\n",
		"shop/late.py":               "import shop.sub.deep.thing\n",
		"shop/unused.py":             "",
		"shop/sub/__init__.py":       "",
		"shop/sub/tax.py":            "from ..version import VERSION\nfrom ... import nothing\n",
		"shop/sub/deep/__init__.py":  "from . import other\n",
		"shop/sub/deep/thing.py":     "from .. import tax\n",
		"shop/sub/deep/other.py":     "import shop\n",
		"src/tools/__init__.py":      "",
		"src/tools/text.py":          "from tools.words import \\\n    split\n",
		"src/tools/words.py":         "split = str.split\n",
		"src/tools/numbers.py":       "",
		"unused.py":                  "",
		"shop/sub/deep/unused.py":    "",
		"src/unused/__init__.py":     "",
		"shop/sub/deep/data/text.md": "import unused",
	})
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	// The relative import above the package is an error for Python's finder as for Python.
	cmd := exec.Command("python3", "-c", finderScript, real, filepath.Join(real, "app/main.py"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python3: %v", err)
	}
	want := strings.Fields(string(out))
	slices.Sort(want)
	got, err := Find(fsys, []string{"app/main.py"}, []string{"src"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(want, got.Files); diff != "" {
		t.Error(diff)
	}
	if len(want) < 15 {
		t.Errorf("Python finds %v only", want)
	}
}
