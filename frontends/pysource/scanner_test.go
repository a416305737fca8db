package pysource

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// show writes the lines of a text: "first-last+indent: kind text | …".
func show(s *Scanner) string {
	kinds := map[Kind]string{Other: "?", Name: "n", Number: "0", String: "s", FString: "f", Op: "o", Escape: "e"}
	var b strings.Builder
	for {
		line, ok := s.Next()
		if !ok {
			return b.String()
		}
		fmt.Fprintf(&b, "%d-%d+%d:", line.First, line.Last, line.Indent)
		for _, t := range line.Tokens {
			fmt.Fprintf(&b, " %s%q", kinds[t.Kind], s.Text(t))
		}
		if line.Unclosed >= 0 {
			fmt.Fprintf(&b, " open at %d", line.Unclosed)
		}
		b.WriteString("\n")
	}
}

func TestLines(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"comments and blank lines", "\n  # a\n\t\n", ""},
		{"two lines", "a\n  b = 1 # c\n", "1-1+0: n\"a\"\n2-2+2: n\"b\" o\"=\" 0\"1\"\n"},
		{"line ends", "a\rb\r\nc", "1-1+0: n\"a\"\n2-2+0: n\"b\"\n3-3+0: n\"c\"\n"},
		{"tabs", "if a:\n \tb\n", "1-1+0: n\"if\" n\"a\" o\":\"\n2-2+8: n\"b\"\n"},
		{"form feed", "  \fa", "1-1+0: n\"a\"\n"},
		{"brackets", "f(a,\n# no (\n b)[\n]\nc", "1-4+0: n\"f\" o\"(\" n\"a\" o\",\" n\"b\" o\")\" o\"[\" o\"]\"\n5-5+0: n\"c\"\n"},
		{"backslash", "a = \\\n  b\\\r\n+c\nd", "1-3+0: n\"a\" o\"=\" n\"b\" o\"+\" n\"c\"\n4-4+0: n\"d\"\n"},
		{"backslash without a line end", `a \ b`, "1-1+0: n\"a\" ?\"\\\\\" n\"b\"\n"},
		{"semicolon", "a;b\n", "1-1+0: n\"a\" o\";\" n\"b\"\n"},
		{"operators", "a**=b!=c->d...e:=f", "1-1+0: n\"a\" o\"**=\" n\"b\" o\"!=\" n\"c\" o\"->\" n\"d\" o\"...\" n\"e\" o\":=\" n\"f\"\n"},
		{"numbers", "1_0.5e-3j 0xFFfor 1if .5 1.e 1e+ 0b1_0", `1-1+0: 0"1_0.5e-3j" 0"0xFFf" n"or" 0"1" n"if" 0".5" 0"1." n"e" 0"1" n"e" o"+" 0"0b1_0"` + "\n"},
		{"names", "größe = x", "1-1+0: n\"größe\" o\"=\" n\"x\"\n"},
		{"strings", `'a"' "b#" r'\' x' Rb"\"" b''`, `1-1+0: s"'a\"'" s"\"b#\"" s"r'\\' x'" s"Rb\"\\\"\"" s"b''"` + "\n"},
		{"no prefix", `xr'a'`, `1-1+0: n"xr" s"'a'"` + "\n"},
		{"triple quotes", "'''a\n'b'' \\''' ''' c\nd", "1-2+0: s\"'''a\\n'b'' \\\\''' '''\" n\"c\"\n3-3+0: n\"d\"\n"},
		{"string over a backslash", "'a\\\nb' c", "1-2+0: s\"'a\\\\\\nb'\" n\"c\"\n"},
		{"string without an end", "a = 'b\nc", "1-1+0: n\"a\" o\"=\" ?\"'b\"\n2-2+0: n\"c\"\n"},
		{"text without an end", "a = '''b\nc", "1-2+0: n\"a\" o\"=\" ?\"'''b\\nc\" open at 4\n"},
		{"bracket without an end", "a(\nb[c]\n", "1-3+0: n\"a\" o\"(\" n\"b\" o\"[\" n\"c\" o\"]\" open at 1\n"},
		{"bracket too many", "a)\nb", "1-1+0: n\"a\" o\")\"\n2-2+0: n\"b\"\n"},
		{"no notebook", "%a\n?b!", "1-1+0: o\"%\" n\"a\"\n2-2+0: ?\"?\" n\"b\" o\"!\"\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, show(New(test.text))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFStrings(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"plain", `f"a" b`, `1-1+0: f"f\"a\"" n"b"`},
		{"field", `f"a{b}c{d!r}" e`, `1-1+0: f"f\"a{" n"b" f"}c{" n"d" o"!" n"r" f"}\"" n"e"`},
		{"double braces", `f"{{a}}{b}" c`, `1-1+0: f"f\"{{a}}{" n"b" f"}\"" n"c"`},
		{"format", `f"{a:>{b}}}}" c`, `1-1+0: f"f\"{" n"a" f":>{" n"b" f"}" f"}}}\"" n"c"`},
		{"format with a hash", `f"{a:#x}" b`, `1-1+0: f"f\"{" n"a" f":#x" f"}\"" n"b"`},
		{"slice and lambda in brackets", `f"{a[1:2]}{(lambda: 1)()}" b`,
			`1-1+0: f"f\"{" n"a" o"[" 0"1" o":" 0"2" o"]" f"}{" o"(" n"lambda" o":" 0"1" o")" o"(" o")" f"}\"" n"b"`},
		{"dict in a field", `f"{ {'a': 1}['a'] }" b`, `1-1+0: f"f\"{" o"{" s"'a'" o":" 0"1" o"}" o"[" s"'a'" o"]" f"}\"" n"b"`},
		{"the same quotes inside", `f"{a["b"]}" c`, `1-1+0: f"f\"{" n"a" o"[" s"\"b\"" o"]" f"}\"" n"c"`},
		{"one inside another", `f'{f'{a}'}' b`, `1-1+0: f"f'{" f"f'{" n"a" f"}'" f"}'" n"b"`},
		{"line ends in a field", "f'{\na # }\n}' b", `1-3+0: f"f'{" n"a" f"}'" n"b"`},
		{"triple", "rf'''\n{a:\n'}''' b", `1-3+0: f"rf'''\n{" n"a" f":\n'" f"}'''" n"b"`},
		{"escaped quote", `f"\"{a}\"" b`, `1-1+0: f"f\"\\\"{" n"a" f"}\\\"\"" n"b"`},
		{"named character", `f"\N{DASH}{a}" b`, `1-1+0: f"f\"\\N{DASH}{" n"a" f"}\"" n"b"`},
		{"raw has no named characters", `rf"\N{a}" b`, `1-1+0: f"rf\"\\N{" n"a" f"}\"" n"b"`},
		{"backslash before a brace", `f"\{a}" b`, `1-1+0: f"f\"\\{" n"a" f"}\"" n"b"`},
		{"template", `t"{a}" b`, `1-1+0: f"t\"{" n"a" f"}\"" n"b"`},
		{"no end", "f'a\nb", "1-1+0: ?\"f'a\"\n2-2+0: n\"b\""},
		{"no end in a format", "f'{a:b\nc", "1-1+0: f\"f'{\" n\"a\" ?\":b\"\n2-2+0: n\"c\""},
		{"quote in a format", `f"{a:b" c`, `1-1+0: f"f\"{" n"a" f":b\"" n"c"`},
		{"field without an end", `f"{a`, `1-1+0: f"f\"{" n"a" open at 2`},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := strings.ReplaceAll(test.want, "'''\n", `'''\n`)
			want = strings.ReplaceAll(want, ":\n'", `:\n'`)
			if diff := cmp.Diff(want+"\n", show(New(test.text))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCells(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"magic", "%a 'b (\nc", "1-1+0: e\"%a 'b (\"\n2-2+0: n\"c\"\n"},
		{"indented command", "if a:\n  !b {\n", "1-1+0: n\"if\" n\"a\" o\":\"\n2-2+2: e\"!b {\"\n"},
		{"continued", "!a \\\n b\nc", "1-2+0: e\"!a \\\\\\n b\"\n3-3+0: n\"c\"\n"},
		{"at the end", "!a \\", "1-1+0: e\"!a \\\\\"\n"},
		{"assigned", "a = !b\nc=%d e\n", "1-1+0: n\"a\" o\"=\" e\"!b\"\n2-2+0: n\"c\" o\"=\" e\"%d e\"\n"},
		{"help", "?a\nb?\nc.d??", "1-1+0: e\"?a\"\n2-2+0: n\"b\" ?\"?\"\n3-3+0: n\"c\" o\".\" n\"d\" ?\"?\" ?\"?\"\n"},
		{"modulo and unequal", "a % b\na != b\nc = 'x' % d", "1-1+0: n\"a\" o\"%\" n\"b\"\n2-2+0: n\"a\" o\"!=\" n\"b\"\n3-3+0: n\"c\" o\"=\" s\"'x'\" o\"%\" n\"d\"\n"},
		{"continued code", "a = (b\n% c)\nd = e \\\n% f\ng = '''\n%h\n'''",
			"1-2+0: n\"a\" o\"=\" o\"(\" n\"b\" o\"%\" n\"c\" o\")\"\n3-4+0: n\"d\" o\"=\" n\"e\" o\"%\" n\"f\"\n5-7+0: n\"g\" o\"=\" s\"'''\\n%h\\n'''\"\n"},
		{"keyword argument", "f(a=%b)", "1-1+0: n\"f\" o\"(\" n\"a\" o\"=\" o\"%\" n\"b\" o\")\"\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, show(NewCell(test.text))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzScanner wants tokens in order, inside of the text, and lines that go forward.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{
		"a = f'{b:{c}}' # d\n", "'''a\n", "f\"{x\ny:\"z}", "%%time\n!a \\\n", "\\\n\\", "a\r\nb\r", "f'{f\"{a:{b\n'", "\x00\xff(]}", "x=!a\n",
		"f'''{a:'''}}}\n", "0x 1e 1e+ .e5",
	} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, text string, cell bool) {
		s := New(text)
		if cell {
			s = NewCell(text)
		}
		end, last := 0, 0
		for {
			line, ok := s.Next()
			if !ok {
				break
			}
			if line.First <= last || line.Last < line.First || len(line.Tokens) == 0 || line.Unclosed >= len(text) {
				t.Fatalf("%+v after line %d", line, last)
			}
			last = line.Last
			for _, token := range line.Tokens {
				if token.Start < end || token.End <= token.Start || token.End > len(text) {
					t.Fatalf("%+v after offset %d", token, end)
				}
				end = token.End
			}
		}
		if max := strings.Count(text, "\n") + strings.Count(text, "\r") + 1; last > max {
			t.Fatalf("line %d of %d", last, max)
		}
	})
}
