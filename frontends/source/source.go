package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"unicode/utf8"
)

// Limits of what is read: a text beyond them is not what the user meant to give.
const (
	SpecLimit   = 1 << 20  // image specs, requirements files, ignore files
	ScriptLimit = 16 << 20 // Python scripts
	LockLimit   = 32 << 20 // lock files
)

// StdinName is what a source from standard input is called in messages.
const StdinName = "<stdin>"

// Source is one text that a user gave. It is a value; nobody changes Data.
type Source struct {
	// Name is the file as the user wrote it, [StdinName] for standard input.
	Name string
	// Dir is the folder that the file lives in; for standard input, the one its paths are relative to.
	Dir string
	// Data is the text: valid UTF-8, without a byte order mark.
	Data []byte
	// Stdin says that the text came from standard input or another pipe: no file of its own is in Dir.
	Stdin bool
}

// Read reads the regular file at path, at most limit bytes of it.
func Read(path string, limit int64) (Source, error) { return read(path, limit, false) }

// ReadArgument is [Read] for a path that the user has just given: it may be a named pipe, too. Files that
// another file names may not: whoever wrote that one could make a build wait for ever.
func ReadArgument(path string, limit int64) (Source, error) { return read(path, limit, true) }

func read(path string, limit int64, pipes bool) (Source, error) {
	s := Source{Name: path, Dir: filepath.Dir(path)}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, Errors{{File: path, Msg: "there is no such file", Err: err}}
	case err != nil:
		return s, Errors{{File: path, Msg: reason(err), Err: err}}
	case info.IsDir():
		return s, Errors{{File: path, Msg: "this is a folder, not a file"}}
	case pipes && info.Mode()&fs.ModeNamedPipe != 0:
		// `ibuild build <(generate)` gives one: no file that could be read again, no folder of its own.
		s.Name, s.Dir, s.Stdin = StdinName, ".", true
	case !info.Mode().IsRegular():
		// A device might never end.
		return s, Errors{{File: path, Msg: "this is not a regular file"}}
	}
	f, err := os.Open(path)
	if err != nil {
		return s, Errors{{File: path, Msg: reason(err), Err: err}}
	}
	defer f.Close()
	return s.read(f, limit)
}

// ReadStdin reads a source from standard input; dir is the folder that its paths are relative to.
func ReadStdin(r io.Reader, dir string, limit int64) (Source, error) {
	s := Source{Name: StdinName, Dir: dir, Stdin: true}
	return s.read(r, limit)
}

// New makes a source of bytes that are there already, with the same checks as [Read].
func New(name, dir string, data []byte) (Source, error) {
	s := Source{Name: name, Dir: dir}
	return s.accept(bytes.Clone(data))
}

func (s Source) read(r io.Reader, limit int64) (Source, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return s, Errors{{File: s.Name, Msg: reason(err), Err: err}}
	}
	if int64(len(data)) > limit {
		return s, Errors{{File: s.Name, Msg: "larger than the limit of " + size(limit)}}
	}
	return s.accept(data)
}

// accept checks the encoding. A byte order mark is dropped: it has no meaning in UTF-8, and Windows
// editors write it.
func (s Source) accept(data []byte) (Source, error) {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return s, Errors{{File: s.Name, Line: 1, Column: 1, Msg: "the file is encoded as UTF-16", Hint: "save it as UTF-8"}}
	}
	s.Data = bytes.TrimPrefix(data, []byte("\ufeff"))
	for rest, at := s.Data, 0; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 {
			bad := rest[0]
			line, column := s.Position(at)
			s.Data = nil
			return s, Errors{{File: s.Name, Line: line, Column: column,
				Msg: fmt.Sprintf("the byte 0x%02x is not UTF-8", bad), Hint: "save the file as UTF-8"}}
		}
		rest, at = rest[n:], at+n
	}
	return s, nil
}

// Base is the file's own name, without its folder.
func (s Source) Base() string { return filepath.Base(s.Name) }

// Position turns an offset into Data into a line and a column, both from 1. Columns count characters,
// as editors show them.
func (s Source) Position(offset int) (line, column int) {
	head := s.Data[:min(max(offset, 0), len(s.Data))]
	start := bytes.LastIndexByte(head, '\n') + 1
	return bytes.Count(head, []byte("\n")) + 1, utf8.RuneCount(head[start:]) + 1
}

// Language is what GitHub linguist calls the text's language, "" when the name does not tell.
func (s Source) Language() string {
	switch filepath.Ext(s.Name) {
	case ".yaml", ".yml":
		return "YAML"
	case ".py":
		return "Python"
	case ".txt", ".in":
		return "Pip Requirements"
	}
	return ""
}

// reason is the system's own words without the path, which the message has already.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return "cannot be read: " + err.Error()
}

func size(n int64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
