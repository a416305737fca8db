package notebook

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/pysource"
	"github.com/ibuild/ibuild/frontends/source"
)

// translator makes a script of cells, and collects findings.
type translator struct {
	name    string
	program bool // see [ReadProgram]
	errs    source.Errors

	hasHeader bool
	header    []scriptLine
	future    []scriptLine
	body      []scriptLine
	pip       []pipCommand

	bound     map[string]bool // which of display and get_ipython the notebook defines or imports
	display   *place          // first use
	inIPython source.Errors   // uses of get_ipython, errors unless it is imported
}

// cell translates one cell. The first one may hold the header.
func (t *translator) cell(c *cell, first bool) {
	if first {
		begin, end := findHeader(c.lines)
		for i := begin; i < end; i++ {
			t.header = append(t.header, scriptLine{c.lines[i], c.at(i)})
		}
		t.hasHeader = end > begin || meantAsHeader(c.lines)
		c.hide(begin, end)
	}
	if from, ok := t.cellMagics(c); ok {
		t.statements(c, from)
	}
	if !first {
		t.laterHeader(c)
	}
	if lines := c.script(); lines != nil {
		t.body = append(t.body, scriptLine{"", lines[0].at})
		t.body = append(t.body, lines...)
	}
}

// laterHeader refuses a header that is not in the first cell. Only lines that are still lines of the
// script count: a file that %%writefile writes may have one of its own.
func (t *translator) laterHeader(c *cell) {
	for i, l := range c.out {
		if l == opening {
			t.errs = append(t.errs, &source.Error{File: c.file, Line: i + 1, Column: 1 + c.shift[i], Data: []byte(c.text),
				Msg: "the header (PEP 723) is not in the first code cell", Hint: "move it there"})
			return
		}
	}
}

// statements goes through a cell's code from a line on.
func (t *translator) statements(c *cell, from int) {
	text := strings.Join(c.lines[from:], "\n")
	scanner := pysource.NewCell(text)
	var result shown // of the cell, if the line is its last one
	for {
		line, ok := scanner.Next()
		if !ok {
			break
		}
		result = shown{}
		s := statement{Line: line, cell: c, text: text, from: from, scanner: scanner}
		if last := s.Tokens[len(s.Tokens)-1]; last.Kind == pysource.Escape {
			t.escape(s)
			continue
		}
		t.code(s)
		result = expression(s)
	}
	if t.program && result.ok {
		c.show(result, text, from)
	}
}

// code looks at a statement that has no magic in it.
func (t *translator) code(s statement) {
	start := s.Tokens[0].Start
	switch {
	case s.Unclosed >= 0:
		t.fail(s, s.Unclosed, fmt.Sprintf("%s is not closed in this cell", opener(s.text[s.Unclosed:])), "")
	case s.word(len(s.Tokens)-1) == "?":
		t.fail(s, start, "help (?) is shown in a notebook only", "remove the line")
	case s.word(0) == ">>" && s.word(1) == ">":
		t.fail(s, start, "the prompt >>> is no Python", "remove the prompts")
	case len(s.Tokens) > 1 && (s.word(0) == "pip" || s.word(0) == "conda") && s.Tokens[1].Kind == pysource.Name:
		t.fail(s, start, s.word(0)+" without a % is a command of a notebook only", "write %"+s.word(0))
	case s.word(0) == "from" && s.word(1) == "__future__":
		t.futureImport(s)
	default:
		t.names(s)
		t.await(s)
	}
}

// opener names what a text begins with, for a message.
func opener(text string) string {
	if text[0] == '(' || text[0] == '[' || text[0] == '{' {
		return "the bracket " + text[:1]
	}
	return "a text"
}

// futureImport moves the import to the top: Python allows it nowhere else.
func (t *translator) futureImport(s statement) {
	var names []string
	for i := 3; i < len(s.Tokens); i++ {
		switch w := s.word(i); {
		case s.Tokens[i].Kind == pysource.Name:
			names = append(names, w)
		case w != "(" && w != ")" && w != ",":
			t.fail(s, s.Tokens[i].Start, "another statement in the line of a __future__ import", "put it into a line of its own")
			return
		}
	}
	at := s.cell.at(s.first())
	at.column = 1 + at.shift
	t.future = append(t.future, scriptLine{"from __future__ import " + strings.Join(names, ", "), at})
	s.cell.comment(s.first(), s.last())
}

// names notes uses and definitions of what IPython defines by itself.
func (t *translator) names(s statement) {
	imports := s.word(0) == "import" || s.word(0) == "from"
	for i, token := range s.Tokens {
		w := s.word(i)
		if token.Kind != pysource.Name || w != "display" && w != "get_ipython" || s.word(i-1) == "." {
			continue
		}
		called := s.word(i+1) == "("
		switch {
		case imports, s.word(i-1) == "def", i == 0 && s.word(1) == "=":
			t.bound[w] = true
		case w == "display" && called && t.display == nil:
			at := s.cell.at(s.first())
			t.display = &at
		case w == "get_ipython" && called:
			e := s.finding(token.Start, "get_ipython is there in a notebook only", "remove it, or give the cell the tag "+skipTag)
			if s.word(i+2) == ")" && s.word(i+3) == "." {
				t.errs = append(t.errs, e) // outside of a notebook it returns None also when it is imported
			} else {
				t.inIPython = append(t.inIPython, e)
			}
		}
	}
}

// await refuses what only a notebook awaits: outside of functions.
func (t *translator) await(s statement) {
	c := s.cell
	for len(c.defs) > 0 && c.defs[len(c.defs)-1] >= s.Indent {
		c.defs = c.defs[:len(c.defs)-1]
	}
	if s.word(0) == "def" || s.word(0) == "async" && s.word(1) == "def" {
		c.defs = append(c.defs, s.Indent)
	}
	if len(c.defs) > 0 {
		return
	}
	for i, token := range s.Tokens {
		if w := s.word(i); token.Kind == pysource.Name && (w == "await" || w == "async") {
			t.fail(s, token.Start, w+" outside of a function works in a notebook only", "put it into an async function and call that with asyncio.run")
			return
		}
	}
}

// settle looks at what is known only after the last cell. first is the first code cell.
func (t *translator) settle(first *cell) {
	if !t.bound["get_ipython"] {
		t.errs = append(t.errs, t.inIPython...)
	}
	if t.hasHeader {
		t.needless()
		return
	}
	if t.program {
		return
	}
	t.pinned()
	if len(t.pip) == 0 && len(t.errs) == 0 {
		t.errs = append(t.errs, &source.Error{File: first.file, Line: 1, Column: 1, Data: []byte(first.text),
			Msg: "the notebook has no header (PEP 723), so its dependencies are not known", Hint: headerHint([]string{"numpy"})})
	}
}

// script puts the parts together.
func (t *translator) script() []scriptLine {
	lines := t.header
	if !t.hasHeader && len(t.pip) > 0 {
		lines = t.madeHeader()
	}
	top := slices.Clone(t.future)
	if t.display != nil && !t.bound["display"] {
		at := *t.display
		at.column = 1 + at.shift
		top = append(top, scriptLine{"def display(*objects, **options): print(*objects)", at})
	}
	if len(lines) > 0 && len(top) > 0 {
		lines = append(lines, scriptLine{"", lines[len(lines)-1].at})
	}
	return slices.Concat(lines, top, t.body)
}

func (t *translator) fail(s statement, offset int, msg, hint string) {
	t.errs = append(t.errs, s.finding(offset, msg, hint))
}
