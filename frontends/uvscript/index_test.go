package uvscript

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ibuild/ibuild/frontends/source"
)

// FuzzIndex compares positions with those that are counted from the beginning.
func FuzzIndex(f *testing.F) {
	f.Add("")
	f.Add("a\n\nä👍\nb")
	f.Add("\n" + strings.Repeat("ä", 700) + "\n" + strings.Repeat("x", 600))
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || len(text) > 5000 {
			return
		}
		x := newIndex([]byte(text))
		for at := range text + " " { // the end, too
			head := []byte(text[:at])
			line, characters := x.position(at)
			if want := bytes.Count(head, []byte("\n")); line != want {
				t.Fatalf("%d is in line %d, want %d", at, line, want)
			}
			if want := utf8.RuneCount(head[bytes.LastIndexByte(head, '\n')+1:]); characters != want {
				t.Fatalf("%d is after %d characters, want %d", at, characters, want)
			}
		}
	})
}

// TestLargeHeaders: reading takes time in proportion to the text, whatever is in it.
func TestLargeHeaders(t *testing.T) {
	var keys strings.Builder
	for i := range 1900 {
		fmt.Fprintf(&keys, "# k%d = [[], 'x', {a = 1}]\n", i)
	}
	for name, header := range map[string]string{
		"a list":            "# [tool.ibuild]\n# a = [" + strings.Repeat("\"curl\",", 100_000) + "]\n",
		"lists in a list":   "# [tool.ibuild]\n# a = [" + strings.Repeat("[], 'ä', ", 100_000) + "]\n",
		"bad requirements":  "# dependencies = [" + strings.Repeat("'bad bad',", 100_000) + "]\n",
		"a list in lines":   "# [tool.ibuild]\n# a = [\n" + strings.Repeat("#   'curl',\n", 100_000) + "# ]\n",
		"keys, a long line": "# [tool.ibuild.env]\n# x = \"" + strings.Repeat("x", 1<<20) + "\"\n" + keys.String(),
	} {
		src, err := source.New("s.py", "", []byte("# /// script\n"+header+"# ///\n"))
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		_, _ = ReadIn(nil, src) // that it ends is all that is looked at: in quadratic time it would take many minutes
		if took := time.Since(begin); took > 2*time.Minute {
			t.Errorf("%s: it took %v", name, took)
		}
	}
}
