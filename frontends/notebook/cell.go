package notebook

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ibuild/ibuild/frontends/pysource"
	"github.com/ibuild/ibuild/frontends/source"
)

// cell is a code cell that becomes lines of the script. Each of its lines stays one line.
type cell struct {
	file   string // for findings
	number int
	text   string   // as it is in the notebook
	lines  []string // of the text, without the indentation that the cell as a whole has
	shift  []int    // how many characters of it each line lost

	out    []string // what becomes of the lines
	hidden []bool   // lines that are elsewhere in the script
	defs   []int    // indentation of the function definitions around the current line
}

func newCell(name string, raw rawCell) *cell {
	c := &cell{file: cellName(name, raw.number), number: raw.number, text: raw.text}
	c.lines = strings.Split(strings.TrimRight(raw.text, "\n"), "\n")
	c.shift = make([]int, len(c.lines))
	// IPython takes the indentation of the first line that is not empty from all lines that have it.
	first := ""
	for _, l := range c.lines {
		if first = l; strings.TrimSpace(l) != "" {
			break
		}
	}
	white := first[:len(first)-len(strings.TrimLeft(first, " \t"))]
	for i, l := range c.lines {
		if white != "" && strings.HasPrefix(l, white) {
			c.lines[i], c.shift[i] = l[len(white):], len(white)
		}
	}
	c.out = append([]string(nil), c.lines...)
	c.hidden = make([]bool, len(c.lines))
	return c
}

// at is a line of the cell, counted from 0, as a place.
func (c *cell) at(line int) place { return place{cell: c.number, line: line + 1, shift: c.shift[line]} }

// hide takes lines out of the cell.
func (c *cell) hide(first, end int) {
	for i := first; i < end; i++ {
		c.lines[i], c.out[i], c.hidden[i] = "", "", true
	}
}

// comment turns lines, up to and with last, into comments. An indented one may be all that its block
// has, so a statement that does nothing stays.
func (c *cell) comment(first, last int) {
	for i := first; i <= last; i++ {
		text := strings.TrimLeft(c.lines[i], " \t\f")
		switch white := c.lines[i][:len(c.lines[i])-len(text)]; {
		case i > first || white == "":
			c.out[i] = strings.TrimRight("# "+c.lines[i], " ")
		default:
			c.out[i] = white + "pass  # " + text
		}
	}
}

// replace puts one line of code in the place of several.
func (c *cell) replace(first, last int, code string) {
	c.comment(first, last)
	c.out[first] = code
}

// script is the cell's part of the script.
func (c *cell) script() []scriptLine {
	lines := []scriptLine{{fmt.Sprintf("# %%%% cell %d", c.number), place{cell: c.number, line: 1, column: 1}}}
	used := false
	for i, l := range c.out {
		if !c.hidden[i] {
			lines = append(lines, scriptLine{l, c.at(i)})
			used = used || strings.TrimSpace(l) != ""
		}
	}
	if !used {
		return nil
	}
	return lines
}

// statement is a logical line of a cell, with what the rules about it need.
type statement struct {
	pysource.Line
	cell    *cell
	text    string // the cell's code from line from on, which offsets count in
	from    int    // line of the cell, counted from 0
	scanner *pysource.Scanner
}

// first and last are its lines in the cell, counted from 0.
func (s statement) first() int { return s.from + s.First - 1 }
func (s statement) last() int  { return min(s.from+s.Last-1, len(s.cell.lines)-1) }

// word is the text of a token, "" beyond the last one.
func (s statement) word(i int) string {
	if i < 0 || i >= len(s.Tokens) {
		return ""
	}
	return s.scanner.Text(s.Tokens[i])
}

// position is where an offset of the statement's text is in the cell, both from 1.
func (s statement) position(offset int) (line, column int) {
	head := s.text[:offset]
	line = s.from + strings.Count(head, "\n") + 1
	column = utf8.RuneCountInString(head[strings.LastIndexByte(head, '\n')+1:]) + 1
	return line, column + s.cell.shift[min(line, len(s.cell.shift))-1]
}

// before is what stands left of an offset in its line.
func (s statement) before(offset int) string {
	return s.text[strings.LastIndexByte(s.text[:offset], '\n')+1 : offset]
}

// finding is an error at an offset of the statement's text.
func (s statement) finding(offset int, msg, hint string) *source.Error {
	line, column := s.position(offset)
	return &source.Error{File: s.cell.file, Line: line, Column: column, Msg: msg, Hint: hint, Data: []byte(s.cell.text)}
}
