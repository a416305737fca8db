package source

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/solver/errdefs"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name, path string
		want       string // message with the folder cut off
	}{
		{"missing", filepath.Join(dir, "no.yaml"), "no.yaml: there is no such file"},
		{"folder", dir, ": this is a folder, not a file"},
		{"too large", write("large", strings.Repeat("x", 11)), "large: larger than the limit of 10 bytes"},
		{"latin-1", write("latin", "a\nü: \xe4"), "latin:2:4: the byte 0xe4 is not UTF-8; save the file as UTF-8"},
		{"utf-16", write("utf16", "\xff\xfea\x00"), "utf16:1:1: the file is encoded as UTF-16; save it as UTF-8"},
		{"device", os.DevNull, "dev/null: this is not a regular file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Read(test.path, 10)
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.TrimPrefix(strings.TrimPrefix(err.Error(), dir), "/")
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}

	_, err := Read(filepath.Join(dir, "no"), 10)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
	s, err := Read(write("bom", "\ufeffabc"), 10)
	if err != nil || string(s.Data) != "abc" || s.Dir != dir || s.Base() != "bom" {
		t.Errorf("byte order mark: %+v, %v", s, err)
	}
	s, err = ReadStdin(strings.NewReader("x: 1"), dir, 10)
	if err != nil || !s.Stdin || s.Name != StdinName || s.Dir != dir {
		t.Errorf("stdin: %+v, %v", s, err)
	}
}

func TestNewCopies(t *testing.T) {
	data := []byte("abc")
	s, err := New("x", "", data)
	if err != nil {
		t.Fatal(err)
	}
	data[0] = 'X'
	if string(s.Data) != "abc" {
		t.Errorf("the source changed with its argument: %q", s.Data)
	}
}

func TestPosition(t *testing.T) {
	s := Source{Data: []byte("ab\nä€x\n")}
	for _, test := range []struct{ offset, line, column int }{
		{-1, 1, 1}, {0, 1, 1}, {2, 1, 3}, {3, 2, 1}, {5, 2, 2}, {8, 2, 3}, {10, 3, 1}, {99, 3, 1},
	} {
		if line, column := s.Position(test.offset); line != test.line || column != test.column {
			t.Errorf("offset %d: %d:%d, want %d:%d", test.offset, line, column, test.line, test.column)
		}
	}
}

func TestErrorText(t *testing.T) {
	for _, test := range []struct {
		err  Error
		want string
	}{
		{Error{Msg: "m"}, "m"},
		{Error{File: "f", Msg: "m"}, "f: m"},
		{Error{File: "f", Line: 3, Msg: "m", Hint: "h"}, "f:3: m; h"},
		{Error{File: "f", Line: 3, Column: 4, Msg: "m", Hint: "h"}, "f:3:4: m; h"},
		{Error{File: "f\x1b[2J", Msg: "a\nb\u202e"}, `f\x1b[2J: a\nb\u202e`},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestErrorsOrder(t *testing.T) {
	var es Errors
	if es.Err() != nil {
		t.Error("no findings are an error")
	}
	es.Collect(&Error{File: "b", Line: 9, Msg: "x"})
	es.Collect(Errors{{File: "a", Line: 2, Msg: "x"}, {File: "b", Line: 1, Column: 7, Msg: "x"}, {File: "b", Line: 1, Column: 2, Msg: "x"}})
	es.Collect(&Error{File: "b", Line: 9, Msg: "x"})
	es.Collect(nil)
	es.Collect(errors.New("other"))
	want := "b:1:2: x\nb:1:7: x\nb:9: x\na:2: x\nother"
	if diff := cmp.Diff(want, es.Err().Error()); diff != "" {
		t.Error(diff)
	}
}

func TestBuildKitSources(t *testing.T) {
	text := []byte("one\ntwo\nthree\n")
	err := Errors{{File: "image.yaml", Line: 2, Column: 1, Msg: "wrong", Data: text}}.Err()
	sources := errdefs.Sources(err)
	if len(sources) != 1 {
		t.Fatalf("%d sources", len(sources))
	}
	var b bytes.Buffer
	if err := sources[0].Print(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "2 | >>> two") {
		t.Errorf("got\n%s", b.String())
	}
	if sources[0].Info.Language != "YAML" {
		t.Errorf("language %q", sources[0].Info.Language)
	}
	if got := errdefs.Sources(&Error{File: "x", Msg: "no lines"}); got != nil {
		t.Errorf("%v", got)
	}
}
