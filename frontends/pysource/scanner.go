package pysource

import "strings"

// Scanner reads a text one logical line at a time. Line ends are LF, CRLF and CR, as for Python.
type Scanner struct {
	text string
	cell bool

	at     int  // offset of the next character
	line   int  // its line, from 1
	indent int  // of the line that is being read
	first  int  // line of the first token of the logical line
	joined bool // the previous line ended with a backslash
	tokens []Token
	open   []opened // innermost last
	piece  int      // where the piece of an f-string that is being read begins
	lost   int      // offset of an unclosed text that is no f-string, -1 when there is none
}

// opened is what is not closed yet.
type opened struct {
	kind openKind
	at   int
	text fstring // of an f-string, and of a field the one around it
}

type openKind uint8

const (
	bracket openKind = iota
	quoted           // an f-string: its text is being read
	field            // a replacement field: code is being read
	format           // a replacement field after its colon: text again
)

// New reads Python text, which may be any bytes.
func New(text string) *Scanner { return &Scanner{text: text, line: 1, lost: -1} }

// NewCell reads the text of a notebook's code cell: as [New], and with [Escape] tokens.
func NewCell(text string) *Scanner {
	s := New(text)
	s.cell = true
	return s
}

// Text is the part of the text that a token covers.
func (s *Scanner) Text(t Token) string { return s.text[t.Start:t.End] }

// Next is the next logical line; false at the end of the text.
func (s *Scanner) Next() (Line, bool) {
	s.tokens, s.open, s.lost = s.tokens[:0], s.open[:0], -1
	s.indentation()
	for s.at < len(s.text) {
		if k := s.top(); k == quoted || k == format {
			s.fstringPiece()
			continue
		}
		switch c := s.text[s.at]; {
		case c == '\n' || c == '\r':
			if s.lineEnd() {
				return s.finish(s.line - 1), true
			}
		case c == ' ' || c == '\t' || c == '\f':
			s.at++
		case c == '#':
			s.toLineEnd()
		case c == '\\' && s.lineEndAt(s.at+1):
			s.at++
			s.newline()
			s.joined = true
		default:
			if len(s.tokens) == 0 {
				s.first = s.line
			}
			s.token(c)
		}
	}
	if len(s.tokens) == 0 {
		return Line{}, false
	}
	return s.finish(s.line), true
}

// top is the kind of the innermost thing that is open, bracket when there is none.
func (s *Scanner) top() openKind {
	if len(s.open) == 0 {
		return bracket
	}
	return s.open[len(s.open)-1].kind
}

func (s *Scanner) pop() { s.open = s.open[:len(s.open)-1] }

// finish makes a line of what was collected.
func (s *Scanner) finish(last int) Line {
	unclosed := s.lost
	if n := len(s.open); n > 0 && unclosed < 0 {
		unclosed = s.open[n-1].at
	}
	s.joined = false
	return Line{First: s.first, Last: last, Indent: s.indent, Tokens: s.tokens, Unclosed: unclosed}
}

// lineEnd goes past a line end and says whether it ends the logical line.
func (s *Scanner) lineEnd() bool {
	s.newline()
	if len(s.open) > 0 {
		return false
	}
	if len(s.tokens) > 0 {
		return true
	}
	s.joined = false
	s.indentation()
	return false
}

// token reads one token that begins with c, or one piece of an f-string.
func (s *Scanner) token(c byte) {
	start := s.at
	switch {
	case s.cell && s.escapes(c):
		s.escape()
	case c == '"' || c == '\'':
		s.str(start)
	case nameByte(c) && (c < '0' || c > '9'):
		s.name()
	case digit(c) || c == '.' && s.at+1 < len(s.text) && digit(s.text[s.at+1]):
		s.number()
	default:
		s.operator(c)
	}
}

func (s *Scanner) name() {
	start := s.at
	for s.at < len(s.text) && nameByte(s.text[s.at]) {
		s.at++
	}
	if s.at < len(s.text) && (s.text[s.at] == '"' || s.text[s.at] == '\'') && isPrefix(s.text[start:s.at]) {
		s.str(start)
		return
	}
	s.add(Name, start)
}

// number reads a number. A letter that cannot belong to it begins the next token: Python reads 1if so.
func (s *Scanner) number() {
	start := s.at
	if s.text[s.at] == '0' && s.at+1 < len(s.text) && strings.IndexByte("xXoObB", s.text[s.at+1]) >= 0 {
		hex := s.text[s.at+1] == 'x' || s.text[s.at+1] == 'X'
		for s.at += 2; s.at < len(s.text); s.at++ {
			if c := s.text[s.at] | 0x20; !digit(s.text[s.at]) && s.text[s.at] != '_' && (!hex || c < 'a' || c > 'f') {
				break
			}
		}
		s.add(Number, start)
		return
	}
	s.digits()
	if s.at < len(s.text) && s.text[s.at] == '.' {
		s.at++
		s.digits()
	}
	if n := exponent(s.text[s.at:]); n > 0 {
		s.at += n
		s.digits()
	}
	if s.at < len(s.text) && s.text[s.at]|0x20 == 'j' {
		s.at++
	}
	s.add(Number, start)
}

// exponent is the length of the e and the sign before an exponent's digits, 0 when there is none.
func exponent(text string) int {
	n := len(text) - len(strings.TrimLeft(text, "eE"))
	if n != 1 {
		return 0
	}
	if len(text) > 1 && (text[1] == '+' || text[1] == '-') {
		n = 2
	}
	if n == len(text) || !digit(text[n]) {
		return 0
	}
	return n
}

func (s *Scanner) digits() {
	for s.at < len(s.text) && (digit(s.text[s.at]) || s.text[s.at] == '_') {
		s.at++
	}
}

// operator reads an operator, and keeps account of brackets.
func (s *Scanner) operator(c byte) {
	start := s.at
	switch {
	case s.top() == field && (c == '}' || c == ':'):
		s.fieldEnd(c)
		return
	case c == '(' || c == '[' || c == '{':
		s.open = append(s.open, opened{kind: bracket, at: s.at})
		s.at++
	case c == ')' || c == ']' || c == '}':
		if len(s.open) > 0 && s.top() == bracket {
			s.pop()
		}
		s.at++
	default:
		s.at += operatorLength(s.text[s.at:])
	}
	kind := Op
	if strings.IndexByte("()[]{}+-*/%&|^~<>=.,:;@!", c) < 0 {
		kind = Other
	}
	s.add(kind, start)
}

// operatorLength is the length of the operator that a text begins with, at least 1.
func operatorLength(text string) int {
	for _, op := range [...]string{"**=", "//=", ">>=", "<<=", "...", "!=", "->", ":=", "==", "<=", ">=", "<>",
		"+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "@=", "**", "//", "<<", ">>"} {
		if strings.HasPrefix(text, op) {
			return len(op)
		}
	}
	return 1
}

// escapes says whether c begins what only a notebook understands. Python has no such character at the
// beginning of a statement, and none of ! and %name right of an equals sign.
func (s *Scanner) escapes(c byte) bool {
	if len(s.open) > 0 {
		return false
	}
	if len(s.tokens) == 0 {
		return !s.joined && strings.IndexByte("%!?,;/", c) >= 0
	}
	if s.Text(s.tokens[len(s.tokens)-1]) != "=" {
		return false
	}
	next := byte('\n')
	if s.at+1 < len(s.text) {
		next = s.text[s.at+1]
	}
	return c == '!' && next != '=' || c == '%' && (nameByte(next) && !digit(next) || next == '%')
}

// escape reads to the end of the line, and of those that follow a backslash. Quotes and brackets mean
// nothing here.
func (s *Scanner) escape() {
	start := s.at
	for {
		s.toLineEnd()
		if s.at >= len(s.text) || s.text[s.at-1] != '\\' {
			break
		}
		s.newline()
	}
	s.add(Escape, start)
}

func (s *Scanner) add(kind Kind, start int) {
	s.tokens = append(s.tokens, Token{Kind: kind, Start: start, End: s.at})
}

// indentation reads the white space at the beginning of a line.
func (s *Scanner) indentation() {
	s.indent = 0
	for ; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case ' ':
			s.indent++
		case '\t':
			s.indent += 8 - s.indent%8
		case '\f':
			s.indent = 0
		default:
			return
		}
	}
}

func (s *Scanner) toLineEnd() {
	for s.at < len(s.text) && !s.lineEndAt(s.at) {
		s.at++
	}
}

func (s *Scanner) lineEndAt(at int) bool {
	return at < len(s.text) && (s.text[at] == '\n' || s.text[at] == '\r')
}

// newline goes past the line end that is here.
func (s *Scanner) newline() {
	if strings.HasPrefix(s.text[s.at:], "\r\n") {
		s.at++
	}
	s.at++
	s.line++
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// nameByte takes every character beyond ASCII as part of a name.
func nameByte(c byte) bool {
	return c == '_' || digit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80
}
