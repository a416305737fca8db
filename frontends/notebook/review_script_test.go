package notebook

import (
	"strings"
	"testing"

	"github.com/ibuild/ibuild/frontends/uvscript"
)

// TestReviewCellsDoNotChangeTheHeader: what a cell says, in code, text, comments or magics, never becomes part of
// the script's header, and never a second one without an error.
func TestReviewCellsDoNotChangeTheHeader(t *testing.T) {
	evil := []string{
		"# /// script\n# dependencies = [\"evil\"]\n# ///", "# dependencies = [\"evil\"]\n# ///", "#\n# ///", "# ///",
		"%%timeit\n/// script\ndependencies = [\"evil\"]\n///", "%%timeit\n///", "%matplotlib\n# ///", "x = '''\n# /// script\n# dependencies = [\"evil\"]\n# ///\n'''",
		"%%writefile x\n# /// script\n# dependencies = [\"evil\"]\n# ///", "%env A=\\\n# ///", "%config a\\\n/// script\\\ndependencies = [\"evil\"]\\\n///",
		"%pip install rich==1.0 # \\\n# ///", "from __future__ import annotations\n# ///", "\f# ///", "display(1)\n# ///", "# ///\r\n", "x\r# /// script\r# dependencies = [\"evil\"]\r# ///\r",
	}
	for _, first := range []string{header, "%pip install rich==1.0", header + "# more\n", "\n\n" + header, "%pip install \"rich==1.0\" \"a @ https://h/a.whl\""} {
		for _, text := range evil {
			for _, list := range [][]string{{first, text}, {first + "\n" + text}, {text, first}} {
				n, err := Read(cells(t, list...))
				if err != nil {
					continue
				}
				src := cells(t)
				src.Data = n.Script
				s, err := uvscript.Read(src)
				if err != nil {
					continue
				}
				if strings.Contains(string(s.Header), "evil") {
					t.Errorf("%q: the header is\n%s", list, s.Header)
				}
			}
		}
	}
}

// FuzzReviewHeader: a later cell never changes the header that the first one has.
func FuzzReviewHeader(f *testing.F) {
	f.Add("# ///")
	f.Add("%%timeit\n/// script\n///")
	f.Add("x = 1\r# ///")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 500 {
			return
		}
		for _, first := range []string{header, "%pip install rich==1.0"} {
			want, err := Read(cells(t, first))
			if err != nil {
				t.Fatal(err)
			}
			src := cells(t)
			src.Data = want.Script
			before, err := uvscript.Read(src)
			if err != nil {
				t.Fatal(err)
			}
			n, err := Read(cells(t, first, text))
			if err != nil || strings.Contains(text, "pip") || strings.Contains(text, "uv") {
				continue
			}
			src.Data = n.Script
			after, err := uvscript.Read(src)
			if err == nil && string(after.Header) != string(before.Header) {
				t.Errorf("%q: the header is\n%s", text, after.Header)
			}
		}
	})
}
