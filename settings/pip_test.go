package settings

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePython(t *testing.T) {
	for _, c := range []struct {
		in   string
		want map[string]map[string]string
		line int
		err  string
	}{
		{in: "", want: map[string]map[string]string{}},
		{in: "[a]\n[b]x", want: map[string]map[string]string{"a": {}, "b": {}}},
		{in: "[a]\nK = v # not a comment\nq = 'q'\r\nu: \"x\"\n", want: map[string]map[string]string{"a": {"k": "v # not a comment", "q": "'q'", "u": `"x"`}}},
		{in: "[a]\n  k = 1\n  l = 2\n    m = 3\n", want: map[string]map[string]string{"a": {"k": "1", "l": "2\nm = 3"}}},
		{in: "[a]\nk =\n  https://x\n# c\n\n  ; c\n\thttps://y\nl = `x\n", want: map[string]map[string]string{"a": {"k": "\nhttps://x\nhttps://y", "l": "`x"}}},
		{in: "[a]\nk = a=b:c\\\n", want: map[string]map[string]string{"a": {"k": `a=b:c\`}}},
		{in: "k = v", line: 1, err: "there is no [section] before this line"},
		{in: "[a]\nnothing", line: 2, err: "the line is neither a [section] nor name = value"},
		{in: "[a]\n= v", line: 2, err: "the line is neither a [section] nor name = value"},
		{in: "[a]\nk=1\nK=2", line: 3, err: "the option is there twice in its section"},
		{in: "[a]\n[b]\n[a]", line: 3, err: "the section is there twice"},
		{in: "[a]\nk=\xff", err: "it is not UTF-8"},
	} {
		got, line, err := parsePython([]byte(c.in))
		if message(err) != c.err || line != c.line {
			t.Errorf("%q: line %d, %v", c.in, line, err)
		}
		if d := cmp.Diff(c.want, got); err == nil && d != "" {
			t.Errorf("%q: %s", c.in, d)
		}
	}
}

func FuzzPipConf(f *testing.F) {
	f.Add([]byte("[global]\nindex-url = https://u:p@h/simple\nextra-index-url =\n  https://a\n\n  https://b\n[install]\ntrusted-host: h\n"))
	f.Add([]byte("[DEFAULT]\ncert=x\n[global]\n\ufefftimeout=1e9\nproxy=a@b"))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzFile(t, "/etc/pip.conf", data) })
}

func FuzzUV(f *testing.F) {
	f.Add([]byte("index-url='https://a'\nextra-index-url=['https://b c=https://d']\n[[index]]\nname='x'\nurl='https://u:p@e'\ndefault=true\nexplicit=false\nformat='flat'\n"))
	f.Add([]byte("allow-insecure-host=['a','b c','']\nindex=[{url='x'}]"))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzFile(t, "/etc/uv/uv.toml", data) })
}

func fuzzFile(t *testing.T, path string, data []byte) {
	m, notes, err := Detect(t.Context(), nil, fakeHost{files: files{path: string(data)}})
	for _, s := range append(notes, message(err)) {
		if s != printable(s) {
			t.Errorf("%q", s)
		}
	}
	for k, v := range m.Env {
		if v == "" || strings.ContainsFunc(v, isControl) {
			t.Errorf("%s=%q", k, v)
		}
	}
}
