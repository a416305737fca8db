package settings

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

var sizeForm = pattern(`^(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?$`)

// sizeHint is how a size is written.
const sizeHint = "write a number with a unit, such as 500MB, 10GB or 1.5TB"

// ParseSize reads a number of bytes: 500MB, 10 GB, 1.5GiB. Units of one letter, and those on b, are powers of
// 1000; those with an i are powers of 1024. The error says what is wrong in a few words.
func ParseSize(text string) (int64, error) {
	m := sizeForm().FindStringSubmatch(strings.ToLower(strings.TrimSpace(text)))
	if m == nil || m[2] == "" && m[3] != "" {
		return 0, fmt.Errorf("%q is not a size", text)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size", text)
	}
	base := 1000.0
	if m[3] != "" {
		base = 1024
	}
	if m[2] != "" {
		n *= math.Pow(base, float64(1+strings.Index("kmgt", m[2])))
	}
	if n >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is too large", text)
	}
	return int64(n), nil
}

// minSize is the smallest limit that makes sense, in bytes: less would not hold what one build needs.
const minSize = 10e6

// size checks a limit.
func (c *checker) size(key []string, text string) {
	if text == "" {
		return
	}
	switch n, err := ParseSize(text); {
	case err != nil:
		c.bad(key, sizeHint, err.Error(), nil)
	case n < minSize:
		c.bad(key, "write 10MB or more", fmt.Sprintf("%q is not enough for one build", text), nil)
	}
}

// MaxBytes is the limit in bytes, 0 for the default.
func (c Cache) MaxBytes() int64 { return checked(c.MaxSize) }

// MaxBytes is the limit of the engine's state in bytes, 0 for the default.
func (e Engine) MaxBytes() int64 { return checked(e.MaxSize) }

// checked reads a size that the checker let pass.
func checked(text string) int64 {
	n, err := ParseSize(text)
	if err != nil {
		return 0
	}
	return n
}
