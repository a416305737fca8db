package notebook

import (
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/pysource"
	"github.com/ibuild/ibuild/frontends/source"
)

// ReadProgram makes a script of a notebook that is run for its output, as [Read] does for an image, with three
// differences: the last expression of a cell is printed where a notebook would show it (but not when it is None or a
// semicolon follows), a header is not asked for, and pip lines need no versions. A script without header and pip lines
// begins with no header. The error is source.Errors.
func ReadProgram(src source.Source) (Notebook, error) {
	doc, err := decode(src)
	if err != nil {
		return Notebook{}, err
	}
	return translate(&translator{name: src.Name, bound: map[string]bool{}, program: true}, doc)
}

// show is Python's own way to show a value: repr, and nothing for None. It needs no name of the notebook's.
const (
	showBegin = `__import__("sys").displayhook((`
	showEnd   = `))`
)

// shown is the expression that a cell ends with, as offsets of the cell's code.
type shown struct {
	start, end int
	ok         bool
}

// expression finds the expression that a logical line ends with, the last of several statements in it.
func expression(s statement) shown {
	tokens := s.Tokens
	if s.Indent > 0 || len(tokens) == 0 || s.Unclosed >= 0 || s.word(len(tokens)-1) == ";" || opensBlock(s.word(0)) {
		return shown{}
	}
	first, depth := 0, 0
	plain := true // nothing since first makes it something else than an expression
	for i, token := range tokens {
		w := s.word(i)
		if i == first {
			plain = !statementWord(w)
		}
		switch {
		case token.Kind == pysource.Other || token.Kind == pysource.Escape:
			return shown{}
		case token.Kind != pysource.Op:
		case w == "(" || w == "[" || w == "{":
			depth++
		case w == ")" || w == "]" || w == "}":
			depth--
		case depth > 0:
		case w == ";":
			first = i + 1
		case w == ":" || assigns(w):
			plain = false
		}
	}
	return shown{start: tokens[first].Start, end: tokens[len(tokens)-1].End, ok: plain}
}

// assigns says whether an operator assigns: "=", "+=", ":=" and the like.
func assigns(op string) bool {
	return strings.HasSuffix(op, "=") && !slices.Contains([]string{"==", "!=", "<=", ">="}, op)
}

// opensBlock says whether a word begins a statement that may have others in its line, after a colon.
func opensBlock(word string) bool {
	return slices.Contains([]string{"if", "for", "while", "with", "try", "def", "class", "async", "else", "elif", "except", "finally", "@"}, word)
}

// statementWord says whether a word begins a statement that is no expression.
func statementWord(word string) bool {
	return slices.Contains([]string{"import", "from", "return", "del", "assert", "raise", "pass", "global", "nonlocal", "break", "continue"}, word)
}

// show puts the display around the expression. text is the cell's code from its line from on.
func (c *cell) show(e shown, text string, from int) {
	insert := func(offset int, code string) {
		line := from + strings.Count(text[:offset], "\n")
		column := offset - strings.LastIndexByte(text[:offset], '\n') - 1
		c.out[line] = c.out[line][:column] + code + c.out[line][column:]
	}
	insert(e.end, showEnd)
	insert(e.start, showBegin)
}
