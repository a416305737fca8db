package source

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/solver/errdefs"
	"golang.org/x/sys/unix"
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

// Only a path from the command line may be a pipe; nobody writes to this one.
func TestPipes(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(pipe, 10); err == nil || !strings.HasSuffix(err.Error(), "pipe: this is not a regular file") {
		t.Errorf("%v", err)
	}
	if _, err := ReadFile(os.DirFS(filepath.Dir(pipe)), "pipe", 10); err == nil || err.Error() != "it is not a regular file" {
		t.Errorf("%v", err)
	}
	done := make(chan error, 1)
	go func() { done <- os.WriteFile(pipe, []byte("x: 1"), 0) }()
	s, err := ReadArgument(pipe, 10)
	if err != nil || string(s.Data) != "x: 1" || !s.Stdin || s.Name != StdinName || s.Dir != "." {
		t.Errorf("%+v, %v", s, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestReadFile(t *testing.T) {
	fsys := fstest.MapFS{"a/f": {Data: []byte("0123456789")}, "large": {Data: []byte("0123456789x")}, "device": {Mode: fs.ModeDevice}}
	if data, err := ReadFile(fsys, "a/f", 10); err != nil || string(data) != "0123456789" {
		t.Errorf("%q, %v", data, err)
	}
	for name, want := range map[string]string{
		"a": "it is a folder", "device": "it is not a regular file", "large": "it is larger than the limit of 10 bytes", "none": "open none: file does not exist",
	} {
		if _, err := ReadFile(fsys, name, 10); err == nil || err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
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

// Beyond 200 findings there is one that counts the rest, also when some were counted before.
func TestManyFindings(t *testing.T) {
	list := func(file string, n int) (es Errors) {
		for i := range n {
			es.Collect(&Error{File: file, Line: i + 1, Msg: "x"})
		}
		return es
	}
	if got := list("a", 200).Err().(Errors); len(got) != 200 || got[199].Line != 200 {
		t.Errorf("200 findings are %d", len(got))
	}
	es := list("b", 150)
	es.Collect(list("a", 1000).Err())
	es.Collect(list("a", 300).Err()) // the same again, of which 200 are known
	got := es.Err().(Errors)
	if len(got) != 201 || got[149].File != "b" || got[199].Error() != "a:50: x" || got[200].Error() != "and 1050 more findings; mend these first" {
		t.Errorf("%d findings, %v, %v", len(got), got[199], got[200])
	}
	if again := got.Err().Error(); again != got.Error() {
		t.Errorf("collected once more they are\n%s", again)
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
