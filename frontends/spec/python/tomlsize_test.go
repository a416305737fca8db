package python

import (
	"fmt"
	"strings"
	"testing"
)

func TestCheckTOML(t *testing.T) {
	repeat := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for _, test := range []struct{ name, text, want string }{
		{"packages", repeat(20000, "[[package]]\nname = \"p%d\"\n[package.source]\na = 1\n"), ""},
		{"two lists", repeat(3000, "[[a]]\nx = %d\n[[b]]\n"), ""},
		{"list of tables", "x = [" + repeat(20000, "{a = %d},") + "]", ""},
		{"no TOML", "x = [", ""},
		{"keys", repeat(2001, "a%d = 1\n"), "a table has more than 2000 keys"},
		{"tables", repeat(2001, "[t%d]\n"), "a table has more than 2000 keys"},
		{"tables below", "[[a]]\n" + repeat(2001, "[a.t%d]\n"), "a table has more than 2000 keys"},
		{"lists", repeat(2001, "[[t%d]]\n"), "a table has more than 2000 keys"},
		{"tables between", repeat(2001, "[[a]]\n[t%d]\n"), "a table has more than 2000 keys"},
		{"inline", "x = {" + repeat(2001, "a%d = 1, ") + "z = 1}", "a table has more than 2000 keys"},
		{"parts", strings.Repeat("a.", 50) + "a = 1", "a key has more than 50 parts"},
		{"parts of a table", "[" + strings.Repeat("a.", 50) + "a]", "a key has more than 50 parts"},
		{"parts inside", "x = [{" + strings.Repeat("a.", 50) + "a = 1}]", "a key has more than 50 parts"},
	} {
		got := ""
		if err := CheckTOML([]byte(test.text)); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}
