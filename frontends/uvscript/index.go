package uvscript

import (
	"sort"
	"unicode/utf8"
)

// index finds lines and columns in a text without going through all of it each time: a list in a header may have
// a hundred thousand items in one line.
type index struct {
	text   []byte
	lines  []int // offsets at which lines begin
	before []int // characters before each multiple of stride
}

// stride is how many bytes a look-up counts at most.
const stride = 512

func newIndex(text []byte) index {
	x := index{text: text, lines: []int{0}}
	count := 0
	for i, b := range text {
		if i%stride == 0 {
			x.before = append(x.before, count)
		}
		if utf8.RuneStart(b) {
			count++
		}
		if b == '\n' {
			x.lines = append(x.lines, i+1)
		}
	}
	return x
}

// position is where an offset is: its line, and the characters before it in that line. Both count from 0.
func (x index) position(offset int) (line, characters int) {
	offset = min(max(offset, 0), len(x.text))
	line = sort.SearchInts(x.lines, offset+1) - 1
	return line, x.characters(offset) - x.characters(x.lines[line])
}

// characters counts those before an offset of the text, which is valid UTF-8.
func (x index) characters(offset int) int {
	i := offset / stride
	if i >= len(x.before) {
		i = len(x.before) - 1
	}
	if i < 0 {
		return 0
	}
	count := x.before[i]
	for _, b := range x.text[i*stride : offset] { // which may begin in the middle of a character
		if utf8.RuneStart(b) {
			count++
		}
	}
	return count
}
