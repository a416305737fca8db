package uvscript

import (
	"regexp"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/frontends/source"
)

// TestErrors has the exact text of every complaint.
func TestErrors(t *testing.T) {
	in := func(toml string) string {
		return "#!/usr/bin/env python3\n# /// script\n# " + strings.ReplaceAll(toml, "\n", "\n# ") + "\n# ///\n"
	}
	for _, test := range []struct{ name, text, want string }{
		{"no header", "print(1)\n", `s.py:1:1: the script has no header (PEP 723), so its dependencies are not known; begin it with these lines: "# /// script", "# dependencies = [\"numpy\"]", "# ///"`},
		{"empty file", "", `s.py:1:1: the script has no header (PEP 723), so its dependencies are not known; begin it with these lines: "# /// script", "# dependencies = [\"numpy\"]", "# ///"`},
		{"other block only", "# /// pyproject\n# a = 1\n# ///\n", `s.py:1:1: the script has no header (PEP 723), so its dependencies are not known; begin it with these lines: "# /// script", "# dependencies = [\"numpy\"]", "# ///"`},
		{"near miss", "x\n#/// script\n# ///\n", `s.py:2:1: this is not quite a header; the line must be exactly "# /// script"`},
		{"space after", "# /// script \n# ///\n", `s.py:1:1: this is not quite a header; the line must be exactly "# /// script"`},
		{"two blocks", "# /// script\n# ///\n\n# /// script\n# ///\n", "s.py:4:1: a second script block, the first is in line 1; a script has one; put their contents together"},
		{"adjacent blocks", "# /// script\n# dependencies = []\n# ///\n# /// script\n# dependencies = []\n# ///\n", "s.py:4:1: a second script block begins inside the one of line 1; a script has one; put its contents together"},
		{"inside another", "# /// x\n# a\n# ///\n# /// script\n# dependencies = []\n# ///\n", "s.py:4:1: the script block is inside the x block of line 1; put an empty line between the two"},
		{"unclosed", "# /// script\n# dependencies = []\n", `s.py:1:1: the script block is not closed; end it with the line "# ///"`},
		{"unclosed by an empty line", "# /// script\n# dependencies = []\n\n# ///\n", `s.py:1:1: the script block is not closed; end it with the line "# ///"`},
		{"unclosed by a missing space", "\n# /// script\n#dependencies = []\n# ///\n", `s.py:2:1: the script block is not closed; line 3 must begin with "# "`},
		{"unclosed by a trailing space", "# /// script\n# ///  \n", `s.py:1:1: the script block is not closed; line 2 has spaces after # ///`},
		{"toml", in("dependencies = [\n  \"a\n]"), "s.py:4:7: the header is not valid TOML: basic strings cannot have new lines"},
		{"toml key twice", in("dependencies = []\ndependencies = []"), "s.py:4:3: the header is not valid TOML: key dependencies is already defined"},
		{"toml at the end", in("dependencies = ["), "s.py:3:19: the header is not valid TOML: array is incomplete"},
		{"python kind", in("requires-python = 3.11"), `s.py:3:3: requires-python must be a text; write requires-python = ">=3.11"`},
		{"python syntax", in(`requires-python = "3.11"`), `s.py:3:21: requires-python: "3.11" does not begin with one of === ~= == != <= >= < >; write e.g. ">=3.11" or ">=3.11,<3.13"`},
		{"python caret", in(`requires-python = "^3.11"`), `s.py:3:21: requires-python: "^3.11" does not begin with one of === ~= == != <= >= < >; write e.g. ">=3.11" or ">=3.11,<3.13"`},
		{"python too new", in(`requires-python = ">=4"`), `s.py:3:21: no supported Python meets requires-python = ">=4"; supported are the newest patch releases of 3.14, 3.13, 3.12, 3.11, 3.10`},
		{"dependencies kind", in(`dependencies = "numpy"`), `s.py:3:3: dependencies must be a list of texts; write e.g. ["numpy>=2"]`},
		{"dependency kind", in(`dependencies = [1]`), `s.py:3:3: dependencies must be a list of texts; write e.g. ["numpy>=2"]`},
		{"dependency", in("dependencies = [\n  # ä\n  \"é>1\",\n  'numpy=>2',\n]"), `s.py:5:6: "é>1" is not a requirement: "é>1" does not begin with the name of a package; write e.g. numpy>=2 (PEP 508)` + "\n" +
			`s.py:6:11: "numpy=>2" is not a requirement: "=>2" does not begin with one of === ~= == != <= >= < >; write e.g. numpy>=2 (PEP 508)`},
		{"escaped dependency", in(`dependencies = ["\u006eumpy=>2"]`), `s.py:3:19: "numpy=>2" is not a requirement: "=>2" does not begin with one of === ~= == != <= >= < >; write e.g. numpy>=2 (PEP 508)`},
		{"local dependency", in(`dependencies = ["x @ file:///tmp/x"]`), `s.py:3:19: "x @ file:///tmp/x" is a path on this machine; name the package alone, and its path, relative to the script, in [tool.uv.sources]`},
		{"password", in(`dependencies = ["x @ https://u:geheim@h/x.whl"]`), "s.py:3:19: a URL has a password in it, which would end up in the image's cache and history; give the index a name and its password as a secret, or use a .netrc file"},
		{"index password", in("[[tool.uv.index]]\nurl = 'https://u:geheim@h/simple'"), "s.py:4:9: a URL has a password in it, which would end up in the image's cache and history; give the index a name and its password as a secret, or use a .netrc file"},
		{"inline index password", in("[tool.uv]\nindex = [{ url = 'https://u:geheim@h/simple' }]"), "s.py:4:20: a URL has a password in it, which would end up in the image's cache and history; give the index a name and its password as a secret, or use a .netrc file"},
		{"path source", in("[tool.uv.sources]\nx = { path = '../x', editable = true }"), `s.py:4:16: the source of x: the project folder "../x" is outside the folder of the spec; move it into the folder and write a relative path, with /`},
		{"dotted path source", in("tool.uv.sources.x.path = '../x'"), `s.py:3:28: the source of x: the project folder "../x" is outside the folder of the spec; move it into the folder and write a relative path, with /`},
		{"listed path source", in("[tool.uv.sources]\nx = [{ path = '../x', marker = \"os_name == 'a'\" }]"), `s.py:4:17: the source of x: the project folder "../x" is outside the folder of the spec; move it into the folder and write a relative path, with /`},
		{"workspace source", in("[tool.uv.sources]\nx.workspace = true"), "s.py:4:3: the source of x is a workspace, which a script has none of; name it by path, git or url"},
		{"git on this machine", in("[tool.uv.sources]\nx = { git = 'file:///srv/x' }"), "s.py:4:15: the source of x is a file URL, which leads to another place in every build; name it by path, relative to the script, or by a https URL"},
		{"find-links", in("[tool.uv]\nfind-links = ['https://h/x', 'wheels']"), `s.py:4:32: find-links: the folder "wheels" is on this machine, and not in the build; name an index by its URL, or a package by its path in [tool.uv.sources]`},
		{"index folder", in("[[tool.uv.index]]\nurl = 'wheels'"), `s.py:4:9: url: the folder "wheels" is on this machine, and not in the build; name an index by its URL, or a package by its path in [tool.uv.sources]`},
		{"unknown key", in("requires_python = '>=3.11'\nname = 'x'\ndependancies = []"), `s.py:3:3: unknown key "requires_python"; did you mean "requires-python"?` + "\n" +
			`s.py:5:3: unknown key "dependancies"; did you mean "dependencies"?`},
		{"pixi's table", in("[tool.pixi.dependencies]\nx = '*'"), "s.py:3:4: [tool.pixi] is for pixi, and this script is installed by uv; name it as pixi_script in an image spec, or remove the table"},
	} {
		t.Run(test.name, func(t *testing.T) {
			src, err := source.New("s.py", t.TempDir(), []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			_, err = Read(src)
			if err == nil {
				t.Fatal("no error")
			}
			if err.Error() != test.want {
				t.Errorf("got  %s\nwant %s", err, test.want)
			}
		})
	}
}

func TestSupportedSources(t *testing.T) {
	text := `# /// script
# dependencies = ["torch", "x", "y"]
# [tool.uv.sources]
# torch = { index = "pytorch" }
# x = { git = "https://h/x", tag = "v1" }
# y = { url = "https://h/y.whl" }
# [[tool.uv.index]]
# name = "pytorch"
# url = "https://${USER}:${TOKEN}@h/whl"
# [tool.ruff]
# path = "x"
# ///
`
	src, err := source.New("s.py", t.TempDir(), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(src); err != nil {
		t.Error(err)
	}
}

// reference is PEP 723's own regular expression.
var reference = regexp.MustCompile(`(?m)^# /// ([a-zA-Z0-9-]+)$\s((?:^#(?:| .*)$\s)+)^# ///$`)

// FuzzParse compares the block that is found with the one of PEP 723's expression, and looks for panics
// in everything that follows.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"# /// script\n# dependencies = []\n# ///\n", "# /// script\n#\n# ///\n# ///", "# /// a\n# ///\n# ///\n# /// script\n# x\n# ///\n",
		"# /// script\n# [tool.uv.sources]\n# x = {path = 'y'}\n# ///", "# /// script\r\n# requires-python = '>=3'\r\n# ///\r\n",
		"# /// script\n# dependencies = [{a = [{b = 1}]}, 'x']\n# ///\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		src, err := source.New("s.py", "/nonexistent", []byte(text))
		if err != nil {
			return
		}
		b, err := find(src)
		if _, lerr := Read(src); err != nil && lerr == nil {
			t.Fatal("a script without a block has a plan")
		}
		lf := strings.ReplaceAll(string(src.Data), "\r\n", "\n")
		if strings.Contains(lf, "\r") {
			return // a lone CR is a character here and a space for the expression
		}
		var scripts []string
		for _, m := range reference.FindAllStringSubmatch(lf, -1) {
			if m[1] == "script" {
				scripts = append(scripts, m[2])
			}
		}
		switch {
		case err == nil && len(scripts) == 0 && len(b.lines) > 2:
			t.Fatalf("found %q, the PEP finds none", b.lines)
		case err == nil && len(scripts) == 1:
			if got := strings.Join(b.lines[1:len(b.lines)-1], "\n") + "\n"; got != scripts[0] {
				t.Fatalf("found %q, the PEP %q", got, scripts[0])
			}
		case err == nil && len(scripts) > 1:
			t.Fatal("two blocks are no error")
		case err != nil && len(scripts) == 1 && !strings.Contains(lf, "\n"+opening) && !strings.HasPrefix(lf, opening):
			t.Fatalf("%v, the PEP finds %q", err, scripts[0])
		}
	})
}
