package pysource

import "strings"

// fstring is what has to be known of an f-string to go on with it after a replacement field.
type fstring struct {
	quote  byte
	triple bool
	raw    bool
}

// isPrefix says whether letters before a quote belong to the text.
func isPrefix(letters string) bool {
	switch strings.ToLower(letters) {
	case "r", "u", "b", "br", "rb", "f", "fr", "rf", "t", "tr", "rt":
		return true
	}
	return false
}

// str reads a text whose prefix begins at start; the quote is here.
func (s *Scanner) str(start int) {
	prefix := strings.ToLower(s.text[start:s.at])
	f := fstring{quote: s.text[s.at], raw: strings.Contains(prefix, "r")}
	f.triple = strings.HasPrefix(s.text[s.at:], strings.Repeat(string(f.quote), 3))
	s.at++
	if f.triple {
		s.at += 2
	}
	if strings.ContainsAny(prefix, "ft") {
		s.open = append(s.open, opened{kind: quoted, at: start, text: f})
		s.piece = start
		s.fstringPiece()
		return
	}
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '\\':
			s.escaped()
		case s.closes(f, c):
			s.add(String, start)
			return
		case c == '\n' || c == '\r':
			if !f.triple {
				s.add(Other, start)
				return
			}
			s.newline()
		default:
			s.at++
		}
	}
	s.lost = start
	s.add(Other, start)
}

// closes goes past the quotes that end a text, if they are here.
func (s *Scanner) closes(f fstring, c byte) bool {
	if c != f.quote {
		return false
	}
	if !f.triple {
		s.at++
		return true
	}
	if !strings.HasPrefix(s.text[s.at:], strings.Repeat(string(c), 3)) {
		return false
	}
	s.at += 3
	return true
}

// escaped goes past a backslash and the character after it. Raw texts know no escapes, but a quote
// after a backslash does not end them either.
func (s *Scanner) escaped() {
	s.at++
	switch {
	case s.lineEndAt(s.at):
		s.newline()
	case s.at < len(s.text):
		s.at++
	}
}

// fstringPiece reads the text of an f-string, or the format of a field, up to the next field or the end.
func (s *Scanner) fstringPiece() {
	f, inFormat := s.open[len(s.open)-1].text, s.top() == format
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '\\':
			s.fstringEscape(f)
		case s.closes(f, c):
			s.leave()
			s.add(FString, s.piece)
			return
		case (c == '{' || c == '}') && !inFormat && strings.HasPrefix(s.text[s.at+1:], string(c)):
			s.at += 2
		case c == '{':
			s.open = append(s.open, opened{kind: field, at: s.at, text: f})
			s.at++
			s.add(FString, s.piece)
			return
		case c == '}' && inFormat:
			s.add(FString, s.piece)
			s.fieldEnd(c)
			return
		case (c == '\n' || c == '\r') && !f.triple:
			s.leave()
			s.add(Other, s.piece)
			return
		case c == '\n' || c == '\r':
			s.newline()
		default:
			s.at++
		}
	}
	s.add(Other, s.piece)
}

// fieldEnd goes on with text: that of the f-string behind the field, or that of the field's format.
func (s *Scanner) fieldEnd(c byte) {
	if c == ':' {
		s.open[len(s.open)-1].kind = format
	} else {
		s.pop()
	}
	s.piece = s.at
	s.at++
}

// leave closes the innermost f-string. Only when the text is no Python, its fields are still open.
func (s *Scanner) leave() {
	for s.top() != quoted {
		s.pop()
	}
	s.pop()
}

// fstringEscape goes past a backslash and what it covers: not a brace, but all of \N{DASH}.
func (s *Scanner) fstringEscape(f fstring) {
	rest := s.text[s.at+1:]
	switch {
	case strings.HasPrefix(rest, "{") || strings.HasPrefix(rest, "}"):
		s.at++
	case !f.raw && strings.HasPrefix(rest, "N{"):
		s.at += 3
		for s.at < len(s.text) && !s.lineEndAt(s.at) && s.text[s.at] != '}' && s.text[s.at] != f.quote {
			s.at++
		}
		if s.at < len(s.text) && s.text[s.at] == '}' {
			s.at++
		}
	default:
		s.escaped()
	}
}
