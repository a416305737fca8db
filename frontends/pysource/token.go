package pysource

// Kind says what a token is.
type Kind uint8

// The kinds of tokens.
const (
	// Other is a character that Python does not know outside of texts, such as ? and $, and a text that
	// the end of its line cut off.
	Other Kind = iota
	// Name is an identifier or a keyword.
	Name
	// Number is a number of any kind.
	Number
	// String is a whole text with prefix and quotes; not an f-string.
	String
	// FString is a piece of an f-string or t-string: from its prefix or a } up to its end or a {, these
	// included. The tokens of a replacement field stand between two pieces; a format after a colon is a
	// piece that begins with the colon.
	FString
	// Op is an operator or delimiter, the longest that fits: "...", "==", "(".
	Op
	// Escape is what only IPython understands, to the end of its line and of those that a backslash
	// joins to it: %magic, !command, ?help, at the beginning of a line or right of "=". Only [NewCell]
	// gives it.
	Escape
)

// Token is a piece of the text.
type Token struct {
	Kind       Kind
	Start, End int // offsets in bytes
}

// Line is a logical line: what Python reads up to a NEWLINE. Several statements may share it (;).
type Line struct {
	// First and Last are the lines of the text that it covers, from 1: of its first token, and of the
	// line end that ends it.
	First, Last int
	// Indent is the width of the white space before it, tabs up to the next multiple of 8.
	Indent int
	// Tokens are its tokens, without comments, at least one. They are valid until the next call of
	// [Scanner.Next].
	Tokens []Token
	// Unclosed is the offset of the bracket or quote that the text's end left open, -1 when there is none.
	Unclosed int
}
