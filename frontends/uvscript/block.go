package uvscript

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/ibuild/ibuild/frontends/source"
)

const (
	opening = "# /// script"
	closing = "# ///"
)

// block is the script block of a file.
type block struct {
	first, last int      // lines of the opening and the closing one, from 1
	lines       []string // all lines of it, those two included, without line ends
}

// bytes is the block alone, with LF line ends: all that the dependency step is given.
func (b block) bytes() []byte { return []byte(strings.Join(b.lines, "\n") + "\n") }

// toml is the embedded document: each line without the # and the space after it.
func (b block) toml() []byte {
	var out strings.Builder
	for _, l := range b.lines[1 : len(b.lines)-1] {
		out.WriteString(l[prefix(l):])
		out.WriteByte('\n')
	}
	return []byte(out.String())
}

// place turns a position in the embedded document, its column counted in bytes, into one in the script.
func (b block) place(line, column int) (int, int) {
	line = min(max(line, 1), len(b.lines)-1) // an error at the document's end is at the closing line
	text := b.lines[line]
	if line == len(b.lines)-1 {
		return b.first + line, 1
	}
	at := min(prefix(text)+max(column, 1)-1, len(text))
	return b.first + line, utf8.RuneCountInString(text[:at]) + 1
}

// prefix is how much of a line belongs to the comment.
func prefix(line string) int { return min(len("# "), len(line)) }

// content says whether a line may stand in a block.
func content(line string) bool { return line == "#" || strings.HasPrefix(line, "# ") }

// start is the type of the block that a line opens, "" when it opens none.
func start(line string) string {
	kind, ok := strings.CutPrefix(line, "# /// ")
	if !ok || kind == "" || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
		return ""
	}
	return kind
}

// HasHeader says whether a script has a header, well formed or not: a line that opens one.
func HasHeader(script []byte) bool {
	for line := range bytes.Lines(script) {
		if start(strings.TrimRight(string(line), "\r\n")) == "script" {
			return true
		}
	}
	return false
}

// find returns the script block of a file.
func find(src source.Source) (block, error) {
	lines := strings.Split(string(src.Data), "\n")
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	fail := func(line int, msg, hint string) error {
		return source.Errors{{File: src.Name, Line: line, Column: 1, Msg: msg, Hint: hint, Data: src.Data}}
	}
	var found *block
	unclosed := -1
	for i := 0; i < len(lines); i++ {
		kind := start(lines[i])
		if kind == "" {
			continue
		}
		end := closingLine(lines, i, kind)
		if end < 0 {
			if kind == "script" && unclosed < 0 {
				unclosed = i
			}
			continue
		}
		if inner := indexFrom(lines, i+1, end, opening); inner >= 0 {
			if kind == "script" {
				return block{}, fail(inner+1, fmt.Sprintf("a second script block begins inside the one of line %d", i+1), "a script has one; put its contents together")
			}
			return block{}, fail(inner+1, fmt.Sprintf("the script block is inside the %s block of line %d", kind, i+1), "put an empty line between the two")
		}
		if kind == "script" {
			if found != nil {
				return block{}, fail(i+1, fmt.Sprintf("a second script block, the first is in line %d", found.first), "a script has one; put their contents together")
			}
			found = &block{first: i + 1, last: end + 1, lines: lines[i : end+1]}
		}
		i = end
	}
	switch {
	case found != nil:
		return *found, nil
	case unclosed >= 0:
		return block{}, fail(unclosed+1, "the script block is not closed", unclosedHint(lines, unclosed))
	}
	if i := nearMiss(lines); i >= 0 {
		return block{}, fail(i+1, "this is not quite a header", fmt.Sprintf("the line must be exactly %q", opening))
	}
	return block{}, fail(1, "the script has no header (PEP 723), so its dependencies are not known",
		fmt.Sprintf("begin it with these lines: %q, %q, %q", opening, `# dependencies = ["numpy"]`, closing))
}

// closingLine is the last closing line of the comment lines below an opening one, -1 when there is
// none. The last, because the embedded document may have such a line in a text. Only a script block may
// be empty.
func closingLine(lines []string, open int, kind string) int {
	end := -1
	for i := open + 1; i < len(lines) && content(lines[i]); i++ {
		if lines[i] == closing && (i > open+1 || kind == "script") {
			end = i
		}
	}
	return end
}

// unclosedHint says which line of an unclosed block is the likely reason.
func unclosedHint(lines []string, open int) string {
	i := open + 1
	for ; i < len(lines) && content(lines[i]); i++ {
		if strings.TrimRight(lines[i], " \t") == closing {
			return fmt.Sprintf("line %d has spaces after %s", i+1, closing)
		}
	}
	if i < len(lines) && strings.HasPrefix(strings.TrimLeft(lines[i], " \t"), "#") {
		return fmt.Sprintf("line %d must begin with %q", i+1, "# ")
	}
	return fmt.Sprintf("end it with the line %q", closing)
}

// nearMiss finds a line that was meant to open a script block.
func nearMiss(lines []string) int {
	near := regexp.MustCompile(`(?i)^\s*#\s*///+\s*script\s*$`)
	for i, l := range lines {
		if strings.Contains(l, "///") && near.MatchString(l) {
			return i
		}
	}
	return -1
}

func indexFrom(lines []string, from, to int, want string) int {
	for i := from; i < to; i++ {
		if lines[i] == want {
			return i
		}
	}
	return -1
}
