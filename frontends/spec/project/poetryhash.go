package project

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf16"
)

// poetryHash is poetry's content-hash: the SHA-256 of the parts of the manifest that decide what is
// locked, as JSON in the form of Python's json.dumps(sort_keys=True). The rule is that of class Locker in
// poetry (packages/locker.py, 1.0 to 2.5). Not ok when a value has no such form, so that nothing is certain.
func poetryHash(manifest map[string]any, withGroups bool) (hash string, ok bool) {
	table := func(v any, key string) map[string]any {
		m, _ := v.(map[string]any)
		inner, _ := m[key].(map[string]any)
		return inner
	}
	project := pick(table(manifest, "project"), "requires-python", "dependencies", "optional-dependencies")
	groups := map[string]any{}
	if withGroups {
		groups = table(manifest, "dependency-groups")
	}
	poetry := table(table(manifest, "tool"), "poetry")
	own := pick(poetry, "dependencies", "source", "extras", "dev-dependencies", "group")
	content := own
	if len(project) > 0 || len(groups) > 0 {
		content = map[string]any{"tool": map[string]any{"poetry": own}}
		if len(project) > 0 {
			content["project"] = project
		}
		if len(groups) > 0 {
			content["dependency-groups"] = groups
		}
	} else {
		// Where nothing but [tool.poetry] counts, missing tables count as null; "group" came later and does not.
		for _, key := range []string{"dependencies", "source", "extras", "dev-dependencies"} {
			if _, ok := own[key]; !ok {
				own[key] = nil
			}
		}
	}
	var b strings.Builder
	if !pythonJSON(&b, content) {
		return "", false
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:]), true
}

func pick(m map[string]any, keys ...string) map[string]any {
	out := map[string]any{}
	for _, key := range keys {
		if v, ok := m[key]; ok {
			out[key] = v
		}
	}
	return out
}

// pythonJSON writes a value as Python does: a space after "," and ":", and nothing but ASCII.
func pythonJSON(b *strings.Builder, v any) bool {
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		fmt.Fprint(b, v)
	case int64:
		fmt.Fprint(b, v)
	case string:
		pythonString(b, v)
	case []any:
		b.WriteByte('[')
		for i, item := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			if !pythonJSON(b, item) {
				return false
			}
		}
		b.WriteByte(']')
	case map[string]any:
		b.WriteByte('{')
		for i, key := range sortedKeys(v) {
			if i > 0 {
				b.WriteString(", ")
			}
			pythonString(b, key)
			b.WriteString(": ")
			if !pythonJSON(b, v[key]) {
				return false
			}
		}
		b.WriteByte('}')
	default: // dates, which Python refuses, and floats, which it writes in a way of its own
		return false
	}
	return true
}

func pythonString(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, c := range s {
		short := strings.IndexRune("\"\\\n\r\t\f\b", c)
		switch {
		case short >= 0:
			b.WriteByte('\\')
			b.WriteByte(`"\nrtfb`[short])
		case c >= ' ' && c <= '~':
			b.WriteRune(c)
		case c > 0xffff:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(b, `\u%04x`, c)
		}
	}
	b.WriteByte('"')
}
