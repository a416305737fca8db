package pysource

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tokenizeScript prints, for 400 files of the standard library, each logical line as Python's own
// tokenize module has it: its first and last line, the names in it and the number of its texts. What is
// inside of f-strings is left out: before 3.12, tokenize did not look into them.
const tokenizeScript = `
import glob, io, json, sysconfig, tokenize
paths = sorted(p for p in glob.glob(sysconfig.get_path("stdlib") + "/**/*.py", recursive=True) if "-packages/" not in p)
out = []
for path in paths[::max(1, len(paths) // 400)]:
    data = open(path, "rb").read()
    try:
        data.decode("utf-8")
        compile(data, path, "exec", dont_inherit=True)
        tokens = list(tokenize.tokenize(io.BytesIO(data).readline))
    except Exception:
        continue
    lines, names, texts, first, depth = [], [], 0, 0, 0
    for t in tokens:
        kind = tokenize.tok_name[t.type]
        if kind in ("ENCODING", "COMMENT", "NL", "INDENT", "DEDENT", "ENDMARKER"):
            continue
        if kind == "NEWLINE":
            if first:
                lines.append({"First": first, "Last": t.start[0], "Names": names, "Texts": texts})
            names, texts, first = [], 0, 0
            continue
        first = first or t.start[0]
        if kind.endswith("STRING_START"):
            depth += 1
        elif kind.endswith("STRING_END"):
            depth -= 1
        elif depth:
            continue
        elif kind == "NAME":
            names.append(t.string)
        elif kind == "STRING":
            prefix = t.string[:t.string.index(t.string[-1])].lower()
            texts += "f" not in prefix and "t" not in prefix
    out.append({"Path": path, "Lines": lines})
print(json.dumps(out))
`

type pythonLine struct {
	First, Last int
	Names       []string
	Texts       int
}

// TestAgainstPython compares the logical lines of the standard library with those of Python itself.
func TestAgainstPython(t *testing.T) {
	out, err := exec.Command("python3", "-c", tokenizeScript).Output()
	if err != nil {
		t.Fatalf("python3: %v", err)
	}
	var files []struct {
		Path  string
		Lines []pythonLine
	}
	if err := json.Unmarshal(out, &files); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, file := range files {
		text, err := os.ReadFile(file.Path)
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.TrimPrefix(string(text), "\ufeff")
		got := pythonLines(New(plain))
		// No Python looks like a magic, so a cell of it is the same.
		if diff := cmp.Diff(got, pythonLines(NewCell(plain))); diff != "" {
			t.Errorf("%s as a cell:\n%s", file.Path, diff)
		}
		lines += len(got)
		if len(got) > len(file.Lines) {
			t.Errorf("%s: %d logical lines, Python has %d", file.Path, len(got), len(file.Lines))
		}
		for i, want := range file.Lines {
			if i >= len(got) {
				t.Errorf("%s: %d logical lines, Python has %d", file.Path, len(got), len(file.Lines))
				break
			}
			if diff := cmp.Diff(want, got[i]); diff != "" {
				t.Errorf("%s:%d:\n%s", file.Path, want.First, diff)
				break
			}
		}
	}
	if len(files) < 100 || lines < 20_000 {
		t.Errorf("only %d files with %d lines were compared", len(files), lines)
	}
}

// pythonLines is our view of a text, as tokenizeScript shows Python's.
func pythonLines(s *Scanner) []pythonLine {
	var out []pythonLine
	for {
		line, ok := s.Next()
		if !ok {
			return out
		}
		l := pythonLine{First: line.First, Last: line.Last, Names: []string{}}
		depth := 0
		for _, token := range line.Tokens {
			piece := s.Text(token)
			switch {
			case token.Kind == FString:
				if piece[0] != '}' && piece[0] != ':' {
					depth++
				}
				if last := piece[len(piece)-1]; last == '"' || last == '\'' {
					depth--
				}
			case depth > 0:
			case token.Kind == Name || token.Kind == Escape:
				l.Names = append(l.Names, piece)
			case token.Kind == String:
				l.Texts++
			}
		}
		out = append(out, l)
	}
}
