package python

import (
	"fmt"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Limits of a TOML text. The decoder compares each key of a table with all others of it, so that a table
// of 100,000 keys would take a minute; and positions are kept by the whole key.
const (
	maxKeys     = 2000
	maxKeyParts = 50
)

// CheckTOML refuses a text that would take too long to decode. It says nothing about texts that are not
// TOML: the decoder does that better.
func CheckTOML(data []byte) error {
	c := tomlCount{arrays: map[string]bool{}}
	var p unstable.Parser
	p.Reset(data)
	for p.NextExpression() {
		if err := c.expression(p.Expression()); err != nil {
			return err
		}
	}
	return nil
}

// tomlCount counts what is in one table.
type tomlCount struct {
	keys   int             // in the table that was begun last
	tables int             // that are in no list of tables
	below  int             // in the newest element of a list of tables
	array  string          // first key of that list
	arrays map[string]bool // lists of tables
}

func (c *tomlCount) expression(e *unstable.Node) error {
	if e.Kind == unstable.KeyValue {
		c.keys++
		return c.keyValue(e, c.keys)
	}
	if e.Kind != unstable.Table && e.Kind != unstable.ArrayTable {
		return nil
	}
	first, whole, err := keyParts(e.Key())
	if err != nil {
		return err
	}
	c.keys = 0
	switch {
	case e.Kind == unstable.ArrayTable:
		c.arrays[whole], c.array, c.below = true, first, 0
	case first == c.array:
		c.below++
	default:
		c.tables++
	}
	return tooMany(max(c.tables, c.below, len(c.arrays)))
}

func (c *tomlCount) keyValue(e *unstable.Node, keys int) error {
	if _, _, err := keyParts(e.Key()); err != nil {
		return err
	}
	if err := tooMany(keys); err != nil {
		return err
	}
	return c.value(e.Value())
}

// value looks into lists and inline tables; the parser bounds how deep they are.
func (c *tomlCount) value(v *unstable.Node) error {
	if v.Kind != unstable.Array && v.Kind != unstable.InlineTable {
		return nil
	}
	keys := 0
	for it := v.Children(); it.Next(); {
		var err error
		if it.Node().Kind == unstable.KeyValue {
			keys++
			err = c.keyValue(it.Node(), keys)
		} else {
			err = c.value(it.Node())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func keyParts(it unstable.Iterator) (first, whole string, err error) {
	for parts := 0; it.Next(); parts++ {
		if parts == 0 {
			first = string(it.Node().Data)
		}
		if parts == maxKeyParts {
			return "", "", fmt.Errorf("a key has more than %d parts", maxKeyParts)
		}
		whole += string(it.Node().Data) + "\x00"
	}
	return first, whole, nil
}

func tooMany(n int) error {
	if n > maxKeys {
		return fmt.Errorf("a table has more than %d keys", maxKeys)
	}
	return nil
}
