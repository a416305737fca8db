package settings

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// positions is where keys and values of a TOML file are: byte offsets by key, elements of lists by number.
type positions map[string]int

func posKey(key []string) string { return strings.ToLower(strings.Join(key, "\x00")) }

// indexPositions expects data that has been decoded without error.
func indexPositions(data []byte) positions {
	at := positions{}
	var p unstable.Parser
	p.Reset(data)
	var table []string
	elements := map[string]int{}
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table:
			table = at.key(nil, e.Key())
			if n, ok := elements[posKey(table)]; ok {
				table = append(table, strconv.Itoa(n-1))
			}
		case unstable.ArrayTable:
			table = at.key(nil, e.Key())
			n := elements[posKey(table)]
			elements[posKey(table)]++
			at[posKey(append(table, strconv.Itoa(n)))] = at[posKey(table)]
			table = append(table, strconv.Itoa(n))
		case unstable.KeyValue:
			at.keyValue(table, e)
		}
	}
	return at
}

// key notes where each part of a key is, the first time, and returns the whole key.
func (at positions) key(prefix []string, it unstable.Iterator) []string {
	key := append([]string{}, prefix...)
	for it.Next() {
		key = append(key, string(it.Node().Data))
		if _, ok := at[posKey(key)]; !ok {
			at[posKey(key)] = int(it.Node().Raw.Offset)
		}
	}
	return key
}

func (at positions) keyValue(prefix []string, kv *unstable.Node) {
	at.value(at.key(prefix, kv.Key()), kv.Value())
}

func (at positions) value(key []string, v *unstable.Node) {
	switch v.Kind {
	case unstable.Array:
		it := v.Children()
		for n := 0; it.Next(); n++ {
			at.value(append(key[:len(key):len(key)], strconv.Itoa(n)), it.Node())
		}
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				at.keyValue(key, it.Node())
			}
		}
	case unstable.String:
		at[posKey(key)] = int(v.Raw.Offset)
	}
}

// place is the line and column of a key, or of the nearest thing around it.
func (at positions) place(data []byte, key []string) (line, column int) {
	for ; len(key) > 0; key = key[:len(key)-1] {
		off, ok := at[posKey(key)]
		if !ok || off > len(data) {
			continue
		}
		line = bytes.Count(data[:off], []byte("\n")) + 1
		column = off - (bytes.LastIndexByte(data[:off], '\n') + 1) + 1
		return line, characters(data, line, column)
	}
	return 0, 0
}
